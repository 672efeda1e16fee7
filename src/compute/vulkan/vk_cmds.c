#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "compute/vulkan/vk_int.h"

enum { STAMPS_PER_POOL = 256 };

struct stamp {
    const char *label;
    uint32_t layer;
};

struct vk_cmds {
    struct vk *vk;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkPipeline bound;
    uint32_t n_dispatches, n_barriers;
    uint64_t number; /* of the newest submit; 0: never */

    /* Stamps, STAMPS_PER_POOL to a query pool; ticks of the last run that was waited for. */
    struct stamp *stamps;
    VkQueryPool *queries;
    uint64_t *ticks;
    uint32_t n_stamps, n_queries;
    VkResult failure; /* while recording: reported at the end */
};

/* ---- recording ------------------------------------------------------------------------------- */

struct vk_cmds *vk_cmds_begin(struct vk *vk, struct err *e)
{
    struct vk_cmds *c = mem_new(1, sizeof *c);
    c->vk = vk;
    if (!vk_command_buffer(vk, &c->pool, &c->commands, e) ||
        !vk_commands_begin(vk, c->commands, e)) {
        vk_cmds_free(c);
        return NULL;
    }
    /* What was submitted before is finished and seen. */
    vk_barrier(&vk->api, c->commands, VK_BETWEEN_ALL);
    return c;
}

static void bind(struct vk_cmds *c, VkPipeline pipeline, const void *push, uint32_t n_push)
{
    const struct vk_api *api = &c->vk->api;
    assert(n_push <= VK_PUSH_BYTES && n_push % 4 == 0);
    if (c->bound != pipeline)
        api->CmdBindPipeline(c->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    c->bound = pipeline;
    if (n_push)
        api->CmdPushConstants(c->commands, c->vk->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, n_push,
                              push);
    c->n_dispatches++;
}

void vk_cmds_dispatch(struct vk_cmds *c, VkPipeline pipeline, const void *push, uint32_t n_push,
                      uint32_t x, uint32_t y, uint32_t z)
{
    bind(c, pipeline, push, n_push);
    c->vk->api.CmdDispatch(c->commands, x, y, z);
}

void vk_cmds_dispatch_indirect(struct vk_cmds *c, VkPipeline pipeline, const void *push,
                               uint32_t n_push, const struct vk_buffer *b, uint64_t offset)
{
    assert(offset % 4 == 0 && offset + sizeof(VkDispatchIndirectCommand) <= b->n_bytes);
    bind(c, pipeline, push, n_push);
    c->vk->api.CmdDispatchIndirect(c->commands, b->buffer, offset);
}

void vk_cmds_barrier(struct vk_cmds *c)
{
    vk_barrier(&c->vk->api, c->commands, VK_BETWEEN_ALL);
    c->n_barriers++;
}

void vk_cmds_barrier_dispatches(struct vk_cmds *c)
{
    vk_barrier(&c->vk->api, c->commands, VK_BETWEEN_DISPATCHES);
    c->n_barriers++;
}

void vk_cmds_copy(struct vk_cmds *c, const struct vk_buffer *from, uint64_t from_offset,
                  const struct vk_buffer *to, uint64_t to_offset, uint64_t n_bytes)
{
    assert(from_offset <= from->n_bytes && n_bytes <= from->n_bytes - from_offset);
    assert(to_offset <= to->n_bytes && n_bytes <= to->n_bytes - to_offset);
    c->vk->api.CmdCopyBuffer(c->commands, from->buffer, to->buffer, 1,
                             &(VkBufferCopy){from_offset, to_offset, n_bytes});
}

/* One more pool of queries, reset at the place of its first stamp in every run. */
static bool grow_stamps(struct vk_cmds *c)
{
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = STAMPS_PER_POOL,
    };
    const uint32_t n = c->n_queries + 1;
    VkQueryPool made;
    c->failure = c->vk->api.CreateQueryPool(c->vk->device, &info, NULL, &made);
    if (c->failure != VK_SUCCESS)
        return false;
    c->queries = mem_grow(c->queries, n, sizeof *c->queries);
    c->stamps = mem_grow(c->stamps, (size_t)n * STAMPS_PER_POOL, sizeof *c->stamps);
    c->ticks = mem_grow(c->ticks, (size_t)n * STAMPS_PER_POOL, sizeof *c->ticks);
    c->queries[c->n_queries++] = made;
    c->vk->api.CmdResetQueryPool(c->commands, made, 0, STAMPS_PER_POOL);
    return true;
}

