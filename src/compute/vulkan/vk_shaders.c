#include "compute/vulkan/vk_shaders.h"

/* The assembler reads the files; paths are relative to the folder that make runs in. */
#define EMBED(upper, lower)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".balign 4\n"                                                                          \
            "vk_spv_" #lower ":\n"                                                                 \
            ".incbin \"src/compute/vulkan/shaders/" #lower ".spv\"\n"                              \
            "vk_spv_" #lower "_end:\n"                                                             \
            ".popsection\n");                                                                      \
    extern const uint32_t vk_spv_##lower[] __attribute__((visibility("hidden")));                  \
    extern const uint32_t vk_spv_##lower##_end[] __attribute__((visibility("hidden")));
VK_SHADERS(EMBED)
#undef EMBED

#define ROW(upper, lower) {#lower, vk_spv_##lower, vk_spv_##lower##_end},
static const struct shader {
    const char *name;
    const uint32_t *code, *end;
} shaders[] = {VK_SHADERS(ROW)};
#undef ROW

const uint32_t *vk_shader_code(enum vk_shader shader, size_t *n_bytes)
{
    *n_bytes = (size_t)((const char *)shaders[shader].end - (const char *)shaders[shader].code);
    return shaders[shader].code;
}

const char *vk_shader_name(enum vk_shader shader)
{
    return shaders[shader].name;
}
