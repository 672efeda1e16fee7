/* arch: what the architecture files build with. Private to model/.
 *
 * Failures stick: the first one is stored in b->e and sets b->failed; every later call does nothing
 * (and answers NULL), so that an architecture reads as a list of steps with one check at the end.
 */
#pragma once
#include "model/model.h"

struct builder {
    const struct gguf *file;
    const char *arch; /* prefix of the keys */
    const struct log *log;
    struct hparams *hp;
    struct plan *plan;
    struct err *e;
    bool failed;
};

/* One file per architecture: hyper-parameters beyond the common ones, tensors, ops. */
void arch_qwen3moe(struct builder *b);

/* Stores the first failure. */
void build_fail(struct builder *b, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keys, written without "<arch>.". Absent and not required: *out stays. Outside [lo, hi] (f32: not
 * finite, too) is a failure that names key, value and range. */
enum need { OPTIONAL, REQUIRED };
void key_u32(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
             uint32_t *out);
void key_f32(struct builder *b, const char *key, enum need need, float lo, float hi, float *out);
/* A number or an array with one entry per block. Entries that are not 0 (0: a block that has no use
 * for it) must be equal. */
void key_u32_per_block(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
                       uint32_t *out);
/* Fills b->hp with the keys common to all architectures, and n_vocab. */
void hparams_read(struct builder *b);

/* Shape of a tensor, as in the file: ne[0] runs fastest. */
struct shape {
    uint64_t ne[3];
};
static inline struct shape vector(uint64_t n)
{
    return (struct shape){{n, 1, 1}};
}
static inline struct shape matrix(uint64_t n_in, uint64_t n_out)
{
    return (struct shape){{n_in, n_out, 1}};
}
static inline struct shape matrices(uint64_t n_in, uint64_t n_out, uint64_t n)
{
    return (struct shape){{n_in, n_out, n}};
}

/* The block of tensors that belong to none: bind_tensor(b, NO_BLOCK, "output.weight", ...). */
enum { NO_BLOCK = -1 };
/* The weight "blk.<block>.<name>" with exactly this shape; a missing or different tensor fails. */
const struct weight *bind_tensor(struct builder *b, int block, const char *name, struct shape want);
/* NULL without failure when the file does not have it. */
const struct weight *bind_optional(struct builder *b, int block, const char *name,
                                   struct shape want);
/* Rows [first_row, first_row + part.ne[1]) of every matrix of a fused tensor whose matrices have
 * n_rows rows. */
const struct weight *bind_rows(struct builder *b, int block, const char *name, struct shape part,
                               uint64_t first_row, uint64_t n_rows);
bool bind_has(const struct builder *b, int block, const char *name);
/* One warning for all tensors of the file that nothing was bound to. */
void bind_warn_unused(const struct builder *b);

/* What a rotary table is made of (spec "architectures" 0.3, 0.4). */
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN };
struct rope_spec {
    enum rope_pairs pairs;
    uint32_t n_rot;
    double base;
    enum rope_scaling scaling;
    double factor;      /* linear, yarn */
    double n_ctx_train; /* yarn: context before scaling */
    double attn_factor; /* yarn: multiplies cos and sin on top of YaRN's own; 1 as a rule */
    bool yarn_rounded;  /* corrections rounded outwards (llama.cpp; Qwen) or exact (gpt-oss) */
};
/* The table lives in the arena. */
const struct rope *rope_make(struct arena *a, const struct rope_spec *spec);
/* The table that the keys rope.* and hp describe; for yarn with rounded corrections. */
const struct rope *rope_from_keys(struct builder *b, enum rope_pairs pairs);
