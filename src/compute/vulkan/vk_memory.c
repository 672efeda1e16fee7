#include <assert.h>

#include "base/num.h"
#include "compute/vulkan/vk_int.h"

enum { MIB_SHIFT = 20 };

/* ---- heaps and types ------------------------------------------------------------------------- */

static const VkMemoryPropertyFlags HOST =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
/* AMD's types for debuggers: slow for the device. */
static const VkMemoryPropertyFlags SLOW =
    VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD | VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD;

/* The heaps that VK_PLACE_DEVICE may take. With memory of its own a device has one that counts
 * (another is a window of 256 MiB onto it). With the CPU's memory RADV divides it into two heaps,
 * two thirds and one third, that are equally near: all count. */
static uint32_t device_heaps(const struct vk_physical *p)
{
    uint32_t largest = UINT32_MAX;
    if (p->caps.is_unified)
        return (uint32_t)((1ull << p->memory.memoryHeapCount) - 1);
    for (uint32_t i = 0; i < p->memory.memoryHeapCount; i++)
        if ((p->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            (largest == UINT32_MAX ||
             p->memory.memoryHeaps[i].size > p->memory.memoryHeaps[largest].size))
            largest = i;
    return largest == UINT32_MAX ? 0 : 1u << largest;
}

/* What is left of the heap; the device's word where it gives one, else all. */
static uint64_t heap_free(const struct vk_physical *p,
                          const VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget, uint32_t heap)
{
    if (!p->has_budget)
        return p->memory.memoryHeaps[heap].size;
    const uint64_t have = budget->heapBudget[heap], used = budget->heapUsage[heap];
    return have > used ? have - used : 0;
}

void vk_memory_look(const struct vk *vk, struct vk_physical *p)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
    };
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = p->has_budget ? &budget : NULL,
    };
    vk->api.GetPhysicalDeviceMemoryProperties2(p->handle, &memory);
    p->memory = memory.memoryProperties;
    p->heaps = device_heaps(p);
    p->caps.heap_bytes = p->caps.free_bytes = 0;
    for (uint32_t i = 0; i < p->memory.memoryHeapCount; i++)
        if (p->heaps >> i & 1) {
            p->caps.heap_bytes += p->memory.memoryHeaps[i].size;
            p->caps.free_bytes += heap_free(p, &budget, i);
        }
    /* Not every driver counts what was allocated and never touched. */
    const uint64_t own = num_min(atomic_load(&vk->n_bytes), p->caps.heap_bytes);
    p->caps.free_bytes = num_min(p->caps.free_bytes, p->caps.heap_bytes - own);
}

/* How well a memory type suits a place; 0: not at all. */
static int suits(const struct vk_physical *p, enum vk_place place, uint32_t type)
{
    const VkMemoryPropertyFlags flags = p->memory.memoryTypes[type].propertyFlags;
    const bool local = flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const bool mapped = (flags & HOST) == HOST;
    const bool cached = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const bool ours = p->heaps >> p->memory.memoryTypes[type].heapIndex & 1;
    if (flags & SLOW)
        return 0;
    switch (place) {
    case VK_PLACE_DEVICE:
        /* Reads of cached memory look into the CPU's caches first. */
        if (!ours || (!local && !(p->caps.is_unified && mapped)))
            return 0;
        return 1 + 4 * local + 2 * mapped + !cached;
    case VK_PLACE_UPLOAD: return mapped ? 1 + 2 * !local + !cached : 0;
    case VK_PLACE_READBACK: return mapped ? 1 + 2 * cached + !local : 0;
    }
    return 0;
}

