#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/vk_int.h"

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"
enum { SOFTWARE_CORES = 4 };

/* ---- validation ------------------------------------------------------------------------------ */

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *ctx)
{
    struct vk *vk = ctx;
    (void)severity;
    (void)types;
    atomic_fetch_add(&vk->n_validation, 1);
    log_warn(&vk->log, "Vulkan: %s", data->pMessage);
    return VK_FALSE;
}

static const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
    .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
    .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
    .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
    .pfnUserCallback = on_message,
};

static bool has_validation_layer(const struct vk_api *api)
{
    uint32_t n = 0;
    bool found = false;
    if (api->EnumerateInstanceLayerProperties(&n, NULL) != VK_SUCCESS || n == 0)
        return false;
    VkLayerProperties *layers = mem_new(n, sizeof *layers);
    if (api->EnumerateInstanceLayerProperties(&n, layers) >= VK_SUCCESS)
        for (uint32_t i = 0; i < n; i++)
            found |= !strcmp(layers[i].layerName, VALIDATION_LAYER);
    free(layers);
    return found;
}

/* ---- instance -------------------------------------------------------------------------------- */

static bool create_instance(struct vk *vk, bool validate, struct err *e)
{
    static const char *const layers[] = {VALIDATION_LAYER};
    static const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    static const VkValidationFeatureEnableEXT checks[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
    };
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .enabledValidationFeatureCount = 1,
        .pEnabledValidationFeatures = checks,
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "tawny",
        .pEngineName = "tawny",
        .apiVersion = VK_API_VERSION_1_3,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = validate ? &features : NULL,
        .pApplicationInfo = &application,
        .enabledLayerCount = validate,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = validate,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult r = vk->api.CreateInstance(&info, NULL, &vk->instance);
    if (r == VK_ERROR_INCOMPATIBLE_DRIVER)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: no driver is installed: install one (Debian: "
                       "mesa-vulkan-drivers), or run on the CPU");
    if (r != VK_SUCCESS)
        return vk_failed(vk, r, e, "opening an instance");
    return true;
}

bool vk_instance_open(struct vk *vk, const struct vk_params *params, struct err *e)
{
    if (!vk_api_open(&vk->api, params->loader, e))
        return false;
    if (params->validate && !has_validation_layer(&vk->api))
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: the layer " VALIDATION_LAYER
                       " is not installed (Debian: vulkan-validationlayers)");
    if (!create_instance(vk, params->validate, e) ||
        !vk_api_load_instance(&vk->api, vk->instance, e))
        return false;
    if (!params->validate)
        return true;
    VkDebugUtilsMessengerCreateInfoEXT info = messenger_info;
    info.pUserData = vk;
    const VkResult r =
        vk->api.CreateDebugUtilsMessengerEXT(vk->instance, &info, NULL, &vk->messenger);
    return r == VK_SUCCESS || vk_failed(vk, r, e, "listening to the validation layer");
}

void vk_instance_close(struct vk *vk)
{
    vk_api_keep();
    if (vk->messenger)
        vk->api.DestroyDebugUtilsMessengerEXT(vk->instance, vk->messenger, NULL);
    if (vk->instance && vk->api.DestroyInstance)
        vk->api.DestroyInstance(vk->instance, NULL);
    vk_api_close(&vk->api);
}

/* ---- devices --------------------------------------------------------------------------------- */

/* A family that computes; better one that does not draw, so that a desktop's frames do not wait. */
static bool find_family(const struct vk_api *api, struct vk_physical *p)
{
    VkQueueFamilyProperties families[32];
    uint32_t n = 32;
    bool found = false;
    api->GetPhysicalDeviceQueueFamilyProperties(p->handle, &n, families);
    for (uint32_t i = 0; i < n; i++) {
        const bool computes = families[i].queueFlags & VK_QUEUE_COMPUTE_BIT;
        const bool draws = families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT;
        if (!computes || (found && draws))
            continue;
        const uint32_t bits = families[i].timestampValidBits;
        p->family = i;
        p->timestamp_mask = bits >= 64 ? UINT64_MAX : (1ull << bits) - 1;
        found = true;
        if (!draws)
            break;
    }
    return found;
}

static bool is_wanted(const VkCooperativeMatrixPropertiesKHR *s)
{
    return s->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && s->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           s->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           s->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && s->scope == VK_SCOPE_SUBGROUP_KHR;
}

/* 16 x 16 x 16 or the first that multiplies f16 into f32. */
static void choose_matrix(struct vk_caps *c, const VkCooperativeMatrixPropertiesKHR *shapes,
                          uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const VkCooperativeMatrixPropertiesKHR *s = &shapes[i];
        const bool is_best = s->MSize == 16 && s->NSize == 16 && s->KSize == 16;
        if (is_wanted(s) && (is_best || !c->matrix_m)) {
            c->matrix_m = s->MSize;
            c->matrix_n = s->NSize;
            c->matrix_k = s->KSize;
        }
    }
    c->matrix_narrow = c->matrix_n;
    for (uint32_t i = 0; i < n; i++)
        if (is_wanted(&shapes[i]) && shapes[i].MSize == c->matrix_m &&
            shapes[i].KSize == c->matrix_k && shapes[i].NSize < c->matrix_narrow)
            c->matrix_narrow = shapes[i].NSize;
}

