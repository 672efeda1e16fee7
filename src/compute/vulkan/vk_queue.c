#include "compute/vulkan/vk_int.h"

bool vk_failed(struct vk *vk, VkResult r, struct err *e, const char *what)
{
    switch ((int)r) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return err_set(e, ERR_MEMORY, "Vulkan: %s: the device's memory is full (%s)", what,
                       vk_result_name(r));
    case VK_ERROR_DEVICE_LOST:
        atomic_store(&vk->is_lost, true);
        return err_set(e, ERR_DEVICE,
                       "Vulkan: %s: the device %s was lost: its driver or the system reset it (the "
                       "kernel's log says why)",
                       what, vk->gpu.caps.name);
    default: return err_set(e, ERR_UNSUPPORTED, "Vulkan: %s: %s", what, vk_result_name(r));
    }
}

/* ---- command buffers ------------------------------------------------------------------------- */

void vk_command_pool_free(struct vk *vk, VkCommandPool pool)
{
    if (pool && !atomic_load(&vk->is_hung))
        vk->api.DestroyCommandPool(vk->device, pool, NULL);
}

bool vk_command_buffer(struct vk *vk, VkCommandPool *pool, VkCommandBuffer *commands, struct err *e)
{
    const VkCommandPoolCreateInfo pool_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = vk->gpu.family,
    };
    VkResult r = vk->api.CreateCommandPool(vk->device, &pool_info, NULL, pool);
    if (r != VK_SUCCESS)
        return vk_failed(vk, r, e, "making a command pool");
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = *pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    r = vk->api.AllocateCommandBuffers(vk->device, &info, commands);
    if (r == VK_SUCCESS)
        return true;
    vk_command_pool_free(vk, *pool);
    *pool = VK_NULL_HANDLE;
    *commands = VK_NULL_HANDLE;
    return vk_failed(vk, r, e, "making a command buffer");
}

bool vk_commands_begin(struct vk *vk, VkCommandBuffer commands, struct err *e)
{
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
    };
    const VkResult r = vk->api.BeginCommandBuffer(commands, &info);
    return r == VK_SUCCESS || vk_failed(vk, r, e, "recording commands");
}

bool vk_commands_end(struct vk *vk, VkCommandBuffer commands, struct err *e)
{
    const VkResult r = vk->api.EndCommandBuffer(commands);
    return r == VK_SUCCESS || vk_failed(vk, r, e, "recording commands");
}

void vk_barrier(const struct vk_api *api, VkCommandBuffer commands, enum vk_between between)
{
    const bool all = between != VK_BETWEEN_DISPATCHES, host = between == VK_BETWEEN_ALL_AND_HOST;
    const VkPipelineStageFlags2 work =
        VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT |
        (all ? VK_PIPELINE_STAGE_2_COPY_BIT | VK_PIPELINE_STAGE_2_CLEAR_BIT : 0);
    const VkMemoryBarrier2 memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = work,
        .srcAccessMask =
            VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | (all ? VK_ACCESS_2_TRANSFER_WRITE_BIT : 0),
        .dstStageMask = work | (all ? VK_PIPELINE_STAGE_2_DRAW_INDIRECT_BIT : 0) |
                        (host ? VK_PIPELINE_STAGE_2_HOST_BIT : 0),
        .dstAccessMask = VK_ACCESS_2_SHADER_STORAGE_READ_BIT |
                         VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT |
                         (all ? VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT |
                                    VK_ACCESS_2_INDIRECT_COMMAND_READ_BIT
                              : 0) |
                         (host ? VK_ACCESS_2_HOST_READ_BIT : 0),
    };
    const VkDependencyInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
        .memoryBarrierCount = 1,
        .pMemoryBarriers = &memory,
    };
    api->CmdPipelineBarrier2(commands, &info);
}

/* ---- queue ----------------------------------------------------------------------------------- */

static bool check_usable(const struct vk *vk, struct err *e)
{
    if (atomic_load(&vk->is_lost))
        return err_set(e, ERR_DEVICE, "Vulkan: the device %s was lost before", vk->gpu.caps.name);
    if (atomic_load(&vk->is_hung))
        return err_set(e, ERR_DEVICE, "Vulkan: the device %s has not finished what came before",
                       vk->gpu.caps.name);
    return true;
}

/* Whether a test wants the device lost with this submit. What came before has ended then, as behind
 * a real loss. */
static bool is_to_be_lost(struct vk *vk)
{
    struct err e;
    return vk->lose_in && atomic_fetch_sub(vk->lose_in, 1) == 1 &&
           vk_queue_drain(vk, VK_COPY_TIMEOUT_MS, &e);
}

bool vk_queue_submit(struct vk *vk, VkCommandBuffer commands, uint64_t *number, struct err *e)
{
    if (!check_usable(vk, e))
        return false;
    if (is_to_be_lost(vk))
        return vk_failed(vk, VK_ERROR_DEVICE_LOST, e, "submitting");
    const VkCommandBufferSubmitInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
        .commandBuffer = commands,
    };
    pthread_mutex_lock(&vk->queue_lock);
    const VkSemaphoreSubmitInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
        .semaphore = vk->timeline,
        .value = vk->n_submits + 1,
        .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
    };
    const VkSubmitInfo2 info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &signal,
    };
    const VkResult r = vk->api.QueueSubmit2(vk->queue, 1, &info, VK_NULL_HANDLE);
    if (r == VK_SUCCESS)
        *number = ++vk->n_submits;
    pthread_mutex_unlock(&vk->queue_lock);
    return r == VK_SUCCESS || vk_failed(vk, r, e, "submitting");
}

bool vk_queue_wait(struct vk *vk, uint64_t number, uint32_t timeout_ms, struct err *e)
{
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &vk->timeline,
        .pValues = &number,
    };
    if (atomic_load(&vk->is_lost))
        return check_usable(vk, e);
    const VkResult r = vk->api.WaitSemaphores(vk->device, &info, timeout_ms * 1000000ull);
    if (r == VK_SUCCESS)
        return true;
    if (r != VK_TIMEOUT)
        return vk_failed(vk, r, e, "waiting for the device");
    atomic_store(&vk->is_hung, true);
    return err_set(e, ERR_DEVICE, "Vulkan: the device %s did not finish within %u ms: it hangs",
                   vk->gpu.caps.name, timeout_ms);
}

bool vk_queue_drain(struct vk *vk, uint32_t timeout_ms, struct err *e)
{
    pthread_mutex_lock(&vk->queue_lock);
    const uint64_t number = vk->n_submits;
    pthread_mutex_unlock(&vk->queue_lock);
    if (!vk_queue_wait(vk, number, timeout_ms, e))
        return false;
    atomic_store(&vk->is_hung, false);
    return true;
}
