#include "server/freeform.h"

#include "base/json.h"
#include "base/utf8.h"

enum { START, BEFORE_KEY, KEY, AFTER_KEY, BEFORE_TEXT, TEXT, ESCAPE, DIGITS, END };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Outside of strings: the state after c. */
static int step(struct freeform *f, char c)
{
    switch (f->state) {
    case START: return c == '{' ? BEFORE_KEY : END;
    case BEFORE_KEY: return c == '"' ? KEY : END;
    case AFTER_KEY: return c == ':' ? BEFORE_TEXT : END;
    case BEFORE_TEXT: return c == '"' ? TEXT : END;
    default: return END;
    }
}

static int step_key(struct freeform *f, char c)
{
    if (c != '"') {
        buf_byte(&f->key, c);
        return f->key.n > 16 ? END : KEY;
    }
    return str_eq(buf_view(&f->key), STR("input")) ? AFTER_KEY : END;
}

/* A surrogate that stays alone becomes U+FFFD, as everywhere. */
static void flush_high(struct freeform *f, struct buf *out)
{
    if (f->high)
        utf8_put(0xfffd, out);
    f->high = 0;
}

static void put_code(struct freeform *f, struct buf *out)
{
    bool low = f->code >= 0xdc00 && f->code < 0xe000;
    if (f->high && low) {
        utf8_put(0x10000 + ((f->high - 0xd800) << 10) + (f->code - 0xdc00), out);
        f->high = 0;
        return;
    }
    flush_high(f, out);
    if (f->code >= 0xd800 && f->code < 0xdc00)
        f->high = f->code;
    else
        utf8_put(f->code, out);
}

static int step_escape(struct freeform *f, char c, struct buf *out)
{
    static const char names[] = "nrtbf", values[] = "\n\r\t\b\f";
    if (c == 'u') {
        f->code = f->n_digits = 0;
        return DIGITS;
    }
    flush_high(f, out);
    for (int i = 0; names[i]; i++)
        if (names[i] == c)
            c = values[i];
    buf_byte(out, c);
    return TEXT;
}

static int step_digit(struct freeform *f, char c, struct buf *out)
{
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 16;
    if (digit == 16)
        return END;
    f->code = f->code << 4 | digit;
    if (++f->n_digits < 4)
        return DIGITS;
    put_code(f, out);
    return TEXT;
}

static int step_text(struct freeform *f, char c, struct buf *out)
{
    if (c == '\\')
        return ESCAPE;
    flush_high(f, out);
    if (c == '"')
        return END;
    buf_byte(out, c);
    return TEXT;
}

void freeform_put(struct freeform *f, str piece, struct buf *out)
{
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        switch (f->state) {
        case KEY: f->state = step_key(f, c); break;
        case TEXT: f->state = step_text(f, c, out); break;
        case ESCAPE: f->state = step_escape(f, c, out); break;
        case DIGITS: f->state = step_digit(f, c, out); break;
        case END: return;
        default:
            if (!is_blank(c))
                f->state = step(f, c);
        }
    }
}

void freeform_free(struct freeform *f)
{
    buf_free(&f->key);
    *f = (struct freeform){0};
}

void freeform_text(str arguments, struct buf *out)
{
    struct err ignored;
    struct json *object = json_parse(arguments, &ignored);
    const struct json *input = json_get(object, "input");
    if (json_type(input) == JSON_STRING) {
        buf_str(out, json_str(input));
    } else {
        struct freeform f = {0};
        size_t before = out->n;
        if (!object) /* cut off: as far as it goes */
            freeform_put(&f, arguments, out);
        freeform_free(&f);
        if (out->n == before)
            buf_str(out, arguments);
    }
    json_free(object);
}
