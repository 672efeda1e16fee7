/* The Vulkan device layer on lavapipe, under the validation layer; skipped without these. */
#include <dlfcn.h>
#include <link.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/pool.h"
#include "compute/devices.h"
#include "compute/vulkan/vk_int.h"
#include "compute/vulkan/vk_shaders.h"
#include "test.h"

#define SOFTWARE "llvmpipe" /* lavapipe's device */

#ifdef __SANITIZE_ADDRESS__
/* What the validation layer never frees; it stays loaded, so that the leaks bear its name. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libVkLayer_khronos_validation\n";
}
static void keep_layer(void)
{
    dlopen("libVkLayer_khronos_validation.so", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}
#else
static void keep_layer(void)
{
}
#endif

#ifdef __SANITIZE_THREAD__
/* Its own locks, of which two are now and then taken in both orders. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "deadlock:libVkLayer_khronos_validation\n";
}
#endif

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
    keep_layer();
    p.device = SOFTWARE;
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

TEST(vk_indirect_dispatches_take_counts_written_on_the_device)
{
    struct err e;
    struct vk *vk = open_software((struct vk_params){0});
    struct vk_buffer a = make_words(vk, N_WORDS), b = make_words(vk, N_WORDS);
    struct vk_buffer counts = make_words(vk, 8);
    uint32_t y[N_WORDS];
    const uint32_t before[4] = {9, 2, 0, 0}; /* doubled and one more: 19, 5, 1, 1 */
    CHECK_OK(vk_fill_zero(vk, &a, 0, sizeof y, &e));
    CHECK_OK(vk_fill_zero(vk, &b, 0, sizeof y, &e));
    CHECK_OK(vk_write(vk, &counts, 0, before, sizeof before, &e));

    struct vk_cmds *cmds = vk_cmds_begin(vk, &e);
    CHECK_OK(cmds);
    const struct affine make_counts = {counts.address, counts.address + 16, 4, 1};
    const struct affine work = {a.address, b.address, N_WORDS, 42};
    VkPipeline by_2 = make_affine(vk, 2);
    vk_cmds_dispatch(cmds, by_2, &make_counts, sizeof make_counts, 1, 1, 1);
    vk_cmds_barrier(cmds);
    /* {5, 1, 1} groups from the second count on. */
    vk_cmds_dispatch_indirect(cmds, by_2, &work, sizeof work, &counts, 20);
    CHECK_OK(vk_cmds_end(cmds, &e));
    CHECK_OK(vk_submit(vk, cmds, &e));
    CHECK_OK(vk_wait(vk, 10000, &e));
    CHECK_OK(vk_read(vk, &b, 0, y, sizeof y, &e));
    for (uint32_t i = 0; i < N_WORDS; i++)
        CHECK_INT(y[i], i < 5 * N_THREADS ? 42 : 0);
    vk_cmds_free(cmds);
    vk_buffer_free(vk, &a);
    vk_buffer_free(vk, &b);
    vk_buffer_free(vk, &counts);
    close_clean(vk);
}

/* Submits follow each other without the host waiting between them. */
TEST(vk_submits_see_what_earlier_ones_wrote)
{
    struct err e;
    enum { N_RUNS = 50 };
    struct vk *vk = open_software((struct vk_params){0});
    struct vk_buffer a = make_words(vk, N_WORDS), b = make_words(vk, N_WORDS);
    VkPipeline by_1 = make_affine(vk, 1);
    const struct affine there = {a.address, b.address, N_WORDS, 1};
    struct vk_cmds *add = vk_cmds_begin(vk, &e), *back = vk_cmds_begin(vk, &e);
    CHECK_OK(add && back);
    vk_cmds_dispatch(add, by_1, &there, sizeof there, 16, 1, 1);
    vk_cmds_copy(back, &b, 0, &a, 0, 4 * N_WORDS);
    CHECK_OK(vk_cmds_end(add, &e));
    CHECK_OK(vk_cmds_end(back, &e));
    uint32_t y[N_WORDS];
    CHECK_OK(vk_fill_zero(vk, &a, 0, sizeof y, &e));
    for (int i = 0; i < N_RUNS; i++) {
        CHECK_OK(vk_submit(vk, add, &e));
        CHECK_OK(vk_submit(vk, back, &e));
        CHECK_OK(vk_wait(vk, 10000, &e));
    }
    CHECK_OK(vk_read(vk, &a, 0, y, sizeof y, &e));
    for (uint32_t i = 0; i < N_WORDS; i++)
        CHECK_INT(y[i], N_RUNS);
    vk_cmds_free(add);
    vk_cmds_free(back);
    vk_buffer_free(vk, &a);
    vk_buffer_free(vk, &b);
    close_clean(vk);
}

