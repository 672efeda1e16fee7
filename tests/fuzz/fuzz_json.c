/* Parses arbitrary bytes as JSON. What is accepted must print to text that says the same, and the
 * scanner must agree with the parser. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fuzz/fuzz.h"

static void reparse(const struct json *v, enum json_style style)
{
    struct err e;
    struct buf once = {0}, twice = {0};
    json_print(v, style, &once);
    struct json *again = json_parse(buf_view(&once), &e);
    promise(again != NULL);
    json_print(again, style, &twice);
    promise(str_eq(buf_view(&once), buf_view(&twice)));
    json_free(again);
    buf_free(&once);
    buf_free(&twice);
}

FUZZ_TARGET(json)
{
    struct err e;
    str text = {(const char *)bytes, n_bytes};
    struct json *v = json_parse(text, &e);
    size_t n = json_scan(text);
    bool is_null = str_eq(str_trim(str_sub(text, 0, n)), STR("null"));
    size_t end = n;
    while (end < text.n && memchr(" \t\r\n", text.p[end], 4))
        end++;
    promise((v != NULL) == (n > 0 && end == text.n && !is_null));
    if (v) {
        reparse(v, JSON_COMPACT);
        reparse(v, JSON_PYTHON);
    }
    json_free(v);
}
