/* Matrices: embedding, projections and the output head. */
#include <math.h>
#include <string.h>

#include "compute/ref/ref_int.h"

void ref_row(const struct ref *r, const struct weight *w, uint64_t e, uint64_t i, float *out)
{
    const size_t row_bytes = block_row_bytes(w->type, w->ne[0]);
    const uint8_t *row = r->weights[w->index] + (e * w->ne[1] + i) * row_bytes;
    block_info(w->type)->decode(row, out, w->ne[0]);
}

const float *ref_vector(const struct ref *r, const struct weight *w, float *out)
{
    if (!w)
        return NULL;
    ref_row(r, w, 0, 0, out);
    return out;
}

double ref_dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

void ref_matmul(const struct ref *r, const struct weight *w, const struct weight *bias,
                const float *in, uint32_t n_rows, bool add, float *out)
{
    const size_t n_in = w->ne[0], n_out = w->ne[1];
    const float *b = ref_vector(r, bias, r->row[1]);
    for (size_t i = 0; i < n_out; i++) {
        ref_row(r, w, 0, i, r->row[0]);
        for (uint32_t t = 0; t < n_rows; t++) {
            double y = ref_dot(r->row[0], in + t * n_in, n_in);
            y += b ? (double)b[i] : 0;
            y += add ? (double)out[t * n_out + i] : 0;
            out[t * n_out + i] = (float)y;
        }
    }
}

void ref_embed(struct ref *r, const struct op_embed *o)
{
    float *x = ref_slot(r, o->x);
    for (uint32_t t = 0; t < r->batch->n; t++)
        ref_row(r, o->table, 0, (uint64_t)r->batch->ids[t], x + t * o->table->ne[0]);
}

/* All rows of the slot, normalised; the slot itself when there is no norm. */
static const float *normed_rows(const struct ref *r, slot_id slot, const struct weight *w,
                                float eps, size_t n_in)
{
    const float *in = ref_slot(r, slot);
    const float *norm = ref_vector(r, w, r->row[0]);
    if (!norm)
        return in;
    for (uint32_t t = 0; t < r->batch->n; t++)
        ref_rms(in + t * n_in, norm, eps, n_in, r->normed + t * n_in);
    return r->normed;
}

void ref_project(struct ref *r, const struct op_project *o)
{
    const float *in = normed_rows(r, o->in, o->norm, o->eps, o->out[0].w->ne[0]);
    for (uint32_t i = 0; i < o->n_out; i++)
        ref_matmul(r, o->out[i].w, o->out[i].bias, in, r->batch->n, false,
                   ref_slot(r, o->out[i].out));
}

void ref_add_project(struct ref *r, const struct op_add_project *o)
{
    const float *in = ref_slot(r, o->in);
    float *x = ref_slot(r, o->x);
    if (!o->gate) {
        ref_matmul(r, o->w, o->bias, in, r->batch->n, true, x);
        return;
    }
    const size_t d = o->gate->ne[0], n_out = o->w->ne[1];
    ref_matmul(r, o->w, o->bias, in, r->batch->n, false, r->parts);
    const float *gate = ref_vector(r, o->gate, r->row[0]);
    for (uint32_t t = 0; t < r->batch->n; t++) {
        const double factor = 1 / (1 + exp(-ref_dot(gate, ref_slot(r, o->gate_in) + t * d, d)));
        for (size_t i = 0; i < n_out; i++)
            x[t * n_out + i] += (float)(factor * (double)r->parts[t * n_out + i]);
    }
}

void ref_glu(struct ref *r, const struct op_glu *o)
{
    const float *in = normed_rows(r, o->in, o->norm, o->eps, o->gate->ne[0]);
    const size_t n = r->batch->n * o->gate->ne[1];
    float *out = ref_slot(r, o->out);
    ref_matmul(r, o->gate, o->gate_bias, in, r->batch->n, false, out);
    ref_matmul(r, o->up, o->up_bias, in, r->batch->n, false, r->parts);
    for (size_t i = 0; i < n; i++)
        out[i] = ref_activate(o->act, out[i], r->parts[i]);
}

void ref_head(struct ref *r, const struct op_head *o, float *logits)
{
    const float *x = ref_slot(r, o->x);
    const size_t n_in = o->w->ne[0];
    const float *norm = ref_vector(r, o->norm, r->row[0]);
    uint32_t n_wanted = 0;
    for (uint32_t t = 0; t < r->batch->n; t++)
        if (r->batch->want_logits[t])
            ref_rms(x + t * n_in, norm, o->eps, n_in, r->normed + n_wanted++ * n_in);
    ref_matmul(r, o->w, NULL, r->normed, n_wanted, false, logits);
}
