/* steps: what the files that turn ops into steps and steps into commands share. program.c and
 * record.c have the ops of one shader over one matrix; attention has a file of its own. */
#pragma once
#include "compute/vulkan/gpu.h"

/* ---- making steps ----------------------------------------------------------------------------
 */

/* Bits of struct touched beside the slots'. */
enum {
    BIT_LOGITS = 61, /* of a router */
    BIT_CACHE = 62,  /* and the queries that are ready for it */
    BIT_OTHER = 63,  /* slots past the 60th share a bit */
};
static inline uint64_t step_slot(slot_id s)
{
    return 1ull << (s < BIT_LOGITS ? s : BIT_OTHER);
}

/* Pipelines of shaders/head_product.comp over w, a matrix for each head. */
bool step_over_heads(struct gpu *g, const struct weight *w, struct step *s, struct err *e);
struct step *step_add(struct gpu *g, enum step_kind kind, const struct op *op);
/* Index of the pipeline in gpu.pipelines; equal specs share it. */
uint32_t step_spec(struct gpu *g, const struct vk_pipeline_spec *spec);

/* ---- recording -------------------------------------------------------------------------------
 */

typedef VkDeviceAddress address;

/* A recording under way. */
struct recorder {
    struct gpu *g;
    struct vk_cmds *cmds;
    uint32_t n_rows, n_wanted, n_keys;
    uint32_t first_wanted;
    bool picks; /* as in struct recording, like side */
    uint32_t side;
    struct touched since;        /* what was touched since the last barrier */
    const struct step *has_rows; /* whose rows are ready for products (prefill.c), or NULL */
};

static inline address recorder_slot(const struct recorder *r, slot_id s)
{
    return r->g->scratch.address + r->g->slot_at[s];
}

/* Whether the step is a part of a batch of n_rows rows, of which one sees n_keys keys. */
static inline bool step_takes(const struct step *s, uint32_t n_rows, uint32_t n_keys)
{
    return n_rows >= s->min_rows && (!s->max_rows || n_rows <= s->max_rows) &&
           n_keys >= s->min_keys && (!s->max_keys || n_keys < s->max_keys);
}

/* Whether a barrier comes before a step, in any case or for what it touches; adds that to what was
 * touched since the last one. */
static inline bool step_waits(struct touched *since, const struct touched *t, bool in_any_case)
{
    const bool waits =
        in_any_case || since->writes & (t->reads | t->writes) || since->reads & t->writes;
    if (waits)
        *since = (struct touched){0, 0};
    since->reads |= t->reads;
    since->writes |= t->writes;
    return waits;
}

/* Arrays of one word a row; INPUT_ORDER: the rows, those of a sequence side by side. The runs of
 * attention.c come after them. */
enum input { INPUT_IDS, INPUT_POS, INPUT_SEQ, INPUT_WANTED, INPUT_ORDER, N_INPUTS };
static inline address recorder_input(const struct recorder *r, enum input i)
{
    return r->g->inputs.address + (uint64_t)i * r->g->params.n_ubatch * sizeof(uint32_t);
}

#define DISPATCH(r, pipeline, push, x, y, z)                                                       \
    vk_cmds_dispatch((r)->cmds, pipeline, &(push), sizeof(push), x, y, z)

/* ---- attention.c -----------------------------------------------------------------------------
 */

bool attention_add(struct gpu *g, const struct op *op, struct err *e);
/* The sequences of the batch: first of INPUT_ORDER, number of rows (0: the end), position of the
 * first, sequence. Written for more than FEW_TOKENS rows. */
address attention_runs(const struct recorder *r);
/* The table of pages, see shaders/cache.glsl. */
address attention_table(const struct recorder *r);
/* Constants of shaders/cache.glsl, whose other ones come before them. */
void attention_pages(const struct gpu *g, uint32_t kv, struct vk_pipeline_spec *spec);
void attention_heads(struct recorder *r, const struct step *s);
void attention_attend(struct recorder *r, const struct step *s);
void attention_flash(struct recorder *r, const struct step *s);
/* Dispatches shaders/flash.comp or a kernel with the same push constants: tiles of the queries that
 * are ready. */
struct tiles_of_rows {
    address q, keys, values, sinks, to;
    uint32_t n_cache, n_groups, n_keys, keys_per_split; /* groups of query heads; keys of a row */
};
void attention_tiles(struct recorder *r, const struct step *s, const struct tiles_of_rows *t);

/* ---- latent.c --------------------------------------------------------------------------------
 */

bool latent_add(struct gpu *g, const struct op *op, struct err *e);
void latent_rows(struct recorder *r, const struct step *s);
void latent_keys(struct recorder *r, const struct step *s);
void latent_attend(struct recorder *r, const struct step *s);
void latent_values(struct recorder *r, const struct step *s);

/* ---- prefill.c -------------------------------------------------------------------------------
 */

/* Gives a step that multiplies matrices the pipelines for many rows, where the device has room. */
void prefill_add(struct gpu *g, struct step *s);
/* Scratch in bytes, once all steps are there. */
struct many_room prefill_room(const struct gpu *g);
/* Whether the step is to be recorded by prefill_record: more than FEW_TOKENS rows. */
bool prefill_takes(const struct recorder *r, const struct step *s);
/* Whether its rows are ready: those of the step before, of the same op. */
bool prefill_has_rows(const struct recorder *r, const struct step *s);
/* In place of the step's own dispatch, behind a barrier unless its rows are ready. Uses
 * gpu.many_at: no other step may run beside it that does, too. */
void prefill_record(struct recorder *r, const struct step *s);

/* ---- delta.c ---------------------------------------------------------------------------------
 */

void delta_add(struct gpu *g, const struct op *op);
void delta_conv(struct recorder *r, const struct step *s);
void delta_recur(struct recorder *r, const struct step *s);
void delta_chunk(struct recorder *r, const struct step *s);
void delta_scan(struct recorder *r, const struct step *s);
void delta_gate(struct recorder *r, const struct step *s);
