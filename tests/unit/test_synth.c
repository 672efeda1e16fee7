/* Synthetic models: their tensor tables are those of the real files, and their numbers are sane. */
#include "gguf/synth.h"

#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "gguf/recipe.h"
#include "gguf/synth_fill.h"
#include "model/model.h"
#include "test.h"

/* A line of a tensor list: name, ne0, ne1, ne2, then one type per recipe. */
static const char *field(const char *line, int i, char *out, size_t size)
{
    for (; i; i--) {
        line = strchr(line, '\t');
        CHECK(line);
        line++;
    }
    snprintf(out, size, "%.*s", (int)strcspn(line, "\t\r\n"), line);
    return out;
}

static int column_of(const char *head, const char *title)
{
    char text[64];
    for (int i = 4;; i++)
        if (!strcmp(field(head, i, text, sizeof text), title))
            return i;
}

static void check_tensor(const struct gguf_tensor *t, const char *line, int column)
{
    char text[64];
    enum block_type type;
    if (!block_type_of(str_of(field(line, column, text, sizeof text)), &type) || type != t->type)
        test_fail(__FILE__, __LINE__, "%.*s: type %s, want %s", STRF(t->name),
                  block_type_name((uint32_t)t->type), text);
    for (int d = 0; d < 3; d++)
        CHECK_INT(t->ne[d], atoll(field(line, 1 + d, text, sizeof text)));
}

/* model-numbers.json; freed by the caller. */
static struct json *read_numbers(void)
{
    struct err e;
    struct buf text = {0};
    CHECK_OK(file_read_all(test_shared("spec/data/model-numbers.json"), 1 << 20, &text, &e));
    struct json *root = json_parse(buf_view(&text), &e);
    CHECK_OK(root);
    buf_free(&text);
    return root;
}

/* "bytes" of the row of model-numbers.json with this model and ftype. */
static uint64_t known_bytes(const char *model, const char *ftype)
{
    uint64_t bytes = 0;
    struct json *root = read_numbers();
    for (size_t i = 0; i < json_count(root); i++) {
        const struct json *row = json_at(root, i);
        if (str_starts(json_str(json_get(row, "model")), str_of(model)) &&
            str_eq(json_str(json_get(row, "ftype")), str_of(ftype)))
            bytes = (uint64_t)json_int(json_get(row, "bytes"));
    }
    json_free(root);
    CHECK(bytes > 0);
    return bytes;
}

