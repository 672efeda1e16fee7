/* requant: a model with tensors in other types than its file has: written as a new file, or while
 * they are read. Both follow one description of what becomes of which tensor. */
#pragma once
#include <stdatomic.h>

#include "gguf/gguf.h"

/* What a matrix is there for. */
enum requant_role {
    REQUANT_EMBED,   /* token_embd, unless it is the output matrix too */
    REQUANT_HEAD,    /* output, or the token_embd that is it too */
    REQUANT_ATTN,    /* all matrices of attention, linear attention included */
    REQUANT_EXPERTS, /* gate, up and down of the experts */
    REQUANT_SHARED,  /* of shared experts */
    REQUANT_FFN,     /* of dense feed-forwards */
    REQUANT_ROUTER,
    REQUANT_ROLES, /* also the answer for norms, biases, convolutions: they have no role */
};

/* Zeroed: every tensor stays as it is. */
struct requant {
    bool has_mix; /* all matrices get the types that recipe.h names after `mix`, the rest F32 */
    enum block_type mix;     /* made without an importance matrix */
    bool has[REQUANT_ROLES]; /* matrices of this role get this type, whatever the mix says */
    enum block_type type[REQUANT_ROLES];
};

/* "Q4_K", "head=q6_k,attn=iq4_nl" or both, the mix first. ERR_USAGE names what is wrong and what is
 * possible. */
bool requant_parse(str text, struct requant *out, struct err *e);
bool requant_is_empty(const struct requant *r);
/* Appends it as requant_parse reads it. */
void requant_print(const struct requant *r, struct buf *out);
/* "head" */
const char *requant_role_name(enum requant_role role);
/* The role of a tensor; tied: the model has no output.weight. */
enum requant_role requant_role_of(const struct gguf_tensor *t, bool tied);
/* The type that each tensor of `in` gets: out[gguf_n_tensors(in)]. Fails for a role that the model
 * does not have, and for a type that rows of a tensor cannot have. */
bool requant_types(const struct gguf *in, const struct requant *r, enum block_type *out,
                   struct err *e);

/* n elements of t, which are blocks of its type at `in`, as blocks of another type. n is a multiple
 * of both blocks. Refuses values that are not finite or that the type's scales cannot hold; e names
 * g's path and the tensor. */
bool requant_blocks(const struct gguf *g, const struct gguf_tensor *t, const void *in,
                    enum block_type to, void *out, size_t n, struct err *e);

struct requant_work {
    int n_threads;                   /* 0: one per physical core */
    const struct progress *progress; /* in bytes written; may be NULL */
    const atomic_bool *stop;         /* may be NULL */
};

/* Writes in's model to path, which appears when it is complete; what stood there is replaced.
 * Metadata is copied but for general.file_type, where there is a mix, and the layout of shards.
 * Tensors that have their type already are copied bit by bit. */
bool requant_file(const struct gguf *in, const char *path, const struct requant *r,
                  const struct requant_work *work, struct err *e);
