#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

str str_of(const char *cstring)
{
    return (str){cstring, cstring ? strlen(cstring) : 0};
}

str str_sub(str s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return (str){s.n ? s.p + from : s.p, to - from};
}

bool str_eq(str a, str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_starts(str s, str prefix)
{
    return s.n >= prefix.n && str_eq(str_sub(s, 0, prefix.n), prefix);
}

bool str_ends(str s, str suffix)
{
    return s.n >= suffix.n && str_eq(str_sub(s, s.n - suffix.n, s.n), suffix);
}

size_t str_find(str s, str needle, size_t from)
{
    if (from > s.n || needle.n > s.n - from)
        return SIZE_MAX;
    if (needle.n == 0)
        return from;
    const char *hit = memmem(s.p + from, s.n - from, needle.p, needle.n);
    return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

uint64_t str_hash(uint64_t h, str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

str str_trim(str s)
{
    size_t from = 0;
    size_t to = s.n;
    while (from < to && is_space(s.p[from]))
        from++;
    while (to > from && is_space(s.p[to - 1]))
        to--;
    return str_sub(s, from, to);
}

str str_cut(str s, char sep, str *rest)
{
    const char *hit = s.n ? memchr(s.p, sep, s.n) : NULL;
    size_t at = hit ? (size_t)(hit - s.p) : s.n;
    *rest = hit ? str_sub(s, at + 1, s.n) : str_sub(s, s.n, s.n);
    return str_sub(s, 0, at);
}

/* Copies s into a terminated buffer for strtoll and strtod; longer texts are no numbers. */
static bool number_text(str s, char *text, size_t size)
{
    if (s.n == 0 || s.n >= size || is_space(s.p[0]) || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return true;
}

bool str_to_i64(str s, int64_t *out)
{
    char text[32];
    char *end;
    if (!number_text(s, text, sizeof text))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno)
        return false;
    *out = value;
    return true;
}

bool str_to_f64(str s, double *out)
{
    char text[64];
    char *end;
    if (!number_text(s, text, sizeof text))
        return false;
    double value = strtod(text, &end);
    if (*end)
        return false;
    *out = value;
    return true;
}

void str_blank_control(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}
