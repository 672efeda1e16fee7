/* Quantising whole files. */
#include "gguf/requant.h"

#include <math.h>
#include <unistd.h>

#include "gguf/recipe.h"
#include "gguf/synth.h"
#include "kit/models.h"
#include "model/model.h"
#include "test.h"

static const struct requant_work no_work;

struct paths {
    char from[64], to[64];
};

static struct paths make_paths(void)
{
    struct paths p;
    snprintf(p.from, sizeof p.from, "/tmp/tawny-test-%ld-from.gguf", (long)getpid());
    snprintf(p.to, sizeof p.to, "/tmp/tawny-test-%ld-to.gguf", (long)getpid());
    return p;
}

static void drop_paths(const struct paths *p)
{
    unlink(p->from);
    unlink(p->to);
}

static struct gguf *make_model(const char *name, enum block_type type, const char *path)
{
    struct err e;
    struct synth_options o = {.n_layers = 2, .seed = 9, .has_type = true, .type = type};
    struct synth *s = synth_open(name, &o, &e);
    CHECK_OK(s);
    CHECK_OK(synth_write(s, path, 2, NULL, NULL, &e));
    synth_close(s);
    struct gguf *g = gguf_open(path, NULL, &e);
    CHECK_OK(g);
    return g;
}

static float *read_floats(const struct gguf *g, const struct gguf_tensor *t)
{
    struct err e;
    uint8_t *blocks = malloc(t->n_bytes);
    float *x = malloc(t->n_elems * sizeof *x);
    CHECK_OK(gguf_read(g, t, 0, blocks, t->n_bytes, &e));
    block_info((uint32_t)t->type)->decode(blocks, x, t->n_elems);
    free(blocks);
    return x;
}

/* Root mean square of the difference over that of a. */
static double tensor_error(const struct gguf *a, const struct gguf_tensor *ta, const struct gguf *b,
                           const struct gguf_tensor *tb)
{
    float *x = read_floats(a, ta), *y = read_floats(b, tb);
    double miss = 0, power = 0;
    for (uint64_t i = 0; i < ta->n_elems; i++) {
        double d = (double)x[i] - (double)y[i];
        miss += d * d;
        power += (double)x[i] * (double)x[i];
    }
    free(x);
    free(y);
    return sqrt(miss / power);
}

TEST(requant_keeps_the_numbers_close_and_the_rest_equal)
{
    static const struct {
        const char *model;
        enum block_type type;
        double limit; /* of the relative error of a matrix of uniform numbers */
        uint32_t file_type;
    } rows[] = {
        {"tiny-qwen3moe", BLOCK_Q8_0, 0.005, 7},  {"tiny-qwen3moe", BLOCK_IQ4_NL, 0.09, 25},
        {"tiny-qwen3next", BLOCK_Q4_K, 0.08, 15}, {"tiny-gpt-oss", BLOCK_Q4_K, 0.06, 15},
        {"tiny-gpt-oss", BLOCK_MXFP4, 0.14, 38},  {"tiny-qwen3moe", BLOCK_BF16, 0.002, 32},
        {"tiny-qwen3next", BLOCK_Q6_K, 0.02, 18},
    };
    struct paths p = make_paths();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        struct gguf *from = make_model(rows[i].model, BLOCK_F32, p.from);
        struct requant r = {.has_mix = true, .mix = rows[i].type};
        CHECK_OK(requant_file(from, p.to, &r, &(struct requant_work){.n_threads = 2}, &e));
        struct gguf *to = gguf_open(p.to, NULL, &e);
        CHECK_OK(to);
        CHECK_INT(gguf_n_tensors(to), gguf_n_tensors(from));
        CHECK_INT(gguf_n_kv(to), gguf_n_kv(from));
        uint32_t file_type;
        CHECK_OK(gguf_u32(to, "general.file_type", true, &file_type, &e));
        CHECK_INT(file_type, rows[i].file_type);
        int n_coded = 0;
        for (size_t k = 0; k < gguf_n_tensors(to); k++) {
            const struct gguf_tensor *a = gguf_tensor_at(from, k), *b = gguf_tensor_at(to, k);
            CHECK_STR(b->name, a->name);
            CHECK_INT(b->n_dims, a->n_dims);
            CHECK(b->type != BLOCK_F32 || !recipe_is_matrix(b->name, b->ne));
            double error = tensor_error(from, a, to, b);
            n_coded += b->type == rows[i].type;
            if (!(b->type == BLOCK_F32 ? error == 0 : error < rows[i].limit))
                test_fail(__FILE__, __LINE__, "%s %.*s: %s, error %g", rows[i].model, STRF(b->name),
                          block_type_name((uint32_t)b->type), error);
        }
        CHECK(n_coded > 4 || rows[i].model[5] == 'g'); /* gpt-oss: 288 is no multiple of 256 */
        gguf_close(to);
        gguf_close(from);
    }
    drop_paths(&p);
}

