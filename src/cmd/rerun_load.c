/* rerun_load: the exchanges of a folder, and which comes after which. */
#include "cmd/rerun.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_EXCHANGES = 100000, MAX_FILE = 512 << 20 };

static int by_file(const void *a, const void *b)
{
    const struct rerun_exchange *x = a, *y = b;
    return strcmp(x->file.p, y->file.p);
}

static bool list_files(const char *folder, struct rerun_list *l, struct err *e)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return err_sys(e, "%s", folder);
    for (struct dirent *entry; (entry = readdir(dir)) && l->n <= MAX_EXCHANGES;) {
        if (!str_ends(str_of(entry->d_name), STR(".json")))
            continue;
        l->at = mem_grow(l->at, l->n + 1, sizeof *l->at);
        l->at[l->n++] =
            (struct rerun_exchange){.file = arena_fmt(&l->arena, "%s/%s", folder, entry->d_name),
                                    .session = -1,
                                    .minimum = -1,
                                    .n_counted = -1};
    }
    closedir(dir);
    if (l->n == 0)
        return err_set(e, ERR_FORMAT,
                       "%s: has no exchange (*.json): 'tawny serve --record' writes them", folder);
    if (l->n > MAX_EXCHANGES)
        return err_set(e, ERR_LIMIT, "%s: has over %d exchanges, which is the limit", folder,
                       MAX_EXCHANGES);
    qsort(l->at, l->n, sizeof *l->at, by_file);
    return true;
}

/* Lines of a request's head. What could break one of them is left out. */
static str head_lines(const struct json *headers, struct arena *a)
{
    struct buf out = {0};
    struct json_iter it = {0};
    struct json *value;
    str name;
    while (json_next(headers, &it, &name, &value)) {
        bool clean = name.n > 0 && json_type(value) == JSON_STRING;
        for (size_t i = 0; i < name.n; i++)
            clean = clean && name.p[i] > ' ' && name.p[i] != ':';
        for (size_t i = 0; i < json_str(value).n; i++)
            clean = clean && (unsigned char)json_str(value).p[i] >= ' ';
        if (clean)
            buf_fmt(&out, "%.*s: %.*s\r\n", STRF(name), STRF(json_str(value)));
    }
    str lines = arena_str(a, buf_view(&out));
    buf_free(&out);
    return lines;
}

/* What a conversation begins with: its name where the client gives one, else its tools, its system
 * text and its first message. */
static uint64_t conversation_of(const struct rerun_exchange *x, const struct json *file)
{
    static const char *const names[] = {"x-claude-code-session-id",
                                        "x-claude-code-agent-id",
                                        "x-session-id",
                                        "thread-id",
                                        "session-id",
                                        "session_id"};
    static const char *const parts[] = {"system", "instructions", "tools"};
    const struct json *request = json_get(file, "request");
    const struct json *messages = json_get(request, "messages");
    struct buf text = {0};
    buf_str(&text, x->path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        buf_str(&text, json_str(json_get(json_get(file, "headers"), names[i])));
    buf_str(&text, json_str(json_get(request, "prompt_cache_key")));
    if (text.n == x->path.n) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            json_print(json_get(request, parts[i]), JSON_COMPACT, &text);
        if (!messages)
            messages = json_get(request, "input");
        for (size_t i = 0; i < 2; i++)
            json_print(json_at(messages, i), JSON_COMPACT, &text);
    }
    const uint64_t h = str_hash(STR_HASH, buf_view(&text));
    buf_free(&text);
    return h;
}

static int64_t find_id(const struct rerun_list *l, size_t n, str id)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(l->at[i].id, id))
            return (int64_t)i;
    return -1;
}

static bool take_after(struct rerun_list *l, size_t i, const struct json *after, struct err *e)
{
    struct rerun_exchange *x = &l->at[i];
    x->has_after = true;
    x->n_after = json_count(after);
    x->after = arena_new(&l->arena, x->n_after + 1, sizeof *x->after);
    for (size_t k = 0; k < x->n_after; k++) {
        const str id = json_str(json_at(after, k));
        const int64_t at = find_id(l, i, id);
        if (at < 0)
            return err_set(e, ERR_FORMAT, "%s: .after[%zu]: no exchange before it is '%.*s'",
                           x->file.p, k, (int)(id.n < 100 ? id.n : 100), id.p);
        x->after[k] = (uint32_t)at;
    }
    return true;
}

