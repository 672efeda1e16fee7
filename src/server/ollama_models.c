/* ollama_models: /api/tags, /api/ps, /api/show and /api/version. One model is loaded and stays. */
#include "server/serve.h"

#include "base/json.h"
#include "server/ollama.h"

/* Clients ask for the Ollama that brought what they use: this one's API is the one that
 * ollama_parse knows (thinking levels, calls with ids). */
static const char api_version[] = "0.13.0";

void ollama_serve_version(const struct server *s, struct http_request *http)
{
    (void)s;
    struct buf body = {0};
    buf_fmt(&body, "{\"version\":\"%s\",\"tawny\":\"" TAWNY_VERSION "\"}\n", api_version);
    server_send_json(http, &body);
}

/* "30.5B" */
static void put_count(uint64_t n, struct buf *out)
{
    if (n >= 1000000000)
        buf_fmt(out, "\"%.1fB\"", 1e-9 * (double)n);
    else
        buf_fmt(out, "\"%.1fM\"", 1e-6 * (double)n);
}

static void put_details(const struct server *s, struct buf *out)
{
    const struct model *m = engine_model(s->engine);
    buf_fmt(out,
            "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"%s\","
            "\"families\":[\"%s\"],\"parameter_size\":",
            m->arch, m->arch);
    put_count(models_n_params(m->file), out);
    buf_fmt(out, ",\"quantization_level\":\"%s\"}", models_main_type(m->file));
}

/* Members that /api/tags and /api/ps share. Clients take the digest for the model's identity: this
 * one is made of its name and size, not of its bytes, which nobody waits to have summed. */
static void put_entry(const struct server *s, struct buf *out)
{
    const struct model *m = engine_model(s->engine);
    uint64_t n_bytes = gguf_file_bytes(m->file);
    buf_str(out, STR("\"name\":"));
    json_quote(s->model_id, out);
    buf_str(out, STR(",\"model\":"));
    json_quote(s->model_id, out);
    buf_fmt(out, ",\"size\":%llu,\"digest\":\"", (unsigned long long)n_bytes);
    uint64_t hash = str_hash(STR_HASH ^ n_bytes, s->model_id);
    for (int i = 0; i < 4; i++, hash = str_hash(hash, STR("digest")))
        buf_fmt(out, "%016llx", (unsigned long long)hash);
    buf_str(out, STR("\","));
    put_details(s, out);
}

void ollama_serve_tags(const struct server *s, struct http_request *http)
{
    struct buf body = {0};
    buf_str(&body, STR("{\"models\":[{"));
    put_entry(s, &body);
    buf_str(&body, STR(",\"modified_at\":"));
    ollama_put_time(s->started_unix, &body);
    buf_str(&body, STR("}]}\n"));
    server_send_json(http, &body);
}

void ollama_serve_ps(const struct server *s, struct http_request *http)
{
    enum { FAR_S = 100 * 365 * 86400u }; /* it is never unloaded */
    struct buf body = {0};
    buf_str(&body, STR("{\"models\":[{"));
    put_entry(s, &body);
    buf_str(&body, STR(",\"expires_at\":"));
    ollama_put_time(s->started_unix + (int64_t)FAR_S, &body);
    buf_fmt(&body, ",\"size_vram\":%llu,\"context_length\":%u}]}\n",
            (unsigned long long)gguf_file_bytes(engine_file(s->engine)), engine_n_ctx(s->engine));
    server_send_json(http, &body);
}

/* Is this what clients call the model? Ollama's names may end in a tag. */
static bool is_ours(const struct server *s, str name)
{
    static const str latest = STR(":latest");
    if (str_ends(name, latest) && !str_eq(name, s->model_id))
        name = str_sub(name, 0, name.n - latest.n);
    return str_eq(name, s->model_id);
}

/* The context length is the one that is served: clients cut conversations by it. */
static void put_show(const struct server *s, struct buf *out)
{
    const struct model *m = engine_model(s->engine);
    struct sampling d;
    str template = {0};
    struct err ignored;
    engine_sampling_defaults(s->engine, &d);
    if (s->params.chat_template.n)
        template = s->params.chat_template;
    else
        gguf_str(m->file, "tokenizer.chat_template", false, &template, &ignored);
    buf_fmt(out, "{\"modelfile\":\"\",\"parameters\":\"num_ctx %u\\ntemperature %g\\ntop_p %g\\n",
            engine_n_ctx(s->engine), (double)d.temperature, (double)d.top_p);
    buf_fmt(out, "top_k %d\",\"template\":", d.top_k);
    json_quote(template, out);
    buf_byte(out, ',');
    put_details(s, out);
    buf_fmt(out,
            ",\"model_info\":{\"general.architecture\":\"%s\",\"general.parameter_count\":%llu,"
            "\"%s.context_length\":%u,\"%s.block_count\":%u,\"%s.embedding_length\":%u},",
            m->arch, (unsigned long long)models_n_params(m->file), m->arch, engine_n_ctx(s->engine),
            m->arch, m->hp.n_layer, m->arch, m->hp.n_embd);
    models_capabilities(s, out);
    buf_str(out, STR(",\"modified_at\":"));
    ollama_put_time(s->started_unix, out);
    buf_str(out, STR("}\n"));
}

void ollama_serve_show(const struct server *s, struct http_request *http)
{
    static const struct openai_field table[] = {
        FIELD_CHECKED("model", TYPE_STRING), FIELD_CHECKED("name", TYPE_STRING), /* before 0.1.33 */
    };
    struct openai_error e;
    struct err why;
    struct json *body = json_parse(http_body(http), &why);
    str name = json_str(json_get(body, "model"));
    if (name.n == 0)
        name = json_str(json_get(body, "name"));
    bool ok = body ? openai_fields(body, "body", table, FIELD_COUNT(table), NULL, &e)
                   : openai_refuse(&e, NULL, "the body is not JSON: %s", why.msg);
    if (ok && !name.n)
        ok = openai_refuse(&e, "model", "'model' is required.");
    if (ok && !is_ours(s, name))
        ok = openai_fail(&e, 404, "model_not_found",
                         "model '%.*s' not found; this server has '%.*s'",
                         STRF(str_sub(name, 0, 100)), STRF(s->model_id));
    if (ok) {
        struct buf out = {0};
        put_show(s, &out);
        server_send_json(http, &out);
    } else {
        server_refuse(http, &e);
    }
    json_free(body);
}