TEST(requant_copies_tensors_that_have_their_type_bit_by_bit)
{
    struct err e;
    struct paths p = make_paths();
    struct gguf *from = make_model("tiny-qwen3moe", BLOCK_Q8_0, p.from);
    const struct requant r = {.has_mix = true, .mix = BLOCK_Q8_0};
    CHECK_OK(requant_file(from, p.to, &r, &no_work, &e));
    struct gguf *to = gguf_open(p.to, NULL, &e);
    CHECK_OK(to);
    for (size_t k = 0; k < gguf_n_tensors(to); k++) {
        const struct gguf_tensor *a = gguf_tensor_at(from, k), *b = gguf_tensor_at(to, k);
        CHECK(a->type == b->type && a->n_bytes == b->n_bytes);
        uint8_t *x = malloc(a->n_bytes), *y = malloc(a->n_bytes);
        CHECK_OK(gguf_read(from, a, 0, x, a->n_bytes, &e) &&
                 gguf_read(to, b, 0, y, a->n_bytes, &e));
        CHECK(memcmp(x, y, a->n_bytes) == 0);
        free(x);
        free(y);
    }
    gguf_close(to);
    gguf_close(from);
    drop_paths(&p);
}

TEST(requant_refuses_what_it_cannot_write)
{
    struct err e;
    struct paths p = make_paths();
    float x[64] = {[33] = NAN};
    struct gguf_writer *w = gguf_writer_open(p.from, &e);
    CHECK_OK(w);
    size_t i = gguf_writer_tensor(w, STR("a.weight"), BLOCK_F32, (uint64_t[]){32, 2}, 2);
    CHECK_OK(gguf_writer_start(w, &e) && gguf_writer_data(w, i, 0, x, sizeof x, &e) &&
             gguf_writer_finish(w, &e));
    gguf_writer_close(w);
    struct gguf *g = gguf_open(p.from, NULL, &e);
    CHECK_OK(g);
    struct requant r = {.has_mix = true, .mix = BLOCK_Q8_0};
    CHECK(!requant_file(g, p.to, &r, &no_work, &e));
    CHECK(strstr(e.msg, "tensor 'a.weight' holds nan, Q8_0 can hold up to 65504"));
    CHECK(access(p.to, F_OK) != 0);
    r.mix = BLOCK_F32;
    CHECK_OK(requant_file(g, p.to, &r, &no_work, &e));
    gguf_close(g);
    drop_paths(&p);
}

/* ---- descriptions ---------------------------------------------------------------------------- */

static void check_parsed(const char *text, const char *want)
{
    struct err e;
    struct requant r;
    struct buf back = {0};
    if (!requant_parse(str_of(text), &r, &e))
        test_fail(__FILE__, __LINE__, "'%s': %s", text, e.msg);
    requant_print(&r, &back);
    CHECK_STR(buf_view(&back), str_of(want));
    buf_free(&back);
}

static void check_not_parsed(const char *text, const char *says)
{
    struct err e = {0};
    struct requant r;
    CHECK(!requant_parse(str_of(text), &r, &e) && e.code == ERR_USAGE);
    if (!strstr(e.msg, says))
        test_fail(__FILE__, __LINE__, "'%s': says '%s', not '%s'", text, e.msg, says);
}

