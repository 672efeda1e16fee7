/* The gated delta net's inner loops, a part of kernels.inc.h. */

enum { MIX_VECS = VEC_ROWS < 8 ? VEC_ROWS : 8 }; /* vectors of one row that are summed at once */

/* acc_r[i] = (add ? scale acc_r[i] : 0) + sum over j < n_terms of x_r[j] v[j][i], j rising; rows of
 * acc and v are n_lanes apart. */
struct mixture {
    const float *x;
    size_t x_stride;
    uint32_t n_terms;
    const float *v;
    uint32_t n_lanes; /* a multiple of 16 */
    bool add;
    float scale;
    float *acc;
};

/* The lanes [i, i + 16 n_vecs) of n_rows rows from `row` on. */
INLINE void mix_tile(const struct mixture *m, uint32_t row, uint32_t i, int n_rows, int n_vecs)
{
    const float *x = m->x + row * m->x_stride, *v = m->v + i;
    float *acc = m->acc + (size_t)row * m->n_lanes + i;
    const vf scale = vf_set1(m->scale);
    vf sum[VEC_ROWS];
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int k = 0; k < n_vecs; k++) sum[r * n_vecs + k] =
            m->add ? vf_mul(vf_load(acc + (size_t)r * m->n_lanes + k * ROWS), scale) : vf_set1(0);
    }
    for (uint32_t j = 0; j < m->n_terms; j++, v += m->n_lanes) {
        vf lanes[MIX_VECS];
        UNROLL for (int k = 0; k < n_vecs; k++) lanes[k] = vf_load(v + k * ROWS);
        UNROLL for (int r = 0; r < n_rows; r++)
        {
            const vf factor = vf_set1(x[r * m->x_stride + j]);
            UNROLL for (int k = 0; k < n_vecs; k++) sum[r * n_vecs + k] =
                vf_fma(lanes[k], factor, sum[r * n_vecs + k]);
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int k = 0; k < n_vecs; k++)
            vf_store(acc + (size_t)r * m->n_lanes + k * ROWS, sum[r * n_vecs + k]);
    }
}

/* A few rows over all lanes: as many vectors at once as fit the registers beside each other. */
INLINE void mix_rows(const struct mixture *m, uint32_t row, int n_rows)
{
    enum { ONE = 1 };
    const int n_vecs = VEC_ROWS / n_rows < MIX_VECS ? VEC_ROWS / n_rows : MIX_VECS;
    uint32_t i = 0;
    for (; i + ROWS * (uint32_t)n_vecs <= m->n_lanes; i += ROWS * (uint32_t)n_vecs)
        mix_tile(m, row, i, n_rows, n_vecs);
    for (; i < m->n_lanes; i += ROWS)
        mix_tile(m, row, i, n_rows, ONE);
}

INLINE void mix(const struct mixture *m, uint32_t n_rows)
{
    uint32_t row = 0;
    for (; VEC_ROWS >= 8 && row + 8 <= n_rows; row += 8)
        mix_rows(m, row, 8);
    for (; VEC_ROWS >= 4 && row + 4 <= n_rows; row += 4)
        mix_rows(m, row, 4);
    for (; VEC_ROWS >= 2 && row + 2 <= n_rows; row += 2)
        mix_rows(m, row, 2);
    for (; row < n_rows; row++)
        mix_rows(m, row, 1);
}

static void convolve(const float *taps, size_t tap_stride, uint32_t n_taps, const float *const *in,
                     uint32_t n_rows, uint32_t n, float *out, size_t stride)
{
    for (uint32_t i = 0; i < n; i += ROWS) {
        for (uint32_t r = 0; r < n_rows; r++) {
            vf sum = vf_set1(0);
            for (uint32_t t = 0; t < n_taps; t++)
                sum = vf_fma(load_some(taps + t * tap_stride + i, n - i),
                             load_some(in[r + t] + i, n - i), sum);
            store_some(out + r * stride + i, n - i, vf_mul(sum, vf_sigmoid(sum)));
        }
    }
}

static void normalise(float *x, uint32_t n, float scale)
{
    vf factor = vf_set1(scale / sqrtf(dot(x, x, n) + 1e-6f));
    for (uint32_t i = 0; i < n; i += ROWS)
        store_some(x + i, n - i, vf_mul(load_some(x + i, n - i), factor));
}

/* Row r of the piece, whose products with the memory are there: its new value, then its output. */
INLINE void delta_row(const struct delta_rows *d, uint32_t r)
{
    const uint32_t at = d->first + r, n = d->n_lanes;
    const float since = d->decays[at], decay = expf(since);
    const vf factor = vf_exp(vf_add(vf_set1(since), vf_mul(vf_load(d->decays), vf_set1(-1.0f))));
    float weights[2][KEY_TILE];
    float *known = d->out + (size_t)r * n, *out = d->out + (size_t)(d->n + r) * n;
    float *fresh = d->news + (size_t)at * n;
    for (uint32_t i = 0; i < 2; i++)
        vf_store(weights[i], vf_mul(factor, vf_load(d->dots + (i * d->n + r) * KEY_BLOCK)));
    mix(&(struct mixture){weights[0], 0, at, d->news, n, true, decay, known}, 1);
    const vf beta = vf_set1(d->beta[r]);
    for (uint32_t i = 0; i < n; i += ROWS) {
        const vf news = vf_fma(vf_load(known + i), vf_set1(-1.0f), vf_load(d->v + r * n + i));
        vf_store(fresh + i, vf_mul(beta, news));
    }
    mix(&(struct mixture){weights[1], 0, at + 1, d->news, n, true, decay, out}, 1);
}

/* Moves a full chunk into the memory; news are used up. */
INLINE void delta_close(const struct delta_rows *d)
{
    const float last = d->decays[DELTA_CHUNK - 1];
    for (uint32_t s = 0; s < DELTA_CHUNK; s++) {
        const vf factor = vf_set1(expf(last - d->decays[s]));
        float *fresh = d->news + (size_t)s * d->n_lanes;
        for (uint32_t i = 0; i < d->n_lanes; i += ROWS)
            vf_store(fresh + i, vf_mul(factor, vf_load(fresh + i)));
    }
    mix(&(struct mixture){d->keys[0], KEY_TILE, DELTA_CHUNK, d->news, d->n_lanes, true, expf(last),
                          d->memory},
        d->d_k);
}

static void delta(const struct delta_rows *d)
{
    mix(&(struct mixture){d->kq, d->d_k, d->d_k, d->memory, d->n_lanes, false, 0, d->out},
        2 * d->n);
    for (uint32_t r = 0; r < d->n; r++)
        delta_row(d, r);
    if (d->first + d->n == DELTA_CHUNK)
        delta_close(d);
}
