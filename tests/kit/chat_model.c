#include "kit/chat_model.h"

#include <unistd.h>

#include "base/mem.h"
#include "kit/tok_fixture.h"
#include "test.h"
#include "text/chat_layout.h"

static void put_tokenizer(struct gguf_writer *w)
{
    static const char *const after[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "th",
                                        "[unused]"};
    struct arena arena = {0};
    str tokens[CHAT_MODEL_TOKENS];
    int32_t types[CHAT_MODEL_TOKENS];
    for (int b = 0; b < 256; b++) {
        struct buf letter = {0};
        char byte = (char)b;
        tok_fixture_alphabet((str){&byte, 1}, &letter);
        tokens[b] = arena_str(&arena, buf_view(&letter));
        types[b] = TOK_NORMAL;
        buf_free(&letter);
    }
    for (int i = 256; i < CHAT_MODEL_TOKENS; i++) {
        tokens[i] = str_of(after[i - 256]);
        types[i] = i == CHAT_MODEL_UNUSED ? TOK_UNUSED
                   : i == CHAT_MODEL_TH   ? TOK_NORMAL
                                          : TOK_CONTROL;
    }
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_writer_str(w, "tokenizer.ggml.pre", STR("qwen2"));
    gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, CHAT_MODEL_TOKENS);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, CHAT_MODEL_TOKENS);
    gguf_writer_strs(w, "tokenizer.ggml.merges", &STR("t h"), 1);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", CHAT_MODEL_IM_END);
    gguf_writer_str(w, "tokenizer.chat_template", chat_builtin(CHAT_HERMES_JSON));
    arena_free(&arena);
}

static void copy_tensors(const struct gguf *from, struct gguf_writer *w)
{
    struct err e;
    for (size_t i = 0; i < gguf_n_tensors(from); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(from, i);
        gguf_writer_tensor(w, t->name, t->type, t->ne, t->n_dims);
    }
    CHECK_OK(gguf_writer_start(w, &e));
    for (size_t i = 0; i < gguf_n_tensors(from); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(from, i);
        void *bytes = mem_new(t->n_bytes, 1);
        CHECK_OK(gguf_read(from, t, 0, bytes, t->n_bytes, &e));
        CHECK_OK(gguf_writer_data(w, i, 0, bytes, t->n_bytes, &e));
        free(bytes);
    }
}

char *kit_write_chat_model(const struct kit_spec *spec)
{
    struct err e;
    struct kit_spec shape = *spec;
    shape.n_vocab = CHAT_MODEL_N_VOCAB;
    char *bare = kit_write_model(&shape);
    struct gguf *g = gguf_open(bare, NULL, &e);
    CHECK_OK(g);
    struct buf path = {0};
    buf_fmt(&path, "%s.chat.gguf", bare);
    struct gguf_writer *w = gguf_writer_open(path.p, &e);
    CHECK_OK(w);
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        if (!str_starts(gguf_kv_at(g, i)->key, STR("tokenizer.")))
            gguf_writer_copy(w, g, gguf_kv_at(g, i));
    put_tokenizer(w);
    copy_tensors(g, w);
    CHECK_OK(gguf_writer_finish(w, &e));
    gguf_writer_close(w);
    gguf_close(g);
    unlink(bare);
    free(bare);
    return path.p;
}