TEST(requant_descriptions_are_read_and_written)
{
    check_parsed("head=q6_k,attn=iq4_nl,router=f16", "head=Q6_K,attn=IQ4_NL,router=F16");
    check_parsed("Q4_K", "Q4_K");
    check_parsed("q4_k,embed=q8_0,experts=mxfp4", "Q4_K,embed=Q8_0,experts=MXFP4");
    check_parsed("ffn=q5_0,shared=bf16", "shared=BF16,ffn=Q5_0");
}

TEST(requant_refuses_descriptions_by_naming_what_is_wrong)
{
    check_not_parsed("", "type '' is not one of: F32, F16, ");
    check_not_parsed("heads=q6_k",
                     "role 'heads' is not one of: embed, head, attn, experts, shared, ");
    check_not_parsed("head=q9", "type of head 'q9' is not one of: F32, F16, Q4_0, ");
    check_not_parsed("head=q2_k", "type of head 'q2_k' is not one of: F32, ");
    check_not_parsed("head=", "type of head '' is not one of: ");
    check_not_parsed("=q8_0", "role '' is not one of: ");
    check_not_parsed("head=q8_0,head=q6_k", "role 'head' is there twice");
    check_not_parsed("head=q8_0,q6_k", "'q6_k' is no ROLE=TYPE; a type for all comes first");
    check_not_parsed("q8_0,q6_k", "'q6_k' is no ROLE=TYPE");
    check_not_parsed("q8_0,,attn=q6_k", "'' is no ROLE=TYPE");
    check_not_parsed("head=q8_0=q6_k", "type of head 'q8_0=q6_k' is not one of: ");
    check_not_parsed("iq2_xxs", "type 'iq2_xxs' is not one of: ");
}

/* Whatever is asked for is either taken, and then reads the same again, or refused with a reason.
 */
TEST(requant_descriptions_of_random_parts_are_taken_or_refused)
{
    static const char *const parts[] = {"head",  "attn", "router", "=",      "=",    ",",
                                        ",",     "q8_0", "F16",    "iq4_nl", "\x01", "\xff",
                                        "embed", "",     " ",      "q6_K"};
    struct rng r = {test_seed()};
    for (int i = 0; i < 20000; i++) {
        struct err e = {0};
        struct requant parsed, again;
        struct buf text = {0}, back = {0};
        for (uint64_t n = rng_u64(&r) % 12; n; n--)
            buf_str(&text, str_of(parts[rng_u64(&r) % (sizeof parts / sizeof *parts)]));
        if (requant_parse(buf_view(&text), &parsed, &e)) {
            requant_print(&parsed, &back);
            CHECK_OK(requant_parse(buf_view(&back), &again, &e));
            CHECK(!requant_is_empty(&parsed) && memcmp(&parsed, &again, sizeof parsed) == 0);
        } else {
            CHECK(e.code == ERR_USAGE && e.msg[0]);
        }
        buf_free(&text);
        buf_free(&back);
    }
}

/* ---- while loading --------------------------------------------------------------------------- */

static struct requant parsed(const char *text)
{
    struct err e;
    struct requant r;
    CHECK_OK(requant_parse(str_of(text), &r, &e));
    return r;
}

/* Reads both in pieces of random size and compares them. */
static void check_same_weight(const struct weight *a, const struct weight *b, struct rng *r)
{
    struct err e;
    CHECK_STR(a->name, b->name);
    CHECK(a->type == b->type && a->n_bytes == b->n_bytes);
    uint8_t *x = malloc(a->n_bytes), *y = malloc(a->n_bytes);
    for (uint64_t from = 0, n; from < a->n_bytes; from += n) {
        n = 1 + rng_u64(r) % (a->n_bytes / 2 + 1);
        n = n < a->n_bytes - from ? n : a->n_bytes - from;
        CHECK_OK(weight_read(a, from, x + from, n, &e));
    }
    CHECK_OK(weight_read(b, 0, y, b->n_bytes, &e));
    if (memcmp(x, y, a->n_bytes))
        test_fail(__FILE__, __LINE__, "%.*s as %s: other bytes", STRF(a->name),
                  block_type_name((uint32_t)a->type));
    free(x);
    free(y);
}

/* The model in `from` loaded with `spec`, and the file that quantising makes of it, are the same.
 */
