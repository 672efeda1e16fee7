#include "text/tok.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/tok_int.h"

/* tokenizer.ggml.pre and what it stands for. nfc: the normaliser in the family's tokenizer.json;
 * llama_bos: a text begins with BOS when the file does not say. */
static const struct pre {
    const char *name;
    enum presplit_rules rules;
    bool nfc;
    bool whole_first;
    bool llama_bos;
} pres[] = {
    {"default", PRESPLIT_GPT2, false, false, false},
    {"gpt-2", PRESPLIT_GPT2, false, false, false},
    {"qwen2", PRESPLIT_QWEN2, true, false, false},
    {"qwen35", PRESPLIT_QWEN35, true, false, false},
    {"deepseek-r1-qwen", PRESPLIT_QWEN2, false, false, false},
    {"gpt-4o", PRESPLIT_O200K, false, false, false},
    {"llama4", PRESPLIT_O200K, false, false, false},
    {"glm4", PRESPLIT_LLAMA3, false, false, false},
    {"chatglm-bpe", PRESPLIT_LLAMA3, false, false, false},
    {"llama-bpe", PRESPLIT_LLAMA3, false, true, true},
    {"llama3", PRESPLIT_LLAMA3, false, true, true},
    {"llama-v3", PRESPLIT_LLAMA3, false, true, true},
};

enum { MAX_EOS_IDS = 64 };

/* Texts of tokens that end a reply, over all families. */
static const char *const stop_texts[] = {
    "<|im_end|>",    "<|end|>",     "<|return|>",    "<|call|>",     "<|endoftext|>",
    "<|eot_id|>",    "<|eom_id|>",  "</s>",          "<eos>",        "<|end_of_text|>",
    "<end_of_turn>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
};

/* Keys that name such tokens. */
static const char *const stop_keys[] = {
    "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
};

static bool check_model(const struct gguf *g, struct err *e)
{
    str model = STR("");
    if (!gguf_str(g, "tokenizer.ggml.model", false, &model, e))
        return false;
    if (str_eq(model, STR("gpt2")))
        return true;
    if (model.n == 0 || str_eq(model, STR("none")))
        return err_set(e, ERR_UNSUPPORTED, "%s: the file has no tokenizer", gguf_path(g));
    if (str_eq(model, STR("llama")))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: its tokenizer is SentencePiece (tokenizer.ggml.model llama); "
                       "only byte-level BPE (gpt2) is supported",
                       gguf_path(g));
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: tokenizer.ggml.model is '%.*s'; only byte-level BPE (gpt2) is supported",
                   gguf_path(g), STRF(model));
}

/* An unknown name gets GPT-2's rules: the text is cut a little differently than in training, but
 * nothing is lost. */
static bool find_pre(const struct gguf *g, const struct log *log, const struct pre **out,
                     struct err *e)
{
    str name = STR("default"), arch = STR("");
    *out = &pres[0];
    if (!gguf_str(g, "tokenizer.ggml.pre", false, &name, e) ||
        !gguf_str(g, "general.architecture", false, &arch, e))
        return false;
    /* Ollama's first files of gpt-oss have this architecture, and a wrong name here. */
    if (str_eq(arch, STR("gptoss")))
        name = STR("gpt-4o");
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (str_eq(name, str_of(pres[i].name))) {
            *out = &pres[i];
            return true;
        }
    log_warn(log,
             "%s: tokenizer.ggml.pre '%.*s' is unknown; splitting as gpt-2 does, answers may "
             "suffer",
             gguf_path(g), STRF(name));
    return true;
}

/* Element i of an id list, -1 with a warning when it is no token. */
static int32_t checked_id(const struct tok *t, const struct gguf *g, const struct gguf_kv *kv,
                          uint64_t i, const struct log *log)
{
    int64_t id = tok_is_integer(kv->type) ? gguf_elem_i64(kv, i) : -1;
    if (id >= 0 && id < t->vocab.n)
        return (int32_t)id;
    log_warn(log, "%s: %.*s is not the id of a token (0 to %" PRIu32 "); ignored", gguf_path(g),
             STRF(kv->key), t->vocab.n - 1);
    return -1;
}

/* The token that a key names; -1 when there is none. */
static int32_t named_id(const struct tok *t, const struct gguf *g, const char *key,
                        const struct log *log)
{
    const struct gguf_kv *kv = gguf_find(g, str_of(key));
    return kv && !kv->is_array ? checked_id(t, g, kv, 0, log) : -1;
}

static bool is_added(unsigned type)
{
    return type == TOK_CONTROL || type == TOK_USER_DEFINED || type == TOK_UNKNOWN;
}

