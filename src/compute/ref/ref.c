/* The backend's life: memory, loading, running the ops in order. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/ref/ref_int.h"

enum { ALIGN = 64, READ_BYTES = 16 << 20 };

/* Widths of the scratch of single ops, in floats, over the whole plan. */
struct widths {
    size_t row;     /* of a weight or a cache */
    size_t normed;  /* inputs and router logits, per batch row */
    size_t heads;   /* queries or channels of one row */
    size_t n_heads; /* of one op */
    size_t parts;   /* experts' outputs, one of a pair of products, latent keys; per batch row */
    size_t slots;   /* all slots together, per batch row */
};

static void widen(size_t *width, size_t n)
{
    *width = num_max(*width, n);
}

static struct widths measure(const struct plan *p)
{
    struct widths w = {0};
    for (size_t i = 0; i < p->n_weights; i++)
        widen(&w.row, p->weights[i]->ne[0]);
    for (size_t i = 0; i < p->n_kv; i++)
        widen(&w.row, num_max(p->kv[i].k_width, p->kv[i].v_width));
    for (size_t i = 0; i < p->n_slots; i++)
        w.slots += p->slots[i].width;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct op *op = &p->ops[i];
        if (op->kind == OP_PROJECT)
            widen(&w.normed, op->project.out[0].w->ne[0]);
        if (op->kind == OP_GLU) {
            widen(&w.normed, op->glu.gate->ne[0]);
            widen(&w.parts, op->glu.gate->ne[1]);
        }
        if (op->kind == OP_HEAD)
            widen(&w.normed, op->head.w->ne[0]);
        if (op->kind == OP_ROUTE)
            widen(&w.normed, op->route.n_expert);
        if (op->kind == OP_DELTA_NET)
            widen(&w.heads, op->delta_net.conv->ne[1]);
        if (op->kind == OP_ADD_PROJECT && op->add_project.gate)
            widen(&w.parts, op->add_project.w->ne[1]);
        if (op->kind == OP_ATTEND) {
            widen(&w.heads, (size_t)op->attend.n_head * op->attend.head_dim);
            widen(&w.n_heads, op->attend.n_head);
        }
        if (op->kind == OP_ATTEND_MLA) {
            widen(&w.n_heads, op->attend_mla.n_head);
            widen(&w.parts, (size_t)op->attend_mla.n_head * p->kv[op->attend_mla.kv].k_width);
        }
        if (op->kind == OP_EXPERTS_DOWN)
            widen(&w.parts, op->experts_down.n_used * op->experts_down.down->ne[1]);
    }
    return w;
}

static uint64_t n_scratch_floats(const struct plan *p, const struct exec_params *params)
{
    const struct widths w = measure(p);
    return params->n_ubatch * (w.slots + w.normed + w.parts) + 4 * w.row + w.heads +
           w.n_heads * params->n_ctx;
}

/* Every weight begins at a multiple of ALIGN. */
static uint64_t n_weight_bytes(const struct plan *p)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_weights; i++)
        n_bytes += (p->weights[i]->n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    return n_bytes;
}

static bool ref_memory(const struct plan *p, const struct exec_params *params,
                       struct mem_table *out, struct err *e)
{
    (void)e;
    mem_table_add(out, "weights", 1, n_weight_bytes(p), "%zu tensors as stored", p->n_weights);
    mem_table_add_kv(out, p, params, ref_cache_bytes(p, params));
    if (p->n_states)
        mem_table_add(out, "states", params->n_seqs, ref_state_floats(p) * sizeof(float),
                      "%u x %zu recurrent layers", params->n_seqs, p->n_states);
    mem_table_add(out, "scratch", n_scratch_floats(p, params), sizeof(float), "batches of %u",
                  params->n_ubatch);
    return true;
}

