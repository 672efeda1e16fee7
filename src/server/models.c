/* /v1/models: agents read the context length from here, each under another name: data[].meta.n_ctx
 * (Crush, llama-server), max_model_len (vLLM), context_length (OpenRouter), max_context_length (LM
 * Studio), context_window (Codex, in `models`), max_input_tokens (Anthropic). LM Studio has a list
 * of its own, too. */
#include "server/serve.h"

#include "base/json.h"
#include "server/ollama.h"

uint64_t models_n_params(const struct gguf *file)
{
    uint64_t n = 0;
    for (size_t i = 0; i < gguf_n_tensors(file); i++)
        n += gguf_tensor_at(file, i)->n_elems;
    return n;
}

const char *models_main_type(const struct gguf *file)
{
    enum { N_TYPES = 64 };
    uint64_t n_bytes[N_TYPES] = {0};
    uint32_t most = 0;
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(file, i);
        if ((uint32_t)t->type < N_TYPES)
            n_bytes[t->type] += t->n_bytes;
    }
    for (uint32_t i = 0; i < N_TYPES; i++)
        most = n_bytes[i] > n_bytes[most] ? i : most;
    return block_type_name(most);
}

bool models_has_tools(const struct server *s)
{
    return s->chat && s->format != CHAT_PLAIN;
}

void models_capabilities(const struct server *s, struct buf *out)
{
    buf_fmt(out, "\"capabilities\":[\"completion\"%s%s]", models_has_tools(s) ? ",\"tools\"" : "",
            s->may_reason ? ",\"thinking\"" : "");
}

static void put_names(str id, struct buf *out)
{
    static const char *const keys[] = {"id", "slug", "name", "model", "display_name"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        buf_fmt(out, "\"%s\":", keys[i]);
        json_quote(id, out);
        buf_byte(out, ',');
    }
}

void models_entry(const struct server *s, struct buf *out)
{
    static const char *const spellings[] = {
        "context_length", "max_context_length", "loaded_context_length",
        "max_model_len",  "context_window",     "max_input_tokens",
        "max_tokens"};
    const struct model *m = engine_model(s->engine);
    const int64_t created = s->started_unix;
    unsigned n_ctx = engine_n_ctx(s->engine);
    buf_byte(out, '{');
    put_names(s->model_id, out);
    buf_fmt(out, "\"object\":\"model\",\"type\":\"model\",\"created\":%lld,", (long long)created);
    buf_str(out, STR("\"created_at\":"));
    ollama_put_time(created, out);
    buf_str(out, STR(",\"owned_by\":\"tawny\",\"status\":{\"value\":\"loaded\"},"));
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        buf_fmt(out, "\"%s\":%u,", spellings[i], n_ctx);
    buf_fmt(out, "\"meta\":{\"n_ctx\":%u,\"n_ctx_train\":%u,\"n_params\":%llu,\"size\":%llu},",
            n_ctx, m->hp.n_ctx_train, (unsigned long long)models_n_params(m->file),
            (unsigned long long)gguf_file_bytes(m->file));
    buf_str(out, STR("\"architecture\":{\"name\":"));
    json_quote(str_of(m->arch), out);
    buf_str(out, STR(",\"modality\":\"text->text\",\"input_modalities\":[\"text\"],"
                     "\"output_modalities\":[\"text\"]},"));
    models_capabilities(s, out);
    buf_byte(out, '}');
}

void models_serve_lm_studio(const struct server *s, struct http_request *http)
{
    const struct model *m = engine_model(s->engine);
    struct buf body = {0};
    buf_str(&body, STR("{\"object\":\"list\",\"data\":[{\"id\":"));
    json_quote(s->model_id, &body);
    buf_fmt(&body,
            ",\"object\":\"model\",\"type\":\"llm\",\"publisher\":\"tawny\",\"arch\":\"%s\","
            "\"compatibility_type\":\"gguf\",\"quantization\":\"%s\",\"state\":\"loaded\","
            "\"max_context_length\":%u,\"loaded_context_length\":%u,\"capabilities\":[%s]}]}\n",
            m->arch, models_main_type(m->file), engine_n_ctx(s->engine), engine_n_ctx(s->engine),
            models_has_tools(s) ? "\"tool_use\"" : "");
    server_send_json(http, &body);
}
