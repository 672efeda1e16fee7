#include "kit/models.h"

#include <math.h>

#include "base/file.h"
#include "test.h"

/* Where a block keeps its scales, and what they are for weights of mean 0 and known size. */
struct scale_layout {
    enum block_type type;
    int d_at;       /* byte of the half-precision scale; -1: none (MXFP4, floats) */
    int min_at;     /* byte of the minimum; -1: none */
    float min_by_d; /* minimum / scale that gives mean 0 */
};

static const struct scale_layout layouts[] = {
    {BLOCK_Q4_0, 0, -1, 0},     {BLOCK_Q4_1, 0, 2, -7.5f}, {BLOCK_Q5_0, 0, -1, 0},
    {BLOCK_Q5_1, 0, 2, -15.5f}, {BLOCK_Q8_0, 0, -1, 0},    {BLOCK_Q2_K, 80, 82, 1.5f},
    {BLOCK_Q3_K, 108, -1, 0},   {BLOCK_Q4_K, 0, 2, 7.5f},  {BLOCK_Q5_K, 0, 2, 15.5f},
    {BLOCK_Q6_K, 208, -1, 0},   {BLOCK_IQ4_NL, 0, -1, 0},  {BLOCK_IQ4_XS, 0, -1, 0},
};

static const struct scale_layout *layout_of(enum block_type type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type)
            return &layouts[i];
    return NULL;
}

static void store_half(uint8_t *at, float f)
{
    uint16_t h = block_f32_to_f16(f);
    memcpy(at, &h, sizeof h);
}

/* Root of the mean square of one block's weights. */
static double block_rms(const struct block_info *info, const uint8_t *block)
{
    float values[256];
    double sum = 0;
    info->decode(block, values, info->n_elems);
    for (int i = 0; i < info->n_elems; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum / info->n_elems);
}

/* Sets the scale of a block with random codes so that its weights have about the size wanted. */
static void scale_block(enum block_type type, uint8_t *block, float rms)
{
    const struct block_info *info = block_info(type);
    const struct scale_layout *l = layout_of(type);
    if (type == BLOCK_MXFP4) {
        block[0] = 128;
        block[0] = (uint8_t)(128 + lrint(log2((double)rms / fmax(block_rms(info, block), 1e-3))));
        return;
    }
    float d = 1;
    for (int pass = 0; pass < 2; pass++) {
        store_half(block + l->d_at, d);
        if (l->min_at >= 0)
            store_half(block + l->min_at, d * l->min_by_d);
        if (pass == 0)
            d = rms / (float)fmax(block_rms(info, block), 1e-3);
    }
}

float *kit_random_floats(struct rng *rng, size_t n, float mean, float rms)
{
    float *out = mem_new(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = rng_f32(rng, mean - sqrtf(3) * rms, mean + sqrtf(3) * rms);
    return out;
}

void *kit_random_blocks(struct rng *rng, enum block_type type, uint64_t n_elems, float rms)
{
    const struct block_info *info = block_info(type);
    uint8_t *bytes = mem_new(n_elems / info->n_elems, info->n_bytes);
    for (uint64_t i = 0; i < n_elems / info->n_elems; i++) {
        uint8_t *block = bytes + i * info->n_bytes;
        float f = rng_f32(rng, -sqrtf(3) * rms, sqrtf(3) * rms);
        uint16_t half = type == BLOCK_BF16 ? block_f32_to_bf16(f) : block_f32_to_f16(f);
        if (type == BLOCK_F32)
            memcpy(block, &f, sizeof f);
        else if (type == BLOCK_F16 || type == BLOCK_BF16)
            memcpy(block, &half, sizeof half);
        else {
            for (int j = 0; j < info->n_bytes; j++)
                block[j] = (uint8_t)rng_u64(rng);
            scale_block(type, block, rms);
        }
    }
    return bytes;
}

/* ---- running --------------------------------------------------------------------------------- */

bool kit_checks(const char *backend)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return strcmp(backend, "vulkan") != 0;
#else
    (void)backend;
    return true;
#endif
}

struct exec *kit_open_exec(const char *backend, const struct plan *plan,
                           const struct exec_params *params)
{
    struct err e = {0};
    const struct backend *b = backend_find(backend);
    if (!b || !kit_checks(backend))
        return NULL;
    struct exec_params on = *params;
    on.allow_software = true;
    struct exec *x = exec_open(b, plan, &on, NULL, NULL, &e);
    if (!x && e.code == ERR_UNSUPPORTED) {
        printf("    %s\n", e.msg);
        return NULL;
    }
    CHECK_OK(x != NULL);
    return x;
}

void kit_run(struct exec *x, const int32_t *ids, uint32_t from, uint32_t to, uint32_t n_batch,
             uint32_t n_vocab, float *out)
{
    struct err e = {0};
    uint32_t *pos = mem_new(to, sizeof *pos);
    bool *want = mem_new(to, sizeof *want);
    for (uint32_t i = 0; i < to; i++) {
        pos[i] = i;
        want[i] = true;
    }
    while (from < to) {
        uint32_t n = n_batch && n_batch < to - from ? n_batch : to - from;
        const struct batch b = {.n = n, .ids = ids + from, .pos = pos + from, .want_logits = want};
        CHECK_OK(exec_run(x, &b, &e));
        for (uint32_t i = 0; i < n; i++, out += n_vocab)
            memcpy(out, exec_logits(x, i), n_vocab * sizeof *out);
        from += n;
    }
    free(pos);
    free(want);
}

double kit_rel_err(const float *got, const float *want, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        if (!isfinite(d))
            return HUGE_VAL;
        difference += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / fmax(norm, 1e-300));
}

void *kit_read_shared(const char *relative, size_t *n_bytes)
{
    struct err e = {0};
    struct buf bytes = {0};
    CHECK_OK(file_read_all(test_shared(relative), 64 << 20, &bytes, &e));
    *n_bytes = bytes.n;
    return bytes.p;
}
