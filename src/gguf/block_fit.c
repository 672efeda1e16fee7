#include "gguf/block_fit.h"

#include <math.h>

float block_extreme(const float *x, int n)
{
    float low = 0, high = 0;
    for (int i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    return -low > high ? low : high;
}

/* Eight partial sums: one vector register, and the same result whatever the compiler does. */
float block_dot(const float *a, const float *b, int n)
{
    float sum[8] = {0};
    for (int i = 0; i < n; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

void block_snap(const float *x, int n, float inverse, float base, float low, float high, float *out)
{
    for (int i = 0; i < n; i++) {
        float v = block_clamp((x[i] - base) * inverse, low, high);
        out[i] = (v + 0x1.8p23f) - 0x1.8p23f; /* single precision has no fraction up there */
    }
}

float block_fit_scale(const float *x, int n, float low, float high, const float *peaks, int n_peaks)
{
    float v[32], best = 0, best_gain = 0;
    float reach = block_inverse(block_extreme(x, n));
    for (int k = 0; k < n_peaks; k++) {
        block_snap(x, n, peaks[k] * reach, 0, low, high, v);
        float xv = block_dot(x, v, n), vv = block_dot(v, v, n);
        if (xv * xv > best_gain * vv) {
            best_gain = xv * xv / vv;
            best = xv / vv;
        }
    }
    return best;
}

/* The least-squares line through codes v; *gain is by how much it lessens the sum of x^2. */
static struct block_line line_through(const float *x, const float *v, int n, float base_max,
                                      float *gain)
{
    static const float ones[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    float sx = block_dot(x, ones, n), sv = block_dot(v, ones, n);
    float xv = block_dot(x, v, n), vv = block_dot(v, v, n), count = (float)n;
    float det = count * vv - sv * sv;
    struct block_line line = {0};
    if (det > 0) {
        line.scale = (count * xv - sv * sx) / det;
        line.base = (sx - line.scale * sv) / count;
    } else {
        line.base = sx / count;
    }
    if (line.base > base_max) {
        line.base = base_max;
        line.scale = vv > 0 ? (xv - base_max * sv) / vv : 0;
    }
    *gain = 2 * (line.scale * xv + line.base * sx) - line.scale * line.scale * vv -
            2 * line.scale * line.base * sv - line.base * line.base * count;
    return line;
}

struct block_line block_fit_line(const float *x, int n, float top, float base_max)
{
    /* The range is divided into top steps and some more: more clip both ends, fewer leave codes
     * unused. */
    static const float more[] = {-1.6f, -1.0f, -0.5f, 0.0f, 0.5f, 1.0f, 1.6f};
    float v[32], low = x[0], high = x[0], best_gain = -INFINITY;
    struct block_line best = {0};
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (low > base_max)
        low = base_max;
    for (unsigned k = 0; k < sizeof more / sizeof *more; k++) {
        float inverse = (top + more[k]) * block_inverse(high - low), gain;
        float base = 0.5f * (low + high) - 0.5f * top * block_inverse(inverse);
        if (base > base_max)
            base = base_max;
        block_snap(x, n, inverse, base, 0, top, v);
        struct block_line line = line_through(x, v, n, base_max, &gain);
        if (gain > best_gain) {
            best_gain = gain;
            best = line;
        }
    }
    return best;
}
