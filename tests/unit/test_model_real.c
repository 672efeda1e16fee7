/* The plans of real models, from their tensor tables (spec/data/tensors) and keys: what is read per
 * token and what is stored. Sizes alone: the weights' bytes are never touched. */
#include <sys/mman.h>

#include "kit/gguf_make.h"
#include "kit/models.h"
#include "test.h"

enum { MAX_KEYS = 24, MAX_COLUMNS = 4 };

struct key {
    const char *name; /* without the architecture */
    double value;
    enum gguf_type type;
};
#define U32(name, value)                                                                           \
    {                                                                                              \
        name, value, GGUF_U32                                                                      \
    }
#define F32(name, value)                                                                           \
    {                                                                                              \
        name, value, GGUF_F32                                                                      \
    }

#define QWEN3_HYBRID_KEYS                                                                          \
    U32("context_length", 262144), U32("embedding_length", 2048), U32("attention.head_count", 16), \
        U32("attention.head_count_kv", 2), U32("attention.key_length", 256),                       \
        U32("attention.value_length", 256), U32("rope.dimension_count", 64),                       \
        U32("expert_feed_forward_length", 512), U32("expert_shared_feed_forward_length", 512),     \
        U32("ssm.conv_kernel", 4), U32("ssm.state_size", 128), U32("ssm.group_count", 16),         \
        U32("ssm.time_step_rank", 32), U32("ssm.inner_size", 4096),                                \
        F32("attention.layer_norm_rms_epsilon", 1e-6)

/* Spec "models" 2 and 3. */
static const struct real {
    const char *table, *arch;
    uint64_t kv_stored; /* bytes of one token over all layers, f16 */
    uint64_t kv_grows;  /* of them, what a token more of depth lets the next ones read */
    uint64_t states;    /* bytes per sequence */
    struct {
        const char *name; /* the column of types */
        uint64_t per_token, all;
    } columns[MAX_COLUMNS];
    struct key keys[MAX_KEYS];
} reals[] = {
    {"Qwen3-Coder-30B-A3B",
     "qwen3moe",
     98304,
     98304,
     0,
     {{"IQ4_NL", 1850981504, 17455806464},
      {"IQ4_NL+imatrix", 1841544320, 17304811520},
      {"Q4_K_M", 1919597696, 18550716416},
      {"Q8_0", 3269568640, 32477962240}},
     {U32("context_length", 262144), U32("embedding_length", 2048), U32("block_count", 48),
      U32("attention.head_count", 32), U32("attention.head_count_kv", 4),
      U32("attention.key_length", 128), U32("attention.value_length", 128),
      U32("expert_count", 128), U32("expert_used_count", 8), U32("expert_feed_forward_length", 768),
      F32("attention.layer_norm_rms_epsilon", 1e-6)}},
    {"gpt-oss-20b",
     "gpt-oss",
     49152,
     24576,
     0,
     {{"MXFP4_MOE", 2574705396, 12096558336}},
     {U32("context_length", 131072), U32("embedding_length", 2880), U32("block_count", 24),
      U32("attention.head_count", 64), U32("attention.head_count_kv", 8),
      U32("attention.key_length", 64), U32("attention.value_length", 64), U32("expert_count", 32),
      U32("expert_used_count", 4), U32("expert_feed_forward_length", 2880),
      U32("attention.sliding_window", 128), F32("attention.layer_norm_rms_epsilon", 1e-5)}},
    {"gpt-oss-120b",
     "gpt-oss",
     73728,
     36864,
     0,
     {{"MXFP4_MOE", 3594213108, 63374323968}},
     {U32("context_length", 131072), U32("embedding_length", 2880), U32("block_count", 36),
      U32("attention.head_count", 64), U32("attention.head_count_kv", 8),
      U32("attention.key_length", 64), U32("attention.value_length", 64), U32("expert_count", 128),
      U32("expert_used_count", 4), U32("expert_feed_forward_length", 2880),
      U32("attention.sliding_window", 128), F32("attention.layer_norm_rms_epsilon", 1e-5)}},
    {"GLM-4.7-Flash",
     "deepseek2",
     54144,
     54144,
     0,
     {{"IQ4_NL+imatrix", 2116898432, 16946547200}, {"Q4_K_M", 2223066752, 18123246080}},
     {U32("context_length", 202752),
      U32("embedding_length", 2048),
      U32("block_count", 47),
      U32("feed_forward_length", 10240),
      U32("attention.head_count", 20),
      U32("attention.head_count_kv", 1),
      U32("attention.key_length", 576),
      U32("attention.value_length", 512),
      U32("attention.key_length_mla", 256),
      U32("attention.value_length_mla", 256),
      U32("attention.q_lora_rank", 768),
      U32("attention.kv_lora_rank", 512),
      U32("rope.dimension_count", 64),
      U32("expert_count", 64),
      U32("expert_used_count", 4),
      U32("expert_feed_forward_length", 1536),
      U32("expert_shared_count", 1),
      U32("leading_dense_block_count", 1),
      F32("expert_weights_scale", 1.8),
      F32("attention.layer_norm_rms_epsilon", 1e-5)}},
    {"Qwen3-Next-80B-A3B",
     "qwen3next",
     24576,
     24576,
     79036416,
     {{"IQ4_NL", 2348697728, 45555713024},
      {"IQ4_NL+imatrix", 2340046976, 45152273408},
      {"Q4_K_M", 2413824128, 48483058688}},
     {U32("block_count", 48), U32("expert_count", 512), U32("expert_used_count", 10),
      QWEN3_HYBRID_KEYS}},
    {"Qwen3.5-3.6-35B-A3B",
     "qwen35moe",
     20480,
     20480,
     65863680,
     {{"IQ4_NL+imatrix", 1929064064, 19768289792}, {"Q4_K_M", 1975676544, 21155768832}},
     {U32("block_count", 40), U32("expert_count", 256), U32("expert_used_count", 8),
      QWEN3_HYBRID_KEYS}},
    {"Qwen3.5-3.6-35B-A3B-mtp",
     "qwen35moe",
     20480,
     20480,
     65863680,
     {{"Q8_0", 3195835008, 36892150272}}, /* without block 40: as the file that has none */
     {U32("block_count", 41), U32("nextn_predict_layers", 1), U32("expert_count", 256),
      U32("expert_used_count", 8), QWEN3_HYBRID_KEYS}},
};
#undef QWEN3_HYBRID_KEYS
enum { N_REALS = sizeof reals / sizeof *reals };

