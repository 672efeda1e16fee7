// Prompts' attention by cooperative matrices.
#version 460
#include "flash_matrix.glsl"
