/* gpu: what the files of the vulkan backend share. One struct gpu per exec.
 *
 * A plan becomes a list of steps, each one dispatch. A step has two pipelines: one for a single row
 * (generation) and one that shares the unpacking of a weight block among several. Dispatches for a
 * number of rows are recorded once and submitted again and again; what changes from run to run
 * stands in gpu.inputs. */
#pragma once
#include <assert.h>

#include "compute/exec.h"
#include "compute/vulkan/vk.h"
#include "compute/weights.h"

enum {
    THREADS = VK_LEAST_THREADS, /* of a workgroup; */
    MOST_THREADS = 1024,        /* where shaders leave that open, see shaders/common.glsl */
    HEAD_ROWS = 64,             /* rows whose logits are made at once */
    MOST_OUTS = 3,              /* matrices of one projecting step */
    MOST_SPLITS = 34,           /* of the positions of one row's attention; see row_splits */
    N_RECORDINGS = 12,          /* kept for other numbers of rows */
    MOST_PARTS = 128,           /* of a run, each a submit */
    FEWEST_MEASURED = 16,       /* rows, from which on a run takes as long as it has rows */
    ROUTE_SPLITS = 8,           /* of the columns of a router */
    RUN_TIMEOUT_MS = 20000,
    SOFTWARE_TIMEOUT_MS = 1800000,
};

enum step_kind {
    STEP_EMBED,
    STEP_PROJECT,
    STEP_HEADS,       /* first half of OP_ATTEND */
    STEP_ATTEND,      /* second half, row by row */
    STEP_FLASH,       /* the same in tiles of rows */
    STEP_LATENT,      /* OP_ATTEND_MLA: the row to cache, */
    STEP_LATENT_KEYS, /* queries through the heads' key matrices, */
    STEP_LATENT_ATTEND,
    STEP_LATENT_VALUES, /* sums through the value matrices */
    STEP_DELTA_CONV,    /* OP_DELTA_NET of several rows begins and ends with steps of its own */
    STEP_DELTA,
    STEP_DELTA_CHUNK, /* for many rows these two in place of STEP_DELTA */
    STEP_DELTA_SCAN,
    STEP_DELTA_GATE,
    STEP_ADD_PROJECT,
    STEP_GLU,
    STEP_ROUTE,
    STEP_EXPERTS_UP,
    STEP_EXPERTS_DOWN,
    STEP_HEAD,
};

/* Slots and hidden buffers that a step reads and writes: bits, see program.c. */
struct touched {
    uint64_t reads, writes;
};

/* How a step multiplies more than FEW_TOKENS rows (prefill.c): indices into gpu.pipelines. */
enum { FEW_TOKENS = 8, N_TILES = 3 };
#define NO_PIPELINE UINT32_MAX
struct many_rows {
    bool is_there;
    uint32_t rows, gemm[N_TILES], tiles[N_TILES], behind; /* behind: of the product */
};
/* Bytes of the scratch for it, or where they begin: rows, what their sums are scaled with, parts of
 * experts_down before they are added up, table of tiles. */
struct many_room {
    uint64_t rows, scales, parts, table;
};

struct step {
    enum step_kind kind;
    const struct op *op;
    /* [0] one row, [1] several: an index into gpu.pipelines, how many rows a workgroup takes, and
     * how many groups of outputs side by side. */
    uint32_t pipeline[2], n_tokens[2], n_teams[2];
    /* STEP_PROJECT: which outputs of the op; how many of them are of the first one's type */
    uint32_t outs[MOST_OUTS], n_outs, n_of_type;
    uint32_t n_splits; /* STEP_ROUTE */
    /* STEP_EXPERTS_UP that chooses by its logits; STEP_GLU that normalises its input once more;
     * STEP_ADD_PROJECT that adds its rows' shares to the logits */
    const struct op_route *route;
    uint64_t shares_from; /* bytes behind a row of gpu.shares_at: logits of who has a route */
    bool is_shared;    /* STEP_EXPERTS_UP: the logits are sums of shares, the rows not normed yet */
    uint32_t n_groups; /* STEP_ATTEND: of query heads, each of a workgroup or more */
    uint32_t n_tile_rows;        /* of a workgroup in tiles of rows, each a query head of a token */
    uint32_t min_rows, max_rows; /* batches that it is a part of; max 0: all from min on */
    uint32_t min_keys, max_keys; /* the same of recording.n_keys, max excluded */
    struct touched touched;
    bool is_wide; /* few rows, too, are multiplied as many are */
    struct many_rows many;
};

