/* What RADV's compiler makes of the vulkan backend's pipelines.
 * usage: bench_isa MODEL... [-- MODEL...]
 * For a machine without the GPU where the driver is there (mesa's drm-shim): everything compiles,
 * nothing runs, so models without data do (tawny synth --empty). Writes Markdown: the worst numbers
 * of each shader over all models and types of caches; then, of the models before "--", a row for
 * each pipeline of a single row. Exit status 1 when a pipeline is over a limit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/gpu.h"
#include "compute/vulkan/vk_shaders.h"
#include "gguf/gguf.h"
#include "model/model.h"

/* Of a shipped kernel: no spills, and so many subgroups on a SIMD that loads overlap. */
enum { LEAST_SUBGROUPS = 4 };

enum { N_CTX = 32768, N_UBATCH = 512 };

/* Keys and values. Tables of models have the first N_ALIKE; the worst are over all. */
static const enum block_type caches[][2] = {
    {BLOCK_F16, BLOCK_F16},   {BLOCK_Q8_0, BLOCK_Q8_0}, {BLOCK_Q4_0, BLOCK_Q4_0},
    {BLOCK_F16, BLOCK_Q8_0},  {BLOCK_F16, BLOCK_Q4_0},  {BLOCK_Q8_0, BLOCK_F16},
    {BLOCK_Q8_0, BLOCK_Q4_0}, {BLOCK_Q4_0, BLOCK_F16},  {BLOCK_Q4_0, BLOCK_Q8_0},
};
enum { N_CACHES = sizeof caches / sizeof *caches, N_ALIKE = 3 };

/* Sums of the driver's statistics, or instructions that begin so; the worst is the largest, but of
 * subgroups the smallest. */
enum column {
    VGPR,
    SGPR,
    SPILLED,
    LDS,
    SUBGROUPS,
    BYTES,
    CODE,
    LATENCY,
    INVERSE,
    DOT,
    WMMA,
    N_COLUMNS
};
static const struct {
    const char *title, *statistics[3], *begin;
} columns[N_COLUMNS] = {
    [VGPR] = {"VGPR", {"VGPRs"}, NULL},
    [SGPR] = {"SGPR", {"SGPRs"}, NULL},
    [SPILLED] = {"spilled", {"Spilled VGPRs", "Spilled SGPRs", "Scratch size"}, NULL},
    [LDS] = {"LDS", {"LDS size"}, NULL},
    [SUBGROUPS] = {"subgroups", {"Subgroups per SIMD"}, NULL},
    [BYTES] = {"bytes", {"Code size"}, NULL},
    [CODE] = {"instructions", {"Instructions"}, NULL},
    [LATENCY] = {"latency", {"Latency"}, NULL},
    [INVERSE] = {"inv. throughput", {"Inverse Throughput"}, NULL},
    [DOT] = {"dot", {NULL}, "v_dot"},
    [WMMA] = {"wmma", {NULL}, "v_wmma"},
};
struct numbers {
    uint32_t lanes;
    double at[N_COLUMNS];
};

/* What a pipeline is for: a single row, up to FEW_TOKENS, more. */
enum use { USE_ROW, USE_FEW, USE_MANY, N_USES };
static const char *const use_names[N_USES] = {"one row", "few rows", "prompts"};

/* A pipeline that was made; the same for several plans where its constants are. */
struct made {
    VkPipeline pipeline;
    uint16_t shader;
    uint8_t uses; /* bits of enum use */
    struct numbers numbers;
};

struct isa {
    struct vk *vk;
    struct made *made; /* [n_made] */
    size_t n_made, room;
    uint32_t n_over;
};

/* ---- one pipeline ---------------------------------------------------------------------------- */

static double statistic(const struct vk_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (!strcmp(r->numbers[i].name, name))
            return r->numbers[i].value;
    return 0;
}

static int count_code(const char *code, const char *begin)
{
    int n = 0;
    for (const char *p = code; p && (p = strstr(p, begin)); p++)
        n += p == code || p[-1] == '\t' || p[-1] == ' ';
    return n;
}

static bool read_numbers(const struct isa *isa, VkPipeline pipeline, struct numbers *out,
                         struct err *e)
{
    struct vk_report r;
    if (!vk_pipeline_report(isa->vk, pipeline, &r, e))
        return false;
    if (r.n == 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: the driver tells no statistics",
                       vk_caps(isa->vk)->name);
    *out = (struct numbers){.lanes = r.subgroup};
    for (int c = 0; c < N_COLUMNS; c++) {
        for (int i = 0; i < 3 && columns[c].statistics[i]; i++)
            out->at[c] += statistic(&r, columns[c].statistics[i]);
        if (columns[c].begin)
            out->at[c] = count_code(r.code, columns[c].begin);
    }
    free(r.code);
    return true;
}

