/* Gated delta net (spec "architectures" 6.3, 6.4) in its chunked form: within 64 positions, a row
 * reads the memory of the last chunk border and, through their keys, the rows since then; the
 * memory itself moves on only at a border. With S the memory at the border, G the logarithm of the
 * decay since then and u the new part of a row's value, u_t = beta_t (v_t - e^G_t S' k_t - sum over
 * s < t of (k_t . k_s) e^(G_t - G_s) u_s) o_t = e^G_t S' q_t + sum over s <= t of (q_t . k_s)
 * e^(G_t - G_s) u_s which is forward substitution in 6.4, row by row. Borders are at multiples of
 * 64 and the rows of an unfinished chunk are part of the state, so a row's sums do not depend on
 * how the rows are split into batches: reading a prompt and drawing token after token give the same
 * bits. */
#include <math.h>
#include <string.h>

#include "compute/ref/ref_int.h"

enum { MAX_TAPS = 16 };

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

float ref_conv(const float *taps, uint32_t n_taps, float *history, size_t stride, float in)
{
    double sum = (double)taps[n_taps - 1] * (double)in;
    for (uint32_t i = 0; i + 1 < n_taps; i++) {
        sum += (double)taps[i] * (double)history[i * stride];
        history[i * stride] = i + 2 < n_taps ? history[(i + 1) * stride] : in;
    }
    return (float)(sum * sigmoid(sum));
}

void ref_l2(float *head, size_t n, double scale)
{
    scale /= sqrt(ref_dot(head, head, n) + 1e-6);
    for (size_t i = 0; i < n; i++)
        head[i] = (float)((double)head[i] * scale);
}

float ref_decay(float decay, float alpha, float dt_bias)
{
    const double a = (double)alpha + (double)dt_bias;
    return (float)((double)decay * (a > 20 ? a : log1p(exp(a))));
}

void ref_gated_norm(const float *in, const float *norm, const float *z, float eps, size_t n,
                    float *out)
{
    ref_rms(in, norm, eps, n, out);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)out[i] * (double)z[i] * sigmoid((double)z[i]));
}

void ref_chunk_row(const struct ref_chunk *c, uint32_t n, const float *q, const float *v,
                   float beta, float log_decay, float *out)
{
    const float *k = c->keys + n * c->key_stride;
    float *fresh = c->news + n * c->new_stride;
    float *since = c->decays + n * c->decay_stride;
    double read[REF_CHUNK], mix[REF_CHUNK];
    *since = log_decay + (n ? c->decays[(n - 1) * c->decay_stride] : 0);
    const double decay = exp((double)*since);
    for (uint32_t s = 0; s <= n; s++) {
        const float *k_s = c->keys + s * c->key_stride;
        const double factor = exp((double)*since - (double)c->decays[s * c->decay_stride]);
        read[s] = ref_dot(k, k_s, c->d_k) * factor;
        mix[s] = ref_dot(q, k_s, c->d_k) * factor;
    }
    for (uint32_t i = 0; i < c->d_v; i++) {
        const float *m = c->memory + (size_t)i * c->d_k;
        double known = decay * ref_dot(m, k, c->d_k), mixed = decay * ref_dot(m, q, c->d_k);
        for (uint32_t s = 0; s < n; s++) {
            const double u = (double)c->news[s * c->new_stride + i];
            known += read[s] * u;
            mixed += mix[s] * u;
        }
        fresh[i] = (float)((double)beta * ((double)v[i] - known));
        out[i] = (float)(mixed + mix[n] * (double)fresh[i]);
    }
}

void ref_chunk_close(const struct ref_chunk *c, uint32_t n_rows)
{
    const double last = (double)c->decays[(n_rows - 1) * c->decay_stride];
    double factors[REF_CHUNK];
    for (uint32_t s = 0; s < n_rows; s++)
        factors[s] = exp(last - (double)c->decays[s * c->decay_stride]);
    for (uint32_t i = 0; i < c->d_v; i++) {
        for (uint32_t j = 0; j < c->d_k; j++) {
            float *m = &c->memory[(size_t)i * c->d_k + j];
            double sum = exp(last) * (double)*m;
            for (uint32_t s = 0; s < n_rows; s++)
                sum += factors[s] * (double)c->news[s * c->new_stride + i] *
                       (double)c->keys[s * c->key_stride + j];
            *m = (float)sum;
        }
    }
}

