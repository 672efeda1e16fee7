#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/vk_int.h"

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

static void close_device(struct vk *vk)
{
    if (vk->pipelines)
        vk_pipelines_close(vk);
    if (vk->staging)
        vk_staging_close(vk);
    if (vk->timeline)
        vk->api.DestroySemaphore(vk->device, vk->timeline, NULL);
    if (vk->device && vk->api.DestroyDevice)
        vk->api.DestroyDevice(vk->device, NULL);
    vk->pipelines = NULL;
    vk->staging = NULL;
    vk->timeline = VK_NULL_HANDLE;
    vk->device = VK_NULL_HANDLE;
}

static bool open_device(struct vk *vk, const struct vk_physical *gpu,
                        const struct vk_params *params, struct err *e)
{
    vk->gpu = *gpu;
    if (params->max_alloc)
        vk->gpu.caps.max_alloc = num_min(vk->gpu.caps.max_alloc, params->max_alloc);
    if (create_device(vk, e) && create_timeline(vk, e) &&
        vk_pipelines_open(vk, params->cache_path, e))
        return true;
    close_device(vk);
    return false;
}

/* The best one, or with or_next the first one that opens; e is the best one's. */
static bool open_chosen(struct vk *vk, const struct vk_params *params, struct err *e)
{
    struct vk_params next = *params;
    struct err why;
    uint32_t n, i = 0;
    if (!vk_instance_open(vk, params, e))
        return false;
    struct vk_physical *all = vk_instance_devices(vk, &n, e);
    if (!all)
        return false;
    bool is_open = false, is_chosen = vk_choose(all, n, params, &i, e);
    if (is_chosen)
        is_open = open_device(vk, &all[i], params, e);
    while (is_chosen && !is_open && params->or_next && !params->device) {
        next.not_devices |= 1ull << i;
        is_chosen = vk_choose(all, n, &next, &i, &why);
        is_open = is_chosen && open_device(vk, &all[i], params, &why);
    }
    free(all);
    return is_open;
}

struct vk *vk_open(const struct vk_params *params, const struct log *log, struct err *e)
{
    struct vk *vk = mem_new(1, sizeof *vk);
    vk->is_staged = params->staged;
    vk->has_statistics = params->statistics;
    vk->lose_in = params->lose_in;
    if (log)
        vk->log = *log;
    pthread_mutex_init(&vk->queue_lock, NULL);
    pthread_mutex_init(&vk->staging_lock, NULL);
    if (open_chosen(vk, params, e))
        return vk;
    vk_close(vk);
    return NULL;
}

struct vk *vk_imagine(const struct vk_caps *caps)
{
    struct vk *vk = mem_new(1, sizeof *vk);
    pthread_mutex_init(&vk->queue_lock, NULL);
    pthread_mutex_init(&vk->staging_lock, NULL);
    vk->gpu.caps = *caps;
    return vk;
}

void vk_close(struct vk *vk)
{
    if (!vk)
        return;
    /* Of a device that hangs nothing can be freed that it may still use: it is left as it is. */
    struct err e;
    if (vk->n_submits && !vk_queue_drain(vk, VK_CLOSE_TIMEOUT_MS, &e) && atomic_load(&vk->is_hung))
        return;
    close_device(vk);
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
    if (now.handle) /* else it is imagined, with what it has */
        vk_memory_look(vk, &now);
    return now.caps.free_bytes;
}

uint32_t vk_validation_errors(const struct vk *vk)
{
    return atomic_load(&vk->n_validation);
}