/* The best type of those in allowed, or UINT32_MAX. */
static uint32_t best_type(const struct vk_physical *p, enum vk_place place, uint32_t allowed)
{
    uint32_t best = UINT32_MAX;
    int best_score = 0;
    for (uint32_t i = 0; i < p->memory.memoryTypeCount; i++) {
        const int score = allowed >> i & 1 ? suits(p, place, i) : 0;
        if (score > best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

/* ---- buffers --------------------------------------------------------------------------------- */

static VkResult allocate(struct vk *vk, enum vk_place place, const VkMemoryRequirements *needs,
                         struct vk_buffer *b)
{
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &flags,
        .allocationSize = needs->size,
    };
    uint32_t allowed = needs->memoryTypeBits;
    VkResult r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    while (r == VK_ERROR_OUT_OF_DEVICE_MEMORY) {
        const uint32_t type = best_type(&vk->gpu, place, allowed);
        if (type == UINT32_MAX)
            return r;
        info.memoryTypeIndex = type;
        r = vk->api.AllocateMemory(vk->device, &info, NULL, &b->memory);
        const VkMemoryPropertyFlags found = vk->gpu.memory.memoryTypes[type].propertyFlags;
        const bool may_map = place != VK_PLACE_DEVICE || !vk->is_staged;
        if (r == VK_SUCCESS && may_map && (found & HOST) == HOST)
            return vk->api.MapMemory(vk->device, b->memory, 0, VK_WHOLE_SIZE, 0, &b->host);
        allowed &= ~(1u << type);
    }
    return r;
}

static VkResult make(struct vk *vk, enum vk_place place, struct vk_buffer *b)
{
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = b->n_bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                 VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT,
    };
    VkResult r = vk->api.CreateBuffer(vk->device, &info, NULL, &b->buffer);
    if (r != VK_SUCCESS)
        return r;
    VkMemoryRequirements needs;
    vk->api.GetBufferMemoryRequirements(vk->device, b->buffer, &needs);
    r = allocate(vk, place, &needs, b);
    if (r == VK_SUCCESS)
        r = vk->api.BindBufferMemory(vk->device, b->buffer, b->memory, 0);
    if (r != VK_SUCCESS)
        return r;
    b->address = vk->api.GetBufferDeviceAddress(
        vk->device, &(VkBufferDeviceAddressInfo){
                        .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                        .buffer = b->buffer,
                    });
    return r;
}

static bool does_not_fit(const struct vk_caps *c, uint64_t n_bytes, const char *what, struct err *e)
{
    return err_set(e, ERR_MEMORY,
                   "%s needs %llu MiB of the memory of %s, %llu of %llu MiB are free: use a "
                   "smaller model or context, close other programs that use the device, or run on "
                   "the CPU",
                   what, (unsigned long long)(n_bytes + (1u << MIB_SHIFT) - 1) >> MIB_SHIFT,
                   c->name, (unsigned long long)c->free_bytes >> MIB_SHIFT,
                   (unsigned long long)c->heap_bytes >> MIB_SHIFT);
}

bool vk_buffer_make(struct vk *vk, enum vk_place place, uint64_t n_bytes, const char *what,
                    struct vk_buffer *out, struct err *e)
{
    assert(n_bytes);
    *out = (struct vk_buffer){.n_bytes = n_bytes, .place = place};
    struct vk_physical now = vk->gpu;
    if (n_bytes > vk->gpu.caps.max_alloc)
        return err_set(e, ERR_MEMORY,
                       "%s needs %llu MiB in one piece, %s allocates at most %llu MiB at once",
                       what, (unsigned long long)n_bytes >> MIB_SHIFT, vk->gpu.caps.name,
                       (unsigned long long)vk->gpu.caps.max_alloc >> MIB_SHIFT);
    vk_memory_look(vk, &now);
    /* Some drivers give more than there is and move it out later: refused here, by the numbers. */
    if (place == VK_PLACE_DEVICE && n_bytes > now.caps.free_bytes)
        return does_not_fit(&now.caps, n_bytes, what, e);
    const VkResult r = make(vk, place, out);
    if (r == VK_SUCCESS) {
        if (place == VK_PLACE_DEVICE)
            atomic_fetch_add(&vk->n_bytes, n_bytes);
        return true;
    }
    vk_buffer_free(vk, out);
    if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY || r == VK_ERROR_OUT_OF_HOST_MEMORY)
        return does_not_fit(&now.caps, n_bytes, what, e);
    return vk_failed(vk, r, e, what);
}

void vk_buffer_free(struct vk *vk, struct vk_buffer *b)
{
    if (b->address && b->place == VK_PLACE_DEVICE)
        atomic_fetch_sub(&vk->n_bytes, b->n_bytes);
    const bool is_free = !atomic_load(&vk->is_hung);
    if (b->buffer && is_free)
        vk->api.DestroyBuffer(vk->device, b->buffer, NULL);
    if (b->memory && is_free)
        vk->api.FreeMemory(vk->device, b->memory, NULL);
    *b = (struct vk_buffer){0};
}
