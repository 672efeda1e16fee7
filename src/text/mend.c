#include "text/mend.h"

#include <string.h>

#include "base/utf8.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static str held(const struct mend *m)
{
    return (str){m->held, m->n_held};
}

static void hold(struct mend *m, char c)
{
    m->held[m->n_held++] = c;
}

/* ---- inside strings ---- */

static void put_unknown(struct mend *m, struct buf *out)
{
    buf_str(out, STR("\xef\xbf\xbd"));
    m->mended = true;
}

/* The first half of a pair stood alone. */
static void drop_high(struct mend *m, struct buf *out)
{
    if (m->high[0])
        put_unknown(m, out);
    m->high[0] = 0;
}

/* Could more bytes make a UTF-8 sequence of s, which has at least one and is none yet? */
static bool is_head(const unsigned char *s, size_t n)
{
    if (utf8_need(s[0]) <= n || (n > 1 && !utf8_second_ok(s[0], s[1])))
        return false;
    return n < 3 || (s[2] & 0xc0) == 0x80;
}

/* What is held of a sequence and cannot become one; the rest is looked at again. */
static void settle_bytes(struct mend *m, bool more, struct buf *out)
{
    uint32_t cp;
    while (m->n_held) {
        const unsigned char *s = (const unsigned char *)m->held;
        size_t n = utf8_decode(s, m->n_held, &cp);
        if (n == 0 && more && is_head(s, m->n_held))
            return;
        if (n)
            buf_put(out, s, n);
        else
            put_unknown(m, out);
        n = n ? n : 1;
        m->n_held -= (uint32_t)n;
        memmove(m->held, m->held + n, m->n_held);
    }
}

static void end_string(struct mend *m, struct buf *out)
{
    buf_byte(out, '"');
    m->mended |= m->quote != '"';
    m->state = m->in_name ? MEND_COLON : MEND_AFTER;
}

static void put_control(struct mend *m, char c, struct buf *out)
{
    static const char codes[] = "\b\f\n\r\t", letters[] = "bfnrt";
    const char *hit = c ? strchr(codes, c) : NULL;
    if (c == 0 && m->in_name) /* json refuses it there */
        put_unknown(m, out);
    else if (hit)
        buf_fmt(out, "\\%c", letters[hit - codes]);
    else
        buf_fmt(out, "\\u%04x", (unsigned)c);
    m->mended = true;
}

static void string_byte(struct mend *m, char c, struct buf *out)
{
    bool high_bit = (unsigned char)c >= 0x80;
    if (c != '\\')
        drop_high(m, out);
    if (high_bit)
        hold(m, c);
    settle_bytes(m, high_bit, out);
    if (high_bit)
        return;
    if (c == '\\')
        m->state = MEND_ESCAPE;
    else if (c == m->quote)
        end_string(m, out);
    else if (c == '"')
        buf_str(out, STR("\\\""));
    else if ((unsigned char)c < 0x20)
        put_control(m, c, out);
    else
        buf_byte(out, c);
}

static void escape_byte(struct mend *m, char c, struct buf *out)
{
    m->state = MEND_STRING;
    if (c == 'u') {
        m->state = MEND_UNICODE;
        return;
    }
    drop_high(m, out);
    if (strchr("\"\\/bfnrt", c) && c) {
        buf_byte(out, '\\');
        buf_byte(out, c);
        return;
    }
    m->mended = true;
    if (c != '\'')
        buf_str(out, STR("\\\\"));
    if (c == '\'')
        buf_byte(out, c);
    else
        string_byte(m, c, out);
}

/* Four digits were read. */
static void put_unicode(struct mend *m, uint32_t unit, struct buf *out)
{
    bool is_high = unit >= 0xd800 && unit < 0xdc00, is_low = unit >= 0xdc00 && unit < 0xe000;
    bool is_pair = is_low && m->high[0];
    if (is_pair) {
        buf_fmt(out, "\\u%.4s", m->high);
        m->high[0] = 0;
    }
    drop_high(m, out);
    if (is_high)
        memcpy(m->high, m->held, sizeof m->high);
    else if ((is_low && !is_pair) || (unit == 0 && m->in_name))
        put_unknown(m, out);
    else
        buf_fmt(out, "\\u%.4s", m->held);
}

