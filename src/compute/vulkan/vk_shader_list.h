/* vk_shader_list: the names of the shaders built in. Written by `make spirv`. */
#pragma once

/* clang-format off */
#define VK_SHADERS(X) \
    X(AFFINE, affine) \
    /* end */
/* clang-format on */