/* first: titles of columns before the numbers, of which two are text. */
static void print_head(const char *first)
{
    int n = 0;
    printf("%s", first);
    for (int c = 0; c < N_COLUMNS; c++)
        printf(" %s |", columns[c].title);
    printf("\n|");
    for (const char *p = first + 1; *p; p++)
        if (*p == '|')
            printf(n++ < 2 ? "---|" : "---:|");
    for (int c = 0; c < N_COLUMNS; c++)
        printf("---:|");
    printf("\n");
}

static void print_numbers(FILE *to, const struct numbers *n)
{
    for (int c = 0; c < N_COLUMNS; c++)
        fprintf(to, " %.0f |", n->at[c]);
    fprintf(to, "\n");
}

static void print_name(FILE *to, const struct vk_pipeline_spec *s)
{
    fprintf(to, "| %s", vk_shader_name(s->shader));
    for (uint32_t k = 0; k < s->n_consts; k++)
        fprintf(to, " %u", s->consts[k]);
    fprintf(to, " |");
}

/* ---- what pipelines are for ------------------------------------------------------------------ */

static bool is_many(const struct step *s, uint32_t pipeline)
{
    const struct many_rows *m = &s->many;
    bool found = m->rows == pipeline || (m->behind && m->behind == pipeline);
    for (int i = 0; i < N_TILES; i++)
        found |= m->gemm[i] == pipeline || (m->tiles[i] && m->tiles[i] == pipeline);
    return m->is_there && found;
}

static bool takes(const struct step *s, uint32_t least, uint32_t most)
{
    return s->min_rows <= most && (!s->max_rows || s->max_rows >= least);
}

/* Steps of the plan that run the pipeline, by use. */
static void count_users(const struct gpu *g, uint32_t pipeline, int n[N_USES])
{
    memset(n, 0, N_USES * sizeof *n);
    for (uint32_t i = 0; i < g->n_steps; i++) {
        const struct step *s = &g->steps[i];
        n[USE_ROW] += s->pipeline[0] == pipeline && takes(s, 1, 1);
        n[USE_FEW] += s->pipeline[1] == pipeline && takes(s, 2, FEW_TOKENS);
        n[USE_MANY] += is_many(s, pipeline) || (s->pipeline[1] == pipeline && !s->many.is_there &&
                                                takes(s, FEW_TOKENS + 1, N_UBATCH));
    }
    n[USE_ROW] += g->pick.is_there && g->pick.pipeline == pipeline;
}

/* isa->n_made: it is new. */
static size_t find(const struct isa *isa, VkPipeline pipeline)
{
    size_t i = 0;
    while (i < isa->n_made && isa->made[i].pipeline != pipeline)
        i++;
    return i;
}

static bool add_pipeline(struct isa *isa, const struct gpu *g, uint32_t pipeline, struct err *e)
{
    const struct vk_pipeline_spec *spec = &g->specs[pipeline];
    struct made m = {.pipeline = g->pipelines[pipeline], .shader = spec->shader};
    if (!read_numbers(isa, m.pipeline, &m.numbers, e))
        return false;
    if (isa->n_made == isa->room) {
        isa->room = isa->room ? 2 * isa->room : 16;
        isa->made = mem_grow(isa->made, isa->room, sizeof *isa->made);
    }
    isa->made[isa->n_made++] = m;
    if (m.numbers.at[SPILLED] > 0 || m.numbers.at[SUBGROUPS] < LEAST_SUBGROUPS) {
        isa->n_over++;
        print_name(stderr, spec);
        print_numbers(stderr, &m.numbers);
    }
    return true;
}

