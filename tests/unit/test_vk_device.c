/* What the device layer makes of devices that are made up: which one is taken, what they lack, what
 * memory they have. */
#include <string.h>

#include "compute/vulkan/vk_int.h"
#include "test.h"

/* ---- choice -----------------------------------------------------------------------------------
 */

/* Of devices that are made up, by number. */
static int chosen_but(const struct vk_physical *all, uint32_t n, uint64_t not_devices,
                      bool allow_software)
{
    const struct vk_params p = {.allow_software = allow_software, .not_devices = not_devices};
    uint32_t found;
    struct err e;
    return vk_choose(all, n, &p, &found, &e) ? (int)found : -1;
}

static int chosen(const struct vk_physical *all, uint32_t n, bool allow_software)
{
    return chosen_but(all, n, 0, allow_software);
}

TEST(vk_takes_the_best_gpu_and_software_only_where_it_may)
{
    const struct vk_physical card = {.core.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU,
                                     .caps.heap_bytes = 8,
                                     .is_usable = true},
                             built_in = {.core.deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU,
                                         .caps.heap_bytes = 64,
                                         .is_usable = true},
                             software = {.core.deviceType = VK_PHYSICAL_DEVICE_TYPE_CPU,
                                         .caps.is_software = true,
                                         .is_usable = true};
    struct vk_physical larger = card, old = card;
    larger.caps.heap_bytes = 16;
    old.is_usable = false;
    CHECK_INT(chosen((struct vk_physical[]){built_in, card, larger}, 3, false), 2);
    CHECK_INT(chosen((struct vk_physical[]){old, built_in, software}, 3, false), 1);
    CHECK_INT(chosen(&software, 1, false), -1);
    CHECK_INT(chosen(&software, 1, true), 0);
    /* Opening the old one says what it lacks: more than that there is no GPU. */
    CHECK_INT(chosen((struct vk_physical[]){software, old}, 2, false), 1);
    CHECK_INT(chosen((struct vk_physical[]){old, software}, 2, true), 1);
    /* The next ones. */
    const struct vk_physical all[] = {built_in, card, larger, software};
    CHECK_INT(chosen_but(all, 4, 1 << 2, false), 1);
    CHECK_INT(chosen_but(all, 4, 1 << 2 | 1 << 1, false), 0);
    CHECK_INT(chosen_but(all, 4, 1 << 2 | 1 << 1 | 1, false), -1);
    CHECK_INT(chosen_but(all, 4, 1 << 2 | 1 << 1 | 1, true), 3);
    CHECK_INT(chosen_but(all, 4, 15, true), -1);
}

/* ---- devices that lack something --------------------------------------------------------------
 */

static const char *lacking; /* a feature that the device below has not */

static void all_features_but_one(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *f)
{
    (void)device;
    for (VkBaseOutStructure *s = (VkBaseOutStructure *)f; s; s = s->pNext) {
        VkPhysicalDeviceVulkan12Features *v12 = (void *)s;
        VkPhysicalDeviceVulkan13Features *v13 = (void *)s;
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2) {
            f->features.shaderInt16 = VK_TRUE;
            f->features.shaderInt64 = strcmp(lacking, "shaderInt64") != 0;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES) {
            ((VkPhysicalDeviceVulkan11Features *)(void *)s)->storageBuffer16BitAccess = VK_TRUE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES) {
            v12->storageBuffer8BitAccess = v12->shaderFloat16 = v12->shaderInt8 = VK_TRUE;
            v12->scalarBlockLayout = v12->shaderSubgroupExtendedTypes = VK_TRUE;
            v12->timelineSemaphore = v12->vulkanMemoryModel = VK_TRUE;
            v12->vulkanMemoryModelDeviceScope = v12->shaderBufferInt64Atomics = VK_TRUE;
            v12->bufferDeviceAddress = strcmp(lacking, "bufferDeviceAddress") != 0;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES) {
            v13->subgroupSizeControl = v13->computeFullSubgroups = v13->synchronization2 = VK_TRUE;
            v13->maintenance4 = VK_TRUE;
            v13->shaderIntegerDotProduct = strcmp(lacking, "shaderIntegerDotProduct") != 0;
        }
    }
}

