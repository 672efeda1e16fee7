#include "cmd/rerun.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static const char chat_path[] = "/v1/chat/completions";

struct ids {
    int32_t *at;
    size_t n;
};

static void take_bytes(void *ctx, str bytes)
{
    buf_str(ctx, bytes);
}

/* The answer's value; NULL and e. */
static struct json *ask(const struct rerun_server *server, const char *path, str body,
                        struct err *e)
{
    struct buf in = {0};
    struct json *v = NULL;
    int status;
    if (rerun_post(server, str_of(path), (str){0}, body, &(struct rerun_sink){take_bytes, &in},
                   &status, e)) {
        if (status == 200)
            v = json_parse(buf_view(&in), e);
        else
            err_set(e, ERR_FORMAT, "replay: %s: status %d: %.*s", path, status,
                    (int)num_min(in.n, 300), in.p ? in.p : "");
    }
    buf_free(&in);
    return v;
}

/* The tokens that the server makes of a request: those that it tells (tawny), else those of the
 * prompt's text. */
static bool tokens_of(const struct rerun_server *server, str body, struct ids *out, struct err *e)
{
    struct buf text = {0};
    const size_t end = body.n && body.p[body.n - 1] == '}' ? body.n - 1 : body.n;
    buf_str(&text, str_sub(body, 0, end));
    buf_str(&text, STR(",\"return_tokens\":true}"));
    struct json *prompt = ask(server, "/apply-template", buf_view(&text), e), *tokens = NULL;
    const struct json *list = json_get(prompt, "tokens");
    if (prompt && !list) {
        buf_clear(&text);
        buf_str(&text, STR("{\"add_special\":true,\"parse_special\":true,\"content\":"));
        json_quote(json_str(json_get(prompt, "prompt")), &text);
        buf_str(&text, STR("}"));
        tokens = ask(server, "/tokenize", buf_view(&text), e);
        list = json_get(tokens, "tokens");
    }
    out->n = json_count(list);
    out->at = mem_new(out->n + 1, sizeof *out->at);
    for (size_t i = 0; i < out->n; i++)
        out->at[i] = (int32_t)json_int(json_at(list, i));
    bool ok = list != NULL;
    json_free(prompt);
    json_free(tokens);
    buf_free(&text);
    return ok;
}

static str counted_body(const struct rerun_exchange *x)
{
    return buf_view(x->counted.n ? &x->counted : &x->sent);
}

/* Templates go on with a reply that stands last: something comes after it. What that adds is cut
 * off by the number of tokens that the reply has. */
static void put_after_reply(const struct rerun_reply *r, struct buf *out)
{
    if (r->n_calls) {
        buf_str(out, STR(",{\"role\":\"tool\",\"content\":\"-\",\"tool_call_id\":"));
        json_quote(buf_view(&r->calls[0].id), out);
        buf_byte(out, '}');
    } else {
        buf_str(out, STR(",{\"role\":\"user\",\"content\":\"-\"}"));
    }
}

/* The request with its reply behind the last message. */
static void put_with_reply(const struct rerun_exchange *x, struct buf *out)
{
    struct err ignored;
    struct json *request = json_parse(counted_body(x), &ignored);
    struct json_iter it = {0};
    struct json *value;
    str name;
    for (bool more = false; json_next(request, &it, &name, &value); more = true) {
        buf_str(out, more ? STR(",") : STR("{"));
        json_quote(name, out);
        buf_byte(out, ':');
        json_print(value, JSON_COMPACT, out);
        if (!str_eq(name, STR("messages")))
            continue;
        out->n--; /* its ']' */
        buf_byte(out, ',');
        rerun_put_message(&x->reply, false, out);
        put_after_reply(&x->reply, out);
        buf_byte(out, ']');
    }
    buf_byte(out, '}');
    json_free(request);
}

static size_t common(const struct ids *a, const struct ids *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->at[n] == b->at[n])
        n++;
    return n;
}

static int by_begin(const void *a, const void *b)
{
    const struct rerun_exchange *x = *(struct rerun_exchange *const *)a;
    const struct rerun_exchange *y = *(struct rerun_exchange *const *)b;
    return x->begin_ns < y->begin_ns ? -1 : x->begin_ns > y->begin_ns;
}

/* known: prompts with their replies as far as those were generated, of those that began before. */
static bool count_one(struct rerun_exchange *x, struct ids *known, size_t n_known,
                      const struct rerun_server *server, struct err *e)
{
    struct ids prompt = {0}, *mine = &known[n_known];
    struct buf body = {0};
    struct err refused;
    size_t head = 0;
    bool ok = tokens_of(server, counted_body(x), &prompt, e);
    put_with_reply(x, &body);
    if (ok && !tokens_of(server, buf_view(&body), mine, &refused)) {
        /* Some servers take no call back that was cut off: then its prompt is what is known. */
        free(mine->at);
        *mine = (struct ids){mem_new(prompt.n + 1, sizeof *mine->at), prompt.n};
        memcpy(mine->at, prompt.at, prompt.n * sizeof *mine->at);
    }
    if (ok) {
        mine->n = num_min(mine->n,
                          prompt.n + (size_t)(x->reply.n_generated > 0 ? x->reply.n_generated : 0));
        for (size_t i = 0; i < n_known; i++) {
            const size_t n = common(&prompt, &known[i]);
            head = n > head ? n : head;
        }
        x->n_counted = (int64_t)prompt.n;
        x->minimum = prompt.n > head ? (int64_t)(prompt.n - head) : 1;
    }
    free(prompt.at);
    buf_free(&body);
    return ok;
}

bool rerun_minimum(struct rerun_list *l, const struct rerun_server *server, struct err *e)
{
    struct rerun_exchange **order = mem_new(l->n + 1, sizeof *order);
    struct ids *known = mem_new(l->n + 1, sizeof *known);
    size_t n_order = 0, n_known = 0;
    bool ok = true;
    for (size_t i = 0; i < l->n; i++) {
        l->at[i].minimum = l->at[i].n_counted = -1;
        if (l->at[i].ok && l->at[i].status == 200 &&
            (l->at[i].counted.n || str_eq(l->at[i].path, str_of(chat_path))))
            order[n_order++] = &l->at[i];
    }
    qsort(order, n_order, sizeof(struct rerun_exchange *), by_begin);
    for (size_t i = 0; ok && i < n_order; i++)
        ok = count_one(order[i], known, n_known++, server, e);
    for (size_t i = 0; i < n_known; i++)
        free(known[i].at);
    free(known);
    free(order);
    return ok;
}