static bool add_all(struct isa *isa, const struct gpu *g, struct err *e)
{
    int n[N_USES];
    for (uint32_t i = 0; i < g->n_specs; i++) {
        const size_t at = find(isa, g->pipelines[i]);
        if (at == isa->n_made && !add_pipeline(isa, g, i, e))
            return false;
        count_users(g, i, n);
        for (int use = 0; use < N_USES; use++)
            isa->made[at].uses |= (uint8_t)((n[use] > 0) << use);
    }
    return true;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void print_worst(const struct isa *isa, uint16_t shader, enum use use)
{
    struct numbers worst = {0};
    int n = 0;
    for (size_t i = 0; i < isa->n_made; i++) {
        const struct made *m = &isa->made[i];
        if (m->shader != shader || !(m->uses >> use & 1))
            continue;
        for (int c = 0; c < N_COLUMNS; c++) {
            const bool is_worse =
                c == SUBGROUPS ? m->numbers.at[c] < worst.at[c] : m->numbers.at[c] > worst.at[c];
            if (n == 0 || is_worse)
                worst.at[c] = m->numbers.at[c];
        }
        n++;
    }
    if (n == 0)
        return;
    printf("| %s | %s | %d |", vk_shader_name(shader), use_names[use], n);
    print_numbers(stdout, &worst);
}

static void print_all_worst(const struct isa *isa)
{
    print_head("| shader | for | pipelines |");
    for (int use = 0; use < N_USES; use++)
        for (uint16_t shader = 0; shader < VK_N_SHADERS; shader++)
            print_worst(isa, shader, (enum use)use);
}

static bool is_among(const struct gpu *g, VkPipeline pipeline)
{
    for (uint32_t i = 0; i < g->n_specs; i++)
        if (g->pipelines[i] == pipeline)
            return true;
    return false;
}

/* Of how many of the first n plans it is. */
static int count_among(struct gpu *const *all, int n, VkPipeline pipeline)
{
    int found = 0;
    for (int k = 0; k < n; k++)
        found += is_among(all[k], pipeline);
    return found;
}

/* Those of a single row, of one type of cache after the other; what is the same comes once. */
static void print_rows(const struct isa *isa, struct gpu *const *of_cache)
{
    int n[N_USES];
    print_head("| shader and constants | cache | steps | lanes |");
    for (int k = 0; k < N_ALIKE; k++)
        for (uint32_t i = 0; i < of_cache[k]->n_specs; i++) {
            const VkPipeline pipeline = of_cache[k]->pipelines[i];
            const struct numbers *numbers = &isa->made[find(isa, pipeline)].numbers;
            const bool is_of_all = count_among(of_cache, N_ALIKE, pipeline) == N_ALIKE;
            count_users(of_cache[k], i, n);
            if (n[USE_ROW] == 0 || count_among(of_cache, k, pipeline))
                continue;
            print_name(stdout, &of_cache[k]->specs[i]);
            printf(" %s | %d | %u |", is_of_all ? "any" : block_info(caches[k][0])->name,
                   n[USE_ROW], numbers->lanes);
            print_numbers(stdout, numbers);
        }
}

/* ---- models ---------------------------------------------------------------------------------- */

static struct gpu *compile(struct isa *isa, const struct plan *p, const enum block_type cache[2],
                           struct err *e)
{
    const struct exec_params params = {.n_ctx = N_CTX,
                                       .n_ubatch = N_UBATCH,
                                       .n_seqs = 1,
                                       .page = PAGE_POSITIONS,
                                       .type_k = cache[0],
                                       .type_v = cache[1]};
    struct gpu *g = gpu_new(p, &params, isa->vk, e);
    if (g && program_compile(g, e) && add_all(isa, g, e))
        return g;
    gpu_free(g);
    return NULL;
}

static bool add_plan(struct isa *isa, const struct plan *p, bool prints, struct err *e)
{
    struct gpu *of_cache[N_CACHES] = {0};
    bool ok = true;
    for (int i = 0; ok && i < N_CACHES; i++)
        ok = (of_cache[i] = compile(isa, p, caches[i], e)) != NULL;
    if (ok && prints)
        print_rows(isa, of_cache);
    for (int i = 0; i < N_CACHES; i++)
        gpu_free(of_cache[i]);
    return ok;
}

static bool add_model(struct isa *isa, const char *path, bool prints, struct err *e)
{
    const struct log quiet = {0};
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct gguf *file = gguf_open(path, &quiet, e);
    struct model *model = file ? model_open(file, &quiet, e) : NULL;
    if (model && prints)
        printf("\n## A row of %s\n\n", name);
    const size_t n_before = isa->n_made;
    const bool ok = model && add_plan(isa, &model->plan, prints, e);
    if (!prints)
        fprintf(stderr, "%s: %zu pipelines\n", name, isa->n_made - n_before);
    model_close(model);
    gguf_close(file);
    return ok;
}

/* All are made; then those before "--" once more, for their tables: their pipelines are there. */
static bool run(struct isa *isa, int n, char **paths, struct err *e)
{
    for (int i = 0; i < n; i++)
        if (strcmp(paths[i], "--") && !add_model(isa, paths[i], false, e))
            return false;
    printf("\n## All\n\n%zu pipelines, by %s, %s; context %d, batches of %d\n\n", isa->n_made,
           vk_caps(isa->vk)->name, vk_caps(isa->vk)->driver, N_CTX, N_UBATCH);
    print_all_worst(isa);
    for (int i = 0; i < n && strcmp(paths[i], "--"); i++)
        if (!add_model(isa, paths[i], true, e))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct err e;
    struct isa isa = {.vk = vk_open(&(struct vk_params){.statistics = true}, NULL, &e)};
    const bool ok = isa.vk && run(&isa, argc - 1, argv + 1, &e);
    if (!ok)
        fprintf(stderr, "bench_isa: %s\n", e.msg);
    if (isa.n_over)
        fprintf(stderr, "bench_isa: %u pipelines spill or have fewer than %d subgroups on a SIMD\n",
                isa.n_over, LEAST_SUBGROUPS);
    free(isa.made);
    vk_close(isa.vk);
    return !ok || isa.n_over;
}
