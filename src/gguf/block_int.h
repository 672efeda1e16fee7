/* block_int: what the block files share. Decoders and encoders have the signatures of struct
 * block_info and may be given blocks at any alignment. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define BLOCK_DECODER(type) void block_decode_##type(const void *blocks, float *out, size_t n)
#define BLOCK_ENCODER(type) void block_encode_##type(const float *in, void *blocks, size_t n)

BLOCK_DECODER(f32);
BLOCK_DECODER(f16);
BLOCK_DECODER(bf16);
BLOCK_DECODER(q4_0);
BLOCK_DECODER(q4_1);
BLOCK_DECODER(q5_0);
BLOCK_DECODER(q5_1);
BLOCK_DECODER(q8_0);
BLOCK_DECODER(iq4_nl);
BLOCK_DECODER(mxfp4);
BLOCK_DECODER(q2_k);
BLOCK_DECODER(q3_k);
BLOCK_DECODER(q4_k);
BLOCK_DECODER(q5_k);
BLOCK_DECODER(q6_k);
BLOCK_DECODER(iq4_xs);

BLOCK_ENCODER(f32);
BLOCK_ENCODER(f16);
BLOCK_ENCODER(bf16);
BLOCK_ENCODER(q4_0);
BLOCK_ENCODER(q4_1);
BLOCK_ENCODER(q5_0);
BLOCK_ENCODER(q5_1);
BLOCK_ENCODER(q8_0);
BLOCK_ENCODER(iq4_nl);
BLOCK_ENCODER(mxfp4);
BLOCK_ENCODER(q4_k);
BLOCK_ENCODER(q5_k);
BLOCK_ENCODER(q6_k);

/* Files are little-endian and blocks of 17, 18 or 34 bytes have no alignment. */
static inline uint16_t block_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t block_load32(const uint8_t *p)
{
    return (uint32_t)block_load16(p) | (uint32_t)block_load16(p + 2) << 16;
}

static inline void block_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
