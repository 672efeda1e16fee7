#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/pool.h"
#include "compute/vulkan/vk_int.h"
#include "compute/vulkan/vk_shaders.h"

struct pipeline {
    struct vk_pipeline_spec spec; /* unused constants are 0 */
    VkPipeline handle;
};

struct vk_pipelines {
    struct vk_cache cache;
    char *cache_path;
    VkShaderModule modules[VK_N_SHADERS];
    struct pipeline *all;
    uint32_t n;
};

/* ---- open and close -------------------------------------------------------------------------- */

bool vk_pipelines_open(struct vk *vk, const char *cache_path, struct err *e)
{
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, VK_PUSH_BYTES};
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &push,
    };
    struct vk_pipelines *ps = vk->pipelines = mem_new(1, sizeof *ps);
    const VkResult r = vk->api.CreatePipelineLayout(vk->device, &info, NULL, &vk->layout);
    if (r != VK_SUCCESS)
        return vk_failed(vk, r, e, "making a pipeline layout");
    if (cache_path)
        ps->cache_path = strdup(cache_path);
    vk_cache_open(vk, cache_path, &ps->cache);
    return true;
}

void vk_pipelines_close(struct vk *vk)
{
    struct vk_pipelines *ps = vk->pipelines;
    for (uint32_t i = 0; i < ps->n; i++)
        vk->api.DestroyPipeline(vk->device, ps->all[i].handle, NULL);
    for (uint32_t i = 0; i < VK_N_SHADERS; i++)
        if (ps->modules[i])
            vk->api.DestroyShaderModule(vk->device, ps->modules[i], NULL);
    if (ps->cache.handle)
        vk->api.DestroyPipelineCache(vk->device, ps->cache.handle, NULL);
    if (vk->layout)
        vk->api.DestroyPipelineLayout(vk->device, vk->layout, NULL);
    free(ps->cache_path);
    free(ps->all);
    free(ps);
    vk->pipelines = NULL;
}

/* ---- one pipeline ---------------------------------------------------------------------------- */

static bool create_module(struct vk *vk, uint16_t shader, struct err *e)
{
    VkShaderModule *module = &vk->pipelines->modules[shader];
    if (*module)
        return true;
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
    info.pCode = vk_shader_code(shader, &info.codeSize);
    const VkResult r = vk->api.CreateShaderModule(vk->device, &info, NULL, module);
    return r == VK_SUCCESS || vk_failed(vk, r, e, vk_shader_name(shader));
}

#define SPEC_AT(member) ((uint32_t)offsetof(struct vk_pipeline_spec, member))

static VkResult create(struct vk *vk, struct pipeline *p)
{
    VkSpecializationMapEntry entries[VK_MAX_CONSTS + 2];
    uint32_t n = p->spec.n_consts;
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (VkSpecializationMapEntry){i, SPEC_AT(consts) + 4 * i, 4};
    entries[n++] = (VkSpecializationMapEntry){VK_CONST_SUBGROUP, SPEC_AT(subgroup), 4};
    if (p->spec.threads)
        entries[n++] = (VkSpecializationMapEntry){VK_CONST_THREADS, SPEC_AT(threads), 4};
    const VkSpecializationInfo constants = {
        .mapEntryCount = n,
        .pMapEntries = entries,
        .dataSize = sizeof p->spec,
        .pData = &p->spec,
    };
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = p->spec.subgroup,
    };
    const bool can_require = vk->gpu.caps.subgroup_min != vk->gpu.caps.subgroup_max;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = vk->has_statistics
                     ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                           VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR
                     : 0,
        .stage =
            {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .pNext = p->spec.subgroup && can_require ? &size : NULL,
                .flags = p->spec.subgroup
                             ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT
                             : 0,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = vk->pipelines->modules[p->spec.shader],
                .pName = "main",
                .pSpecializationInfo = &constants,
            },
        .layout = vk->layout,
    };
    return vk->api.CreateComputePipelines(vk->device, vk->pipelines->cache.handle, 1, &info, NULL,
                                          &p->handle);
}

/* ---- many ------------------------------------------------------------------------------------ */