TEST(synth_tables_are_those_of_the_real_files)
{
    static const struct {
        const char *name, *list, *column, *model;
        enum block_type type;
    } rows[] = {
        {"qwen3-coder-30b", "Qwen3-Coder-30B-A3B", "IQ4_NL+imatrix", "Qwen3-Coder", BLOCK_IQ4_NL},
        {"qwen3-coder-30b", "Qwen3-Coder-30B-A3B", "IQ4_NL", "Qwen3-Coder", BLOCK_IQ4_NL},
        {"qwen3-coder-30b", "Qwen3-Coder-30B-A3B", "Q4_K_M", "Qwen3-Coder", BLOCK_Q4_K},
        {"qwen3-30b-2507", "Qwen3-Coder-30B-A3B", "Q8_0", "Qwen3-Coder", BLOCK_Q8_0},
        {"qwen3-30b-2507", "Qwen3-Coder-30B-A3B", "BF16", "Qwen3-Coder", BLOCK_BF16},
        {"gpt-oss-20b", "gpt-oss-20b", "MXFP4_MOE", "gpt-oss-20b", BLOCK_MXFP4},
        {"gpt-oss-20b", "gpt-oss-20b", "BF16", "gpt-oss-20b", BLOCK_BF16},
        {"gpt-oss-120b", "gpt-oss-120b", "MXFP4_MOE", "gpt-oss-120b", BLOCK_MXFP4},
        {"qwen3-next-80b", "Qwen3-Next-80B-A3B", "IQ4_NL+imatrix", "Qwen3-Next", BLOCK_IQ4_NL},
        {"qwen3-next-80b", "Qwen3-Next-80B-A3B", "Q4_K_M", "Qwen3-Next", BLOCK_Q4_K},
        {"qwen3-next-80b", "Qwen3-Next-80B-A3B", "Q8_0", "Qwen3-Next", BLOCK_Q8_0},
        {"qwen3.6-35b-a3b", "Qwen3.5-3.6-35B-A3B", "IQ4_NL", "Qwen3.5/3.6-35B-A3B (no MTP)",
         BLOCK_IQ4_NL},
        {"qwen3.6-35b-a3b", "Qwen3.5-3.6-35B-A3B", "Q4_K_M", "Qwen3.5/3.6-35B-A3B (no MTP)",
         BLOCK_Q4_K},
        {"qwen3.6-35b-a3b-mtp", "Qwen3.5-3.6-35B-A3B-mtp", "Q8_0", "Qwen3.5/3.6-35B-A3B (with MTP",
         BLOCK_Q8_0},
        {"glm-4.7-flash", "GLM-4.7-Flash", "IQ4_NL+imatrix", "GLM-4.7-Flash", BLOCK_IQ4_NL},
        {"glm-4.7-flash", "GLM-4.7-Flash", "Q4_K_M", "GLM-4.7-Flash", BLOCK_Q4_K},
        {"glm-4.7-flash", "GLM-4.7-Flash", "BF16", "GLM-4.7-Flash", BLOCK_BF16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        struct buf text = {0};
        char path[128], name[64];
        size_t n, n_lines = 0;
        struct synth_options o = {.has_type = true,
                                  .type = rows[i].type,
                                  .no_imatrix = !strcmp(rows[i].column, "IQ4_NL")};
        struct synth *s = synth_open(rows[i].name, &o, &e);
        CHECK_OK(s);
        const struct gguf_tensor *t = synth_tensors(s, &n);
        snprintf(path, sizeof path, "spec/data/tensors/%s.tsv", rows[i].list);
        CHECK_OK(file_read_all(test_shared(path), 1 << 20, &text, &e));
        int column = column_of(text.p, rows[i].column);
        for (char *line = strchr(text.p, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
            CHECK(n_lines < n);
            CHECK_STR(t[n_lines].name, str_of(field(line, 0, name, sizeof name)));
            check_tensor(&t[n_lines++], line, column);
        }
        CHECK_INT(n, n_lines);
        CHECK_INT(synth_n_bytes(s), known_bytes(rows[i].model, rows[i].column));
        buf_free(&text);
        synth_close(s);
    }
}

/* The mix without an importance matrix, which quantising makes. */
TEST(recipe_without_imatrix_is_that_of_the_real_files)
{
    struct err e;
    struct buf text = {0};
    struct recipe r = {.type = BLOCK_IQ4_NL, .n_layers = 48, .kv_share = 8};
    CHECK_OK(
        file_read_all(test_shared("spec/data/tensors/Qwen3-Next-80B-A3B.tsv"), 1 << 20, &text, &e));
    int column = column_of(text.p, "IQ4_NL");
    for (char *line = strchr(text.p, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        char name[64], number[64];
        struct gguf_tensor t = {.ne = {0, 0, 0, 1}};
        t.name = str_of(field(line, 0, name, sizeof name));
        for (int d = 0; d < 3; d++)
            t.ne[d] = (uint64_t)atoll(field(line, 1 + d, number, sizeof number));
        t.type = recipe_pick(&r, t.name, t.ne);
        check_tensor(&t, line, column);
    }
    buf_free(&text);
}

TEST(recipe_falls_back_where_rows_do_not_fit)
{
    static const struct {
        enum block_type type;
        uint64_t ne0;
        enum block_type want;
    } rows[] = {
        {BLOCK_Q4_K, 512, BLOCK_Q4_K}, {BLOCK_Q4_K, 2880, BLOCK_Q5_0},
        {BLOCK_Q5_K, 96, BLOCK_Q5_1},  {BLOCK_Q6_K, 96, BLOCK_Q8_0},
        {BLOCK_IQ4_NL, 40, BLOCK_F16}, {BLOCK_Q4_K, 40, BLOCK_F16},
        {BLOCK_F32, 7, BLOCK_F32},     {BLOCK_IQ4_XS, 96, BLOCK_IQ4_NL},
        {BLOCK_Q2_K, 96, BLOCK_Q4_0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct recipe r = {.type = rows[i].type, .n_layers = 9, .kv_share = 1};
        uint64_t ne[4] = {rows[i].ne0, 8, 1, 1};
        CHECK_INT(recipe_pick(&r, STR("blk.1.attn_q.weight"), ne), rows[i].want);
    }
    struct recipe r = {.type = BLOCK_Q4_0, .tied = true};
    CHECK_INT(recipe_pick(&r, STR("token_embd.weight"), (uint64_t[]){256, 8, 1, 1}), BLOCK_Q6_K);
    CHECK_INT(recipe_pick(&r, STR("x.bias"), (uint64_t[]){256, 8, 1, 1}), BLOCK_F32);
    CHECK_INT(recipe_pick(&r, STR("x.weight"), (uint64_t[]){256, 1, 1, 1}), BLOCK_F32);
}

TEST(synth_numbers_have_the_deviation_asked_for)
{
    enum { N = 1 << 18 };
    uint8_t *blocks = malloc(N * sizeof(float));
    float *x = malloc(N * sizeof(float));
    for (uint32_t id = 0; id < BLOCK_TYPE_LIMIT; id++) {
        const struct block_info *info = block_info(id);
        struct rng r = {test_seed()};
        double sum = 0, squares = 0;
        if (!info)
            continue;
        synth_fill((enum block_type)id, 0.02f, &r, blocks, N);
        info->decode(blocks, x, N);
        for (int i = 0; i < N; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        double deviation = sqrt(squares / N), mean = sum / N;
        if (!(fabs(deviation / 0.02 - 1) < (id == BLOCK_MXFP4 ? 0.45 : 0.08)) ||
            !(fabs(mean) < 0.25 * deviation))
            test_fail(__FILE__, __LINE__, "%s: deviation %g, mean %g", info->name, deviation, mean);
    }
    free(blocks);
    free(x);
}

static void read_file(const char *path, struct buf *out)
{
    struct err e;
    CHECK_OK(file_read_all(path, 64 << 20, out, &e));
}

static void write_synth(const char *name, const struct synth_options *o, int n_threads,
                        const char *path, struct buf *bytes)
{
    struct err e;
    struct synth *s = synth_open(name, o, &e);
    CHECK_OK(s);
    CHECK_OK(synth_write(s, path, n_threads, NULL, NULL, &e));
    synth_close(s);
    read_file(path, bytes);
}

static void count_step(void *ctx, uint64_t done, uint64_t total)
{
    (void)total;
    atomic_fetch_add((atomic_ulong *)ctx, done > 0);
}

TEST(synth_bytes_depend_on_the_seed_alone)
{
    struct buf a = {0}, b = {0}, c = {0};
    char path[] = "/tmp/tawny-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    write_synth("tiny-qwen3moe", &(struct synth_options){.seed = 5}, 1, path, &a);
    write_synth("tiny-qwen3moe", &(struct synth_options){.seed = 5}, 3, path, &b);
    write_synth("tiny-qwen3moe", &(struct synth_options){.seed = 6}, 2, path, &c);
    CHECK(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    CHECK(a.n == c.n && memcmp(a.p, c.p, a.n) != 0);
    unlink(path);
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
}

TEST(synth_files_open_and_no_two_experts_are_equal)
{
    char path[] = "/tmp/tawny-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    for (size_t i_name = 0; synth_name(i_name); i_name++) {
        const char *name = synth_name(i_name);
        struct err e;
        uint64_t first_bits[4] = {0};
        atomic_ulong n_steps = 0;
        size_t n, n_seen = 0;
        if (strncmp(name, "tiny-", 5))
            continue;
        struct synth *s = synth_open(name, &(struct synth_options){.n_layers = 4}, &e);
        CHECK_OK(s);
        CHECK_OK(synth_write(s, path, 2, &(struct progress){count_step, &n_steps}, NULL, &e));
        CHECK(n_steps > 4);
        struct gguf *g = gguf_open(path, NULL, &e);
        CHECK_OK(g);
        const struct gguf_tensor *want = synth_tensors(s, &n);
        CHECK_INT(gguf_n_tensors(g), n);
        for (size_t i = 0; i < n; i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            CHECK_STR(t->name, want[i].name);
            CHECK(t->type == want[i].type && t->n_bytes == want[i].n_bytes);
            if (str_ends(t->name, STR("ffn_up_exps.weight")) ||
                str_ends(t->name, STR("ffn_up.weight")))
                CHECK_OK(gguf_read(g, t, 64, &first_bits[n_seen++], 8, &e));
        }
        CHECK_INT(n_seen, 4);
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < i; k++)
                CHECK(first_bits[i] != first_bits[k]);
        uint32_t n_layers;
        char key[64];
        str arch;
        CHECK_OK(gguf_str(g, "general.architecture", true, &arch, &e));
        snprintf(key, sizeof key, "%.*s.block_count", STRF(arch));
        CHECK(gguf_u32(g, key, true, &n_layers, &e) && n_layers == 4);
        gguf_close(g);
        synth_close(s);
    }
    unlink(path);
}

/* The messages of opening a model. */
static void keep_text(void *ctx, enum log_level level, const char *text)
{
    (void)level;
    buf_fmt(ctx, "%s\n", text);
}

/* "w" a window, "f" full attention, "l" latent, "d" delta net, "-" dense, "e" experts: two letters
 * a layer, or three. */
static void pattern_of(const struct plan *p, struct buf *out)
{
    for (size_t i = 0; i < p->n_ops; i++)
        switch (p->ops[i].kind) {
        case OP_ATTEND: buf_byte(out, p->ops[i].attend.window ? 'w' : 'f'); break;
        case OP_ATTEND_MLA: buf_byte(out, 'l'); break;
        case OP_DELTA_NET: buf_byte(out, 'd'); break;
        case OP_GLU: buf_byte(out, '-'); break;
        case OP_EXPERTS_UP: buf_byte(out, 'e'); break;
        default: break;
        }
}

/* Of the blocks for multi-token prediction, which the plan leaves out: the last layer. */
static uint64_t nextn_bytes(const struct synth *s)
{
    size_t n, first = 0;
    uint64_t sum = 0;
    const struct gguf_tensor *t = synth_tensors(s, &n);
    for (size_t i = 0; i < n && !first; i++)
        first = str_starts(t[i].name, STR("blk.4.")) ? i : 0;
    for (size_t i = first; i < n - 2; i++)
        sum += t[i].n_bytes;
    return sum;
}

/* An empty file of each name is a model that uses all of its tensors, however few its layers. */
TEST(synth_models_are_whole_and_keep_their_pattern_when_short)
{
    static const struct {
        const char *name;
        uint32_t n_layers;
        const char *pattern; /* a shared expert is a dense part before the others */
    } rows[] = {
        {"qwen3-coder-30b", 2, "fefe"},
        {"qwen3-30b-2507", 1, "fe"},
        {"gpt-oss-20b", 3, "wefewe"},
        {"gpt-oss-120b", 2, "wefe"},
        {"qwen3-next-80b", 5, "d-ed-ed-ef-ed-e"},
        {"qwen3-next-80b", 1, "f-e"},
        {"qwen3.6-35b-a3b", 4, "d-ed-ed-ef-e"},
        {"qwen3.6-35b-a3b-mtp", 4, "d-ed-ed-ef-e"},
        {"glm-4.7-flash", 3, "l-l-el-e"},
        {"glm-4.7-flash", 1, "l-"},
        {"qwen3-0.6b", 2, "f-f-"},
        {"qwen3-8b", 1, "f-"},
        {"qwen2.5-7b", 2, "f-f-"},
        {"llama-3.2-1b", 2, "f-f-"},
    };
    char path[64];
    snprintf(path, sizeof path, "/tmp/tawny-test-%ld-empty.gguf", (long)getpid());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        struct buf said = {0}, pattern = {0};
        const struct log log = {keep_text, &said};
        struct synth_options o = {.n_layers = rows[i].n_layers};
        struct synth *s = synth_open(rows[i].name, &o, &e);
        CHECK_OK(s);
        CHECK_OK(synth_write_empty(s, path, &e));
        struct gguf *g = gguf_open(path, NULL, &e);
        CHECK_OK(g);
        struct model *m = model_open(g, &log, &e);
        CHECK_OK(m);
        CHECK_INT(plan_weight_bytes(&m->plan) + (m->hp.n_nextn ? nextn_bytes(s) : 0),
                  synth_n_bytes(s));
        pattern_of(&m->plan, &pattern);
        CHECK_STR(buf_view(&pattern), str_of(rows[i].pattern));
        if (m->hp.n_nextn)
            CHECK(strstr(said.p, "left out 1 block for multi-token prediction"));
        else
            CHECK_STR(buf_view(&said), STR(""));
        model_close(m);
        gguf_close(g);
        synth_close(s);
        buf_free(&said);
        buf_free(&pattern);
    }
    unlink(path);
}

/* The name of synth for a model of model-numbers.json. */
static const char *name_of(str model)
{
    static const struct {
        const char *start, *name;
    } rows[] = {
        {"Qwen3-Coder", "qwen3-coder-30b"},
        {"gpt-oss-20b", "gpt-oss-20b"},
        {"gpt-oss-120b", "gpt-oss-120b"},
        {"Qwen3-Next", "qwen3-next-80b"},
        {"Qwen3.5/3.6-35B-A3B (no", "qwen3.6-35b-a3b"},
        {"Qwen3.5/3.6-35B-A3B (with", "qwen3.6-35b-a3b-mtp"},
        {"GLM-4.7", "glm-4.7-flash"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_starts(model, str_of(rows[i].start)))
            return rows[i].name;
    test_fail(__FILE__, __LINE__, "no name for %.*s", STRF(model));
}

static struct synth_options options_of(str ftype)
{
    static const struct {
        const char *name;
        enum block_type type;
        bool no_imatrix;
    } rows[] = {
        {"IQ4_NL", BLOCK_IQ4_NL, true},    {"IQ4_NL+imatrix", BLOCK_IQ4_NL, false},
        {"Q8_0", BLOCK_Q8_0, false},       {"Q4_K_M", BLOCK_Q4_K, false},
        {"MXFP4_MOE", BLOCK_MXFP4, false}, {"BF16", BLOCK_BF16, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(ftype, str_of(rows[i].name)))
            return (struct synth_options){
                .has_type = true, .type = rows[i].type, .no_imatrix = rows[i].no_imatrix};
    test_fail(__FILE__, __LINE__, "no type for %.*s", STRF(ftype));
}

/* Of every model and type in model-numbers.json, from the plan of the whole model. Blocks for
 * multi-token prediction are not run, so that their bytes do not count. */
TEST(bytes_per_token_are_those_of_the_real_models)
{
    struct json *root = read_numbers();
    char path[64];
    double without_nextn = 0; /* of the same model and type in the row before */
    snprintf(path, sizeof path, "/tmp/tawny-test-%ld-whole.gguf", (long)getpid());
    CHECK(json_count(root) >= 24);
    for (size_t i = 0; i < json_count(root); i++) {
        const struct json *row = json_at(root, i);
        const str name = json_str(json_get(row, "model")), ftype = json_str(json_get(row, "ftype"));
        const struct synth_options o = options_of(ftype);
        double want = (double)json_int(json_get(row, "active_bytes_per_token"));
        struct err e;
        struct synth *s = synth_open(name_of(name), &o, &e);
        CHECK_OK(s);
        CHECK_OK(synth_write_empty(s, path, &e));
        struct gguf *g = gguf_open(path, NULL, &e);
        CHECK_OK(g);
        struct model *m = model_open(g, NULL, &e);
        CHECK_OK(m);
        if (str_eq(ftype, STR("Q8_0")) && !m->hp.n_nextn)
            without_nextn = want;
        if (m->hp.n_nextn)
            want = without_nextn;
        const double got = plan_weight_bytes_per_token(&m->plan);
        if (!(fabs(got / want - 1) < 0.0001))
            test_fail(__FILE__, __LINE__, "%.*s %.*s: %.0f bytes per token, want %.0f", STRF(name),
                      STRF(ftype), got, want);
        model_close(m);
        gguf_close(g);
        synth_close(s);
    }
    json_free(root);
    unlink(path);
}

TEST(synth_copies_a_tokenizer_and_takes_its_size)
{
    struct err e;
    const char *from = test_shared("spec/data/gguf-samples/ggml-vocab-gpt-2.gguf");
    char path[] = "/tmp/tawny-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    struct gguf *vocab = gguf_open(from, NULL, &e);
    CHECK_OK(vocab);
    struct synth_options o = {.n_layers = 1, .tokenizer = vocab};
    struct synth *s = synth_open("tiny-qwen3moe", &o, &e);
    CHECK_OK(s);
    CHECK_OK(synth_write(s, path, 2, NULL, NULL, &e));
    struct gguf *g = gguf_open(path, NULL, &e);
    CHECK_OK(g);
    CHECK_INT(gguf_tensor(g, STR("token_embd.weight"))->ne[1], 50257);
    const struct gguf_kv *tokens = gguf_find(g, STR("tokenizer.ggml.tokens"));
    CHECK_STR(gguf_elem_str(g, tokens, 1000), STR("ale"));
    CHECK(gguf_find(g, STR("tokenizer.ggml.merges")));
    CHECK_STR(gguf_elem_str(g, gguf_find(g, STR("tokenizer.ggml.model")), 0), STR("gpt2"));
    gguf_close(g);
    synth_close(s);
    gguf_close(vocab);
    unlink(path);
}

TEST(synth_refuses_what_it_cannot_make)
{
    struct err e;
    struct synth_options o = {.n_layers = 513};
    CHECK(!synth_open("qwen", &(struct synth_options){0}, &e) && e.code == ERR_USAGE);
    CHECK(strstr(e.msg, "called 'qwen': there are qwen3-coder-30b, qwen3-30b-2507, gpt-oss-20b"));
    CHECK(!synth_open("gpt-oss-20b", &o, &e) && strstr(e.msg, "513 layers, limit 512"));
    struct synth *s = synth_open("tiny-gpt-oss", &(struct synth_options){0}, &e);
    CHECK_OK(s);
    atomic_bool stop = true;
    CHECK(!synth_write(s, "/tmp/tawny-test-stopped.gguf", 2, NULL, &stop, &e));
    CHECK_INT(e.code, ERR_CANCELLED);
    CHECK(access("/tmp/tawny-test-stopped.gguf", F_OK) != 0);
    CHECK(!synth_write(s, "/nonexistent/x.gguf", 2, NULL, NULL, &e) && e.code == ERR_IO);
    synth_close(s);
    synth_close(NULL);
}
