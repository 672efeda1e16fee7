/* Copies between host memory and buffers that are waited for. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/vk_int.h"

enum { STAGING_BYTES = 8 << 20 };

struct vk_staging {
    struct vk_buffer up, down;
    VkCommandPool pool;
    VkCommandBuffer commands;
};

void vk_staging_close(struct vk *vk)
{
    struct vk_staging *s = vk->staging;
    vk_buffer_free(vk, &s->up);
    vk_buffer_free(vk, &s->down);
    vk_command_pool_free(vk, s->pool);
    free(s);
    vk->staging = NULL;
}

static bool staging_open(struct vk *vk, struct err *e)
{
    if (vk->staging)
        return true;
    struct vk_staging *s = vk->staging = mem_new(1, sizeof *s);
    if (vk_command_buffer(vk, &s->pool, &s->commands, e) &&
        vk_buffer_make(vk, VK_PLACE_UPLOAD, STAGING_BYTES, "a buffer for uploads", &s->up, e) &&
        vk_buffer_make(vk, VK_PLACE_READBACK, STAGING_BYTES, "a buffer for reads", &s->down, e))
        return true;
    vk_staging_close(vk);
    return false;
}

/* One copy or, with from NULL, a fill with zeros; waits for it. */
static bool transfer(struct vk *vk, const struct vk_buffer *from, uint64_t from_offset,
                     const struct vk_buffer *to, uint64_t to_offset, uint64_t n_bytes,
                     struct err *e)
{
    const struct vk_api *api = &vk->api;
    VkCommandBuffer commands = vk->staging->commands;
    uint64_t number;
    if (!vk_commands_begin(vk, commands, e))
        return false;
    vk_barrier(api, commands, VK_BETWEEN_ALL);
    if (from)
        api->CmdCopyBuffer(commands, from->buffer, to->buffer, 1,
                           &(VkBufferCopy){from_offset, to_offset, n_bytes});
    else
        api->CmdFillBuffer(commands, to->buffer, to_offset, n_bytes, 0);
    vk_barrier(api, commands, VK_BETWEEN_ALL_AND_HOST);
    return vk_commands_end(vk, commands, e) && vk_queue_submit(vk, commands, &number, e) &&
           vk_queue_wait(vk, number, VK_COPY_TIMEOUT_MS, e);
}

bool vk_write(struct vk *vk, const struct vk_buffer *b, uint64_t offset, const void *data,
              uint64_t n_bytes, struct err *e)
{
    assert(offset <= b->n_bytes && n_bytes <= b->n_bytes - offset);
    if (b->host) {
        memcpy((char *)b->host + offset, data, n_bytes);
        return true;
    }
    pthread_mutex_lock(&vk->staging_lock);
    bool ok = staging_open(vk, e);
    for (uint64_t done = 0; ok && done < n_bytes;) {
        const uint64_t n = num_min(n_bytes - done, STAGING_BYTES);
        memcpy(vk->staging->up.host, (const char *)data + done, n);
        ok = transfer(vk, &vk->staging->up, 0, b, offset + done, n, e);
        done += n;
    }
    pthread_mutex_unlock(&vk->staging_lock);
    return ok;
}

bool vk_read(struct vk *vk, const struct vk_buffer *b, uint64_t offset, void *out, uint64_t n_bytes,
             struct err *e)
{
    assert(offset <= b->n_bytes && n_bytes <= b->n_bytes - offset);
    if (b->host) {
        memcpy(out, (const char *)b->host + offset, n_bytes);
        return true;
    }
    pthread_mutex_lock(&vk->staging_lock);
    bool ok = staging_open(vk, e);
    for (uint64_t done = 0; ok && done < n_bytes;) {
        const uint64_t n = num_min(n_bytes - done, STAGING_BYTES);
        ok = transfer(vk, b, offset + done, &vk->staging->down, 0, n, e);
        if (ok)
            memcpy((char *)out + done, vk->staging->down.host, n);
        done += n;
    }
    pthread_mutex_unlock(&vk->staging_lock);
    return ok;
}

bool vk_fill_zero(struct vk *vk, const struct vk_buffer *b, uint64_t offset, uint64_t n_bytes,
                  struct err *e)
{
    assert(offset % 4 == 0 && n_bytes % 4 == 0);
    assert(offset <= b->n_bytes && n_bytes <= b->n_bytes - offset);
    if (n_bytes == 0)
        return true;
    if (b->host) {
        memset((char *)b->host + offset, 0, n_bytes);
        return true;
    }
    pthread_mutex_lock(&vk->staging_lock);
    const bool ok = staging_open(vk, e) && transfer(vk, NULL, 0, b, offset, n_bytes, e);
    pthread_mutex_unlock(&vk->staging_lock);
    return ok;
}