static bool take_file(struct rerun_list *l, size_t i, const struct json *v, struct err *e)
{
    struct rerun_exchange *x = &l->at[i];
    if (json_int(json_get(v, "tawny_exchange")) != 1)
        return err_set(e, ERR_FORMAT, "%s: is no exchange of format 1 (\"tawny_exchange\": 1)",
                       x->file.p);
    x->path = arena_str(&l->arena, json_str(json_get(v, "path")));
    x->id = arena_str(&l->arena, json_str(json_get(v, "id")));
    for (size_t k = 0; k < x->path.n; k++)
        if ((unsigned char)x->path.p[k] <= ' ')
            x->path.n = 0;
    if (!str_starts(x->path, STR("/")) || x->id.n == 0 ||
        (!json_has(v, "request") && !json_has(v, "request_text")))
        return err_set(e, ERR_FORMAT, "%s: has no id, path or request", x->file.p);
    x->wanted = json_get(v, "status") ? (int)json_int(json_get(v, "status")) : 200;
    x->headers = head_lines(json_get(v, "headers"), &l->arena);
    x->arrived_ms = json_float(json_get(v, "arrived_ms"));
    x->end_ms = x->arrived_ms + json_float(json_get(v, "end_ms"));
    x->conversation = conversation_of(x, v);
    for (size_t k = 0; k < i; k++)
        if (l->at[k].conversation == x->conversation)
            x->session = (int64_t)k;
    return !json_has(v, "after") || take_after(l, i, json_get(v, "after"), e);
}

static struct json *read_file(const struct rerun_exchange *x, struct err *e)
{
    struct buf text = {0};
    struct json *v = NULL;
    if (file_read_all(x->file.p, MAX_FILE, &text, e) && !(v = json_parse(buf_view(&text), e)))
        err_within(e, "%s", x->file.p);
    buf_free(&text);
    return v;
}

bool rerun_load(const char *folder, struct rerun_list *out, struct err *e)
{
    *out = (struct rerun_list){0};
    bool ok = list_files(folder, out, e);
    for (size_t i = 0; ok && i < out->n; i++) {
        struct json *v = read_file(&out->at[i], e);
        ok = v && take_file(out, i, v, e);
        json_free(v);
    }
    if (!ok)
        rerun_free(out);
    return ok;
}

void rerun_free(struct rerun_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        buf_free(&l->at[i].sent);
        buf_free(&l->at[i].counted);
        rerun_reply_free(&l->at[i].reply);
    }
    free(l->at);
    arena_free(&l->arena);
    *l = (struct rerun_list){0};
}

/* ---- what is sent ---- */

static void put_reordered(str arguments, struct buf *out)
{
    struct err ignored;
    struct json *v = json_parse(arguments, &ignored);
    const size_t n = json_count(v);
    if (json_type(v) != JSON_OBJECT) {
        buf_str(out, arguments);
        json_free(v);
        return;
    }
    for (size_t k = n; k-- > 0;) {
        struct json_iter it = {0};
        struct json *value;
        str name;
        for (size_t i = 0; i <= k; i++)
            json_next(v, &it, &name, &value);
        buf_str(out, k == n - 1 ? STR("{ ") : STR(" , "));
        json_quote(name, out);
        buf_str(out, STR(" : "));
        json_print(value, JSON_PYTHON, out);
    }
    buf_str(out, n ? STR(" }") : STR("{ }"));
    json_free(v);
}

void rerun_put_message(const struct rerun_reply *r, bool reordered, struct buf *out)
{
    struct buf arguments = {0};
    buf_str(out, STR("{\"role\":\"assistant\",\"content\":"));
    json_quote(buf_view(&r->content), out);
    if (r->reasoning.n) {
        buf_str(out, STR(",\"reasoning_content\":"));
        json_quote(buf_view(&r->reasoning), out);
    }
    for (size_t i = 0; i < r->n_calls; i++) {
        const struct rerun_call *call = &r->calls[i];
        buf_str(out, i ? STR(",{\"id\":") : STR(",\"tool_calls\":[{\"id\":"));
        json_quote(buf_view(&call->id), out);
        buf_str(out, STR(",\"type\":\"function\",\"function\":{\"name\":"));
        json_quote(buf_view(&call->name), out);
        buf_clear(&arguments);
        if (reordered)
            put_reordered(buf_view(&call->arguments), &arguments);
        else
            buf_str(&arguments, buf_view(&call->arguments));
        buf_str(out, STR(",\"arguments\":"));
        json_quote(buf_view(&arguments), out);
        buf_str(out, STR("}}"));
    }
    buf_str(out, r->n_calls ? STR("]}") : STR("}"));
    buf_free(&arguments);
}

