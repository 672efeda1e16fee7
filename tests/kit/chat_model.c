#include "kit/chat_model.h"

#include <unistd.h>

#include "base/mem.h"
#include "kit/tok_fixture.h"
#include "test.h"
#include "text/chat_layout.h"

/* The bytes in the alphabet of byte-level vocabularies; in memory of a. */
static str spelt(struct arena *a, str bytes)
{
    struct buf letters = {0};
    tok_fixture_alphabet(bytes, &letters);
    str s = arena_str(a, buf_view(&letters));
    buf_free(&letters);
    return s;
}

static void put_tokenizer(struct gguf_writer *w, const str *steps, size_t n_steps)
{
    static const char *const after[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "th",
                                        "[unused]"};
    struct arena arena = {0};
    str tokens[CHAT_MODEL_N_VOCAB];
    int32_t types[CHAT_MODEL_N_VOCAB];
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        tokens[b] = spelt(&arena, (str){&byte, 1});
        types[b] = TOK_NORMAL;
    }
    for (int i = 256; i < CHAT_MODEL_TOKENS; i++) {
        tokens[i] = str_of(after[i - 256]);
        types[i] = i == CHAT_MODEL_UNUSED ? TOK_UNUSED
                   : i == CHAT_MODEL_TH   ? TOK_NORMAL
                                          : TOK_CONTROL;
    }
    for (size_t i = 0; i < n_steps; i++) {
        tokens[CHAT_MODEL_TOKENS + i] = spelt(&arena, steps[i]);
        types[CHAT_MODEL_TOKENS + i] = TOK_NORMAL;
    }
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_writer_str(w, "tokenizer.ggml.pre", STR("qwen2"));
    gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, CHAT_MODEL_TOKENS + n_steps);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, CHAT_MODEL_TOKENS + n_steps);
    gguf_writer_strs(w, "tokenizer.ggml.merges", &STR("t h"), 1);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", CHAT_MODEL_IM_END);
    gguf_writer_str(w, "tokenizer.chat_template", chat_builtin(CHAT_HERMES_JSON));
    arena_free(&arena);
}

/* The row of token id: a one at the number of the step that follows it, or that it is. */
static void put_ones(float *rows, uint64_t n_embd, size_t n_steps, bool is_output)
{
    memset(rows, 0, CHAT_MODEL_N_VOCAB * n_embd * sizeof *rows);
    for (size_t id = 0; id < CHAT_MODEL_N_VOCAB; id++) {
        size_t step = id - CHAT_MODEL_TOKENS; /* wraps round below */
        bool is_step = id >= CHAT_MODEL_TOKENS && step < n_steps;
        if (!is_output)
            rows[id * n_embd + (is_step ? step + 1 : 0)] = 1;
        else if (is_step || id == CHAT_MODEL_IM_END)
            rows[id * n_embd + (is_step ? step : n_steps)] = 1;
    }
}

static void script_tensor(const struct gguf_tensor *t, size_t n_steps, float *values)
{
    if (str_eq(t->name, STR("token_embd.weight")) || str_eq(t->name, STR("output.weight")))
        put_ones(values, t->ne[0], n_steps, str_eq(t->name, STR("output.weight")));
    else if (str_ends(t->name, STR("attn_output.weight")) ||
             str_ends(t->name, STR("ffn_down_exps.weight")))
        memset(values, 0, t->n_bytes);
}

static void copy_tensors(const struct gguf *from, struct gguf_writer *w, size_t n_steps)
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
        if (n_steps)
            script_tensor(t, n_steps, bytes);
        CHECK_OK(gguf_writer_data(w, i, 0, bytes, t->n_bytes, &e));
        free(bytes);
    }
}

/* The model of this shape with a tokenizer; a script where there are steps. */
static void write_model(const struct kit_spec *spec, const str *steps, size_t n_steps,
                        struct buf *path)
{
    struct err e;
    struct kit_spec shape = *spec;
    shape.n_vocab = CHAT_MODEL_N_VOCAB;
    char *bare = kit_write_model(&shape);
    struct gguf *g = gguf_open(bare, NULL, &e);
    CHECK_OK(g);
    if (!path->n)
        buf_fmt(path, "%s.chat.gguf", bare);
    struct gguf_writer *w = gguf_writer_open(path->p, &e);
    CHECK_OK(w);
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        if (!str_starts(gguf_kv_at(g, i)->key, STR("tokenizer.")))
            gguf_writer_copy(w, g, gguf_kv_at(g, i));
    put_tokenizer(w, steps, n_steps);
    copy_tensors(g, w, n_steps);
    CHECK_OK(gguf_writer_finish(w, &e));
    gguf_writer_close(w);
    gguf_close(g);
    unlink(bare);
    free(bare);
}

char *kit_write_chat_model(const struct kit_spec *spec)
{
    struct buf path = {0};
    write_model(spec, NULL, 0, &path);
    return path.p;
}

void kit_write_script_model(const char *path, const str *steps, size_t n_steps)
{
    struct buf at = {0};
    CHECK(n_steps > 0 && n_steps <= SCRIPT_MAX_STEPS);
    buf_str(&at, str_of(path));
    write_model(&(struct kit_spec){.n_layer = 1}, steps, n_steps, &at);
    buf_free(&at);
}
