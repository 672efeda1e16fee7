#include "text/presplit.h"

/* What a scanner walks over. */
struct scan {
    const struct uclass *u;
    const unsigned char *s;
    size_t n;
};

static inline unsigned class_at(const struct scan *t, size_t i, size_t *len)
{
    return uclass_at(t->u, t->s, i, t->n, len);
}

/* First position at or after i whose character has a flag of mask (want false) or none (want true).
 */
static inline size_t run(const struct scan *t, size_t i, unsigned mask, bool want)
{
    size_t len;
    while (i < t->n && ((class_at(t, i, &len) & mask) != 0) == want)
        i += len;
    return i;
}

static size_t run_numbers(const struct scan *t, size_t i, int n_max)
{
    size_t len;
    for (int k = 0; k < n_max && i < t->n && class_at(t, i, &len) & UC_NUMBER; k++)
        i += len;
    return i;
}

/* Length of 's 't 're 've 'm 'll 'd at i, 0 if there is none. With fold any case, which by Unicode
 * takes in U+017F, the long s. */
static size_t contraction(const struct scan *t, size_t i, bool fold)
{
    if (i + 1 >= t->n || t->s[i] != '\'')
        return 0;
    unsigned char low = fold ? 0x20 : 0;
    unsigned char a = t->s[i + 1] | low;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if (i + 2 >= t->n)
        return 0;
    unsigned char b = t->s[i + 2] | low;
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    return fold && t->s[i + 1] == 0xc5 && t->s[i + 2] == 0xbf ? 3 : 0;
}

/* White space at i for "\s+(?!\S)|\s+": all of a run but its last character, which goes to the word
 * behind it; the whole run at the end of the text. With to_eol, "\s*[\r\n]+" comes first: up to the
 * last line end inside the run. */
static size_t white_space(const struct scan *t, size_t i, bool to_eol)
{
    size_t end = i, last = i, eol = i, len;
    while (end < t->n) {
        unsigned flags = class_at(t, end, &len);
        if (!(flags & UC_SPACE))
            break;
        last = end;
        end += len;
        if (flags & UC_EOL)
            eol = end;
    }
    if (to_eol && eol > i)
        return eol;
    return end < t->n && last > i ? last : end;
}

/* " ?[^\s\p{L}\p{N}]+" at i (known: the class flags that end it), then a tail of line ends and,
 * with slash, of '/'. Returns i when it does not fit. */
static size_t other(const struct scan *t, size_t i, unsigned known)
{
    size_t from = i + (t->s[i] == ' ');
    size_t end = run(t, from, known, false);
    return end > from ? end : i;
}

static size_t next_gpt2(const struct scan *t, size_t i)
{
    size_t len, end = contraction(t, i, false);
    if (end)
        return i + end;
    size_t from = i + (t->s[i] == ' ');
    unsigned flags = from < t->n ? class_at(t, from, &len) : UC_SPACE;
    if (flags & UC_LETTER)
        return run(t, from, UC_LETTER, true);
    if (flags & UC_NUMBER)
        return run(t, from, UC_NUMBER, true);
    if (!(flags & UC_SPACE))
        return run(t, from, UC_SPACE | UC_LETTER | UC_NUMBER, false);
    return white_space(t, i, false);
}

/* The family of qwen2, qwen35 and llama3: word says which classes make up words. */
static size_t next_qwen(const struct scan *t, size_t i, unsigned word, int n_digits)
{
    size_t len, len_next, end = contraction(t, i, true);
    if (end)
        return i + end;
    unsigned flags = class_at(t, i, &len);
    if (flags & word)
        return run(t, i + len, word, true);
    if (flags & UC_NUMBER)
        return run_numbers(t, i, n_digits);
    if (!(flags & UC_EOL) && i + len < t->n && class_at(t, i + len, &len_next) & word)
        return run(t, i + len + len_next, word, true);
    end = other(t, i, UC_SPACE | UC_NUMBER | word);
    if (end > i)
        return run(t, end, UC_EOL, true);
    return white_space(t, i, true);
}

/* "U*L+" at b, or with heads_only "U+", U = UC_UPPER and L = UC_LOWER. Greedy heads that leave
 * nothing for the tail give characters back from the right, up to the last that can be a tail too
 * (Lm, Lo, M). Returns b when it does not fit. */
static size_t cased_word(const struct scan *t, size_t b, bool heads_only)
{
    size_t end = b, tail_end = b, len;
    while (end < t->n) {
        unsigned flags = class_at(t, end, &len);
        if (!(flags & UC_UPPER))
            break;
        end += len;
        if (flags & UC_LOWER)
            tail_end = end;
    }
    if (heads_only)
        return end;
    size_t tails = run(t, end, UC_LOWER, true);
    return tails > end ? tails : tail_end;
}

static size_t next_o200k(const struct scan *t, size_t i)
{
    size_t len, end;
    unsigned flags = class_at(t, i, &len);
    bool lead = !(flags & (UC_EOL | UC_LETTER | UC_NUMBER));
    for (int heads_only = 0; heads_only <= 1; heads_only++) {
        if (lead && (end = cased_word(t, i + len, heads_only)) > i + len)
            return end + contraction(t, end, true);
        if ((end = cased_word(t, i, heads_only)) > i)
            return end + contraction(t, end, true);
    }
    if (flags & UC_NUMBER)
        return run_numbers(t, i, 3);
    end = other(t, i, UC_SPACE | UC_LETTER | UC_NUMBER);
    if (end == i)
        return white_space(t, i, true);
    while (end < t->n && (t->s[end] == '\r' || t->s[end] == '\n' || t->s[end] == '/'))
        end++;
    return end;
}

size_t presplit_next(enum presplit_rules rules, const struct uclass *u, str text, size_t at)
{
    struct scan t = {u, (const unsigned char *)text.p, text.n};
    switch (rules) {
    case PRESPLIT_GPT2: return next_gpt2(&t, at);
    case PRESPLIT_QWEN2: return next_qwen(&t, at, UC_LETTER, 1);
    case PRESPLIT_QWEN35: return next_qwen(&t, at, UC_LETTER | UC_MARK, 1);
    case PRESPLIT_LLAMA3: return next_qwen(&t, at, UC_LETTER, 3);
    case PRESPLIT_O200K: return next_o200k(&t, at);
    }
    return text.n;
}
