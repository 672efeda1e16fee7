/* vk_shader_list: the names of the shaders built in. Written by `make spirv`. */
#pragma once

/* clang-format off */
#define VK_SHADERS(X) \
    X(ADD_PROJECT, add_project) \
    X(AFFINE, affine) \
    X(ATTEND, attend) \
    X(ATTEND_MATRIX, attend_matrix) \
    X(CHOOSE, choose) \
    X(COMBINE, combine) \
    X(DELTA, delta) \
    X(DELTA_CHUNK, delta_chunk) \
    X(DELTA_CONV, delta_conv) \
    X(DELTA_GATE, delta_gate) \
    X(DELTA_SCAN, delta_scan) \
    X(EMBED, embed) \
    X(EXPERTS_DOWN, experts_down) \
    X(FLASH, flash) \
    X(FLASH_MATRIX, flash_matrix) \
    X(FLASH_MATRIX_WIDE, flash_matrix_wide) \
    X(GEMM, gemm) \
    X(GEMM_MATRIX, gemm_matrix) \
    X(GLU, glu) \
    X(HEAD, head) \
    X(HEAD_PRODUCT, head_product) \
    X(HEADS, heads) \
    X(LATENT, latent) \
    X(PICK, pick) \
    X(PROJECT, project) \
    X(ROUTE, route) \
    X(ROWS, rows) \
    X(TILES, tiles) \
    /* end */
/* clang-format on */
