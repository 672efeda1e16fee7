/* show: the parts of what `tawny show` prints, each as text and as members of a JSON object. */
#pragma once
#include "cmd/cmd_model.h"
#include "cmd/quality.h"
#include "cmd/term.h"

enum { SHOW_MAX_BANDWIDTHS = 8, SHOW_MAX_TEXT = 60 /* bytes of a long value */ };

/* A file and what follows from it. */
struct shown {
    struct gguf *file;
    struct model *model; /* NULL: tawny cannot run it, `why` says why */
    struct err why;
    uint64_t n_params;
    bool planned; /* the backend can run it: n_ctx and memory are there, else `why` says why not */
    uint32_t n_ctx, n_sessions;
    struct mem_table memory;
    const struct model_opts *opts;
    const struct backend *backend;          /* where there is a model */
    struct exec_params device;              /* .opened, for all questions */
    double bandwidths[SHOW_MAX_BANDWIDTHS]; /* bytes a second, to predict speed for */
    size_t n_bandwidths;
    bool measured; /* show_measure has filled quality */
    struct quality quality;
};

/* The engine's parameters for what is shown, with a context of n_ctx tokens (0: the default). */
struct engine_params show_params(const struct shown *s, uint32_t n_ctx);

/* s as a JSON string that a terminal only shows; what is over max bytes is cut off. */
void show_quoted(str s, size_t max, struct buf *out);
void show_metadata(const struct gguf *f, struct buf *out);
void show_json_metadata(struct jout *j, const struct gguf *f);
void show_types(const struct gguf *f, struct buf *out);
void show_tensors(const struct gguf *f, struct buf *out);
/* The sums by type, and with all every tensor. */
void show_json_tensors(struct jout *j, const struct gguf *f, bool all);

/* Lengths of a context that the tables show: 4096 doubled until `limit`, then that. Returns 0
 * behind the last. */
uint32_t show_next_length(uint32_t length, uint32_t limit);
/* Memory now and by length of the context; where planned. */
void show_memory(const struct shown *s, struct buf *out);
void show_json_memory(struct jout *j, const struct shown *s);
/* Bytes that a generated token moves, by depth, and the speed predicted from them; where there is a
 * model. */
void show_bytes(const struct shown *s, struct buf *out);
void show_json_bytes(struct jout *j, const struct shown *s);

/* Phases and dispatches of a generated token on a GPU, and what they and the bytes predict for
 * Strix Halo; where there is a model. */
void show_prediction(const struct shown *s, struct buf *out);
void show_json_prediction(struct jout *j, const struct shown *s);

/* Runs the text in a file, at most max_tokens of it, through the model as its file has it and as it
 * is loaded. Control tokens in the text count as such. */
bool show_measure(struct shown *s, const char *path, size_t max_tokens, struct err *e);
/* What --requant saves, and what show_measure found. */
void show_diet(const struct shown *s, struct buf *out);
void show_json_diet(struct jout *j, const struct shown *s);