static bool load_weights(struct ref *r, const struct progress *progress, struct err *e)
{
    const struct plan *p = r->plan;
    const uint64_t total = plan_weight_bytes(p);
    uint64_t at = 0, done = 0;
    r->n_weight_bytes = n_weight_bytes(p);
    r->weight_bytes = mem_big(r->n_weight_bytes, "weights", e);
    if (!r->weight_bytes)
        return false;
    r->weights = mem_new(p->n_weights, sizeof *r->weights);
    for (size_t i = 0; i < p->n_weights; i++) {
        const struct weight *w = p->weights[i];
        r->weights[i] = r->weight_bytes + at;
        for (uint64_t from = 0; from < w->n_bytes; from += READ_BYTES) {
            size_t n = num_min(w->n_bytes - from, READ_BYTES);
            if (!weight_read(w, from, r->weights[i] + from, n, e))
                return false;
            progress_step(progress, done += n, total);
        }
        at += (w->n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    return true;
}

static float *take(float **at, size_t n)
{
    float *p = *at;
    *at += n;
    return p;
}

static bool make_scratch(struct ref *r, struct err *e)
{
    const struct plan *p = r->plan;
    const size_t n_rows = r->params.n_ubatch;
    const struct widths w = measure(p);
    r->n_scratch_bytes = n_scratch_floats(p, &r->params) * sizeof(float);
    r->scratch_bytes = mem_big(r->n_scratch_bytes, "scratch", e);
    if (!r->scratch_bytes)
        return false;
    float *at = (float *)(void *)r->scratch_bytes;
    r->slots = mem_new(p->n_slots, sizeof *r->slots);
    for (size_t i = 0; i < p->n_slots; i++)
        r->slots[i] = take(&at, n_rows * p->slots[i].width);
    for (size_t i = 0; i < sizeof r->row / sizeof *r->row; i++)
        r->row[i] = take(&at, w.row);
    r->normed = take(&at, n_rows * w.normed);
    r->parts = take(&at, n_rows * w.parts);
    r->heads = take(&at, w.heads);
    r->scores = take(&at, w.n_heads * r->params.n_ctx);
    return true;
}

static void ref_close(void *state)
{
    struct ref *r = state;
    if (!r)
        return;
    mem_big_free(r->weight_bytes, r->n_weight_bytes);
    mem_big_free(r->cache_bytes, r->n_cache_bytes);
    mem_big_free(r->scratch_bytes, r->n_scratch_bytes);
    mem_big_free(r->state_bytes, r->n_state_bytes);
    free(r->state_at);
    free(r->weights);
    free(r->slots);
    free(r->cache);
    free(r->logits);
    free(r);
}

static void *ref_open(const struct plan *p, const struct exec_params *params, const struct log *log,
                      const struct progress *progress, struct err *e)
{
    (void)log;
    struct ref *r = mem_new(1, sizeof *r);
    r->plan = p;
    r->params = *params;
    if (!ref_make_cache(r, e) || !ref_make_states(r, e) || !make_scratch(r, e) ||
        !load_weights(r, progress, e)) {
        ref_close(r);
        return NULL;
    }
    return r;
}

static void run_op(struct ref *r, const struct op *op, float *logits)
{
    switch (op->kind) {
    case OP_EMBED: ref_embed(r, &op->embed); break;
    case OP_PROJECT: ref_project(r, &op->project); break;
    case OP_ATTEND: ref_attend(r, &op->attend); break;
    case OP_ATTEND_MLA: ref_attend_mla(r, &op->attend_mla); break;
    case OP_DELTA_NET: ref_delta_net(r, &op->delta_net); break;
    case OP_ADD_PROJECT: ref_add_project(r, &op->add_project); break;
    case OP_GLU: ref_glu(r, &op->glu); break;
    case OP_ROUTE: ref_route(r, &op->route); break;
    case OP_EXPERTS_UP: ref_experts_up(r, &op->experts_up); break;
    case OP_EXPERTS_DOWN: ref_experts_down(r, &op->experts_down); break;
    case OP_HEAD: ref_head(r, &op->head, logits); break;
    case OP_KIND_COUNT: break;
    }
}

static bool ref_run(void *state, const struct batch *b, float *logits, struct err *e)
{
    struct ref *r = state;
    r->batch = b;
    for (size_t i = 0; i < r->plan->n_ops; i++) {
        if (b->cancel && atomic_load(b->cancel))
            return err_set(e, ERR_CANCELLED, "cancelled in layer %u", r->plan->ops[i].layer);
        run_op(r, &r->plan->ops[i], logits);
    }
    return true;
}

static bool ref_run_best(void *state, const struct batch *b, struct best *best, struct err *e)
{
    struct ref *r = state;
    const uint32_t n_vocab = r->plan->n_vocab;
    uint32_t n_wanted = 0;
    for (uint32_t i = 0; i < b->n; i++)
        n_wanted += b->want_logits[i];
    r->logits = mem_grow(r->logits, (size_t)n_wanted * n_vocab, sizeof *r->logits);
    if (!ref_run(state, b, r->logits, e))
        return false;
    for (uint32_t i = 0; i < n_wanted; i++)
        ref_pick(r->logits + (size_t)i * n_vocab, n_vocab, r->params.allowed, &best[i]);
    return true;
}

static bool ref_row_logits(void *state, uint32_t i, float *logits, struct err *e)
{
    const struct ref *r = state;
    (void)e;
    memcpy(logits, r->logits + (size_t)i * r->plan->n_vocab, r->plan->n_vocab * sizeof *logits);
    return true;
}

static bool ref_slot_get(void *state, slot_id s, uint32_t n_rows, void *out, struct err *e)
{
    const struct ref *r = state;
    (void)e;
    memcpy(out, r->slots[s], (size_t)n_rows * r->plan->slots[s].width * sizeof(float));
    return true;
}

static bool ref_slot_put(void *state, slot_id s, uint32_t n_rows, const void *in, struct err *e)
{
    const struct ref *r = state;
    (void)e;
    memcpy(r->slots[s], in, (size_t)n_rows * r->plan->slots[s].width * sizeof(float));
    return true;
}

const struct backend backend_ref = {
    .name = "ref",
    .n_ubatch = 512,
    .memory = ref_memory,
    .open = ref_open,
    .run = ref_run,
    .most_vocab = UINT32_MAX,
    .run_best = ref_run_best,
    .row = ref_row_logits,
    .slot_get = ref_slot_get,
    .slot_put = ref_slot_put,
    .state_bytes = ref_state_bytes,
    .state_copy = ref_state_copy,
    .page_copy = ref_page_copy,
    .rows_bytes = ref_rows_bytes,
    .rows_copy = ref_rows_copy,
    .close = ref_close,
};
