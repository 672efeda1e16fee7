/* vk_shaders: the compute shaders built into the program. shaders/NAME.comp is VK_SHADER_NAME; its
 * SPIR-V is committed beside it (CONTRIBUTING.md, "Shaders"). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "compute/vulkan/vk_shader_list.h"

#define VK_SHADER_ID(upper, lower) VK_SHADER_##upper,
enum vk_shader { VK_SHADERS(VK_SHADER_ID) VK_N_SHADERS };
#undef VK_SHADER_ID

/* The SPIR-V of a shader: whole 32-bit words; n_bytes is set. */
const uint32_t *vk_shader_code(enum vk_shader shader, size_t *n_bytes);
/* "affine", ... */
const char *vk_shader_name(enum vk_shader shader);
