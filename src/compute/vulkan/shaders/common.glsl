// What every shader declares: the extensions they share. All data is reached through 64-bit
// addresses in the push constants (compute/vulkan/vk.h), so there are no bindings.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_control_flow_attributes : require
