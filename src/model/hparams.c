#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"
#include "model/arch.h"

enum {
    MAX_LAYERS = 512,
    MAX_EMBD = 65536,
    MAX_VOCAB = 1 << 21,
    MAX_EXPERTS = 1024,
    MAX_HEADS = 4096,
    MAX_HEAD_DIM = 4096,
    MAX_FF = 1 << 20,
    MAX_CTX = 1 << 28,
};

void build_fail(struct builder *b, enum err_code code, const char *format, ...)
{
    char text[sizeof b->e->msg];
    if (b->failed)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(b->e, code, "%s: %s", gguf_path(b->file), text);
    b->failed = true;
}

struct key {
    char text[128];
};

static struct key full_key(const struct builder *b, const char *key)
{
    struct key k;
    snprintf(k.text, sizeof k.text, "%s.%s", b->arch, key);
    return k;
}

static void check_range(struct builder *b, const char *key, uint64_t value, uint64_t lo,
                        uint64_t hi)
{
    if (value < lo || value > hi)
        build_fail(b, ERR_FORMAT, "key '%s.%s' is %llu, must be %llu to %llu", b->arch, key,
                   (unsigned long long)value, (unsigned long long)lo, (unsigned long long)hi);
}

void key_u32(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
             uint32_t *out)
{
    const struct key k = full_key(b, key);
    if (b->failed)
        return;
    if (!gguf_find(b->file, str_of(k.text)) && need == OPTIONAL)
        return;
    if (!gguf_u32(b->file, k.text, need == REQUIRED, out, b->e))
        b->failed = true;
    else
        check_range(b, key, *out, lo, hi);
}

void key_f32(struct builder *b, const char *key, enum need need, float lo, float hi, float *out)
{
    const struct key k = full_key(b, key);
    if (b->failed)
        return;
    if (!gguf_find(b->file, str_of(k.text)) && need == OPTIONAL)
        return;
    if (!gguf_f32(b->file, k.text, need == REQUIRED, out, b->e))
        b->failed = true;
    else if (!(*out >= lo && *out <= hi)) /* NaN fails too */
        build_fail(b, ERR_FORMAT, "key '%s' is %g, must be %g to %g", k.text, (double)*out,
                   (double)lo, (double)hi);
}

void key_bool(struct builder *b, const char *key, enum need need, bool *out)
{
    if (!b->failed && !gguf_bool(b->file, full_key(b, key).text, need == REQUIRED, out, b->e))
        b->failed = true;
}

static bool is_integer(enum gguf_type type)
{
    return type != GGUF_F32 && type != GGUF_F64 && type != GGUF_BOOL && type != GGUF_STRING;
}

void key_u32_per_block(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
                       uint32_t *out)
{
    const struct key k = full_key(b, key);
    const struct gguf_kv *kv = gguf_find(b->file, str_of(k.text));
    if (!kv || !kv->is_array) {
        key_u32(b, key, need, lo, hi, out);
        return;
    }
    if (b->failed)
        return;
    if (!is_integer(kv->type) || kv->n == 0) {
        build_fail(b, ERR_FORMAT, "key '%s' must be an integer or an array of them", k.text);
        return;
    }
    int64_t value = 0;
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t v = gguf_elem_i64(kv, i);
        if (v != 0 && value != 0 && v != value) {
            build_fail(b, ERR_UNSUPPORTED,
                       "key '%s' differs between blocks (%lld, %lld): tawny needs one value",
                       k.text, (long long)value, (long long)v);
            return;
        }
        value = v ? v : value;
    }
    check_range(b, key, (uint64_t)value, lo, hi);
    *out = (uint32_t)value;
}

void key_bool_of_block(struct builder *b, const char *key, uint32_t block, bool *out)
{
    const struct key k = full_key(b, key);
    const struct gguf_kv *kv = gguf_find(b->file, str_of(k.text));
    if (b->failed || !kv)
        return;
    if (!kv->is_array || (kv->type != GGUF_BOOL && !is_integer(kv->type)) || block >= kv->n)
        build_fail(b, ERR_FORMAT, "key '%s' must be an array of bool with one entry per block",
                   k.text);
    else
        *out = gguf_elem_i64(kv, block) != 0;
}

/* Rows of the embedding table: the vocabulary, perhaps with padding rows behind the tokenizer's
 * ids. */
