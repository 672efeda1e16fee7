/* Mixture of experts: router, chosen experts, weighted sum (spec "architectures" 0.6, 5). */
#include <math.h>
#include <string.h>

#include "compute/ref/ref_int.h"

/* Least sum of router weights that is divided by: llama.cpp's clamp, the smallest normal half. */
static const double LEAST_SUM = 6.103515625e-5;

float ref_activate(enum activation act, float gate, float up)
{
    if (act == ACT_SWIGLU_OAI) {
        const float limit = 7, alpha = 1.702f;
        gate = fminf(gate, limit);
        up = fminf(fmaxf(up, -limit), limit);
        return gate / (1 + expf(-alpha * gate)) * (up + 1);
    }
    return gate / (1 + expf(-gate)) * up;
}

/* ids: the n_used largest of scores, falling, the lower index first among equals. */
static void choose_largest(const float *scores, uint32_t n, uint32_t n_used, int32_t *ids)
{
    for (uint32_t j = 0; j < n_used; j++) {
        int32_t best = -1;
        for (uint32_t e = 0; e < n; e++) {
            bool taken = false;
            for (uint32_t i = 0; i < j; i++)
                taken |= ids[i] == (int32_t)e;
            if (!taken && (best < 0 || scores[e] > scores[best]))
                best = (int32_t)e;
        }
        ids[j] = best;
    }
}

static void renormalise(float *weights, uint32_t n, double scale)
{
    double sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += (double)weights[j];
    for (uint32_t j = 0; j < n; j++)
        weights[j] = (float)((double)weights[j] / fmax(sum, LEAST_SUM) * scale);
}

static void gate_sigmoid(float *scores, const float *select_bias, uint32_t n_expert,
                         uint32_t n_used, float scale, int32_t *ids, float *weights)
{
    for (uint32_t e = 0; e < n_expert; e++)
        scores[e] = 1 / (1 + expf(-scores[e])) + (select_bias ? select_bias[e] : 0);
    choose_largest(scores, n_expert, n_used, ids);
    for (uint32_t j = 0; j < n_used; j++)
        weights[j] = scores[ids[j]] - (select_bias ? select_bias[ids[j]] : 0);
    renormalise(weights, n_used, (double)scale);
}

void ref_gate(enum gating gating, float *logits, const float *select_bias, uint32_t n_expert,
              uint32_t n_used, float scale, int32_t *ids, float *weights)
{
    switch (gating) {
    case GATE_SOFTMAX_NORM:
        ref_softmax(logits, n_expert, NULL);
        choose_largest(logits, n_expert, n_used, ids);
        for (uint32_t j = 0; j < n_used; j++)
            weights[j] = logits[ids[j]];
        renormalise(weights, n_used, 1);
        break;
    case GATE_TOPK_SOFTMAX:
        choose_largest(logits, n_expert, n_used, ids);
        for (uint32_t j = 0; j < n_used; j++)
            weights[j] = logits[ids[j]];
        ref_softmax(weights, n_used, NULL);
        break;
    case GATE_SIGMOID_BIAS:
        gate_sigmoid(logits, select_bias, n_expert, n_used, scale, ids, weights);
        break;
    }
}

void ref_route(struct ref *r, const struct op_route *o)
{
    const uint32_t n = r->batch->n;
    const size_t n_in = o->router->ne[0];
    const float *x = ref_slot(r, o->x), *norm = ref_vector(r, o->norm, r->row[0]);
    float *normed = ref_slot(r, o->normed), *logits = r->normed;
    for (uint32_t t = 0; t < n; t++)
        ref_rms(x + t * n_in, norm, o->eps, n_in, normed + t * n_in);
    ref_matmul(r, o->router, o->bias, normed, n, false, logits);
    const float *select_bias = ref_vector(r, o->select_bias, r->row[0]);
    for (uint32_t t = 0; t < n; t++)
        ref_gate(o->gating, logits + (size_t)t * o->n_expert, select_bias, o->n_expert, o->n_used,
                 o->scale, ref_ids(r, o->ids) + (size_t)t * o->n_used,
                 ref_slot(r, o->weights) + (size_t)t * o->n_used);
}