/* ---- the op ---------------------------------------------------------------------------------- */

static size_t n_keys(const struct op_delta_net *o)
{
    return (size_t)o->n_k_head * o->d_k;
}

static size_t n_values(const struct op_delta_net *o)
{
    return (size_t)o->n_v_head * o->d_v;
}

size_t ref_delta_floats(const struct op_delta_net *o)
{
    return (o->n_conv - 1) * (2 * n_keys(o) + n_values(o)) + n_values(o) * o->d_k +
           REF_CHUNK * (n_keys(o) + n_values(o) + o->n_v_head);
}

static struct ref_state state_of(const struct ref *r, const struct op_delta_net *o, uint32_t seq)
{
    struct ref_state s;
    s.conv = r->states + seq * r->n_state_floats + r->state_at[o->state];
    s.memory = s.conv + (o->n_conv - 1) * (2 * n_keys(o) + n_values(o));
    s.keys = s.memory + n_values(o) * o->d_k;
    s.news = s.keys + REF_CHUNK * n_keys(o);
    s.decays = s.news + REF_CHUNK * n_values(o);
    return s;
}

/* channels[C] = silu of the convolution; q and k normalised. */
static void convolve(struct ref *r, const struct op_delta_net *o, const struct ref_state *s,
                     const float *in, float *channels)
{
    const size_t n = 2 * n_keys(o) + n_values(o);
    float taps[MAX_TAPS];
    for (size_t c = 0; c < n; c++) {
        ref_row(r, o->conv, 0, c, taps);
        channels[c] = ref_conv(taps, o->n_conv, s->conv + c, n, in[c]);
    }
    for (uint32_t h = 0; h < o->n_k_head; h++) {
        ref_l2(channels + (size_t)h * o->d_k, o->d_k, 1 / sqrt(o->d_k));
        ref_l2(channels + n_keys(o) + (size_t)h * o->d_k, o->d_k, 1);
    }
}

static void delta_row(struct ref *r, const struct op_delta_net *o, uint32_t t)
{
    const struct ref_state s = state_of(r, o, r->batch->seq[t]);
    const size_t n_k = n_keys(o), n_v = n_values(o);
    const uint32_t n = r->batch->pos[t] % REF_CHUNK; /* rows since the border */
    const float *dt_bias = ref_vector(r, o->dt_bias, r->row[1]);
    const float *decay = ref_vector(r, o->decay, r->row[2]);
    const float *norm = ref_vector(r, o->norm, r->row[3]);
    const float *z = ref_slot(r, o->z) + t * n_v;
    float *channels = r->heads, *out = ref_slot(r, o->out) + t * n_v;
    if (r->batch->pos[t] == 0)
        memset(s.conv, 0, ref_delta_floats(o) * sizeof *s.conv);
    convolve(r, o, &s, ref_slot(r, o->qkv) + t * (2 * n_k + n_v), channels);
    memcpy(s.keys + n * n_k, channels + n_k, n_k * sizeof *s.keys);
    for (uint32_t h = 0; h < o->n_v_head; h++) {
        const size_t j = o->order == HEADS_TILED ? h % o->n_k_head : h * o->n_k_head / o->n_v_head;
        const size_t at = (size_t)h * o->d_v, gates = (size_t)t * delta_gates_width(o);
        const struct ref_chunk c = {
            .d_k = o->d_k,
            .d_v = o->d_v,
            .memory = s.memory + at * o->d_k,
            .keys = s.keys + j * o->d_k,
            .news = s.news + at,
            .decays = s.decays + h,
            .key_stride = n_k,
            .new_stride = n_v,
            .decay_stride = o->n_v_head,
        };
        ref_chunk_row(
            &c, n, channels + j * o->d_k, channels + 2 * n_k + at,
            (float)sigmoid((double)ref_slot(r, o->beta)[gates + delta_beta_at(o, h)]),
            ref_decay(decay[h], ref_slot(r, o->alpha)[gates + delta_alpha_at(o, h)], dt_bias[h]),
            out + at);
        if (n + 1 == REF_CHUNK)
            ref_chunk_close(&c, REF_CHUNK);
        ref_gated_norm(out + at, norm, z + at, o->eps, o->d_v, out + at);
    }
}

void ref_delta_net(struct ref *r, const struct op_delta_net *o)
{
    for (uint32_t t = 0; t < r->batch->n; t++)
        delta_row(r, o, t);
}