/* Cache of one attention layer, in pages (exec_kv_rows). */
struct gpu_cache {
    struct vk_buffer keys, values; /* [pages][n_kv_head][n_rows] rows; latents: no values */
    uint32_t n_rows;               /* of a page */
    const struct pages *table;
};

/* State of one recurrent layer. */
struct gpu_state {
    struct vk_buffer history, memory; /* as in shaders/delta.comp, see delta_memory_at */
};

struct gpu_rope {
    const struct rope *rope;
    struct vk_buffer table; /* [n_ctx][n_rot / 2] cosine, sine */
};

/* Finding the best tokens (pick.c). */
struct gpu_pick {
    bool is_there;
    uint32_t pipeline, n_threads, n_keys; /* of a workgroup; of a thread, see shaders/pick.comp */
    uint64_t keys_at, counters_at;        /* in the scratch */
    /* A bit a token; what is found, twice, for the host; [EXEC_BEST_ROWS] draws. */
    struct vk_buffer allowed, best, draws;
};

/* Commands for n_rows rows, in parts that are submitted one after the other. */
struct recording {
    uint32_t n_rows, n_wanted, n_keys;
    bool picks;       /* the best tokens of the wanted rows go to the host, not their logits */
    uint32_t side;    /* which half of pick.best and of the logits in the scratch it fills: a step
                         may run while the host reads another */
    uint32_t n_parts; /* 0: free */
    struct vk_cmds *parts[MOST_PARTS];
    uint64_t last_used;
};

/* One row of each of some sequences. */
struct step_rows {
    uint32_t n;
    int32_t ids[FEW_TOKENS];
    uint32_t pos[FEW_TOKENS], seq[FEW_TOKENS];
};

/* Steps that are begun before they are asked for (ahead.c). */
struct gpu_ahead {
    bool is_begun;         /* a step is under way that nobody asked for yet: */
    struct step_rows next; /* it has these rows */
    uint64_t n_moves;      /* of the pages, when it was begun */
    uint32_t side;         /* of the newest */
    const struct recording *recording;
};

struct profile_row {
    const char *label;
    uint64_t n;
    double ns;
};
enum { PROFILE_ROWS = 24 };
/* Of all runs with one row, or with more. */
struct profile {
    struct profile_row rows[PROFILE_ROWS];
    uint32_t n_rows, n_dispatches, n_barriers;
    uint64_t n_runs, n_tokens;
};

struct gpu {
    const struct plan *plan;
    struct exec_params params;
    struct vk *vk;
    struct weights weights;
    struct vk_buffer *arenas;
    uint32_t n_arenas;
    struct pool *pool; /* while loading */

    struct step *steps;
    uint32_t n_steps;
    struct vk_pipeline_spec *specs;
    VkPipeline *pipelines;
    uint32_t n_specs, specs_room;
    bool few_in_tiles; /* there is attention that has few rows in tiles, too */

    uint64_t *slot_at; /* [plan.n_slots] byte offsets in scratch */
    uint64_t ready_at, mixed_at, sums_at, totals_at, counters_at, route_at, shares_at, logits_at;
    uint64_t share_bytes; /* of a row: sums of shares (shaders/route_share.glsl) of all routers */
    struct many_room many_at;
    uint64_t n_scratch;
    struct vk_buffer scratch;
    struct vk_buffer inputs;  /* ids, positions, ...: see enum input of steps.h */
    struct vk_buffer logits;  /* [HEAD_ROWS][n_vocab], for the host */
    struct vk_buffer saved;   /* a saved state or a piece of a cache on its way; for the host */
    struct gpu_cache *caches; /* [plan.n_kv] */
    struct gpu_state *states; /* [plan.n_states] */
    struct gpu_rope *ropes;
    uint32_t n_ropes;
    struct gpu_pick pick;
    struct gpu_ahead ahead;
    uint32_t logits_side;    /* where gpu_row finds those of the last run */
    uint64_t n_page_changes; /* of the table that is in the inputs */

