/* llama_serve: what llama-server has beside OpenAI's protocols: /props, /slots, /metrics,
 * /tokenize, /detokenize and /apply-template. */
#include "server/serve.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/metrics.h"
#include "server/responses_store.h"

/* ---- what is there ---- */

static void put_sampling(const struct server *s, struct buf *out)
{
    struct sampling d;
    engine_sampling_defaults(s->engine, &d);
    buf_fmt(out, "{\"temperature\":%g,\"top_k\":%d,\"top_p\":%g,\"min_p\":%g,",
            (double)d.temperature, d.top_k, (double)d.top_p, (double)d.min_p);
    buf_fmt(out, "\"repeat_penalty\":%g,\"presence_penalty\":%g,\"frequency_penalty\":%g}",
            (double)(d.repeat_penalty > 0 ? d.repeat_penalty : 1), (double)d.presence_penalty,
            (double)d.frequency_penalty);
}

static void put_token(const struct server *s, const char *key, int32_t id, struct buf *out)
{
    buf_fmt(out, ",\"%s\":", key);
    json_quote(tok_bytes(s->tok, id), out);
}

void llama_serve_props(const struct server *s, struct http_request *http)
{
    struct buf body = {0};
    const struct gguf *file = engine_file(s->engine);
    str template = s->params.chat_template;
    struct err ignored;
    if (!template.n)
        gguf_str(file, "tokenizer.chat_template", false, &template, &ignored);
    buf_fmt(&body,
            "{\"default_generation_settings\":{\"n_ctx\":%u,\"params\":", engine_n_ctx(s->engine));
    put_sampling(s, &body);
    buf_fmt(&body, "},\"total_slots\":%u,\"model_alias\":", engine_n_sessions(s->engine));
    json_quote(s->model_id, &body);
    buf_str(&body, STR(",\"model_path\":"));
    json_quote(str_of(gguf_path(file)), &body);
    buf_str(&body, STR(",\"chat_template\":"));
    json_quote(template, &body);
    put_token(s, "bos_token", tok_bos(s->tok), &body);
    put_token(s, "eos_token", tok_eos(s->tok), &body);
    buf_str(&body, STR(",\"modalities\":{\"vision\":false,\"audio\":false},"
                       "\"build_info\":\"tawny-" TAWNY_VERSION "\"}\n"));
    server_send_json(http, &body);
}

/* Freed by the caller. */
static struct session_info *sessions_of(const struct server *s, struct engine_cache *cache)
{
    struct session_info *sessions = mem_new(engine_n_sessions(s->engine), sizeof *sessions);
    engine_sessions(s->engine, sessions, cache);
    return sessions;
}

void llama_serve_slots(const struct server *s, struct http_request *http)
{
    struct buf body = {0};
    struct engine_cache cache;
    struct session_info *sessions = sessions_of(s, &cache);
    metrics_slots(s->metrics, sessions, engine_n_sessions(s->engine), engine_n_ctx(s->engine),
                  &body);
    free(sessions);
    server_send_json(http, &body);
}

void llama_serve_metrics(const struct server *s, struct http_request *http)
{
    struct buf body = {0};
    struct engine_cache cache;
    free(sessions_of(s, &cache));
    metrics_text(s->metrics,
                 &(struct metrics_now){.n_ctx = engine_n_ctx(s->engine),
                                       .cache = cache,
                                       .kept_replies = replay_bytes(s->replay),
                                       .kept_responses = responses_store_bytes(s->responses)},
                 &body);
    http_send(http, 200, "text/plain; version=0.0.4; charset=utf-8", buf_view(&body));
    buf_free(&body);
}

/* ---- text and tokens ---- */

/* The body as an object with these fields; NULL: refused. */
static struct json *take_body(struct http_request *http, const struct openai_field *table,
                              size_t n_table, void *base)
{
    struct openai_error e;
    struct err why;
    struct json *body = json_parse(http_body(http), &why);
    bool ok = body ? openai_fields(body, "body", table, n_table, base, &e)
                   : openai_refuse(&e, NULL, "The body is not JSON: %s", why.msg);
    if (ok)
        return body;
    json_free(body);
    server_refuse(http, &e);
    return NULL;
}

static bool is_utf8(str s)
{
    for (size_t at = 0; at < s.n;) {
        uint32_t cp;
        size_t n = utf8_decode((const unsigned char *)s.p + at, s.n - at, &cp);
        if (!n)
            return false;
        at += n;
    }
    return true;
}