/* Whether it is refused with such a message. */
static bool lacks(const struct vk_physical *p, const char *feature, const char *says)
{
    const struct vk vk = {.api.GetPhysicalDeviceFeatures2 = all_features_but_one};
    struct vk_features features;
    struct err e = {0};
    lacking = feature;
    if (vk_features_choose(&vk, p, &features, &e))
        return false;
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK_STR(str_of(e.msg), str_of(says));
    return true;
}

TEST(vk_says_what_a_device_lacks)
{
    const struct vk_physical card = {.core.apiVersion = VK_API_VERSION_1_3,
                                     .has_family = true,
                                     .caps = {.name = "a card",
                                              .driver = "its driver",
                                              .subgroup_max = 32,
                                              .max_workgroup = 1024,
                                              .shared_bytes = 32768}};
    struct vk_physical p = card;
    CHECK(!lacks(&card, "", ""));
    static const char *const features[] = {"shaderInt64", "bufferDeviceAddress",
                                           "shaderIntegerDotProduct"};
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        char says[256];
        snprintf(says, sizeof says,
                 "Vulkan: a card (its driver) lacks the feature %s, which the shaders need: update "
                 "its driver, choose another device or run on the CPU",
                 features[i]);
        CHECK(lacks(&card, features[i], says));
    }
    p.core.apiVersion = VK_API_VERSION_1_2;
    CHECK(lacks(&p, "", "Vulkan: a card offers version 1.2, 1.3 is needed: update its driver"));
    p = card;
    p.has_family = false;
    CHECK(lacks(&p, "", "Vulkan: a card has no queue that computes"));
    p = card;
    p.caps.max_workgroup = 128;
    CHECK(lacks(&p, "",
                "Vulkan: a card (its driver) has workgroups of 128 threads, the shaders need 256: "
                "choose another device or run on the CPU"));
    p = card;
    p.caps.shared_bytes = 16384;
    CHECK(lacks(&p, "",
                "Vulkan: a card (its driver) has 16384 bytes of shared memory for a workgroup, the "
                "shaders need 20480: choose another device or run on the CPU"));
}

/* ---- heaps ------------------------------------------------------------------------------------
 */

/* What a device below answers: its heaps, in GiB, of which the first is device-local, and the
 * second where local_too; and of each what is used, where it tells. */
static struct heaps {
    uint64_t gib[2], used_gib[2];
    bool local_too;
} heaps;

static void tell_heaps(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *out)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = out->pNext;
    (void)device;
    out->memoryProperties.memoryHeapCount = 2;
    for (int i = 0; i < 2; i++) {
        VkMemoryHeap *h = &out->memoryProperties.memoryHeaps[i];
        h->size = heaps.gib[i] << 30;
        h->flags = i == 0 || heaps.local_too ? VK_MEMORY_HEAP_DEVICE_LOCAL_BIT : 0;
        if (budget) {
            budget->heapBudget[i] = h->size;
            budget->heapUsage[i] = heaps.used_gib[i] << 30;
        }
    }
}

/* Looks at the device, on which we have own_gib; CHECKs all and free memory. */
static void check_memory(bool is_unified, bool has_budget, uint64_t own_gib, uint64_t all_gib,
                         uint64_t free_gib)
{
    struct vk vk = {.api.GetPhysicalDeviceMemoryProperties2 = tell_heaps};
    struct vk_physical p = {.caps.is_unified = is_unified, .has_budget = has_budget};
    atomic_store(&vk.n_bytes, own_gib << 30);
    vk_memory_look(&vk, &p);
    CHECK_INT(p.caps.heap_bytes >> 30, all_gib);
    CHECK_INT(p.caps.free_bytes >> 30, free_gib);
}

TEST(vk_counts_the_heaps_that_a_device_has_near)
{
    /* RADV on an APU: two thirds and one third, both used. */
    heaps = (struct heaps){{64, 32}, {4, 2}, true};
    check_memory(true, false, 0, 96, 96);
    check_memory(true, true, 0, 96, 90);
    check_memory(true, true, 50, 96, 46); /* a driver that does not count what is not touched */
    heaps.local_too = false;
    check_memory(true, true, 0, 96, 90);
    /* A card: its own, neither the machine's nor the window onto it. */
    heaps = (struct heaps){{24, 128}, {1, 0}, false};
    check_memory(false, true, 0, 24, 23);
    heaps = (struct heaps){{24, 1}, {25, 0}, true};
    check_memory(false, true, 0, 24, 0); /* others have more than the budget leaves */
}