static void unicode_byte(struct mend *m, char c, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    char lower = c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c;
    if (c && strchr(digits, lower)) {
        hold(m, c);
        if (m->n_held < 4)
            return;
        uint32_t unit = 0;
        for (int i = 0; i < 4; i++) {
            lower = m->held[i] >= 'A' && m->held[i] <= 'F' ? (char)(m->held[i] | 0x20) : m->held[i];
            unit = unit << 4 | (uint32_t)(strchr(digits, lower) - digits);
        }
        m->state = MEND_STRING;
        put_unicode(m, unit, out);
        m->n_held = 0;
        return;
    }
    drop_high(m, out);
    buf_str(out, STR("\\\\u"));
    buf_str(out, held(m));
    m->n_held = 0;
    m->mended = true;
    m->state = MEND_STRING;
    string_byte(m, c, out);
}

/* ---- structure ---- */

static void break_off(struct mend *m)
{
    m->state = MEND_BROKEN;
}

/* A word is complete. */
static void end_word(struct mend *m, struct buf *out)
{
    static const char *const python[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    str word = held(m);
    m->state = MEND_AFTER;
    m->n_held = 0;
    if (json_scan(word) == word.n) {
        buf_str(out, word);
        return;
    }
    for (size_t i = 0; i < sizeof python / sizeof *python; i++) {
        if (str_eq(word, str_of(python[i][0]))) {
            buf_str(out, str_of(python[i][1]));
            m->mended = true;
            return;
        }
    }
    break_off(m);
}

/* The comma that is held has something behind it. */
static void put_held(struct mend *m, struct buf *out)
{
    buf_str(out, held(m));
    m->n_held = 0;
}

/* May a bracket close here? */
static bool can_close(const struct mend *m)
{
    return m->depth && (m->state == MEND_AFTER || m->state == MEND_FIRST || m->state == MEND_NEXT);
}

/* Drops a comma that is held, but not the white space behind it. */
static void drop_comma(struct mend *m, struct buf *out)
{
    if (m->state != MEND_NEXT)
        return;
    buf_str(out, str_sub(held(m), 1, SIZE_MAX));
    m->n_held = 0;
    m->mended = true;
}

static void pop(struct mend *m, struct buf *out)
{
    buf_byte(out, m->stack[--m->depth] == '{' ? '}' : ']');
    m->state = m->depth ? MEND_AFTER : MEND_DONE;
}

static void close_bracket(struct mend *m, char c, struct buf *out)
{
    char open = c == '}' ? '{' : '[';
    uint32_t at = m->depth;
    while (at > 0 && m->stack[at - 1] != open)
        at--;
    if (at == 0 || !can_close(m)) {
        break_off(m);
        return;
    }
    drop_comma(m, out);
    m->mended |= at < m->depth;
    while (m->depth >= at)
        pop(m, out);
}

static void open_value(struct mend *m, char c, struct buf *out)
{
    if (c == '{' || c == '[') {
        if (m->depth == MEND_MAX_DEPTH) {
            break_off(m);
            return;
        }
        m->stack[m->depth++] = c;
        m->state = MEND_FIRST;
        buf_byte(out, c);
    } else if (c == '"' || c == '\'') {
        m->quote = c;
        m->in_name = false;
        m->state = MEND_STRING;
        buf_byte(out, '"');
    } else if (c == '-' || (c >= '0' && c <= '9') || is_name(c)) {
        m->state = MEND_WORD;
        hold(m, c);
    } else {
        break_off(m);
    }
}

static void open_name(struct mend *m, char c, struct buf *out)
{
    if (c == '"' || c == '\'') {
        m->quote = c;
        m->in_name = true;
        m->state = MEND_STRING;
        buf_byte(out, '"');
    } else if (is_name(c)) {
        m->state = MEND_NAME;
        m->mended = true;
        buf_byte(out, '"');
        buf_byte(out, c);
    } else {
        break_off(m);
    }
}

static void open_next(struct mend *m, char c, struct buf *out)
{
    put_held(m, out);
    if (m->depth == 0 && c != '{' && c != '[')
        break_off(m);
    else if (m->depth && m->stack[m->depth - 1] == '{')
        open_name(m, c, out);
    else
        open_value(m, c, out);
}

/* A byte outside of strings and words. */
static void outer_byte(struct mend *m, char c, struct buf *out)
{
    if (is_blank(c)) {
        if (m->state != MEND_NEXT)
            buf_byte(out, c);
        else if (m->n_held < MEND_MAX_HELD)
            hold(m, c);
        else
            m->mended = true;
        return;
    }
    if (c == '}' || c == ']') {
        close_bracket(m, c, out);
        return;
    }
    switch (m->state) {
    case MEND_FIRST:
    case MEND_NEXT: open_next(m, c, out); break;
    case MEND_VALUE: open_value(m, c, out); break;
    case MEND_COLON:
        if (c != ':') {
            break_off(m);
            return;
        }
        m->state = MEND_VALUE;
        buf_byte(out, c);
        break;
    case MEND_AFTER:
        if (c != ',') {
            break_off(m);
            return;
        }
        m->state = MEND_NEXT;
        hold(m, c);
        break;
    case MEND_STRING:
    case MEND_ESCAPE:
    case MEND_UNICODE:
    case MEND_WORD:
    case MEND_NAME:
    case MEND_DONE:
    case MEND_BROKEN: break;
    }
}

static void word_byte(struct mend *m, char c, struct buf *out)
{
    bool ends = is_blank(c) || memchr(",:]}{[\"'<", c, 9);
    if (!ends && m->n_held < MEND_MAX_WORD) {
        hold(m, c);
        return;
    }
    end_word(m, out);
    if (!ends)
        break_off(m);
    else if (m->state == MEND_AFTER)
        outer_byte(m, c, out);
}

static void name_byte(struct mend *m, char c, struct buf *out)
{
    if (is_name(c) || (c >= '0' && c <= '9') || c == '-') {
        buf_byte(out, c);
        return;
    }
    buf_byte(out, '"');
    m->state = MEND_COLON;
    outer_byte(m, c, out);
}

size_t mend_put(struct mend *m, str text, struct buf *out)
{
    size_t i = 0;
    for (; i < text.n && m->state != MEND_DONE && m->state != MEND_BROKEN; i++) {
        char c = text.p[i];
        switch (m->state) {
        case MEND_STRING: string_byte(m, c, out); break;
        case MEND_ESCAPE: escape_byte(m, c, out); break;
        case MEND_UNICODE: unicode_byte(m, c, out); break;
        case MEND_WORD: word_byte(m, c, out); break;
        case MEND_NAME: name_byte(m, c, out); break;
        case MEND_FIRST:
        case MEND_VALUE:
        case MEND_NEXT:
        case MEND_COLON:
        case MEND_AFTER: outer_byte(m, c, out); break;
        case MEND_DONE:
        case MEND_BROKEN: break;
        }
    }
    return m->state == MEND_BROKEN && i ? i - 1 : i;
}

bool mend_in_string(const struct mend *m)
{
    return m->state == MEND_STRING || m->state == MEND_ESCAPE || m->state == MEND_UNICODE;
}

bool mend_close(struct mend *m, struct buf *out)
{
    if (m->state == MEND_WORD)
        end_word(m, out);
    if (m->state == MEND_DONE)
        return true;
    if (!can_close(m)) {
        break_off(m);
        return false;
    }
    drop_comma(m, out);
    m->mended = true;
    while (m->depth)
        pop(m, out);
    return true;
}