/* Whether any of the n choices is expert e: the rows of the others are not worth decoding. */
static bool is_chosen(const int32_t *ids, size_t n, uint64_t e)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == (int32_t)e)
            return true;
    return false;
}

/* Row e of a table of biases {n, E}, in out; NULL when there is none. */
static const float *expert_bias(const struct ref *r, const struct weight *w, uint64_t e, float *out)
{
    if (!w)
        return NULL;
    ref_row(r, w, 0, e, out);
    return out;
}

static void expert_up(struct ref *r, const struct op_experts_up *o, uint64_t e)
{
    const size_t n_in = o->gate->ne[0], n_ff = o->gate->ne[1];
    const size_t n_choices = (size_t)r->batch->n * o->n_used;
    const int32_t *ids = ref_ids(r, o->ids);
    const float *gate_bias = expert_bias(r, o->gate_bias, e, r->row[2]);
    const float *up_bias = expert_bias(r, o->up_bias, e, r->row[3]);
    const float *in = ref_slot(r, o->in);
    float *out = ref_slot(r, o->out);
    for (size_t i = 0; i < n_ff; i++) {
        ref_row(r, o->gate, e, i, r->row[0]);
        ref_row(r, o->up, e, i, r->row[1]);
        for (size_t c = 0; c < n_choices; c++) {
            if (ids[c] != (int32_t)e)
                continue;
            const float *a = in + c / o->n_used * n_in;
            double gate = ref_dot(r->row[0], a, n_in) + (gate_bias ? (double)gate_bias[i] : 0);
            double up = ref_dot(r->row[1], a, n_in) + (up_bias ? (double)up_bias[i] : 0);
            out[c * n_ff + i] = ref_activate(o->act, (float)gate, (float)up);
        }
    }
}

void ref_experts_up(struct ref *r, const struct op_experts_up *o)
{
    const size_t n_choices = (size_t)r->batch->n * o->n_used;
    for (uint64_t e = 0; e < o->gate->ne[2]; e++)
        if (is_chosen(ref_ids(r, o->ids), n_choices, e))
            expert_up(r, o, e);
}

/* parts[c] = D_e in[c] + bias for the choices c of expert e. */
static void expert_down(struct ref *r, const struct op_experts_down *o, uint64_t e)
{
    const size_t n_ff = o->down->ne[0], n_out = o->down->ne[1];
    const size_t n_choices = (size_t)r->batch->n * o->n_used;
    const int32_t *ids = ref_ids(r, o->ids);
    const float *bias = expert_bias(r, o->bias, e, r->row[1]);
    const float *in = ref_slot(r, o->in);
    for (size_t i = 0; i < n_out; i++) {
        ref_row(r, o->down, e, i, r->row[0]);
        for (size_t c = 0; c < n_choices; c++)
            if (ids[c] == (int32_t)e)
                r->parts[c * n_out + i] =
                    (float)(ref_dot(r->row[0], in + c * n_ff, n_ff) + (bias ? (double)bias[i] : 0));
    }
}

void ref_experts_down(struct ref *r, const struct op_experts_down *o)
{
    const size_t n_out = o->down->ne[1], k = o->n_used;
    const float *weights = ref_slot(r, o->weights);
    float *x = ref_slot(r, o->x);
    for (uint64_t e = 0; e < o->down->ne[2]; e++)
        if (is_chosen(ref_ids(r, o->ids), r->batch->n * k, e))
            expert_down(r, o, e);
    for (size_t t = 0; t < r->batch->n; t++) {
        for (size_t i = 0; i < n_out; i++) {
            double sum = (double)x[t * n_out + i];
            for (size_t c = t * k; c < (t + 1) * k; c++)
                sum += (double)weights[c] * (double)r->parts[c * n_out + i];
            x[t * n_out + i] = (float)sum;
        }
    }
}
