#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/vk_int.h"

enum { MIN_SLOTS = 4, MAX_SLOTS = 16 };

struct vk_upload_slot {
    struct vk_buffer staging;
    VkCommandPool pool;
    VkCommandBuffer commands;
    uint64_t number; /* of its last copy's submit */
    bool is_taken;
};

struct vk_upload {
    struct vk *vk;
    pthread_mutex_t lock;
    pthread_cond_t given; /* a slot is free to take */
    uint64_t piece_bytes;
    uint32_t n_slots;
    struct vk_upload_slot slots[MAX_SLOTS];
};

/* Enough that each processor fills a piece while others are on their way. */
static uint32_t count_slots(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return (uint32_t)num_min(num_max(n < 0 ? 0 : (size_t)n + 2, MIN_SLOTS), MAX_SLOTS);
}

static void free_all(struct vk_upload *u)
{
    for (uint32_t i = 0; i < u->n_slots; i++) {
        vk_buffer_free(u->vk, &u->slots[i].staging);
        vk_command_pool_free(u->vk, u->slots[i].pool);
    }
    pthread_cond_destroy(&u->given);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

struct vk_upload *vk_upload_begin(struct vk *vk, uint64_t piece_bytes)
{
    struct vk_upload *u = mem_new(1, sizeof *u);
    u->vk = vk;
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->given, NULL);
    u->n_slots = count_slots();
    u->piece_bytes = piece_bytes;
    return u;
}

/* The slot whose copy was submitted first of those that nobody fills; NULL: none. */
static struct vk_upload_slot *oldest(struct vk_upload *u)
{
    struct vk_upload_slot *found = NULL;
    for (uint32_t i = 0; i < u->n_slots; i++)
        if (!u->slots[i].is_taken && (!found || u->slots[i].number < found->number))
            found = &u->slots[i];
    return found;
}

/* Buffers come with the first piece: where the destination is mapped none are needed. */
static bool slot_open(struct vk_upload *u, struct vk_upload_slot *s, struct err *e)
{
    if (!s->staging.buffer && !vk_buffer_make(u->vk, VK_PLACE_UPLOAD, u->piece_bytes,
                                              "a buffer for uploads", &s->staging, e))
        return false;
    return s->commands || vk_command_buffer(u->vk, &s->pool, &s->commands, e);
}

bool vk_upload_take(struct vk_upload *u, const struct vk_buffer *b, uint64_t offset,
                    uint64_t n_bytes, struct vk_piece *out, struct err *e)
{
    assert(offset <= b->n_bytes && n_bytes <= b->n_bytes - offset);
    *out = (struct vk_piece){.b = b, .offset = offset, .n_bytes = n_bytes};
    if (b->host) {
        out->host = (char *)b->host + offset;
        return true;
    }
    assert(n_bytes <= u->piece_bytes);
    pthread_mutex_lock(&u->lock);
    struct vk_upload_slot *s;
    while (!(s = oldest(u)))
        pthread_cond_wait(&u->given, &u->lock);
    s->is_taken = true;
    pthread_mutex_unlock(&u->lock);
    out->slot = s;
    if (!slot_open(u, s, e) || !vk_queue_wait(u->vk, s->number, VK_COPY_TIMEOUT_MS, e)) {
        vk_upload_drop(u, out);
        return false;
    }
    out->host = s->staging.host;
    return true;
}

/* Lets others take the slot. */
static void release(struct vk_upload *u, struct vk_upload_slot *s)
{
    pthread_mutex_lock(&u->lock);
    s->is_taken = false;
    pthread_cond_signal(&u->given);
    pthread_mutex_unlock(&u->lock);
}

void vk_upload_drop(struct vk_upload *u, struct vk_piece *piece)
{
    if (piece->slot)
        release(u, piece->slot);
    piece->slot = NULL;
}

bool vk_upload_give(struct vk_upload *u, struct vk_piece *piece, struct err *e)
{
    struct vk_upload_slot *s = piece->slot;
    if (!s)
        return true; /* written in place */
    const VkBufferCopy copy = {0, piece->offset, piece->n_bytes};
    bool ok = vk_commands_begin(u->vk, s->commands, e);
    if (ok) {
        u->vk->api.CmdCopyBuffer(s->commands, s->staging.buffer, piece->b->buffer, 1, &copy);
        ok = vk_commands_end(u->vk, s->commands, e) &&
             vk_queue_submit(u->vk, s->commands, &s->number, e);
    }
    vk_upload_drop(u, piece);
    return ok;
}

bool vk_upload_piece(struct vk_upload *u, const struct vk_buffer *b, uint64_t offset,
                     const void *data, uint64_t n_bytes, struct err *e)
{
    struct vk_piece piece;
    if (n_bytes == 0)
        return true;
    if (!vk_upload_take(u, b, offset, n_bytes, &piece, e))
        return false;
    memcpy(piece.host, data, n_bytes);
    return vk_upload_give(u, &piece, e);
}

bool vk_upload_end(struct vk_upload *u, struct err *e)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < u->n_slots; i++)
        ok = vk_queue_wait(u->vk, u->slots[i].number, VK_COPY_TIMEOUT_MS, e);
    free_all(u);
    return ok;
}