/* Without a barrier between two copies. So what is silent elsewhere was looked at. */
TEST(vk_validation_sees_a_copy_that_does_not_wait)
{
    struct err e;
    struct vk *vk = open_software((struct vk_params){0});
    struct vk_buffer a = make_words(vk, N_WORDS), b = make_words(vk, N_WORDS);
    struct vk_cmds *cmds = vk_cmds_begin(vk, &e);
    CHECK_OK(cmds);
    vk_cmds_copy(cmds, &a, 0, &b, 0, 4 * N_WORDS);
    vk_cmds_barrier(cmds);
    vk_cmds_copy(cmds, &b, 0, &a, 0, 4 * N_WORDS);
    CHECK_INT(vk_validation_errors(vk), 0);
    vk_cmds_copy(cmds, &a, 0, &b, 0, 4 * N_WORDS);
    CHECK_OK(vk_cmds_end(cmds, &e));
    CHECK(vk_validation_errors(vk) > 0);
    vk_cmds_free(cmds);
    vk_buffer_free(vk, &a);
    vk_buffer_free(vk, &b);
    vk_close(vk);
}

TEST(vk_stamps_measure_what_is_between_them)
{
    struct err e;
    enum { N_STAMPS = 600 }; /* more than two pools of queries */
    struct vk *vk = open_software((struct vk_params){0});
    struct vk_buffer a = make_words(vk, N_WORDS), b = make_words(vk, N_WORDS);
    VkPipeline by_1 = make_affine(vk, 1);
    const struct affine work = {a.address, b.address, N_WORDS, 1};
    struct vk_stamp s;
    CHECK_OK(vk_fill_zero(vk, &a, 0, 4 * N_WORDS, &e));
    struct vk_cmds *cmds = vk_cmds_begin(vk, &e);
    CHECK_OK(cmds);
    for (uint32_t i = 0; i < N_STAMPS; i++) {
        vk_cmds_stamp(cmds, i % 2 ? "odd" : "even", i / 2);
        vk_cmds_dispatch(cmds, by_1, &work, sizeof work, 16, 1, 1);
        vk_cmds_barrier(cmds);
    }
    CHECK_OK(vk_cmds_end(cmds, &e));
    for (int run = 0; run < 2; run++) {
        CHECK_OK(vk_submit(vk, cmds, &e));
        CHECK_OK(vk_wait(vk, 10000, &e));
        double sum = 0, first = 0;
        for (uint32_t i = 0; i < N_STAMPS; i++) {
            CHECK(vk_cmds_stamp_get(cmds, i, &s));
            CHECK(!strcmp(s.label, i % 2 ? "odd" : "even"));
            CHECK_INT(s.layer, i / 2);
            CHECK(s.ns >= 0 && s.ns < 1e9);
            sum += s.ns;
            first = i ? first : s.at_ns;
            CHECK(fabs(s.at_ns - first - sum) < 1e3); /* of 1e18 at most, in doubles */
        }
        CHECK(sum > 0);
        CHECK(!vk_cmds_stamp_get(cmds, N_STAMPS, &s));
    }
    vk_cmds_free(cmds);
    vk_buffer_free(vk, &a);
    vk_buffer_free(vk, &b);
    close_clean(vk);
}

/* ---- uploads --------------------------------------------------------------------------------- */

enum { PIECE = 1 << 16, N_PIECES = 200 };

struct loading {
    struct pool *pool;
    struct vk_upload *upload;
    struct vk_buffer *to;
    const unsigned char *data;
    _Atomic int n_failed;
};

/* Pieces by number; every third one is written in place, every seventh taken and dropped first. */
static void upload_share(void *ctx, int i_thread, int n_threads)
{
    struct loading *l = ctx;
    struct err e;
    struct vk_piece piece;
    (void)i_thread;
    (void)n_threads;
    for (uint32_t i; (i = pool_next(l->pool)) < N_PIECES;) {
        const uint64_t at = (uint64_t)i * PIECE;
        bool ok = true;
        if (i % 7 == 0) {
            ok = vk_upload_take(l->upload, l->to, at, PIECE, &piece, &e);
            vk_upload_drop(l->upload, &piece);
        }
        if (i % 3) {
            ok = ok && vk_upload_piece(l->upload, l->to, at, l->data + at, PIECE, &e);
        } else {
            ok = ok && vk_upload_take(l->upload, l->to, at, PIECE, &piece, &e);
            if (ok)
                memcpy(piece.host, l->data + at, PIECE);
            ok = ok && vk_upload_give(l->upload, &piece, &e);
        }
        l->n_failed += !ok;
    }
}

