/* The driver's pipeline cache as a file: a header that says whose it is and that it is whole, then
 * the driver's bytes. Drivers check little of what they are handed. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "compute/vulkan/vk_int.h"

struct head {
    char magic[8];
    uint32_t version;
    uint32_t vendor, device, driver; /* of the physical device */
    uint8_t uuid[VK_UUID_SIZE];
    uint64_t n_bytes; /* of what follows */
    uint64_t sum;
};
_Static_assert(sizeof(struct head) == 56, "the header has no padding");

enum { VERSION = 1, MAX_BYTES = 256 << 20 };
static const char MAGIC[8] = {'t', 'a', 'w', 'n', 'y', 'v', 'k', 'c'};

static struct head head_for(const struct vk_physical *p, const void *data, size_t n)
{
    struct head h = {
        .version = VERSION,
        .vendor = p->core.vendorID,
        .device = p->core.deviceID,
        .driver = p->core.driverVersion,
        .n_bytes = n,
        .sum = str_hash(STR_HASH, (str){(const char *)data, n}),
    };
    memcpy(h.magic, MAGIC, sizeof h.magic);
    memcpy(h.uuid, p->core.pipelineCacheUUID, sizeof h.uuid);
    return h;
}

/* Whether file is a header for this device and driver and the bytes that it promises. */
static bool is_ours(const struct vk_physical *p, const struct buf *file)
{
    if (file->n < sizeof(struct head))
        return false;
    const struct head want =
        head_for(p, file->p + sizeof(struct head), file->n - sizeof(struct head));
    return !memcmp(&want, file->p, sizeof want);
}

void vk_cache_open(struct vk *vk, const char *path, struct vk_cache *out)
{
    struct buf file = {0};
    struct err e;
    bool ours = false;
    if (path && access(path, F_OK) == 0) {
        ours = file_read_all(path, MAX_BYTES, &file, &e) && is_ours(&vk->gpu, &file);
        if (!ours)
            log_info(&vk->log,
                     "%s is damaged or of another device or driver: compiling the shaders again",
                     path);
    }
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (ours) {
        info.initialDataSize = file.n - sizeof(struct head);
        info.pInitialData = file.p + sizeof(struct head);
    }
    out->n_bytes = info.initialDataSize;
    /* Without a cache everything is compiled: slower, nothing else. */
    if (vk->api.CreatePipelineCache(vk->device, &info, NULL, &out->handle) != VK_SUCCESS)
        out->handle = VK_NULL_HANDLE;
    buf_free(&file);
}

static bool write_file(const char *path, const struct head *head, const void *data, size_t n,
                       struct err *e)
{
    struct file_out f = {0};
    const bool ok = file_create(&f, path, e) && file_write_at(&f, 0, head, sizeof *head, e) &&
                    file_write_at(&f, sizeof *head, data, n, e) && file_commit(&f, e);
    file_abandon(&f);
    return ok;
}

void vk_cache_save(struct vk *vk, const char *path, struct vk_cache *cache)
{
    size_t n = 0;
    struct err e;
    if (!cache->handle ||
        vk->api.GetPipelineCacheData(vk->device, cache->handle, &n, NULL) != VK_SUCCESS ||
        n <= cache->n_bytes || n > MAX_BYTES - sizeof(struct head))
        return;
    void *data = mem_new(n, 1);
    if (vk->api.GetPipelineCacheData(vk->device, cache->handle, &n, data) == VK_SUCCESS) {
        cache->n_bytes = n;
        const struct head head = head_for(&vk->gpu, data, n);
        file_make_folders(path);
        if (!write_file(path, &head, data, n, &e))
            log_warn(&vk->log, "the cache of compiled shaders was not written: %s", e.msg);
    }
    free(data);
}
