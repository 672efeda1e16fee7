/* vk_api: Vulkan's headers and the functions of its loader, found at run time: a program without
 * Vulkan starts. Written for the headers of Debian 12 (1.3.239); what is newer is declared here. */
#pragma once
#include <stdbool.h>

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "base/err.h"

/* The extension of 2023, values and layouts of the registry. */
#ifndef VK_KHR_cooperative_matrix
#define VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME "VK_KHR_cooperative_matrix"
enum {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR = 1000506000,
    VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR = 1000506001,
    VK_COMPONENT_TYPE_FLOAT16_KHR = 0,
    VK_COMPONENT_TYPE_FLOAT32_KHR = 1,
    VK_SCOPE_SUBGROUP_KHR = 3,
};
typedef struct {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix;
    VkBool32 cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
typedef struct {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize, NSize, KSize;
    uint32_t AType, BType, CType, ResultType; /* component types */
    VkBool32 saturatingAccumulation;
    uint32_t scope;
} VkCooperativeMatrixPropertiesKHR;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)(
    VkPhysicalDevice, uint32_t *, VkCooperativeMatrixPropertiesKHR *);
#endif

/* clang-format off */
/* Found without an instance. */
#define VK_API_LOADER(X) \
    X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties)
#define VK_API_INSTANCE(X) \
    X(DestroyInstance) X(EnumeratePhysicalDevices) X(EnumerateDeviceExtensionProperties) \
    X(GetPhysicalDeviceProperties2) X(GetPhysicalDeviceFeatures2) \
    X(GetPhysicalDeviceMemoryProperties2) X(GetPhysicalDeviceQueueFamilyProperties) \
    X(CreateDevice) X(GetDeviceProcAddr)
#define VK_API_DEVICE(X) \
    X(DestroyDevice) X(DeviceWaitIdle) X(GetDeviceQueue) \
    X(CreateBuffer) X(DestroyBuffer) X(GetBufferMemoryRequirements) X(AllocateMemory) \
    X(FreeMemory) X(BindBufferMemory) X(MapMemory) X(GetBufferDeviceAddress) \
    X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineLayout) \
    X(DestroyPipelineLayout) X(CreateComputePipelines) X(DestroyPipeline) \
    X(CreatePipelineCache) X(DestroyPipelineCache) X(GetPipelineCacheData) \
    X(CreateCommandPool) X(DestroyCommandPool) X(AllocateCommandBuffers) \
    X(BeginCommandBuffer) X(EndCommandBuffer) \
    X(CmdBindPipeline) X(CmdPushConstants) X(CmdDispatch) X(CmdDispatchIndirect) \
    X(CmdCopyBuffer) X(CmdFillBuffer) X(CmdPipelineBarrier2) X(CmdResetQueryPool) \
    X(CmdWriteTimestamp2) X(CreateQueryPool) X(DestroyQueryPool) X(GetQueryPoolResults) \
    X(CreateSemaphore) X(DestroySemaphore) X(GetSemaphoreCounterValue) X(WaitSemaphores) \
    X(QueueSubmit2)
/* Of extensions: NULL where they are absent. */
#define VK_API_INSTANCE_EXT(X) \
    X(CreateDebugUtilsMessengerEXT) X(DestroyDebugUtilsMessengerEXT) \
    X(GetPhysicalDeviceCooperativeMatrixPropertiesKHR)
#define VK_API_DEVICE_EXT(X) \
    X(GetPipelineExecutablePropertiesKHR) X(GetPipelineExecutableStatisticsKHR) \
    X(GetPipelineExecutableInternalRepresentationsKHR)
/* clang-format on */

/* The functions by their names without "vk". */
struct vk_api {
    void *library;
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define VK_API_FIELD(name) PFN_vk##name name;
    VK_API_LOADER(VK_API_FIELD)
    VK_API_INSTANCE(VK_API_FIELD)
    VK_API_INSTANCE_EXT(VK_API_FIELD)
    VK_API_DEVICE(VK_API_FIELD)
    VK_API_DEVICE_EXT(VK_API_FIELD)
#undef VK_API_FIELD
};

/* Opens the loader library (NULL: libvulkan.so.1) and finds the functions that need no instance.
 * ERR_UNSUPPORTED says what to install. */
bool vk_api_open(struct vk_api *api, const char *library, struct err *e);
/* Finds the functions of an instance; those of a device. ERR_UNSUPPORTED names a missing one. */
bool vk_api_load_instance(struct vk_api *api, VkInstance instance, struct err *e);
bool vk_api_load_device(struct vk_api *api, VkDevice device, struct err *e);
/* What the process has loaded by now stays until it ends. To be called before an instance is
 * destroyed, with which the loader closes the drivers: a driver that comes and goes takes new room
 * for its thread-local variables each time, of which glibc has little and does not get all back,
 * so that after some 15 times it can no longer be loaded. Any thread. */
void vk_api_keep(void);
/* Safe on a zeroed struct. */
void vk_api_close(struct vk_api *api);
/* "VK_ERROR_DEVICE_LOST", ... */
const char *vk_result_name(VkResult r);