static void check_same_model(const struct gguf *from, const char *spec, const char *path)
{
    struct err e;
    struct rng rng = {test_seed()};
    const struct model_params how = {.requant = parsed(spec)};
    CHECK_OK(requant_file(from, path, &how.requant, &(struct requant_work){.n_threads = 2}, &e));
    struct gguf *to = gguf_open(path, NULL, &e);
    CHECK_OK(to);
    struct model *a = model_open_with(from, &how, NULL, &e), *b = NULL;
    CHECK_OK(a);
    b = model_open(to, NULL, &e);
    CHECK_OK(b);
    CHECK_INT(a->plan.n_weights, b->plan.n_weights);
    for (size_t i = 0; i < a->plan.n_weights; i++)
        check_same_weight(a->plan.weights[i], b->plan.weights[i], &rng);
    CHECK(plan_weight_bytes_per_token(&a->plan) == plan_weight_bytes_per_token(&b->plan));
    model_close(a);
    model_close(b);
    gguf_close(to);
}

TEST(requant_while_loading_gives_the_bits_of_a_quantised_file)
{
    static const struct {
        const char *model, *spec;
    } rows[] = {
        {"tiny-qwen3moe", "head=q6_k,attn=iq4_nl,router=f16"},
        {"tiny-qwen3moe", "q4_k"},
        {"tiny-gpt-oss", "mxfp4,embed=q8_0,attn=q5_0"},
        {"tiny-qwen3next", "attn=q8_0,shared=q4_1"},
        {"tiny-qwen35moe", "q8_0,router=bf16"},
        {"tiny-glm", "ffn=q4_k,shared=q5_1,embed=f16"},
        {"tiny-qwen3", "head=q8_0,ffn=q4_0"},
        {"tiny-llama", "q8_0"},
    };
    static const enum block_type types[] = {BLOCK_F32, BLOCK_BF16, BLOCK_Q8_0, BLOCK_Q4_K};
    struct paths p = make_paths();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gguf *from = make_model(rows[i].model, types[i % 4], p.from);
        check_same_model(from, rows[i].spec, p.to);
        gguf_close(from);
    }
    drop_paths(&p);
}

/* Parts of fused tensors, which are read piece by piece. */
TEST(requant_while_loading_takes_fused_tensors_apart)
{
    static const struct kit_spec specs[] = {
        {.fused = true, .type = BLOCK_Q8_0},
        {.fused = true, .arch = "qwen3next", .type = BLOCK_F16},
    };
    struct paths p = make_paths();
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct err e;
        char *path = kit_write_model(&specs[i]);
        struct gguf *from = gguf_open(path, NULL, &e);
        CHECK_OK(from);
        check_same_model(from, "attn=q4_0,experts=iq4_nl", p.to);
        gguf_close(from);
        unlink(path);
        free(path);
    }
    drop_paths(&p);
}

TEST(requant_refuses_what_a_model_cannot_have)
{
    static const struct {
        const char *model, *spec, *says;
    } rows[] = {
        {"tiny-gpt-oss", "attn=q6_k",
         "attn=Q6_K: tensor 'blk.0.attn_q.weight' has rows of 288 values, no multiple of 256; "
         "possible: F32, F16, Q4_0, "},
        {"tiny-qwen3moe", "shared=q8_0",
         "shared=Q8_0: the model has no such tensors; it has embed, head, attn, experts, router"},
        {"tiny-qwen3", "embed=q8_0", "embed=Q8_0: the model has no such tensors; it has head, "},
    };
    struct paths p = make_paths();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = {0};
        struct gguf *g = make_model(rows[i].model, BLOCK_Q8_0, p.from);
        const struct model_params how = {.requant = parsed(rows[i].spec)};
        CHECK(!model_open_with(g, &how, NULL, &e) && e.code == ERR_USAGE);
        if (!strstr(e.msg, rows[i].says))
            test_fail(__FILE__, __LINE__, "says '%s', not '%s'", e.msg, rows[i].says);
        e.msg[0] = 0;
        CHECK(!requant_file(g, p.to, &how.requant, &no_work, &e) && strstr(e.msg, rows[i].says));
        gguf_close(g);
    }
    drop_paths(&p);
}
