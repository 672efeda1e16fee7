#include "model/plan.h"

#include <assert.h>
#include <string.h>

#include "base/num.h"

/* Arrays in the arena double when their length is a power of two; what they grow out of stays
 * behind, at most as much again. */
static void *array_push(struct arena *a, void *array, size_t n, size_t size)
{
    if (n & (n - 1))
        return array;
    void *bigger = arena_new(a, n ? 2 * n : 1, size);
    if (n)
        memcpy(bigger, array, n * size);
    return bigger;
}

slot_id plan_slot(struct plan *p, const char *name, uint32_t width)
{
    assert(p->n_slots < UINT16_MAX);
    p->slots = array_push(&p->arena, p->slots, p->n_slots, sizeof *p->slots);
    p->slots[p->n_slots] = (struct slot){arena_str(&p->arena, str_of(name)).p, width};
    return (slot_id)p->n_slots++;
}

struct op *plan_op(struct plan *p, enum op_kind kind, uint32_t layer)
{
    p->ops = array_push(&p->arena, p->ops, p->n_ops, sizeof *p->ops);
    struct op *op = &p->ops[p->n_ops++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->layer = (uint16_t)layer;
    return op;
}

uint32_t plan_kv(struct plan *p, struct kv_layer kv)
{
    p->kv = array_push(&p->arena, p->kv, p->n_kv, sizeof *p->kv);
    p->kv[p->n_kv] = kv;
    return (uint32_t)p->n_kv++;
}

uint32_t plan_state(struct plan *p, struct state_layer state)
{
    p->states = array_push(&p->arena, p->states, p->n_states, sizeof *p->states);
    p->states[p->n_states] = state;
    return (uint32_t)p->n_states++;
}

struct weight *plan_weight(struct plan *p, str name, enum block_type type, const uint64_t ne[3])
{
    struct weight *w = arena_new(&p->arena, 1, sizeof *w);
    w->name = arena_str(&p->arena, name);
    w->index = (uint32_t)p->n_weights;
    w->type = type;
    memcpy(w->ne, ne, sizeof w->ne);
    size_t row_bytes = block_row_bytes(type, ne[0]);
    assert(row_bytes > 0);
    w->n_bytes = row_bytes * ne[1] * ne[2];
    w->runs[0] = (struct weight_run){.bytes = w->n_bytes, .n = 1};
    w->n_runs = 1;
    p->weights = array_push(&p->arena, p->weights, p->n_weights, sizeof *p->weights);
    p->weights[p->n_weights++] = w;
    return w;
}

void plan_free(struct plan *p)
{
    arena_free(&p->arena);
    *p = (struct plan){0};
}

const char *op_name(enum op_kind kind)
{
    static const char *const names[OP_KIND_COUNT] = {
        [OP_EMBED] = "embed",
        [OP_PROJECT] = "project",
        [OP_ATTEND] = "attend",
        [OP_ATTEND_MLA] = "attend_mla",
        [OP_DELTA_NET] = "delta_net",
        [OP_ADD_PROJECT] = "add_project",
        [OP_GLU] = "glu",
        [OP_ROUTE] = "route",
        [OP_EXPERTS_UP] = "experts_up",
        [OP_EXPERTS_DOWN] = "experts_down",
        [OP_HEAD] = "head",
    };
    return names[kind];
}

/* op_weights, with the caller's visitor bound. */
struct visitor {
    void (*visit)(void *ctx, const struct weight *w, double share);
    void *ctx;
};

static void visit_if_there(const struct visitor *v, const struct weight *w, double share)
{
    if (w)
        v->visit(v->ctx, w, share);
}

static void project_weights(const struct op_project *o, const struct visitor *v)
{
    visit_if_there(v, o->norm, 1);
    for (uint32_t i = 0; i < o->n_out; i++) {
        visit_if_there(v, o->out[i].w, 1);
        visit_if_there(v, o->out[i].bias, 1);
    }
}

static void attend_weights(const struct op_attend *o, const struct visitor *v)
{
    visit_if_there(v, o->q_norm, 1);
    visit_if_there(v, o->k_norm, 1);
    visit_if_there(v, o->sinks, 1);
}

static void attend_mla_weights(const struct op_attend_mla *o, const struct visitor *v)
{
    visit_if_there(v, o->latent_norm, 1);
    visit_if_there(v, o->key_up, 1);
    visit_if_there(v, o->value_down, 1);
}

static void glu_weights(const struct op_glu *o, const struct visitor *v)
{
    visit_if_there(v, o->norm, 1);
    visit_if_there(v, o->gate, 1);
    visit_if_there(v, o->up, 1);
    visit_if_there(v, o->gate_bias, 1);
    visit_if_there(v, o->up_bias, 1);
}

static void delta_net_weights(const struct op_delta_net *o, const struct visitor *v)
{
    visit_if_there(v, o->conv, 1);
    visit_if_there(v, o->dt_bias, 1);
    visit_if_there(v, o->decay, 1);
    visit_if_there(v, o->norm, 1);
}

static void route_weights(const struct op_route *o, const struct visitor *v)
{
    visit_if_there(v, o->norm, 1);
    visit_if_there(v, o->router, 1);
    visit_if_there(v, o->bias, 1);
    visit_if_there(v, o->select_bias, 1);
}

static void experts_up_weights(const struct op_experts_up *o, const struct visitor *v)
{
    double share = (double)o->n_used / (double)o->gate->ne[2];
    visit_if_there(v, o->gate, share);
    visit_if_there(v, o->up, share);
    visit_if_there(v, o->gate_bias, share);
    visit_if_there(v, o->up_bias, share);
}

static void experts_down_weights(const struct op_experts_down *o, const struct visitor *v)
{
    double share = (double)o->n_used / (double)o->down->ne[2];
    visit_if_there(v, o->down, share);
    visit_if_there(v, o->bias, share);
}

void op_weights(const struct op *op, void (*visit)(void *ctx, const struct weight *w, double share),
                void *ctx)
{
    const struct visitor v = {visit, ctx};
    switch (op->kind) {
    case OP_EMBED: visit_if_there(&v, op->embed.table, 1 / (double)op->embed.table->ne[1]); break;
    case OP_PROJECT: project_weights(&op->project, &v); break;
    case OP_ATTEND: attend_weights(&op->attend, &v); break;
    case OP_ATTEND_MLA: attend_mla_weights(&op->attend_mla, &v); break;
    case OP_DELTA_NET: delta_net_weights(&op->delta_net, &v); break;
    case OP_ADD_PROJECT:
        visit_if_there(&v, op->add_project.w, 1);
        visit_if_there(&v, op->add_project.bias, 1);
        visit_if_there(&v, op->add_project.gate, 1);
        break;
    case OP_GLU: glu_weights(&op->glu, &v); break;
    case OP_ROUTE: route_weights(&op->route, &v); break;
    case OP_EXPERTS_UP: experts_up_weights(&op->experts_up, &v); break;
    case OP_EXPERTS_DOWN: experts_down_weights(&op->experts_down, &v); break;
    case OP_HEAD:
        visit_if_there(&v, op->head.norm, 1);
        visit_if_there(&v, op->head.w, 1);
        break;
    case OP_KIND_COUNT: break;
    }
}

static void add_bytes(void *ctx, const struct weight *w, double share)
{
    *(double *)ctx += share * (double)w->n_bytes;
}

double plan_weight_bytes_per_token(const struct plan *p)
{
    double n_bytes = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        op_weights(&p->ops[i], add_bytes, &n_bytes);
    return n_bytes;
}

static uint64_t kv_row_bytes(const struct kv_layer *kv, enum block_type type_k,
                             enum block_type type_v)
{
    return block_row_bytes(type_k, kv->k_width) + block_row_bytes(type_v, kv->v_width);
}

uint64_t plan_kv_bytes_per_token(const struct plan *p, enum block_type type_k,
                                 enum block_type type_v)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_kv; i++)
        n_bytes += kv_row_bytes(&p->kv[i], type_k, type_v);
    return n_bytes;
}

uint64_t plan_kv_bytes_read(const struct plan *p, uint32_t n_tokens, enum block_type type_k,
                            enum block_type type_v)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_kv; i++) {
        const struct kv_layer *kv = &p->kv[i];
        const uint64_t n_rows = kv->window ? num_min(n_tokens, kv->window) : n_tokens;
        n_bytes += n_rows * kv_row_bytes(kv, type_k, type_v);
    }
    return n_bytes;
}

uint64_t plan_state_bytes(const struct plan *p)
{
    uint64_t n_floats = 0;
    for (size_t i = 0; i < p->n_states; i++)
        n_floats += (uint64_t)p->states[i].conv_width + p->states[i].memory_width;
    return n_floats * sizeof(float);
}

double plan_bytes_per_token(const struct plan *p, uint32_t n_tokens, enum block_type type_k,
                            enum block_type type_v)
{
    return plan_weight_bytes_per_token(p) + 2.0 * (double)plan_state_bytes(p) +
           (double)plan_kv_bytes_read(p, n_tokens, type_k, type_v);
}

uint64_t plan_weight_bytes(const struct plan *p)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_weights; i++)
        n_bytes += p->weights[i]->n_bytes;
    return n_bytes;
}
