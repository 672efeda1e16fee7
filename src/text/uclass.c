#include "text/uclass.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

/* The White_Space property of PropList.txt, which utf8proc does not carry. */
static bool is_white_space(uint32_t cp)
{
    return (cp >= 0x9 && cp <= 0xd) || cp == 0x20 || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

static unsigned category_flags(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return UC_LETTER | UC_UPPER;
    case UTF8PROC_CATEGORY_LL: return UC_LETTER | UC_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return UC_LETTER | UC_UPPER | UC_LOWER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return UC_MARK | UC_UPPER | UC_LOWER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return UC_NUMBER;
    default: return 0;
    }
}

/* Marks cp when NFC changes it alone, and the last character of its decomposition when that can be
 * composed again with what stands before it (NFC_Quick_Check No and Maybe of UAX #15). */
static void mark_renorm(uint8_t *all, uint32_t cp)
{
    utf8proc_int32_t parts[8];
    int boundary = 0;
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)cp);
    if (property->combining_class != 0)
        all[cp] |= UC_RENORM;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 8, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > 8 || (n == 1 && parts[0] == (utf8proc_int32_t)cp))
        return;
    uint32_t last = (uint32_t)parts[n - 1];
    utf8proc_ssize_t n_composed =
        utf8proc_normalize_utf32(parts, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n_composed == 1 && parts[0] == (utf8proc_int32_t)cp)
        all[last] |= UC_RENORM;
    else
        all[cp] |= UC_RENORM;
}

/* Planes 4 to 13 have had no character in any version so far, 15 and 16 are private use: no flags,
 * and three quarters of the work saved. */
static bool is_empty_plane(uint32_t cp)
{
    return cp >= 0x40000 && cp >> 16 != 14;
}

static void fill(uint8_t *all)
{
    for (uint32_t cp = 0; cp < UC_N_CODE_POINTS; cp++) {
        if (is_empty_plane(cp))
            continue;
        utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
        all[cp] |= (uint8_t)category_flags(c);
        if (is_white_space(cp))
            all[cp] |= UC_SPACE;
        if (c != UTF8PROC_CATEGORY_CN && c != UTF8PROC_CATEGORY_CO && c != UTF8PROC_CATEGORY_CS)
            mark_renorm(all, cp);
    }
    all['\r'] |= UC_EOL;
    all['\n'] |= UC_EOL;
}

/* Keeps one copy of each distinct block. A block is mostly like the one before it; else it is
 * looked for among those kept so far, newest first. */
static void compact(struct uclass *u, const uint8_t *all)
{
    size_t n_kept = 0, k = 0;
    u->flags = mem_new(UC_N_CODE_POINTS, 1);
    for (size_t b = 0; b < UC_N_CODE_POINTS >> UC_BLOCK_BITS; b++) {
        const uint8_t *block = all + (b << UC_BLOCK_BITS);
        if (b == 0 || memcmp(block - UC_BLOCK, block, UC_BLOCK) != 0) {
            k = n_kept;
            while (k > 0 && memcmp(u->flags + ((k - 1) << UC_BLOCK_BITS), block, UC_BLOCK) != 0)
                k--;
        }
        if (k == 0) {
            memcpy(u->flags + (n_kept << UC_BLOCK_BITS), block, UC_BLOCK);
            k = ++n_kept;
        }
        u->block[b] = (uint16_t)(k - 1);
    }
    u->flags = mem_grow(u->flags, n_kept << UC_BLOCK_BITS, 1);
}

struct uclass *uclass_open(void)
{
    struct uclass *u = mem_new(1, sizeof *u);
    uint8_t *all = mem_new(UC_N_CODE_POINTS, 1);
    fill(all);
    compact(u, all);
    free(all);
    return u;
}

void uclass_close(struct uclass *u)
{
    if (!u)
        return;
    free(u->flags);
    free(u);
}
