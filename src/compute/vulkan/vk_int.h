/* vk_int: what the files of the device layer share. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "compute/vulkan/vk.h"

/* Everything there is to know about a physical device before it is opened. */
struct vk_physical {
    VkPhysicalDevice handle;
    VkPhysicalDeviceProperties core;
    VkPhysicalDeviceMemoryProperties memory;
    bool has_family;
    uint32_t family;         /* of queues: compute, without graphics where there is such */
    uint64_t timestamp_mask; /* valid bits; 0: no timestamps */
    uint32_t heaps;          /* mask of those that VK_PLACE_DEVICE takes */
    bool has_budget;         /* VK_EXT_memory_budget */
    bool has_executable;     /* VK_KHR_pipeline_executable_properties */
    bool is_usable;          /* it has all features that are needed */
    struct vk_caps caps;
};

struct vk {
    struct vk_api api;
    struct log log;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    atomic_uint n_validation;
    struct vk_physical gpu;
    VkDevice device;
    VkPipelineLayout layout; /* no sets, VK_PUSH_BYTES of push constants */

    /* The queue and the number of the newest submit, which the timeline reaches when it ends. */
    pthread_mutex_t queue_lock;
    VkQueue queue;
    VkSemaphore timeline;
    uint64_t n_submits;
    atomic_int *lose_in; /* of vk_params */
    atomic_bool is_lost;
    atomic_bool is_hung; /* a submit was not waited for to its end: nothing that it uses is freed */

    /* Memory. */
    bool is_staged;        /* device memory is not mapped, though it could be */
    atomic_ullong n_bytes; /* of VK_PLACE_DEVICE */
    pthread_mutex_t staging_lock;
    struct vk_staging *staging; /* of vk_write and vk_read; NULL until it is needed */

    bool has_statistics; /* pipelines keep them */
    struct vk_pipelines *pipelines;
};

/* ---- instance and devices (vk_instance.c) -----------------------------------------------------
 */

/* Opens the loader and makes the instance. On failure vk_instance_close has to be called too. */
bool vk_instance_open(struct vk *vk, const struct vk_params *params, struct err *e);
void vk_instance_close(struct vk *vk);
/* All devices of the instance in the loader's order, looked at. The caller frees it. */
struct vk_physical *vk_instance_devices(const struct vk *vk, uint32_t *n, struct err *e);

/* The one that params ask for, an index. ERR_USAGE where none is meant, ERR_UNSUPPORTED where only
 * software is left that nobody asked for (vk_choose.c). */
bool vk_choose(const struct vk_physical *all, uint32_t n, const struct vk_params *params,
               uint32_t *found, struct err *e);

/* ---- features (vk_features.c) -----------------------------------------------------------------
 */

struct vk_features {
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable;
};
/* Fills f with what to enable, chained. ERR_UNSUPPORTED names the first feature that is missing. */
bool vk_features_choose(const struct vk *vk, const struct vk_physical *p, struct vk_features *f,
                        struct err *e);
/* Whether the device has the extension. */
bool vk_features_has(const struct vk_api *api, VkPhysicalDevice device, const char *extension);

/* ---- submits (vk_queue.c) ---------------------------------------------------------------------
 */

/* Turns a result into e: ERR_MEMORY, ERR_DEVICE (and marks the device as lost) or ERR_UNSUPPORTED;
 * "Vulkan: what: VK_ERROR_...". Returns false. */
bool vk_failed(struct vk *vk, VkResult r, struct err *e, const char *what);
/* A pool with one command buffer in it; nothing on failure. */
bool vk_command_buffer(struct vk *vk, VkCommandPool *pool, VkCommandBuffer *commands,
                       struct err *e);
/* Frees it with its buffer; pool may be NULL. */
void vk_command_pool_free(struct vk *vk, VkCommandPool pool);
/* Begins recording, from nothing; ends it. */
bool vk_commands_begin(struct vk *vk, VkCommandBuffer commands, struct err *e);
bool vk_commands_end(struct vk *vk, VkCommandBuffer commands, struct err *e);
/* Who a memory barrier is between: dispatches alone (drivers wait for copies and indirect counts by
 * dearer means), everything on the device, or that and then the host. */
enum vk_between { VK_BETWEEN_DISPATCHES, VK_BETWEEN_ALL, VK_BETWEEN_ALL_AND_HOST };
void vk_barrier(const struct vk_api *api, VkCommandBuffer commands, enum vk_between between);
/* Submits one command buffer; *number is what the timeline reaches when it has ended. Any thread.
 */
bool vk_queue_submit(struct vk *vk, VkCommandBuffer commands, uint64_t *number, struct err *e);
/* Waits until the timeline has reached number; asleep. Any thread. ERR_DEVICE. */
bool vk_queue_wait(struct vk *vk, uint64_t number, uint32_t timeout_ms, struct err *e);
/* Waits for all that was submitted; a device that hung and did come to its end is usable again. */
bool vk_queue_drain(struct vk *vk, uint32_t timeout_ms, struct err *e);
/* How long a copy of our own may take before the device counts as hung; how long vk_close waits. */
enum { VK_COPY_TIMEOUT_MS = 30000, VK_CLOSE_TIMEOUT_MS = 5000 };

/* ---- memory (vk_memory.c, vk_copy.c) ----------------------------------------------------------
 */

/* Fills in the heaps and what is free on them. */
void vk_memory_look(const struct vk *vk, struct vk_physical *p);
/* Frees vk->staging. */
void vk_staging_close(struct vk *vk);

/* ---- pipelines (vk_pipeline.c, vk_cache.c) ----------------------------------------------------
 */

bool vk_pipelines_open(struct vk *vk, const char *cache_path, struct err *e);
void vk_pipelines_close(struct vk *vk);

struct vk_cache {
    VkPipelineCache handle; /* NULL when the driver refused */
    size_t n_bytes;         /* as in the file */
};
/* Makes a cache from the file; empty when there is none, or one that is damaged or not of this
 * device and driver. path may be NULL. */
void vk_cache_open(struct vk *vk, const char *path, struct vk_cache *out);
/* Rewrites the file when the cache has grown. A failure is logged. */
void vk_cache_save(struct vk *vk, const char *path, struct vk_cache *cache);
