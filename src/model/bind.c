#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/arch.h"

struct tensor_name {
    char text[128];
};

static struct tensor_name full_name(int block, const char *name)
{
    struct tensor_name n;
    if (block == NO_BLOCK)
        snprintf(n.text, sizeof n.text, "%s", name);
    else
        snprintf(n.text, sizeof n.text, "blk.%d.%s", block, name);
    return n;
}

static const struct gguf_tensor *find(const struct builder *b, int block, const char *name)
{
    return gguf_tensor(b->file, str_of(full_name(block, name).text));
}

bool bind_has(const struct builder *b, int block, const char *name)
{
    return find(b, block, name) != NULL;
}

uint64_t bind_size(const struct builder *b, int block, const char *name, int axis)
{
    const struct gguf_tensor *t = find(b, block, name);
    return t ? t->ne[axis] : 0;
}

/* "{2048, 4096}": without the trailing ones. */
static struct tensor_name shape_text(const uint64_t *ne, int n_dims)
{
    struct tensor_name text;
    size_t n = 0;
    while (n_dims > 1 && ne[n_dims - 1] == 1)
        n_dims--;
    for (int i = 0; i < n_dims; i++)
        n += (size_t)snprintf(text.text + n, sizeof text.text - n, "%s%llu", i ? ", " : "{",
                              (unsigned long long)ne[i]);
    snprintf(text.text + n, sizeof text.text - n, "}");
    return text;
}

static bool has_shape(struct builder *b, const struct gguf_tensor *t, struct shape want)
{
    if (memcmp(t->ne, want.ne, sizeof want.ne) == 0 && t->ne[3] == 1)
        return true;
    build_fail(b, ERR_FORMAT, "tensor '%.*s' has shape %s, must be %s", STRF(t->name),
               shape_text(t->ne, 4).text, shape_text(want.ne, 3).text);
    return false;
}

/* The weight of t, in the type that the model is opened with. Its runs are for the whole tensor. */
static struct weight *new_weight(struct builder *b, const struct gguf_tensor *t,
                                 const uint64_t ne[3])
{
    const size_t i = (size_t)(t - gguf_tensor_at(b->file, 0));
    struct weight *w = plan_weight(b->plan, t->name, b->types ? b->types[i] : t->type, ne);
    w->file = b->file;
    w->tensor = t;
    w->runs[0].bytes = block_row_bytes(t->type, ne[0]) * ne[1] * ne[2];
    return w;
}

const struct weight *bind_optional(struct builder *b, int block, const char *name,
                                   struct shape want)
{
    const struct gguf_tensor *t = find(b, block, name);
    if (b->failed || !t || !has_shape(b, t, want))
        return NULL;
    return new_weight(b, t, want.ne);
}

const struct weight *bind_tensor(struct builder *b, int block, const char *name, struct shape want)
{
    const struct weight *w = bind_optional(b, block, name, want);
    if (!w)
        build_fail(b, ERR_FORMAT, "tensor '%s' is missing: a %s model needs it",
                   full_name(block, name).text, b->arch);
    return w;
}

const struct weight *bind_renamed(struct builder *b, int block, const char *name,
                                  const char *old_name, struct shape want)
{
    const bool old = !bind_has(b, block, name) && bind_has(b, block, old_name);
    return bind_tensor(b, block, old ? old_name : name, want);
}

const struct weight *bind_rows(struct builder *b, int block, const char *name, struct shape part,
                               uint64_t first_row, uint64_t n_rows)
{
    const struct gguf_tensor *t = find(b, block, name);
    if (b->failed || !t)
        return bind_tensor(b, block, name, part);
    if (!has_shape(b, t, matrices(part.ne[0], n_rows, part.ne[2])))
        return NULL;
    struct weight *w = new_weight(b, t, part.ne);
    size_t row_bytes = block_row_bytes(t->type, part.ne[0]);
    w->runs[0] = (struct weight_run){.first = first_row * row_bytes,
                                     .stride = n_rows * row_bytes,
                                     .bytes = part.ne[1] * row_bytes,
                                     .n = part.ne[2]};
    return w;
}

const struct weight *bind_groups(struct builder *b, int block, const char *name,
                                 const struct row_groups *groups, const struct row_part *parts,
                                 uint32_t n_parts)
{
    const struct gguf_tensor *t = find(b, block, name);
    uint64_t n_rows = 0;
    assert(t && n_parts <= WEIGHT_MAX_RUNS);
    if (b->failed || !has_shape(b, t, matrix(groups->n_in, groups->n * groups->rows)))
        return NULL;
    for (uint32_t i = 0; i < n_parts; i++)
        n_rows += groups->n * parts[i].n;
    struct weight *w = new_weight(b, t, matrix(groups->n_in, n_rows).ne);
    const size_t row_bytes = block_row_bytes(t->type, groups->n_in);
    w->n_runs = n_parts;
    for (uint32_t i = 0; i < n_parts; i++)
        w->runs[i] = (struct weight_run){.first = parts[i].first * row_bytes,
                                         .stride = groups->rows * row_bytes,
                                         .bytes = parts[i].n * row_bytes,
                                         .n = groups->n};
    return w;
}

static int by_address(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

/* Is it of a block that the plan leaves out? */
static bool is_left_out(const struct builder *b, str name)
{
    int64_t block;
    str rest = name;
    return b->hp->n_nextn && str_eq(str_cut(rest, '.', &rest), STR("blk")) &&
           str_to_i64(str_cut(rest, '.', &rest), &block) && block >= b->hp->n_layer;
}

void bind_warn_unused(const struct builder *b)
{
    const struct plan *p = b->plan;
    size_t n_unused = 0;
    str first = {0};
    const struct gguf_tensor **used = mem_new(p->n_weights, sizeof *used);
    for (size_t i = 0; i < p->n_weights; i++)
        used[i] = p->weights[i]->tensor;
    qsort(used, p->n_weights, sizeof *used, by_address);
    for (size_t i = 0; i < gguf_n_tensors(b->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(b->file, i);
        if (is_left_out(b, t->name) || bsearch(&t, used, p->n_weights, sizeof *used, by_address))
            continue;
        if (n_unused++ == 0)
            first = t->name;
    }
    free(used);
    if (n_unused)
        log_warn(b->log, "%s: %zu tensors are not used by a %s model, the first is '%.*s'",
                 gguf_path(b->file), n_unused, b->arch, STRF(first));
}