static bool check_spec(const struct vk *vk, const struct vk_pipeline_spec *s, struct err *e)
{
    const struct vk_caps *c = &vk->gpu.caps;
    assert(s->shader < VK_N_SHADERS && s->n_consts <= VK_MAX_CONSTS);
    if (s->subgroup && (s->subgroup < c->subgroup_min || s->subgroup > c->subgroup_max))
        return err_set(e, ERR_UNSUPPORTED, "Vulkan: shader %s: subgroups of %u, %s has %u to %u",
                       vk_shader_name(s->shader), s->subgroup, c->name, c->subgroup_min,
                       c->subgroup_max);
    return true;
}

/* Index of the pipeline with this spec; a new one gets no handle yet. */
static uint32_t find_or_add(struct vk_pipelines *ps, const struct vk_pipeline_spec *spec)
{
    struct pipeline new = {.spec = {.shader = spec->shader,
                                    .n_consts = spec->n_consts,
                                    .subgroup = spec->subgroup,
                                    .threads = spec->threads}};
    memcpy(new.spec.consts, spec->consts, spec->n_consts * sizeof *spec->consts);
    for (uint32_t i = 0; i < ps->n; i++)
        if (!memcmp(&ps->all[i].spec, &new.spec, sizeof new.spec))
            return i;
    ps->all = mem_grow(ps->all, ps->n + 1, sizeof *ps->all);
    ps->all[ps->n] = new;
    return ps->n++;
}

struct work {
    struct vk *vk;
    struct pool *pool;
    struct pipeline *todo;
    VkResult *results;
    uint32_t n;
};

static void create_share(void *ctx, int i_thread, int n_threads)
{
    struct work *w = ctx;
    (void)i_thread;
    (void)n_threads;
    for (uint32_t i; (i = pool_next(w->pool)) < w->n;)
        w->results[i] = create(w->vk, &w->todo[i]);
}

/* Compiles todo[0 .. n), on as many threads as there are processors. */
static bool create_all(struct vk *vk, struct pipeline *todo, uint32_t n, struct err *e)
{
    const long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct work w = {vk, NULL, todo, mem_new(n, sizeof *w.results), n};
    bool ok = true;
    w.pool = pool_open((int)num_min(n_cpus < 1 ? 1 : (size_t)n_cpus, n), e);
    if (w.pool)
        pool_run(w.pool, create_share, &w);
    ok = w.pool != NULL;
    for (uint32_t i = 0; ok && i < n; i++)
        if (w.results[i] != VK_SUCCESS) {
            vk_failed(vk, w.results[i], e, "compiling");
            ok = err_within(e, "shader %s", vk_shader_name(todo[i].spec.shader));
        }
    if (w.pool)
        pool_close(w.pool);
    free(w.results);
    return ok;
}

/* Forgets the pipelines from `from` on: some were not made. */
static void forget(struct vk *vk, uint32_t from)
{
    struct vk_pipelines *ps = vk->pipelines;
    for (uint32_t i = from; i < ps->n; i++)
        vk->api.DestroyPipeline(vk->device, ps->all[i].handle, NULL);
    ps->n = from;
}

bool vk_pipelines_make(struct vk *vk, const struct vk_pipeline_spec *specs, uint32_t n,
                       VkPipeline *out, struct err *e)
{
    struct vk_pipelines *ps = vk->pipelines;
    const uint32_t n_before = ps->n;
    bool ok = true;
    uint32_t *index = mem_new(n + 1, sizeof *index);
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = check_spec(vk, &specs[i], e) && create_module(vk, specs[i].shader, e);
        if (ok)
            index[i] = find_or_add(ps, &specs[i]);
    }
    const uint32_t n_new = ps->n - n_before;
    if (ok && n_new)
        ok = create_all(vk, ps->all + n_before, n_new, e);
    for (uint32_t i = 0; ok && i < n; i++)
        out[i] = ps->all[index[i]].handle;
    free(index);
    if (!ok)
        forget(vk, n_before);
    else if (n_new && ps->cache_path)
        vk_cache_save(vk, ps->cache_path, &ps->cache);
    return ok;
}