/* The same as the Messages API has it. */
static void put_blocks(const struct rerun_reply *r, bool reordered, struct buf *out)
{
    buf_str(out, STR("{\"role\":\"assistant\",\"content\":["));
    if (r->content.n || !r->n_calls) {
        buf_str(out, STR("{\"type\":\"text\",\"text\":"));
        json_quote(buf_view(&r->content), out);
        buf_str(out, r->n_calls ? STR("},") : STR("}"));
    }
    for (size_t i = 0; i < r->n_calls; i++) {
        const struct rerun_call *call = &r->calls[i];
        buf_str(out,
                i ? STR(",{\"type\":\"tool_use\",\"id\":") : STR("{\"type\":\"tool_use\",\"id\":"));
        json_quote(buf_view(&call->id), out);
        buf_str(out, STR(",\"name\":"));
        json_quote(buf_view(&call->name), out);
        buf_str(out, STR(",\"input\":"));
        if (reordered)
            put_reordered(buf_view(&call->arguments), out);
        else
            buf_str(out, buf_view(&call->arguments));
        buf_byte(out, '}');
    }
    buf_str(out, STR("]}"));
}

/* A request being written. */
struct filling {
    const struct rerun_list *list;
    const struct rerun_exchange *x;
    bool blocks; /* messages are the Messages API's */
    struct buf *out;
    struct err *e;
};

static const struct rerun_reply *reply_of(const struct filling *f, str id)
{
    const struct rerun_list *l = f->list;
    const struct rerun_exchange *x = f->x;
    const int64_t at = find_id(l, (size_t)(x - l->at), id);
    if (at >= 0 && l->at[at].ok)
        return &l->at[at].reply;
    err_set(f->e, ERR_FORMAT, "%s: needs the reply of '%.*s', which %s", x->file.p,
            (int)(id.n < 100 ? id.n : 100), id.p,
            at < 0 ? "is no exchange before it" : "has failed");
    return NULL;
}

/* {"$reply": ID[, "reordered": true]} is the message; {"$call": ID} the id of its first call. */
static bool put_placeholder(const struct filling *f, const struct json *v)
{
    const bool is_reply = json_has(v, "$reply"), reordered = json_bool(json_get(v, "reordered"));
    const struct rerun_reply *r = reply_of(f, json_str(json_get(v, is_reply ? "$reply" : "$call")));
    if (!r)
        return false;
    if (is_reply && f->blocks)
        put_blocks(r, reordered, f->out);
    else if (is_reply)
        rerun_put_message(r, reordered, f->out);
    else
        json_quote(r->n_calls ? buf_view(&r->calls[0].id) : STR("none"), f->out);
    return true;
}

static bool put_value(const struct filling *f, const struct json *v)
{
    const enum json_type type = json_type(v);
    struct buf *out = f->out;
    if (json_has(v, "$reply") || json_has(v, "$call"))
        return put_placeholder(f, v);
    if (type != JSON_OBJECT && type != JSON_ARRAY) {
        json_print(v, JSON_COMPACT, out);
        return true;
    }
    bool ok = true;
    buf_byte(out, type == JSON_OBJECT ? '{' : '[');
    struct json_iter it = {0};
    struct json *value;
    str name;
    for (bool more = false; type == JSON_OBJECT && ok && json_next(v, &it, &name, &value);
         more = true) {
        if (more)
            buf_byte(out, ',');
        json_quote(name, out);
        buf_byte(out, ':');
        ok = put_value(f, value);
    }
    for (size_t i = 0; type == JSON_ARRAY && ok && i < json_count(v); i++) {
        if (i)
            buf_byte(out, ',');
        ok = put_value(f, json_at(v, i));
    }
    buf_byte(out, type == JSON_OBJECT ? '}' : ']');
    return ok;
}

/* Without it a stream does not tell what it took. */
static void ask_for_usage(const struct rerun_exchange *x, const struct json *request,
                          struct buf *out)
{
    if (!str_eq(x->path, STR("/v1/chat/completions")) || !json_bool(json_get(request, "stream")) ||
        json_has(request, "stream_options"))
        return;
    out->n--; /* its '}' */
    buf_str(out, STR(",\"stream_options\":{\"include_usage\":true}}"));
}

bool rerun_fill(const struct rerun_list *l, struct rerun_exchange *x, struct err *e)
{
    struct json *v = read_file(x, e);
    const struct json *request = json_get(v, "request"), *counted = json_get(v, "counted_as");
    const bool blocks = str_starts(x->path, STR("/v1/messages"));
    bool ok = v != NULL;
    if (ok && json_has(v, "request"))
        ok = put_value(&(struct filling){l, x, blocks, &x->sent, e}, request);
    else if (ok)
        buf_str(&x->sent, json_str(json_get(v, "request_text")));
    if (ok && counted)
        ok = put_value(&(struct filling){l, x, false, &x->counted, e}, counted);
    if (ok)
        ask_for_usage(x, request, &x->sent);
    json_free(v);
    return ok;
}