static void load_special(struct tok *t, const struct gguf *g, const struct log *log)
{
    uint32_t n_added = 0, n_left_out = 0;
    for (uint32_t id = 0; id < t->vocab.n; id++)
        n_added += is_added(t->vocab.flags[id]);
    t->special.all = mem_new(n_added, sizeof *t->special.all);
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        unsigned type = t->vocab.flags[id];
        if (!is_added(type))
            continue;
        str text = vocab_bytes(&t->vocab, id);
        if (text.n == 0 || text.n > SPECIAL_MAX_BYTES)
            n_left_out++;
        else
            t->special.all[t->special.n++] =
                (struct special){text, (int32_t)id, type != TOK_USER_DEFINED};
    }
    special_index(&t->special);
    if (n_left_out)
        log_warn(log, "%s: %" PRIu32 " added tokens are empty or over %d bytes; never matched",
                 gguf_path(g), n_left_out, SPECIAL_MAX_BYTES);
}

static void mark_stop(struct tok *t, int32_t id)
{
    if (id >= 0)
        t->vocab.flags[id] |= VOCAB_STOP;
}

static void load_stops(struct tok *t, const struct gguf *g, const struct log *log)
{
    mark_stop(t, t->eos);
    for (size_t i = 0; i < sizeof stop_keys / sizeof *stop_keys; i++)
        mark_stop(t, named_id(t, g, stop_keys[i], log));
    const struct gguf_kv *more = gguf_find(g, STR("tokenizer.ggml.eos_token_ids"));
    for (uint64_t i = 0; more && more->is_array && i < num_min(more->n, MAX_EOS_IDS); i++)
        mark_stop(t, checked_id(t, g, more, i, log));
    for (size_t i = 0; i < sizeof stop_texts / sizeof *stop_texts; i++)
        mark_stop(t, tok_special(t, str_of(stop_texts[i])));
    /* Harmony ends each message of a turn with <|end|>, and the turn with one of the two others. */
    int32_t end = tok_special(t, STR("<|end|>"));
    if (end >= 0 && tok_special(t, STR("<|return|>")) >= 0 && tok_special(t, STR("<|call|>")) >= 0)
        t->vocab.flags[end] &= (uint8_t)~VOCAB_STOP;
}

struct tok *tok_open(const struct gguf *g, const struct log *log, struct err *e)
{
    struct tok *t = mem_new(1, sizeof *t);
    const struct pre *pre;
    if (!check_model(g, e) || !find_pre(g, log, &pre, e) || !tok_load_vocab(t, g, log, e) ||
        !tok_load_merges(t, g, pre->whole_first, log, e))
        goto fail;
    load_special(t, g, log);
    t->rules = pre->rules;
    t->nfc = pre->nfc;
    t->bos = named_id(t, g, "tokenizer.ggml.bos_token_id", log);
    t->eos = named_id(t, g, "tokenizer.ggml.eos_token_id", log);
    t->unknown = named_id(t, g, "tokenizer.ggml.unknown_token_id", log);
    t->add_bos = pre->llama_bos;
    if (!gguf_bool(g, "tokenizer.ggml.add_bos_token", false, &t->add_bos, e))
        goto fail;
    t->add_bos = t->add_bos && t->bos >= 0;
    load_stops(t, g, log);
    t->classes = uclass_open();
    return t;
fail:
    tok_close(t);
    return NULL;
}

void tok_close(struct tok *t)
{
    if (!t)
        return;
    vocab_fini(&t->vocab);
    bpe_fini(&t->bpe);
    free(t->special.all);
    uclass_close(t->classes);
    free(t);
}

uint32_t tok_n_vocab(const struct tok *t)
{
    return t->vocab.n;
}

static bool is_id(const struct tok *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->vocab.n;
}

enum tok_type tok_type(const struct tok *t, int32_t id)
{
    return is_id(t, id) ? (enum tok_type)(t->vocab.flags[id] & VOCAB_TYPE) : TOK_UNUSED;
}

str tok_bytes(const struct tok *t, int32_t id)
{
    return is_id(t, id) ? vocab_bytes(&t->vocab, (uint32_t)id) : STR("");
}

int32_t tok_special(const struct tok *t, str text)
{
    const struct special *found = special_find(&t->special, text);
    return found ? found->id : -1;
}

bool tok_is_stop(const struct tok *t, int32_t id)
{
    return is_id(t, id) && t->vocab.flags[id] & VOCAB_STOP;
}

int32_t tok_bos(const struct tok *t)
{
    return t->bos;
}

int32_t tok_eos(const struct tok *t)
{
    return t->eos;
}

bool tok_add_bos(const struct tok *t)
{
    return t->add_bos;
}