void vk_cmds_stamp(struct vk_cmds *c, const char *label, uint32_t layer)
{
    if (c->failure != VK_SUCCESS || c->vk->gpu.timestamp_mask == 0)
        return;
    if (c->n_stamps == c->n_queries * STAMPS_PER_POOL && !grow_stamps(c))
        return;
    c->vk->api.CmdWriteTimestamp2(c->commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                                  c->queries[c->n_queries - 1], c->n_stamps % STAMPS_PER_POOL);
    c->stamps[c->n_stamps++] = (struct stamp){label, layer};
}

bool vk_cmds_end(struct vk_cmds *c, struct err *e)
{
    if (c->failure != VK_SUCCESS)
        return vk_failed(c->vk, c->failure, e, "making timestamps");
    vk_barrier(&c->vk->api, c->commands, VK_BETWEEN_ALL_AND_HOST);
    return vk_commands_end(c->vk, c->commands, e);
}

void vk_cmds_free(struct vk_cmds *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->n_queries && !atomic_load(&c->vk->is_hung); i++)
        c->vk->api.DestroyQueryPool(c->vk->device, c->queries[i], NULL);
    vk_command_pool_free(c->vk, c->pool);
    free(c->queries);
    free(c->stamps);
    free(c->ticks);
    free(c);
}

uint32_t vk_cmds_dispatches(const struct vk_cmds *c)
{
    return c->n_dispatches;
}

uint32_t vk_cmds_barriers(const struct vk_cmds *c)
{
    return c->n_barriers;
}

/* ---- timestamps ------------------------------------------------------------------------------ */

/* Fetches the ticks of the last run. */
static bool read_ticks(struct vk_cmds *c)
{
    for (uint32_t i = 0; i < c->n_queries; i++) {
        const uint32_t from = i * STAMPS_PER_POOL;
        const uint32_t n = i + 1 < c->n_queries ? STAMPS_PER_POOL : c->n_stamps - from;
        const VkResult r = c->vk->api.GetQueryPoolResults(c->vk->device, c->queries[i], 0, n,
                                                          n * sizeof *c->ticks, c->ticks + from,
                                                          sizeof *c->ticks, VK_QUERY_RESULT_64_BIT);
        if (r != VK_SUCCESS)
            return false;
    }
    return true;
}

bool vk_cmds_stamp_get(struct vk_cmds *c, uint32_t i, struct vk_stamp *out)
{
    if (i >= c->n_stamps || (i == 0 && !read_ticks(c)))
        return false;
    const struct vk_physical *gpu = &c->vk->gpu;
    /* The counter may wrap between two. */
    const uint64_t since = i ? (c->ticks[i] - c->ticks[i - 1]) & gpu->timestamp_mask : 0;
    *out = (struct vk_stamp){.label = c->stamps[i].label,
                             .layer = c->stamps[i].layer,
                             .at_ns = (double)c->ticks[i] * gpu->caps.timestamp_ns,
                             .ns = (double)since * gpu->caps.timestamp_ns};
    return true;
}

/* ---- submits --------------------------------------------------------------------------------- */

bool vk_submit(struct vk *vk, struct vk_cmds *c, struct err *e)
{
    return vk_queue_submit(vk, c->commands, &c->number, e);
}

bool vk_wait(struct vk *vk, uint32_t timeout_ms, struct err *e)
{
    return vk_queue_drain(vk, timeout_ms, e);
}

bool vk_wait_cmds(struct vk *vk, const struct vk_cmds *c, uint32_t timeout_ms, struct err *e)
{
    return vk_queue_wait(vk, c->number, timeout_ms, e);
}
