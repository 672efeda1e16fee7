#include "base/sum.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they are");

/* Odd numbers with as many ones as zeros, as wyhash has them. */
static const uint64_t keys[4] = {0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u,
                                 0x589965cc75374cc3u};

static uint64_t fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word(const uint8_t *at)
{
    uint64_t w;
    memcpy(&w, at, sizeof w);
    return w;
}

uint64_t sum64(uint64_t seed, const void *bytes, size_t n)
{
    enum { LANES = 4, STEP = LANES * 16 };
    const uint8_t *at = bytes;
    uint64_t lane[LANES], sum = seed ^ fold(n ^ keys[0], keys[1]);
    size_t left = n;
    for (int i = 0; i < LANES; i++)
        lane[i] = seed ^ keys[i];
    for (; left >= STEP; left -= STEP, at += STEP)
        for (int i = 0; i < LANES; i++)
            lane[i] = fold(word(at + 16 * i) ^ keys[i], word(at + 16 * i + 8) ^ lane[i]);
    for (int i = 0; i < LANES; i++)
        sum = fold(sum ^ keys[i], lane[i] ^ keys[3 - i]);
    for (; left > 0; left -= left < 8 ? left : 8, at += 8) {
        uint64_t w = 0;
        memcpy(&w, at, left < 8 ? left : 8);
        sum = fold(sum ^ keys[1], w ^ keys[2]);
    }
    return sum;
}