    struct recording recordings[N_RECORDINGS];
    uint64_t n_runs;
    double ns_per_row;                 /* of the last run of FEWEST_MEASURED or more; 0: none yet */
    double ns_of_few[FEWEST_MEASURED]; /* the last run of so many rows; 0: none yet */
    struct profile profiles[2];
    struct exec_event *events; /* [n_events] */
    size_t n_events, events_room;
};

/* predict.c: weight bytes that a single row reads. */
double gpu_row_bytes(const struct gpu *g);

/* profile.c: adds what the last run of the recording took; n_tokens rows were run. */
void profile_add(struct gpu *g, const struct recording *r, uint32_t n_tokens);
void profile_print(const struct gpu *g, struct buf *out);

/* vulkan.c: everything that can be said without memory on the device: sizes, steps, specs. The
 * device is borrowed. */
struct gpu *gpu_new(const struct plan *p, const struct exec_params *params, struct vk *vk,
                    struct err *e);
void gpu_free(struct gpu *g);

/* Submits and waits. */
bool gpu_submit(struct gpu *g, struct vk_cmds *cmds, struct err *e);

/* state.c: the cache that an op attends to, and bytes of its rows. False: it has none. */
struct cache_shape {
    uint32_t kv, n_heads;
    uint64_t key, value; /* value 0: it is a part of the key */
};
bool gpu_cache_shape(const struct op *op, const struct exec_params *params,
                     struct cache_shape *out);
/* struct backend's. */
uint64_t gpu_state_bytes(const struct plan *p, const struct exec_params *params);
bool gpu_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e);
uint64_t gpu_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n);
bool gpu_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e);
/* Of gpu.saved. */
uint64_t gpu_saved_bytes(const struct plan *p, const struct exec_params *params);
bool gpu_page_copy(void *state, const struct page_copy *copy, struct err *e);

/* program.c: fills steps and specs. False for ops or sizes that the device cannot do. */
bool program_make(struct gpu *g, struct err *e);
/* Makes the pipelines of the specs. */
bool program_compile(struct gpu *g, struct err *e);
/* Floats of the scratch that the steps need beside the slots, by n_ubatch. */
uint64_t program_route_floats(const struct gpu *g);
uint64_t program_counters(const struct gpu *g);

/* attention.c: the same. */
uint64_t attention_ready_floats(const struct gpu *g);
uint64_t attention_sum_floats(const struct gpu *g);
uint64_t attention_total_floats(const struct gpu *g);
/* Of positions [n_ctx][n_rot / 2]: cosine, sine. */
VkDeviceAddress gpu_rotations(const struct gpu *g, const struct rope *rope);
/* What recordings tell apart of the keys that the longest row of a batch sees: a power of two. */
uint32_t attention_keys(uint32_t n_keys);
/* All inputs, those of attention at the end; and those written. */
uint64_t attention_input_bytes(const struct exec_params *params);
bool attention_write_inputs(struct gpu *g, const struct batch *b, struct err *e);
/* Of these the table of pages, where it changed. Steps that are under way may go on reading it. */
bool attention_write_table(struct gpu *g, struct err *e);

/* latent.c: the same. */
uint64_t latent_ready_floats(const struct gpu *g);
uint64_t latent_mixed_floats(const struct gpu *g);

/* delta.c: the same; bytes of a sequence's state in a layer, and in all of them; what all take on
 * the device; the buffers. */
uint64_t delta_ready_floats(const struct gpu *g);
uint64_t delta_history_bytes(const struct op_delta_net *o);
uint64_t delta_memory_bytes(const struct op_delta_net *o);
uint64_t delta_state_bytes(const struct plan *p);
uint64_t delta_kept_bytes(const struct plan *p);
/* A sequence has room for two memories in a layer, and behind n tokens its memory is in half n % 2.
 * So a step reads one half and writes the other: until it is asked for, the state before it is
 * there, too. (The history has a row more than the next step needs, which does the same.) Where
 * that half is in gpu_state.memory: */
