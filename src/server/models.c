/* /v1/models: agents read the context length from here, each under another name: data[].meta.n_ctx
 * (Crush, llama-server), max_model_len (vLLM), context_length (OpenRouter), max_context_length (LM
 * Studio), context_window (Codex, in `models`), max_input_tokens (Anthropic). */
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

static void put_names(str id, struct buf *out)
{
    static const char *const keys[] = {"id", "slug", "name", "model", "display_name"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        buf_fmt(out, "\"%s\":", keys[i]);
        json_quote(id, out);
        buf_byte(out, ',');
    }
}

void models_entry(const struct engine *g, str id, int64_t created, struct buf *out)
{
    static const char *const spellings[] = {
        "context_length", "max_context_length", "loaded_context_length",
        "max_model_len",  "context_window",     "max_input_tokens",
        "max_tokens"};
    const struct model *m = engine_model(g);
    unsigned n_ctx = engine_n_ctx(g);
    buf_byte(out, '{');
    put_names(id, out);
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
                     "\"output_modalities\":[\"text\"]},"
                     "\"capabilities\":[\"completion\",\"tools\"]}"));
}
