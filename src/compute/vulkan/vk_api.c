#include "compute/vulkan/vk_api.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "base/buf.h"

/* dlsym and the loader return data pointers to functions; C has no cast for that. */
static void set_function(void *field, PFN_vkVoidFunction f)
{
    memcpy(field, &f, sizeof f);
}

static bool missing(const char *name, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "Vulkan: the driver has no function vk%s: Vulkan 1.3 is needed", name);
}

bool vk_api_open(struct vk_api *api, const char *library, struct err *e)
{
    if (!library)
        library = "libvulkan.so.1";
    /* Local, so that a driver's symbols meet nobody else's. */
    api->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!api->library)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: cannot open %s (%s): install the Vulkan loader and a driver "
                       "(Debian: libvulkan1 mesa-vulkan-drivers), or run on the CPU",
                       library, dlerror());
    void *get = dlsym(api->library, "vkGetInstanceProcAddr");
    if (!get)
        return err_set(e, ERR_UNSUPPORTED, "Vulkan: %s is no Vulkan loader", library);
    memcpy(&api->GetInstanceProcAddr, &get, sizeof get);
#define LOAD(name)                                                                                 \
    set_function(&api->name, api->GetInstanceProcAddr(NULL, "vk" #name));                          \
    if (!api->name)                                                                                \
        return missing(#name, e);
    VK_API_LOADER(LOAD)
#undef LOAD
    return true;
}

bool vk_api_load_instance(struct vk_api *api, VkInstance instance, struct err *e)
{
#define LOAD(name) set_function(&api->name, api->GetInstanceProcAddr(instance, "vk" #name));
#define LOAD_NEEDED(name)                                                                          \
    LOAD(name)                                                                                     \
    if (!api->name)                                                                                \
        return missing(#name, e);
    VK_API_INSTANCE(LOAD_NEEDED)
    VK_API_INSTANCE_EXT(LOAD)
#undef LOAD_NEEDED
#undef LOAD
    return true;
}

bool vk_api_load_device(struct vk_api *api, VkDevice device, struct err *e)
{
#define LOAD(name) set_function(&api->name, api->GetDeviceProcAddr(device, "vk" #name));
#define LOAD_NEEDED(name)                                                                          \
    LOAD(name)                                                                                     \
    if (!api->name)                                                                                \
        return missing(#name, e);
    VK_API_DEVICE(LOAD_NEEDED)
    VK_API_DEVICE_EXT(LOAD)
#undef LOAD_NEEDED
#undef LOAD
    return true;
}

/* ---- close ----------------------------------------------------------------------------------- */

/* Appends the library's name and its end. */
static int add_name(struct dl_phdr_info *info, size_t n_bytes, void *ctx)
{
    (void)n_bytes;
    if (info->dlpi_name && *info->dlpi_name) /* not the program */
        buf_put(ctx, info->dlpi_name, strlen(info->dlpi_name) + 1);
    return 0;
}

void vk_api_keep(void)
{
    struct buf names = {0};
    dl_iterate_phdr(add_name, &names); /* which must not open anything itself */
    for (size_t at = 0; at < names.n; at += strlen(names.p + at) + 1) {
        void *library = dlopen(names.p + at, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
        if (library)
            dlclose(library);
    }
    buf_free(&names);
}

void vk_api_close(struct vk_api *api)
{
    if (api->library)
        dlclose(api->library);
    *api = (struct vk_api){0};
}

const char *vk_result_name(VkResult r)
{
#define NAME(value)                                                                                \
    case value: return #value;
    switch ((int)r) {
        NAME(VK_SUCCESS)
        NAME(VK_NOT_READY)
        NAME(VK_TIMEOUT)
        NAME(VK_INCOMPLETE)
        NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAME(VK_ERROR_INITIALIZATION_FAILED)
        NAME(VK_ERROR_DEVICE_LOST)
        NAME(VK_ERROR_MEMORY_MAP_FAILED)
        NAME(VK_ERROR_LAYER_NOT_PRESENT)
        NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAME(VK_ERROR_FEATURE_NOT_PRESENT)
        NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAME(VK_ERROR_TOO_MANY_OBJECTS)
        NAME(VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)
        NAME(VK_ERROR_INVALID_SHADER_NV)
    }
#undef NAME
    return "an unknown error";
}