static void read_vocab(struct builder *b)
{
    const struct gguf_tensor *table = gguf_tensor(b->file, STR("token_embd.weight"));
    const struct gguf_kv *tokens = gguf_find(b->file, STR("tokenizer.ggml.tokens"));
    if (!table) {
        build_fail(b, ERR_FORMAT, "tensor 'token_embd.weight' is missing");
        return;
    }
    uint64_t n_tokens = tokens && tokens->is_array ? tokens->n : 0;
    if (table->ne[1] > MAX_VOCAB || table->ne[1] < n_tokens)
        build_fail(b, ERR_FORMAT,
                   "tensor 'token_embd.weight' has %llu rows, must be %llu (tokens) to %d",
                   (unsigned long long)table->ne[1], (unsigned long long)n_tokens, MAX_VOCAB);
    b->hp->n_vocab = (uint32_t)num_min(table->ne[1], MAX_VOCAB);
}

static void read_heads(struct builder *b)
{
    struct hparams *hp = b->hp;
    key_u32_per_block(b, "attention.head_count", REQUIRED, 1, MAX_HEADS, &hp->n_head);
    hp->n_kv_head = hp->n_head;
    key_u32_per_block(b, "attention.head_count_kv", OPTIONAL, 1, MAX_HEADS, &hp->n_kv_head);
    if (b->failed)
        return;
    if (hp->n_head % hp->n_kv_head)
        build_fail(b, ERR_FORMAT,
                   "key '%s.attention.head_count' is %u, no multiple of head_count_kv %u", b->arch,
                   hp->n_head, hp->n_kv_head);
    hp->head_dim_k = hp->head_dim_v = hp->n_embd / hp->n_head;
    key_u32(b, "attention.key_length", OPTIONAL, 1, MAX_HEAD_DIM, &hp->head_dim_k);
    key_u32(b, "attention.value_length", OPTIONAL, 1, MAX_HEAD_DIM, &hp->head_dim_v);
    check_range(b, "attention.key_length", hp->head_dim_k, 1, MAX_HEAD_DIM);
    check_range(b, "attention.value_length", hp->head_dim_v, 1, MAX_HEAD_DIM);
    hp->n_rot = hp->head_dim_k;
    key_u32(b, "rope.dimension_count", OPTIONAL, 0, hp->head_dim_k, &hp->n_rot);
    if (hp->n_rot % 2)
        build_fail(b, ERR_FORMAT, "key '%s.rope.dimension_count' is %u, must be even", b->arch,
                   hp->n_rot);
    hp->rope_base = 10000;
    key_f32(b, "rope.freq_base", OPTIONAL, 1.001f, 1e12f, &hp->rope_base);
}

static void read_experts(struct builder *b)
{
    struct hparams *hp = b->hp;
    key_u32(b, "expert_count", OPTIONAL, 0, MAX_EXPERTS, &hp->n_expert);
    if (b->failed || hp->n_expert == 0)
        return;
    key_u32(b, "expert_used_count", REQUIRED, 1, hp->n_expert, &hp->n_expert_used);
    if (b->failed)
        return;
    key_u32(b, "expert_feed_forward_length", OPTIONAL, 1, MAX_FF, &hp->n_ff_expert);
}

void hparams_need_experts(struct builder *b, uint64_t n_ff)
{
    struct hparams *hp = b->hp;
    if (hp->n_expert == 0)
        build_fail(b, ERR_FORMAT, "key '%s.expert_count' is missing or 0", b->arch);
    if (hp->n_ff_expert)
        return;
    if (n_ff == 0 || n_ff > MAX_FF)
        build_fail(b, ERR_FORMAT, "key '%s.expert_feed_forward_length' is missing", b->arch);
    hp->n_ff_expert = (uint32_t)num_min(n_ff, MAX_FF);
}

void hparams_need_ff(struct builder *b)
{
    if (b->hp->n_ff == 0)
        build_fail(b, ERR_FORMAT, "key '%s.feed_forward_length' is missing or 0", b->arch);
}

void hparams_read(struct builder *b)
{
    struct hparams *hp = b->hp;
    uint32_t n_blocks = 0;
    key_u32(b, "context_length", REQUIRED, 1, MAX_CTX, &hp->n_ctx_train);
    key_u32(b, "embedding_length", REQUIRED, 1, MAX_EMBD, &hp->n_embd);
    key_u32(b, "block_count", REQUIRED, 1, MAX_LAYERS, &n_blocks);
    key_u32(b, "nextn_predict_layers", OPTIONAL, 0, n_blocks ? n_blocks - 1 : 0, &hp->n_nextn);
    hp->n_layer = n_blocks - hp->n_nextn;
    key_u32_per_block(b, "feed_forward_length", OPTIONAL, 0, MAX_FF, &hp->n_ff);
    key_f32(b, "attention.layer_norm_rms_epsilon", REQUIRED, 1e-12f, 0.999f, &hp->rms_eps);
    if (!b->failed)
        read_heads(b);
    if (!b->failed)
        read_experts(b);
    if (!b->failed)
        read_vocab(b);
}