TEST(vk_uploads_run_from_several_threads)
{
    struct err e;
    const size_t n = (size_t)N_PIECES * PIECE;
    unsigned char *in = malloc(n), *out = malloc(n);
    for (size_t i = 0; i < n; i++)
        in[i] = (unsigned char)(i ^ i >> 8 ^ i >> 16);
    for (int staged = 0; staged < 2; staged++) {
        struct vk *vk = open_software((struct vk_params){.staged = staged});
        struct vk_buffer b;
        struct loading l = {.data = in, .to = &b};
        CHECK_OK(vk_buffer_make(vk, VK_PLACE_DEVICE, n, "a test", &b, &e));
        l.upload = vk_upload_begin(vk, PIECE);
        CHECK_OK(l.pool = pool_open(6, &e));
        pool_run(l.pool, upload_share, &l);
        pool_close(l.pool);
        CHECK_INT(l.n_failed, 0);
        CHECK_OK(vk_upload_end(l.upload, &e));
        CHECK_OK(vk_read(vk, &b, 0, out, n, &e));
        CHECK(!memcmp(in, out, n));
        vk_buffer_free(vk, &b);
        close_clean(vk);
    }
    free(in);
    free(out);
}

/* ---- pipelines ------------------------------------------------------------------------------- */

TEST(vk_pipelines_are_made_in_parallel_and_shared)
{
    struct err e;
    enum { N = 24, N_DISTINCT = 8 };
    struct vk_pipeline_spec specs[N];
    VkPipeline made[N];
    struct vk *vk = open_software((struct vk_params){0});
    for (uint32_t i = 0; i < N; i++) {
        specs[i] = (struct vk_pipeline_spec){
            .shader = VK_SHADER_AFFINE, .n_consts = 2, .consts = {N_THREADS, i % N_DISTINCT}};
        specs[i].consts[5] = i; /* not in use: makes no difference */
    }
    CHECK_OK(vk_pipelines_make(vk, specs, N, made, &e));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            CHECK_INT(made[i] == made[j], i % N_DISTINCT == j % N_DISTINCT);
    close_clean(vk);
}

TEST(vk_pipelines_refuse_a_subgroup_that_the_device_has_not)
{
    struct err e;
    VkPipeline made;
    struct vk *vk = open_software((struct vk_params){0});
    const uint32_t size = vk_caps(vk)->subgroup_max;
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_AFFINE, .n_consts = 2, .subgroup = size, .consts = {size * 2, 1}};
    CHECK_OK(vk_pipelines_make(vk, &spec, 1, &made, &e));
    spec.subgroup = 2 * size;
    CHECK(!vk_pipelines_make(vk, &spec, 1, &made, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "affine: subgroups of "));
    close_clean(vk);
}

/* ---- the cache of pipelines ------------------------------------------------------------------ */

struct lines {
    char text[4096];
};

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    struct lines *l = ctx;
    (void)level;
    snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%s\n", line);
}

/* Opens, makes a pipeline, closes; what was logged is in l. */
static void use_cache(const char *path, struct lines *l)
{
    struct err e;
    const struct log log = {keep_line, l};
    *l = (struct lines){0};
    struct vk *vk = vk_open(&(struct vk_params){.device = SOFTWARE, .cache_path = path}, &log, &e);
    CHECK_OK(vk);
    make_affine(vk, 3);
    vk_close(vk);
}

TEST(vk_cache_file_is_written_used_and_checked)
{
    char folder[] = "/tmp/tawny-vk-XXXXXX", path[64];
    struct err e;
    struct lines l;
    struct buf file = {0}, again = {0};
    close_clean(open_software((struct vk_params){0})); /* or skips */
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/deep/cache", folder); /* the folder is made */
    use_cache(path, &l);
    CHECK_STR(str_of(l.text), STR(""));
    CHECK_OK(file_read_all(path, 1 << 24, &file, &e));
    CHECK(file.n > 56);
    CHECK(!memcmp(file.p, "tawnyvkc", 8));
    use_cache(path, &l);
    CHECK_STR(str_of(l.text), STR(""));

    /* A byte changed anywhere, or the end missing: ignored with a message, then whole again. */
    for (size_t i = 0; i <= 8; i++) {
        const size_t at = i * (file.n - 1) / 8;
        FILE *f = fopen(path, "wb");
        file.p[at] ^= 0x40;
        fwrite(file.p, 1, i % 2 ? file.n : file.n - i, f);
        fclose(f);
        file.p[at] ^= 0x40;
        use_cache(path, &l);
        CHECK(strstr(l.text, "is damaged or of another device or driver"));
        buf_clear(&again);
        CHECK_OK(file_read_all(path, 1 << 24, &again, &e));
        CHECK_INT(again.n, file.n);
        use_cache(path, &l);
        CHECK_STR(str_of(l.text), STR(""));
    }
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
    CHECK_INT(rmdir(folder), 0);
    buf_free(&file);
    buf_free(&again);
}

