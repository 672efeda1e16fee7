#include "cmd/term.h"

#include <assert.h>
#include <math.h>

#include "base/json.h"

static void jout_key(struct jout *j, const char *key)
{
    if (j->depth) {
        buf_str(j->out, j->more[j->depth - 1] ? STR(",\n") : STR("\n"));
        j->more[j->depth - 1] = true;
        buf_fmt(j->out, "%*s", (int)(2 * j->depth), "");
    }
    if (key) {
        json_quote(str_of(key), j->out);
        buf_str(j->out, STR(": "));
    }
}

void jout_begin(struct jout *j, const char *key, char open)
{
    assert(j->depth < JOUT_MAX_DEPTH);
    jout_key(j, key);
    buf_byte(j->out, open);
    j->more[j->depth++] = false;
}

void jout_end(struct jout *j, char close)
{
    assert(j->depth > 0);
    if (j->more[--j->depth])
        buf_fmt(j->out, "\n%*s", (int)(2 * j->depth), "");
    buf_byte(j->out, close);
    if (!j->depth)
        buf_byte(j->out, '\n');
}

void jout_str(struct jout *j, const char *key, str v)
{
    jout_key(j, key);
    json_quote(v, j->out);
}

void jout_i64(struct jout *j, const char *key, int64_t v)
{
    jout_key(j, key);
    buf_fmt(j->out, "%lld", (long long)v);
}

void jout_u64(struct jout *j, const char *key, uint64_t v)
{
    jout_key(j, key);
    buf_fmt(j->out, "%llu", (unsigned long long)v);
}

void jout_f64(struct jout *j, const char *key, double v, int n_decimals)
{
    jout_key(j, key);
    if (isfinite(v))
        buf_fmt(j->out, "%.*f", n_decimals, v);
    else
        buf_str(j->out, STR("null"));
}

void jout_bool(struct jout *j, const char *key, bool v)
{
    jout_key(j, key);
    buf_str(j->out, v ? STR("true") : STR("false"));
}