struct table {
    struct buf tensors;
    size_t n_tensors;
    uint64_t n_data_bytes;
};

/* The cell of this column of a line whose cells are apart by tabs. */
static str cell(str line, size_t column)
{
    str rest = line, found = {0};
    for (size_t i = 0; i <= column; i++)
        found = str_cut(rest, '\t', &rest);
    return found;
}

static size_t column_of(str header, const char *name)
{
    for (size_t i = 4;; i++) {
        const str title = cell(header, i);
        CHECK(title.n > 0);
        if (str_eq(title, str_of(name)))
            return i;
    }
}

/* One line of the table: name, three sizes, then a type per column. */
static void add_tensor(struct table *t, str line, size_t column)
{
    uint64_t ne[3];
    enum block_type type;
    for (size_t i = 0; i < 3; i++) {
        int64_t n;
        CHECK(str_to_i64(cell(line, 1 + i), &n));
        ne[i] = (uint64_t)n;
    }
    CHECK(block_type_of(cell(line, column), &type));
    make_tensor(&t->tensors, cell(line, 0), type, ne, 3, t->n_data_bytes);
    t->n_data_bytes += block_row_bytes(type, ne[0]) * ne[1] * ne[2];
    t->n_data_bytes = (t->n_data_bytes + 31) / 32 * 32;
    t->n_tensors++;
}

static struct table read_table(const struct real *r, size_t i_column)
{
    char path[96];
    size_t n_bytes;
    struct table t = {0};
    snprintf(path, sizeof path, "spec/data/tensors/%s.tsv", r->table);
    char *text = kit_read_shared(path, &n_bytes);
    str rest = {text, n_bytes};
    const size_t column = column_of(str_cut(rest, '\n', &rest), r->columns[i_column].name);
    while (rest.n)
        add_tensor(&t, str_cut(rest, '\n', &rest), column);
    free(text);
    return t;
}

static void add_key(struct buf *header, const char *arch, const struct key *k)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, k->name);
    make_key(header, str_of(name), k->type);
    if (k->type == GGUF_F32)
        buf_put(header, &(float){(float)k->value}, sizeof(float));
    else if (k->type == GGUF_BOOL)
        buf_put(header, &(uint8_t){k->value != 0}, 1);
    else
        make_u32(header, (uint32_t)k->value);
}

static struct buf make_file(const struct real *r, const struct table *t)
{
    struct buf header = {0};
    size_t n_keys = 0;
    while (n_keys < MAX_KEYS && r->keys[n_keys].name)
        n_keys++;
    make_header(&header, 3, t->n_tensors, n_keys + 1);
    make_key(&header, STR("general.architecture"), GGUF_STRING);
    make_str(&header, str_of(r->arch));
    for (size_t i = 0; i < n_keys; i++)
        add_key(&header, r->arch, &r->keys[i]);
    buf_str(&header, buf_view(&t->tensors));
    make_pad(&header);
    return header;
}

static void check_plan(const struct plan *p, const struct real *r, size_t i_column)
{
    const enum block_type f16 = BLOCK_F16;
    CHECK_INT(plan_weight_bytes_per_token(p), r->columns[i_column].per_token);
    CHECK_INT(plan_weight_bytes(p), r->columns[i_column].all);
    CHECK_INT(plan_kv_bytes_per_token(p, f16, f16), r->kv_stored);
    CHECK_INT(plan_state_bytes(p), r->states);
    CHECK_INT(plan_kv_bytes_read(p, 65537, f16, f16) - plan_kv_bytes_read(p, 65536, f16, f16),
              r->kv_grows);
    CHECK_INT(plan_kv_bytes_read(p, 100, f16, f16), 100 * r->kv_stored);
}

static void fail_on_warning(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    if (level == LOG_WARN)
        test_fail(__FILE__, __LINE__, "%s", line);
}

TEST(model_counts_what_real_models_read_per_token)
{
    const struct log log = {fail_on_warning, NULL};
    for (size_t i = 0; i < N_REALS * MAX_COLUMNS; i++) {
        const struct real *r = &reals[i / MAX_COLUMNS];
        struct err e = {0};
        if (!r->columns[i % MAX_COLUMNS].name)
            continue;
        struct table t = read_table(r, i % MAX_COLUMNS);
        struct buf header = make_file(r, &t);
        const size_t n_bytes = header.n + t.n_data_bytes;
        /* Address space alone: only the header's pages are ever touched. */
        void *bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(bytes != MAP_FAILED);
        memcpy(bytes, header.p, header.n);
        struct gguf *file = gguf_open_memory(bytes, n_bytes, &e);
        CHECK_OK(file != NULL);
        struct model *m = model_open(file, &log, &e);
        CHECK_OK(m != NULL);
        printf("    %s, %s\n", r->table, r->columns[i % MAX_COLUMNS].name);
        check_plan(&m->plan, r, i % MAX_COLUMNS);
        model_close(m);
        gguf_close(file);
        munmap(bytes, n_bytes);
        buf_free(&header);
        buf_free(&t.tensors);
    }
}
