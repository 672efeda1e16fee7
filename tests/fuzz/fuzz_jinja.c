/* Renders arbitrary templates with arbitrary variables (JSON before the first NUL byte): within
 * small limits, the same twice, and with spans that are in order and inside the output. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "text/jinja.h"

/* All kinds: the template's own, and neighbours that differ. */
static uint8_t mark(void *ctx, str variable, size_t i, str member)
{
    (void)ctx;
    return (uint8_t)(variable.n + member.n + i) % 3;
}

static bool render(const struct jinja *t, const struct json *vars, struct buf *out)
{
    struct jinja_params p = {
        .mark = mark, .max_steps = 20000, .max_output = 1 << 20, .max_memory = 8 << 20};
    struct jinja_spans spans = {0};
    struct err e = {0};
    size_t done = 0;
    bool ok = jinja_render(t, vars, &p, out, &spans, &e);
    promise(ok || (e.code != ERR_NONE && out->n == 0));
    for (size_t i = 0; i < spans.n; i++) {
        promise(spans.at[i].from >= done && spans.at[i].from < spans.at[i].to);
        done = spans.at[i].to;
    }
    promise(done <= out->n);
    free(spans.at);
    return ok;
}

FUZZ_TARGET(jinja)
{
    struct err e = {0};
    const uint8_t *nul = n_bytes ? memchr(bytes, 0, n_bytes) : NULL;
    size_t n_json = nul ? (size_t)(nul - bytes) : 0;
    size_t from = nul ? n_json + 1 : 0;
    struct json *vars = json_parse((str){(const char *)bytes, n_json}, &e);
    struct jinja *t = jinja_parse((str){(const char *)bytes + from, n_bytes - from}, &e);
    promise(t != NULL || e.code != ERR_NONE);
    if (t) {
        struct buf once = {0}, twice = {0};
        bool ok = render(t, vars, &once);
        promise(render(t, vars, &twice) == ok);
        promise(str_eq(buf_view(&once), buf_view(&twice)));
        buf_free(&once);
        buf_free(&twice);
    }
    jinja_close(t);
    json_free(vars);
}
