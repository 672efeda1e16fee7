#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "compute/vulkan/vk_int.h"

/* ---- choice ---------------------------------------------------------------------------------- */

/* Discrete cards first, then those built into a processor, then others; among equals the one with
 * more memory. Software ranks below all. */
static int rank(const struct vk_physical *p)
{
    switch (p->core.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 3;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return 0;
    default: return 1;
    }
}

static bool is_better(const struct vk_physical *a, const struct vk_physical *b)
{
    if (rank(a) != rank(b))
        return rank(a) > rank(b);
    return a->caps.heap_bytes > b->caps.heap_bytes;
}

/* "Vulkan: there is no device X: 0 NAME, 1 NAME" */
static bool no_such_device(const struct vk_physical *all, uint32_t n, const char *wanted,
                           struct err *e)
{
    struct buf names = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_fmt(&names, "%s%u %s", i ? ", " : "", i, all[i].caps.name);
    err_set(e, ERR_USAGE, "Vulkan: there is no device '%s'; there are: %.*s", wanted,
            STRF(buf_view(&names)));
    buf_free(&names);
    return false;
}

/* By index when it is a number, else by a part of the name in any case. */
static bool find_named(const struct vk_physical *all, uint32_t n, const char *wanted,
                       uint32_t *found, struct err *e)
{
    char *end;
    const unsigned long index = strtoul(wanted, &end, 10);
    if (isdigit((unsigned char)*wanted) && !*end && index < n) {
        *found = (uint32_t)index;
        return true;
    }
    for (uint32_t i = 0; i < n; i++)
        if (strcasestr(all[i].caps.name, wanted)) {
            *found = i;
            return true;
        }
    return no_such_device(all, n, wanted, e);
}

static bool choose(const struct vk_physical *all, uint32_t n, const struct vk_params *params,
                   uint32_t *found, struct err *e)
{
    if (n == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: no device: the driver is missing or may not use it (is the user "
                       "in the groups video and render?)");
    if (params->device)
        return find_named(all, n, params->device, found, e);
    *found = 0;
    for (uint32_t i = 1; i < n; i++)
        if (is_better(&all[i], &all[*found]))
            *found = i;
    if (all[*found].caps.is_software && !params->allow_software)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: the only device is %s, which is software and slower than the cpu "
                       "backend: name it with --device to use it all the same",
                       all[*found].caps.name);
    return true;
}

/* ---- open ------------------------------------------------------------------------------------ */

static bool create_device(struct vk *vk, struct err *e)
{
    struct vk_features features;
    if (!vk_features_choose(vk, &vk->gpu, &features, e))
        return false;
    const char *extensions[3];
    uint32_t n = 0;
    if (features.matrix.cooperativeMatrix)
        extensions[n++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    if (vk->gpu.has_budget)
        extensions[n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (features.executable.pipelineExecutableInfo)
        extensions[n++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    vk->gpu.caps.has_matrix = features.matrix.cooperativeMatrix;
    vk->has_statistics &= features.executable.pipelineExecutableInfo;

    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = vk->gpu.family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features.core,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = n,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult r = vk->api.CreateDevice(vk->gpu.handle, &info, NULL, &vk->device);
    if (r != VK_SUCCESS)
        return vk_failed(vk, r, e, "opening the device");
    if (!vk_api_load_device(&vk->api, vk->device, e))
        return false;
    vk->api.GetDeviceQueue(vk->device, vk->gpu.family, 0, &vk->queue);
    return true;
}

static bool create_timeline(struct vk *vk, struct err *e)
{
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
        .pNext = &type,
    };
    const VkResult r = vk->api.CreateSemaphore(vk->device, &info, NULL, &vk->timeline);
    return r == VK_SUCCESS || vk_failed(vk, r, e, "making a semaphore");
}

static bool open_chosen(struct vk *vk, const struct vk_params *params, struct err *e)
{
    uint32_t n, i = 0;
    if (!vk_instance_open(vk, params, e))
        return false;
    struct vk_physical *all = vk_instance_devices(vk, &n, e);
    if (!all)
        return false;
    const bool chosen = choose(all, n, params, &i, e);
    if (chosen)
        vk->gpu = all[i];
    free(all);
    return chosen && create_device(vk, e) && create_timeline(vk, e) &&
           vk_pipelines_open(vk, params->cache_path, e);
}

struct vk *vk_open(const struct vk_params *params, const struct log *log, struct err *e)
{
    struct vk *vk = mem_new(1, sizeof *vk);
    vk->is_staged = params->staged;
    vk->has_statistics = params->statistics;
    if (log)
        vk->log = *log;
    pthread_mutex_init(&vk->queue_lock, NULL);
    pthread_mutex_init(&vk->staging_lock, NULL);
    if (open_chosen(vk, params, e))
        return vk;
    vk_close(vk);
    return NULL;
}

void vk_close(struct vk *vk)
{
    if (!vk)
        return;
    /* Of a device that hangs nothing can be freed that it may still use: it is left as it is. */
    struct err e;
    if (vk->n_submits && !vk_queue_drain(vk, VK_CLOSE_TIMEOUT_MS, &e) && atomic_load(&vk->is_hung))
        return;
    if (vk->pipelines)
        vk_pipelines_close(vk);
    if (vk->staging)
        vk_staging_close(vk);
    if (vk->timeline)
        vk->api.DestroySemaphore(vk->device, vk->timeline, NULL);
    if (vk->device && vk->api.DestroyDevice)
        vk->api.DestroyDevice(vk->device, NULL);
    vk_instance_close(vk);
    pthread_mutex_destroy(&vk->queue_lock);
    pthread_mutex_destroy(&vk->staging_lock);
    free(vk);
}

/* ---- questions ------------------------------------------------------------------------------- */

const struct vk_caps *vk_caps(const struct vk *vk)
{
    return &vk->gpu.caps;
}

uint64_t vk_free_bytes(const struct vk *vk)
{
    struct vk_physical now = vk->gpu;
    vk_memory_look(vk, &now);
    return now.caps.free_bytes;
}

uint32_t vk_validation_errors(const struct vk *vk)
{
    return atomic_load(&vk->n_validation);
}

static void print_device(uint32_t index, const struct vk_physical *p, struct buf *out)
{
    const struct vk_caps *c = &p->caps;
    buf_fmt(out, "%u  %s, %s, %s memory %.1f GiB, %.1f GiB free%s%s\n", index, c->name, c->driver,
            c->is_unified ? "shared" : "own", (double)c->heap_bytes / (1u << 30),
            (double)c->free_bytes / (1u << 30), c->has_matrix ? ", matrices" : "",
            c->is_software ? ", software" : "");
}

bool vk_list(const char *loader, struct buf *out, struct err *e)
{
    struct vk *vk = mem_new(1, sizeof *vk);
    struct vk_physical *all = NULL;
    uint32_t n;
    if (vk_instance_open(vk, &(struct vk_params){.loader = loader}, e))
        all = vk_instance_devices(vk, &n, e);
    for (uint32_t i = 0; all && i < n; i++)
        print_device(i, &all[i], out);
    const bool ok = all != NULL;
    free(all);
    vk_instance_close(vk);
    free(vk);
    return ok;
}