TEST(vk_cache_that_cannot_be_written_is_a_warning)
{
    struct lines l;
    close_clean(open_software((struct vk_params){0}));
    use_cache("/dev/null/tawny/cache", &l);
    CHECK(strstr(l.text, "the cache of compiled shaders was not written"));
    CHECK(strstr(l.text, "/dev/null/tawny/cache"));
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

TEST(vk_without_a_loader_says_what_to_install)
{
    struct err e;
    size_t n;
    CHECK(!vk_open(&(struct vk_params){.loader = "libvulkan-none.so.1"}, NULL, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "cannot open libvulkan-none.so.1"));
    CHECK(strstr(e.msg, "install the Vulkan loader"));
    CHECK(!devices_list("libvulkan-none.so.1", &n, &e));
    CHECK(strstr(e.msg, "cannot open libvulkan-none.so.1"));
    CHECK(!vk_open(&(struct vk_params){.loader = "libm.so.6"}, NULL, &e));
    CHECK(strstr(e.msg, "libm.so.6 is no Vulkan loader"));
}

static int copy_counts(struct dl_phdr_info *info, size_t n_bytes, void *out)
{
    (void)n_bytes;
    *(struct dl_phdr_info *)out = *info;
    return 1;
}

TEST(vk_opened_again_loads_no_driver_again)
{
    struct dl_phdr_info first, last;
    close_clean(open_software((struct vk_params){0})); /* or skips */
    dl_iterate_phdr(copy_counts, &first);
    for (int i = 0; i < 3; i++)
        close_clean(open_software((struct vk_params){0}));
    dl_iterate_phdr(copy_counts, &last);
    CHECK_INT(last.dlpi_adds, first.dlpi_adds);
    CHECK_INT(last.dlpi_subs, first.dlpi_subs);
}

TEST(vk_takes_a_software_device_only_when_asked)
{
    struct err e;
    close_clean(open_software((struct vk_params){0}));
    struct vk *vk = vk_open(&(struct vk_params){0}, NULL, &e);
    if (vk) /* a machine with a real one too */
        CHECK(!vk_caps(vk)->is_software);
    else
        CHECK(strstr(e.msg, "which is software") && strstr(e.msg, "--device"));
    vk_close(vk);
    CHECK_OK(vk = vk_open(&(struct vk_params){.allow_software = true}, NULL, &e));
    vk_close(vk);
    CHECK(!vk_open(&(struct vk_params){.device = "99"}, NULL, &e));
    CHECK_INT(e.code, ERR_USAGE);
    CHECK(strstr(e.msg, "there is no device '99'; there are: 0 "));
    CHECK(!vk_open(&(struct vk_params){.device = "Voodoo 2"}, NULL, &e));
    CHECK(strstr(e.msg, "there is no device 'Voodoo 2'"));
}

TEST(vk_devices_that_are_listed_open_by_their_index)
{
    struct err e;
    size_t n, n_software = 0, n_default = 0;
    close_clean(open_software((struct vk_params){0}));
    struct device *list = devices_list(NULL, &n, &e);
    CHECK_OK(list);
    for (size_t i = 0; i < n; i++) {
        char index[32];
        snprintf(index, sizeof index, i % 2 ? "%zu" : "Vulkan%zu", i);
        struct vk *vk = vk_open(&(struct vk_params){.device = index}, NULL, &e);
        CHECK_INT(vk != NULL, !*list[i].why_not);
        if (vk)
            CHECK_STR(str_of(vk_caps(vk)->name), str_of(list[i].name));
        else
            CHECK_STR(str_of(e.msg), str_of(list[i].why_not));
        CHECK(list[i].memory_bytes > 0 && *list[i].driver);
        n_software += list[i].is_software;
        n_default += list[i].rank == 1;
        vk_close(vk);
    }
    CHECK(n_software > 0);
    CHECK_INT(n_default, n > n_software);
    free(list);
}

TEST(vk_caps_describe_the_device)
{
    struct vk *vk = open_software((struct vk_params){0});
    const struct vk_caps *c = vk_caps(vk);
    CHECK(strstr(c->name, SOFTWARE) && *c->driver);
    CHECK(c->is_software && c->is_unified);
    CHECK(c->subgroup_min >= 4 && c->subgroup_max >= c->subgroup_min);
    CHECK(c->shared_bytes >= 16384 && c->max_workgroup >= 128);
    CHECK(c->max_alloc >= 1 << 30 && c->heap_bytes >= c->free_bytes && c->free_bytes > 0);
    CHECK(c->timestamp_ns > 0);
    CHECK_INT(c->matrix_m == 0, c->matrix_n == 0);
    CHECK_INT(c->matrix_m == 0, c->matrix_k == 0);
    CHECK(c->matrix_narrow <= c->matrix_n && (c->matrix_narrow == 0) == (c->matrix_n == 0));
    close_clean(vk);
}

/* Of lavapipe, as many threads as its vectors have floats. */
TEST(vk_refuses_a_device_with_subgroups_of_four)
{
    struct err e = {0};
    setenv("LP_NATIVE_VECTOR_WIDTH", "128", true);
    struct vk *vk = vk_open(&(struct vk_params){.device = SOFTWARE}, &to_stderr, &e);
    if (vk) {
        CHECK(vk_caps(vk)->subgroup_max >= 8);
        test_skip("a driver that takes no width of vectors");
    }
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    if (!strstr(e.msg, SOFTWARE))
        test_skip("no software Vulkan device");
    CHECK(strstr(e.msg, " has subgroups of 4 threads, the shaders need 8: "));
}

TEST(vk_buffers_that_do_not_fit_are_errors_with_numbers)
{
    struct err e;
    struct vk_buffer b, parts[64];
    struct vk *vk = open_software((struct vk_params){0});
    const struct vk_caps *c = vk_caps(vk);
    CHECK(!vk_buffer_make(vk, VK_PLACE_DEVICE, c->max_alloc + 1, "the moon", &b, &e));
    CHECK_INT(e.code, ERR_MEMORY);
    CHECK(strstr(e.msg, "the moon needs ") && strstr(e.msg, " MiB in one piece"));
    CHECK(!b.buffer && !b.memory);

    /* Piece by piece until the budget is spent; nothing of it is touched. */
    const uint64_t piece = c->heap_bytes / 4 < c->max_alloc ? c->heap_bytes / 4 : c->max_alloc;
    const uint64_t free_before = vk_free_bytes(vk);
    uint32_t n = 0;
    while (n < 64 && vk_buffer_make(vk, VK_PLACE_DEVICE, piece, "the sun", &parts[n], &e))
        n++;
    CHECK(n < 64);
    CHECK_INT(e.code, ERR_MEMORY);
    CHECK(strstr(e.msg, "the sun needs ") && strstr(e.msg, " MiB are free"));
    while (n > 0)
        vk_buffer_free(vk, &parts[--n]);
    CHECK(vk_free_bytes(vk) >= free_before / 2);
    close_clean(vk);
}

TEST(vk_wait_gives_up_on_a_device_that_does_not_finish)
{
    struct err e;
    enum { N = 1 << 20, N_DISPATCHES = 4 };
    struct vk *vk = open_software((struct vk_params){0});
    struct vk_buffer a = make_words(vk, N);
    const struct affine work = {a.address, a.address, N, 1};
    struct vk_cmds *cmds = vk_cmds_begin(vk, &e);
    CHECK_OK(cmds);
    for (int i = 0; i < N_DISPATCHES; i++) {
        vk_cmds_dispatch(cmds, make_affine(vk, 3), &work, sizeof work, N / N_THREADS, 1, 1);
        vk_cmds_barrier(cmds);
    }
    CHECK_OK(vk_cmds_end(cmds, &e));
    CHECK_OK(vk_submit(vk, cmds, &e));
    CHECK(!vk_wait(vk, 1, &e));
    CHECK_INT(e.code, ERR_DEVICE);
    CHECK(strstr(e.msg, "did not finish within 1 ms"));
    CHECK(!vk_submit(vk, cmds, &e));
    CHECK_INT(e.code, ERR_DEVICE);
    /* It was only slow: whoever waits longer can go on. */
    CHECK_OK(vk_wait(vk, 60000, &e));
    CHECK_OK(vk_submit(vk, cmds, &e));
    CHECK_OK(vk_wait(vk, 60000, &e));
    vk_cmds_free(cmds);
    vk_buffer_free(vk, &a);
    close_clean(vk);
}
