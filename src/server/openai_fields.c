#include "server/openai.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct openai_path openai_path(const char *format, ...)
{
    struct openai_path path;
    va_list args;
    va_start(args, format);
    vsnprintf(path.text, sizeof path.text, format, args);
    va_end(args);
    return path;
}

__attribute__((format(printf, 2, 0))) static void set_message(struct openai_error *e,
                                                              const char *format, va_list args)
{
    vsnprintf(e->message, sizeof e->message, format, args);
}

bool openai_refuse(struct openai_error *e, const char *param, const char *format, ...)
{
    va_list args;
    *e = (struct openai_error){.status = 400, .type = "invalid_request_error"};
    e->param = openai_path("%s", param ? param : "");
    va_start(args, format);
    set_message(e, format, args);
    va_end(args);
    return false;
}

bool openai_fail(struct openai_error *e, int status, const char *code, const char *format, ...)
{
    va_list args;
    *e = (struct openai_error){.status = status, .code = code};
    e->type = status >= 500 ? "server_error" : "invalid_request_error";
    va_start(args, format);
    set_message(e, format, args);
    va_end(args);
    return false;
}

size_t openai_max_prompt(size_t n_prompt, size_t n_ctx)
{
    return n_prompt > n_ctx ? n_ctx : n_ctx - 1;
}

bool openai_overflow(struct openai_error *e, const char *param, size_t n_prompt, size_t n_ctx)
{
    openai_refuse(e, param,
                  "prompt is too long: %zu tokens > %zu maximum. "
                  "This model's maximum context length is %zu tokens.",
                  n_prompt, openai_max_prompt(n_prompt, n_ctx), n_ctx);
    e->code = "context_length_exceeded";
    e->n_prompt = n_prompt;
    e->n_ctx = n_ctx;
    return false;
}

void openai_error_body(const struct openai_error *e, struct buf *out)
{
    buf_str(out, STR("{\"error\":{\"message\":"));
    json_quote(str_of(e->message), out);
    buf_fmt(out, ",\"type\":\"%s\",\"param\":", e->type);
    if (e->param.text[0])
        json_quote(str_of(e->param.text), out);
    else
        buf_str(out, STR("null"));
    if (e->code)
        buf_fmt(out, ",\"code\":\"%s\"", e->code);
    else
        buf_str(out, STR(",\"code\":null"));
    if (e->n_ctx)
        buf_fmt(out, ",\"n_prompt_tokens\":%zu,\"n_ctx\":%zu", e->n_prompt, e->n_ctx);
    buf_str(out, STR("}}"));
}

static const char *const type_names[] = {
    [JSON_NULL] = "null",       [JSON_BOOL] = "a boolean",  [JSON_INT] = "an integer",
    [JSON_FLOAT] = "a number",  [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
    [JSON_OBJECT] = "an object"};

/* "a string or an array"; an integer is not named beside a number. */
static void name_types(unsigned types, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    if (types & 1 << JSON_FLOAT)
        types &= ~(1u << JSON_INT);
    for (unsigned t = JSON_NULL; t <= JSON_OBJECT; t++)
        if (types & 1u << t)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " or " : "", type_names[t]);
}

static void store(const struct openai_field *f, const struct json *v, void *base)
{
    void *at = (char *)base + f->offset;
    switch (f->store) {
    case STORE_NOTHING: break;
    case STORE_BOOL: *(bool *)at = json_bool(v); break;
    case STORE_I32: *(int32_t *)at = (int32_t)json_int(v); break;
    case STORE_U32: *(uint32_t *)at = (uint32_t)json_int(v); break;
    case STORE_U64: *(uint64_t *)at = (uint64_t)json_int(v); break;
    case STORE_F32: *(float *)at = (float)json_float(v); break;
    case STORE_STR: *(str *)at = json_str(v); break;
    }
}

static bool check_field(const struct openai_field *f, const struct json *v, const char *where,
                        struct openai_error *e)
{
    struct openai_path at = openai_path("%s%s%s", where, where[0] ? "." : "", f->name);
    const char *path = at.text;
    char wanted[96];
    if (!v)
        return !f->required || openai_refuse(e, path, "'%s' is required.", path);
    enum json_type type = json_type(v);
    if (!(f->types & 1u << type)) {
        name_types(f->types, wanted, sizeof wanted);
        return openai_refuse(e, path, "'%s' must be %s, not %s.", path, wanted, type_names[type]);
    }
    bool is_number = type == JSON_INT || type == JSON_FLOAT;
    double x = json_float(v);
    if (!is_number || (f->min == 0 && f->max == 0) || (x >= f->min && x <= f->max))
        return true;
    if (f->min >= f->max)
        return openai_refuse(e, path, "'%s' must be %.10g, not %.10g.", path, f->min, x);
    return openai_refuse(e, path, "'%s' must be from %.10g to %.10g, not %.10g.", path, f->min,
                         f->max, x);
}

bool openai_fields(const struct json *object, const char *where, const struct openai_field *table,
                   size_t n_table, void *base, struct openai_error *e)
{
    if (object && json_type(object) != JSON_OBJECT)
        return openai_refuse(e, where, "'%s' must be an object, not %s.", where,
                             type_names[json_type(object)]);
    for (size_t i = 0; i < n_table; i++) {
        const struct json *v = json_get(object, table[i].name);
        if (!check_field(&table[i], v, where, e))
            return false;
        if (v && table[i].store != STORE_NOTHING) /* base may be NULL when nothing is stored */
            store(&table[i], v, base);
    }
    return true;
}
