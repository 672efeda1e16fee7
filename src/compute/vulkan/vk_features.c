#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/vk_int.h"

/* What the shaders and the device layer are written with: there is no path without. All of it is in
 * the drivers of AMD (RADV), Intel (ANV), NVIDIA and in lavapipe since 2022. */
static const struct needed {
    const char *name;
    size_t offset; /* of the VkBool32 in struct vk_features */
} needed[] = {
#define NEEDED(part, feature)                                                                      \
    {                                                                                              \
#feature, offsetof(struct vk_features, part.feature)                                       \
    }
    NEEDED(core.features, shaderInt16),
    NEEDED(core.features, shaderInt64),
    NEEDED(v11, storageBuffer16BitAccess),
    NEEDED(v12, storageBuffer8BitAccess),
    NEEDED(v12, shaderBufferInt64Atomics),
    NEEDED(v12, shaderFloat16),
    NEEDED(v12, shaderInt8),
    NEEDED(v12, bufferDeviceAddress),
    NEEDED(v12, scalarBlockLayout),
    NEEDED(v12, shaderSubgroupExtendedTypes),
    NEEDED(v12, timelineSemaphore),
    NEEDED(v12, vulkanMemoryModel),
    NEEDED(v12, vulkanMemoryModelDeviceScope),
    NEEDED(v13, shaderIntegerDotProduct),
    NEEDED(v13, subgroupSizeControl),
    NEEDED(v13, computeFullSubgroups),
    NEEDED(v13, synchronization2),
    NEEDED(v13, maintenance4),
#undef NEEDED
};

static VkBool32 *feature(struct vk_features *f, size_t offset)
{
    return (VkBool32 *)((char *)f + offset);
}

/* The chain; features of extensions only where the device has them. */
static void chain(struct vk_features *f, const struct vk_physical *p)
{
    *f = (struct vk_features){
        .core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .matrix.sType =
            (VkStructureType)VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .executable.sType =
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
    };
    f->core.pNext = &f->v11;
    f->v11.pNext = &f->v12;
    f->v12.pNext = &f->v13;
    void **tail = &f->v13.pNext;
    if (p->caps.matrix_m) {
        *tail = &f->matrix;
        tail = &f->matrix.pNext;
    }
    if (p->has_executable)
        *tail = &f->executable;
}

static bool check_sizes(const struct vk_caps *c, struct err *e)
{
    if (c->subgroup_max < VK_LEAST_LANES)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: %s (%s) has subgroups of %u threads, the shaders need %d: choose "
                       "another device or run on the CPU",
                       c->name, c->driver, c->subgroup_max, VK_LEAST_LANES);
    if (c->max_workgroup < VK_LEAST_THREADS)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: %s (%s) has workgroups of %u threads, the shaders need %d: choose "
                       "another device or run on the CPU",
                       c->name, c->driver, c->max_workgroup, VK_LEAST_THREADS);
    if (c->shared_bytes < VK_LEAST_SHARED)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: %s (%s) has %u bytes of shared memory for a workgroup, the shaders "
                       "need %d: choose another device or run on the CPU",
                       c->name, c->driver, c->shared_bytes, VK_LEAST_SHARED);
    return true;
}

bool vk_features_choose(const struct vk *vk, const struct vk_physical *p, struct vk_features *f,
                        struct err *e)
{
    struct vk_features have;
    if (p->core.apiVersion < VK_API_VERSION_1_3)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: %s offers version %u.%u, 1.3 is needed: update its driver",
                       p->caps.name, VK_API_VERSION_MAJOR(p->core.apiVersion),
                       VK_API_VERSION_MINOR(p->core.apiVersion));
    if (!p->has_family)
        return err_set(e, ERR_UNSUPPORTED, "Vulkan: %s has no queue that computes", p->caps.name);
    if (!check_sizes(&p->caps, e))
        return false;
    chain(&have, p);
    chain(f, p);
    vk->api.GetPhysicalDeviceFeatures2(p->handle, &have.core);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!*feature(&have, needed[i].offset))
            return err_set(e, ERR_UNSUPPORTED,
                           "Vulkan: %s (%s) lacks the feature %s, which the shaders need: update "
                           "its driver, choose another device or run on the CPU",
                           p->caps.name, p->caps.driver, needed[i].name);
        *feature(f, needed[i].offset) = VK_TRUE;
    }
    f->matrix.cooperativeMatrix = have.matrix.cooperativeMatrix;
    f->executable.pipelineExecutableInfo = have.executable.pipelineExecutableInfo;
    return true;
}

bool vk_features_has(const struct vk_api *api, VkPhysicalDevice device, const char *extension)
{
    uint32_t n = 0;
    bool found = false;
    if (api->EnumerateDeviceExtensionProperties(device, NULL, &n, NULL) != VK_SUCCESS)
        return false;
    VkExtensionProperties *all = mem_new(n + 1, sizeof *all);
    if (api->EnumerateDeviceExtensionProperties(device, NULL, &n, all) >= VK_SUCCESS)
        for (uint32_t i = 0; i < n; i++)
            found |= !strcmp(all[i].extensionName, extension);
    free(all);
    return found;
}
