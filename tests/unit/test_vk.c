/* The Vulkan device layer on whatever software device is here (lavapipe); skipped without one. */
#include <string.h>

#include "compute/vulkan/vk.h"
#include "compute/vulkan/vk_shaders.h"
#include "test.h"

static void print_line(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", line);
}
static const struct log to_stderr = {print_line, NULL};

/* A software device with the validation layer; the test ends here without one. */
static struct vk *open_software(struct vk_params p)
{
    struct err e;
    if (!p.device)
        p.device = "llvmpipe";
    p.validate = true;
    struct vk *vk = vk_open(&p, &to_stderr, &e);
    if (!vk) {
        fprintf(stderr, "%s\n", e.msg);
        test_skip("no software Vulkan device with its validation layer");
    }
    return vk;
}

static void close_clean(struct vk *vk)
{
    CHECK_INT(vk_validation_errors(vk), 0);
    vk_close(vk);
}

TEST(vk_write_and_read_give_the_bytes_back)
{
    struct err e;
    enum { N = 20 << 20 }; /* more than a staging buffer */
    unsigned char *in = malloc(N), *out = malloc(N);
    for (int i = 0; i < N; i++)
        in[i] = (unsigned char)(i * 7 + (i >> 12));
    for (int staged = 0; staged < 2; staged++) {
        struct vk *vk = open_software((struct vk_params){.staged = staged});
        struct vk_buffer b;
        CHECK_OK(vk_buffer_make(vk, VK_PLACE_DEVICE, N + 16, "a test", &b, &e));
        CHECK_INT(b.host != NULL, !staged);
        CHECK(b.address != 0);
        CHECK_OK(vk_write(vk, &b, 4, in, N, &e));
        CHECK_OK(vk_read(vk, &b, 4, out, N, &e));
        CHECK(!memcmp(in, out, N));
        CHECK_OK(vk_fill_zero(vk, &b, 0, 16, &e));
        CHECK_OK(vk_read(vk, &b, 0, out, 20, &e));
        static const unsigned char zeros[16];
        CHECK(!memcmp(out, zeros, 16));
        CHECK_INT(out[16], in[12]);
        vk_buffer_free(vk, &b);
        close_clean(vk);
    }
    free(in);
    free(out);
}

/* ---- dispatches ------------------------------------------------------------------------------ */

struct affine {
    uint64_t x, y;
    uint32_t n, add;
};

enum { N_THREADS = 64, N_WORDS = 1000 };

static VkPipeline make_affine(struct vk *vk, uint32_t scale)
{
    struct err e;
    VkPipeline made;
    const struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_AFFINE, .n_consts = 2, .consts = {N_THREADS, scale}};
    CHECK_OK(vk_pipelines_make(vk, &spec, 1, &made, &e));
    return made;
}

static struct vk_buffer make_words(struct vk *vk, uint32_t n)
{
    struct err e;
    struct vk_buffer b;
    CHECK_OK(vk_buffer_make(vk, VK_PLACE_DEVICE, 4ull * n, "a test", &b, &e));
    return b;
}

TEST(vk_dispatches_take_constants_push_constants_and_barriers)
{
    struct err e;
    uint32_t x[N_WORDS], z[N_WORDS];
    for (int staged = 0; staged < 2; staged++) {
        struct vk *vk = open_software((struct vk_params){.staged = staged});
        struct vk_buffer a = make_words(vk, N_WORDS), b = make_words(vk, N_WORDS);
        struct vk_buffer c = make_words(vk, N_WORDS);
        for (uint32_t i = 0; i < N_WORDS; i++)
            x[i] = i * i;
        CHECK_OK(vk_write(vk, &a, 0, x, sizeof x, &e));
        CHECK_OK(vk_fill_zero(vk, &c, 0, sizeof z, &e));
        VkPipeline by_3 = make_affine(vk, 3), by_5 = make_affine(vk, 5);
        CHECK(by_3 != by_5);
        CHECK(by_3 == make_affine(vk, 3));

        struct vk_cmds *cmds = vk_cmds_begin(vk, &e);
        CHECK_OK(cmds);
        const uint32_t n_groups = (N_WORDS + N_THREADS - 1) / N_THREADS;
        const struct affine first = {a.address, b.address, N_WORDS, 7};
        const struct affine second = {b.address, c.address, N_WORDS - 1, 11};
        vk_cmds_dispatch(cmds, by_3, &first, sizeof first, n_groups, 1, 1);
        vk_cmds_barrier(cmds);
        vk_cmds_dispatch(cmds, by_5, &second, sizeof second, n_groups, 1, 1);
        CHECK_OK(vk_cmds_end(cmds, &e));
        CHECK_INT(vk_cmds_dispatches(cmds), 2);
        CHECK_INT(vk_cmds_barriers(cmds), 1);
        for (int run = 0; run < 3; run++) {
            x[17] += (uint32_t)run;
            CHECK_OK(vk_write(vk, &a, 17 * 4, &x[17], 4, &e));
            CHECK_OK(vk_submit(vk, cmds, &e));
            CHECK_OK(vk_wait(vk, 10000, &e));
            CHECK_OK(vk_read(vk, &c, 0, z, sizeof z, &e));
            for (uint32_t i = 0; i + 1 < N_WORDS; i++)
                CHECK_INT(z[i], (uint32_t)(5 * (3 * x[i] + 7) + 11));
            CHECK_INT(z[N_WORDS - 1], 0);
        }
        vk_cmds_free(cmds);
        vk_buffer_free(vk, &a);
        vk_buffer_free(vk, &b);
        vk_buffer_free(vk, &c);
        close_clean(vk);
    }
}
