/* What RADV's compiler makes of the vulkan backend's pipelines. usage: bench_isa MODEL...
 * For a machine without the GPU where the driver is there (mesa's drm-shim): everything compiles,
 * nothing runs, so models without data do (tawny synth --empty). Writes one Markdown table a model,
 * a row a pipeline. Exit status 1 when a pipeline is over a limit. */
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

static double number(const struct vk_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (!strcmp(r->numbers[i].name, name))
            return r->numbers[i].value;
    return 0;
}

/* Instructions in the listing whose names begin so. */
static int count_code(const char *code, const char *begin)
{
    int n = 0;
    for (const char *p = code; p && (p = strstr(p, begin)); p++)
        n += p == code || p[-1] == '\t' || p[-1] == ' ';
    return n;
}

static bool is_many(const struct many_rows *m, uint32_t pipeline)
{
    bool found = m->rows == pipeline || m->behind == pipeline;
    for (int i = 0; i < N_TILES; i++)
        found |= m->gemm[i] == pipeline || m->tiles[i] == pipeline;
    return m->is_there && found;
}

static void print_count(int n, const char *label, const char **comma)
{
    if (n == 0)
        return;
    printf("%s%d%s", *comma, n, label);
    *comma = ", ";
}

/* "48, 48 (rows)": how many steps run the pipeline, for one row, for several and for prompts. */
static void print_users(const struct gpu *g, uint32_t pipeline)
{
    const char *comma = "";
    int n[3] = {0};
    for (uint32_t i = 0; i < g->n_steps; i++) {
        const struct step *s = &g->steps[i];
        n[0] += s->pipeline[0] == pipeline;
        n[1] += s->pipeline[1] == pipeline;
        n[2] += is_many(&s->many, pipeline);
    }
    print_count(n[0], "", &comma);
    print_count(n[1], " (rows)", &comma);
    print_count(n[2], " (prompts)", &comma);
}

/* True when the pipeline keeps the limits. */
static bool print_pipeline(const struct gpu *g, uint32_t i, const struct vk_report *r)
{
    const struct vk_pipeline_spec *s = &g->specs[i];
    const double spills =
        number(r, "Spilled VGPRs") + number(r, "Spilled SGPRs") + number(r, "Scratch size");
    const double subgroups = number(r, "Subgroups per SIMD");
    printf("| %s", vk_shader_name(s->shader));
    for (uint32_t k = 0; k < s->n_consts; k++)
        printf(" %u", s->consts[k]);
    printf(" | ");
    print_users(g, i);
    printf(" | %u | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %d | %d |\n",
           r->subgroup, number(r, "VGPRs"), number(r, "SGPRs"), spills, number(r, "LDS size"),
           subgroups, number(r, "Code size"), number(r, "Instructions"), number(r, "Latency"),
           number(r, "Inverse Throughput"), count_code(r->code, "v_dot"),
           count_code(r->code, "v_wmma"));
    return spills == 0 && subgroups >= LEAST_SUBGROUPS;
}

static bool print_all(struct gpu *g, uint32_t *n_over, struct err *e)
{
    static const char head[] =
        "| shader and constants | steps | lanes | VGPR | SGPR | spilled | LDS | subgroups | bytes "
        "| "
        "instructions | latency | inv. throughput | dot | wmma |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    printf("%s, %s; context %d, F16 cache, batches of %d\n\n%s", vk_caps(g->vk)->name,
           vk_caps(g->vk)->driver, N_CTX, N_UBATCH, head);
    for (uint32_t i = 0; i < g->n_specs; i++) {
        struct vk_report r;
        if (!vk_pipeline_report(g->vk, g->pipelines[i], &r, e))
            return false;
        if (r.n == 0)
            return err_set(e, ERR_UNSUPPORTED, "%s: the driver tells no statistics",
                           vk_caps(g->vk)->name);
        *n_over += !print_pipeline(g, i, &r);
        free(r.code);
    }
    return true;
}

static bool show_plan(const struct plan *p, uint32_t *n_over, struct err *e)
{
    const struct exec_params params = {.n_ctx = N_CTX,
                                       .n_ubatch = N_UBATCH,
                                       .n_seqs = 1,
                                       .page = PAGE_POSITIONS,
                                       .type_k = BLOCK_F16,
                                       .type_v = BLOCK_F16};
    struct vk *vk = vk_open(&(struct vk_params){.statistics = true}, NULL, e);
    struct gpu *g = vk ? gpu_new(p, &params, vk, e) : NULL;
    const bool ok = g && program_compile(g, e) && print_all(g, n_over, e);
    gpu_free(g);
    vk_close(vk);
    return ok;
}

static bool show_model(const char *path, uint32_t *n_over, struct err *e)
{
    const struct log quiet = {0};
    struct gguf *file = gguf_open(path, &quiet, e);
    struct model *model = file ? model_open(file, &quiet, e) : NULL;
    if (model)
        printf("\n## %s\n\n", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    const bool ok = model && show_plan(&model->plan, n_over, e);
    model_close(model);
    gguf_close(file);
    return ok;
}

int main(int argc, char **argv)
{
    struct err e;
    uint32_t n_over = 0;
    for (int i = 1; i < argc; i++)
        if (!show_model(argv[i], &n_over, &e)) {
            fprintf(stderr, "bench_isa: %s\n", e.msg);
            return 1;
        }
    if (n_over)
        fprintf(stderr, "bench_isa: %u pipelines spill or have fewer than %d subgroups on a SIMD\n",
                n_over, LEAST_SUBGROUPS);
    return n_over != 0;
}