uint64_t delta_memory_at(const struct op_delta_net *o, uint32_t seq, uint32_t n_tokens);
bool delta_make_states(struct gpu *g, struct err *e);

/* run.c: backend.run, .run_best and .row, and freeing what it keeps. */
bool gpu_run(void *state, const struct batch *b, float *logits, struct err *e);
bool gpu_run_best(void *state, const struct batch *b, struct best *best, struct err *e);
bool gpu_row(void *state, uint32_t i, float *logits, struct err *e);
void run_free(struct gpu *g);
/* What a run is made of. The commands for the numbers of `wanted`, kept or recorded; NULL and e:
 * out of memory. */
const struct recording *run_recording(struct gpu *g, const struct recording *wanted, struct err *e);
/* Parts that a run of n rows is submitted in. */
uint32_t run_parts_needed(const struct gpu *g, uint32_t n_rows);
/* Writes what the commands read; returns the wanted rows, and the keys that the longest row sees.
 */
bool run_write_inputs(struct gpu *g, const struct batch *b, uint32_t *n_wanted, uint32_t *n_keys,
                      struct err *e);
/* Waits for everything submitted, or for what `r` was submitted last. */
bool run_wait(struct gpu *g, struct err *e);
bool run_wait_for(struct gpu *g, const struct recording *r, struct err *e);

/* ahead.c: runs the rows where they are a step that was begun, or one that the next may follow;
 * *done: whether they are. Else nothing is under way behind it. */
bool ahead_run(struct gpu *g, const struct batch *b, struct best *best, bool *done, struct err *e);
/* Waits for what was begun, which is forgotten: before anything else uses the device. */
bool ahead_drop(struct gpu *g, struct err *e);

/* record.c: commands of the steps [from, end) for the rows that `of` tells, of which the n_wanted
 * first wanted ones get logits. */
struct step_range {
    uint32_t from, end;
};
struct vk_cmds *record(struct gpu *g, struct step_range steps, const struct recording *of,
                       struct err *e);
/* Logits alone of n_wanted rows, the first of them number `from` of the wanted ones. */
struct vk_cmds *record_head(struct gpu *g, uint32_t from, uint32_t n_wanted, struct err *e);

/* Bytes of a row of a cache: cache_row_bytes of shaders/cache.glsl. */
static inline uint64_t gpu_cache_row(enum block_type type, uint64_t n)
{
    uint64_t bytes = type == BLOCK_F32    ? 4 * n
                     : type == BLOCK_F16  ? 2 * n
                     : type == BLOCK_Q8_0 ? n + n / 16
                                          : n / 2 + n / 16;
    return (bytes + 15) / 16 * 16;
}

/* As shaders/cache.glsl numbers them. */
static inline uint32_t gpu_cache_type(enum block_type type)
{
    return type == BLOCK_F32 ? 0 : type == BLOCK_F16 ? 1 : type == BLOCK_Q8_0 ? 2 : 3;
}

/* In the scratch. Steps that are begun ahead have rows for one half; all others have side 0 and
 * room for HEAD_ROWS. */
static inline uint64_t gpu_logits_at(const struct gpu *g, uint32_t side)
{
    static_assert(FEW_TOKENS <= HEAD_ROWS / 2, "logits of a step fit into half of the room");
    return g->logits_at + (uint64_t)side * (HEAD_ROWS / 2) * g->plan->n_vocab * sizeof(float);
}

static inline VkDeviceAddress gpu_weight(const struct gpu *g, uint64_t at)
{
    const uint64_t arena = g->weights.params.arena_bytes;
    return g->arenas[at / arena].address + at % arena;
}

static inline VkDeviceAddress gpu_matrix(const struct gpu *g, const struct weight *w)
{
    return gpu_weight(g, g->weights.matrices[w->index].at);
}

/* 0: no vector. */
static inline VkDeviceAddress gpu_vector(const struct gpu *g, const struct weight *w)
{
    return w ? gpu_weight(g, g->weights.vector_at[w->index]) : 0;
}