/* A piece that is no text by itself is a list of its bytes. */
static void put_piece(const struct server *s, int32_t id, struct buf *out)
{
    str bytes = tok_bytes(s->tok, id);
    buf_fmt(out, "{\"id\":%d,\"piece\":", id);
    if (is_utf8(bytes)) {
        json_quote(bytes, out);
    } else {
        for (size_t i = 0; i < bytes.n; i++)
            buf_fmt(out, "%c%u", i ? ',' : '[', (unsigned char)bytes.p[i]);
        buf_byte(out, ']');
    }
    buf_byte(out, '}');
}

struct tokenize {
    str content;
    bool add_special, no_special, with_pieces;
};

void llama_serve_tokenize(const struct server *s, struct http_request *http)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("content", TYPE_STRING, STORE_STR, offsetof(struct tokenize, content)),
        FIELD_STORED("add_special", TYPE_BOOL, STORE_BOOL, offsetof(struct tokenize, add_special)),
        FIELD_CHECKED("parse_special", TYPE_BOOL),
        FIELD_STORED("with_pieces", TYPE_BOOL, STORE_BOOL, offsetof(struct tokenize, with_pieces)),
    };
    struct tokenize q = {0};
    struct tok_ids ids = {0};
    struct buf out = {0};
    struct json *body = take_body(http, table, FIELD_COUNT(table), &q);
    if (!body)
        return;
    const struct json *parse = json_get(body, "parse_special");
    if (q.add_special && tok_add_bos(s->tok) && tok_bos(s->tok) >= 0)
        tok_ids_put(&ids, tok_bos(s->tok));
    tok_encode(s->tok, q.content, &(struct tok_params){.special = !parse || json_bool(parse)},
               &ids);
    buf_str(&out, STR("{\"tokens\":["));
    for (size_t i = 0; i < ids.n; i++) {
        if (i)
            buf_byte(&out, ',');
        if (q.with_pieces)
            put_piece(s, ids.ids[i], &out);
        else
            buf_fmt(&out, "%d", ids.ids[i]);
    }
    buf_str(&out, STR("]}\n"));
    server_send_json(http, &out);
    free(ids.ids);
    json_free(body);
}

void llama_serve_detokenize(const struct server *s, struct http_request *http)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("tokens", TYPE_ARRAY, STORE_NOTHING, 0),
    };
    struct openai_error e;
    struct buf text = {0}, out = {0};
    struct json *body = take_body(http, table, FIELD_COUNT(table), NULL);
    const struct json *list = json_get(body, "tokens");
    bool ok = true;
    if (!body)
        return;
    for (size_t i = 0; i < json_count(list) && ok; i++) {
        const struct json *one = json_at(list, i);
        int64_t id = json_int(one);
        ok = json_type(one) == JSON_INT && id >= 0 && id < (int64_t)tok_n_vocab(s->tok);
        if (ok)
            buf_str(&text, tok_bytes(s->tok, (int32_t)id));
        else
            openai_refuse(&e, "tokens", "'tokens[%zu]' is no token of this model: ids are 0 to %u.",
                          i, tok_n_vocab(s->tok) - 1);
    }
    if (ok) {
        buf_str(&out, STR("{\"content\":"));
        json_quote(buf_view(&text), &out);
        buf_str(&out, STR("}\n"));
        server_send_json(http, &out);
    } else {
        server_refuse(http, &e);
    }
    buf_free(&text);
    json_free(body);
}

/* The prompt's tokens where the request asks for them: replies that came back have those that were
 * sampled, which the text does not tell. */
static void put_tokens(const struct openai_request *q, const struct tok_ids *ids, struct buf *out)
{
    if (!json_bool(json_get(q->body, "return_tokens")))
        return;
    buf_str(out, STR(",\"tokens\":["));
    for (size_t i = 0; i < ids->n; i++)
        buf_fmt(out, i ? ",%d" : "%d", ids->ids[i]);
    buf_byte(out, ']');
}

void llama_serve_template(const struct server *s, struct http_request *http)
{
    struct openai_request q;
    struct openai_error e;
    struct prompt prompt = {0};
    struct buf text = {0}, out = {0};
    if (!openai_parse(http_body(http), true, &(struct sampling){0}, &q, &e)) {
        server_refuse(http, &e);
        return;
    }
    if (prompt_encode(s, &q, &prompt, &e)) {
        for (size_t i = 0; i < prompt.ids.n; i++)
            buf_str(&text, tok_bytes(s->tok, prompt.ids.ids[i]));
        buf_str(&out, STR("{\"prompt\":"));
        json_quote(buf_view(&text), &out);
        put_tokens(&q, &prompt.ids, &out);
        buf_str(&out, STR("}\n"));
        server_send_json(http, &out);
    } else {
        server_refuse(http, &e);
    }
    buf_free(&text);
    prompt_free(&prompt);
    openai_request_free(&q);
}