static void find_matrix(const struct vk *vk, struct vk_physical *p)
{
    const PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR get =
        vk->api.GetPhysicalDeviceCooperativeMatrixPropertiesKHR;
    struct vk_caps *c = &p->caps;
    uint32_t n = 0;
    if (!get || !vk_features_has(&vk->api, p->handle, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME) ||
        get(p->handle, &n, NULL) != VK_SUCCESS)
        return;
    VkCooperativeMatrixPropertiesKHR *shapes = mem_new(n + 1, sizeof *shapes);
    for (uint32_t i = 0; i < n; i++)
        shapes[i].sType = (VkStructureType)VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (get(p->handle, &n, shapes) < VK_SUCCESS)
        n = 0;
    choose_matrix(c, shapes, n);
    free(shapes);
}

static void read_properties(const struct vk *vk, struct vk_physical *p)
{
    VkPhysicalDeviceVulkan13Properties v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES,
    };
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
        .pNext = &v13,
    };
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
        .pNext = &v12,
    };
    VkPhysicalDeviceProperties2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &v11,
    };
    vk->api.GetPhysicalDeviceProperties2(p->handle, &all);
    p->core = all.properties;
    const VkPhysicalDeviceLimits *limits = &p->core.limits;
    struct vk_caps *c = &p->caps;
    snprintf(c->name, sizeof c->name, "%s", p->core.deviceName);
    snprintf(c->driver, sizeof c->driver, "%.120s %.120s", v12.driverName, v12.driverInfo);
    c->is_software = p->core.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    c->is_unified = c->is_software || p->core.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    const bool can_choose = v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
    c->subgroup_min = can_choose ? v13.minSubgroupSize : v11.subgroupSize;
    c->subgroup_max = can_choose ? v13.maxSubgroupSize : v11.subgroupSize;
    c->shared_bytes = limits->maxComputeSharedMemorySize;
    c->max_workgroup = limits->maxComputeWorkGroupInvocations;
    c->max_alloc = v13.maxBufferSize < v11.maxMemoryAllocationSize ? v13.maxBufferSize
                                                                   : v11.maxMemoryAllocationSize;
    c->timestamp_ns = p->timestamp_mask ? limits->timestampPeriod : 0;
    c->has_dot = v13.integerDotProduct4x8BitPackedSignedAccelerated;
}

/* Only vendors' extensions say it. A software device counts as a small one, so that what depends on
 * it is tried there, too. */
static uint32_t count_cores(const struct vk *vk, const struct vk_physical *p)
{
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nvidia = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceShaderCoreProperties2AMD amd = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (vk_features_has(&vk->api, p->handle, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        all.pNext = &nvidia;
    else if (vk_features_has(&vk->api, p->handle, VK_AMD_SHADER_CORE_PROPERTIES_2_EXTENSION_NAME))
        all.pNext = &amd;
    else
        return p->caps.is_software ? SOFTWARE_CORES : 0;
    vk->api.GetPhysicalDeviceProperties2(p->handle, &all);
    return nvidia.shaderSMCount + amd.activeComputeUnitCount;
}

static void read_device(const struct vk *vk, struct vk_physical *p)
{
    const struct vk_api *api = &vk->api;
    struct vk_features features;
    struct err why;
    p->has_family = find_family(api, p);
    p->has_budget = vk_features_has(api, p->handle, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    p->has_executable =
        vk_features_has(api, p->handle, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    read_properties(vk, p);
    p->caps.n_cores = count_cores(vk, p);
    find_matrix(vk, p);
    vk_memory_look(vk, p);
    p->is_usable = vk_features_choose(vk, p, &features, &why);
    if (!p->is_usable || !features.matrix.cooperativeMatrix)
        p->caps.matrix_m = p->caps.matrix_n = p->caps.matrix_k = p->caps.matrix_narrow = 0;
}

struct vk_physical *vk_instance_devices(const struct vk *vk, uint32_t *n, struct err *e)
{
    VkPhysicalDevice handles[64];
    *n = 64;
    const VkResult r = vk->api.EnumeratePhysicalDevices(vk->instance, n, handles);
    if (r < VK_SUCCESS) {
        err_set(e, ERR_UNSUPPORTED, "Vulkan: listing the devices: %s", vk_result_name(r));
        return NULL;
    }
    struct vk_physical *all = mem_new(*n + 1, sizeof *all);
    for (uint32_t i = 0; i < *n; i++) {
        all[i].handle = handles[i];
        read_device(vk, &all[i]);
    }
    return all;
}
