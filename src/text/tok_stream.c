#include "base/utf8.h"
#include "text/tok_int.h"

/* Is b[0, n), n = 1 to 3, the head of a longer UTF-8 sequence? */
static bool is_head(const unsigned char *b, size_t n)
{
    if (utf8_need(b[0]) <= n || (n > 1 && !utf8_second_ok(b[0], b[1])))
        return false;
    return n < 3 || (b[2] & 0xc0) == 0x80;
}

void tok_stream_put(struct tok_stream *s, int32_t id, struct buf *out)
{
    enum tok_type type = tok_type(s->tok, id);
    bool hidden = type == TOK_CONTROL || type == TOK_UNKNOWN;
    if (type == TOK_UNUSED || (hidden && !s->show_special))
        return;
    str piece = tok_bytes(s->tok, id);
    size_t n = s->n_held + piece.n;

    unsigned char last[3]; /* of what is held and the piece behind it */
    size_t n_last = n < 3 ? n : 3;
    for (size_t i = 0; i < n_last; i++) {
        size_t at = n - n_last + i;
        last[i] = at < s->n_held ? s->held[at] : (unsigned char)piece.p[at - s->n_held];
    }
    size_t n_head = n_last;
    while (n_head > 0 && !is_head(last + n_last - n_head, n_head))
        n_head--;

    size_t n_out = n - n_head;
    size_t n_from_held = n_out < s->n_held ? n_out : s->n_held;
    buf_put(out, s->held, n_from_held);
    buf_put(out, piece.p, n_out - n_from_held);
    s->n_held = (uint32_t)n_head;
    memcpy(s->held, last + n_last - n_head, n_head);
}

void tok_stream_end(struct tok_stream *s, struct buf *out)
{
    buf_put(out, s->held, s->n_held);
    s->n_held = 0;
}
