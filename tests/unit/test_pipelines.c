/* Pipelines that are planned for a device are valid there: they keep its limit of shared memory,
 * and no length is 0. The validation layer says so, on lavapipe, of what a card with as much shared
 * memory would be given. */
#include "compute/vulkan/gpu.h"
#include "compute/vulkan/vk_shaders.h"
#include "kit/op_rig.h"
#include "test.h"

enum { N_OUT = 16, N_SHARED = 32768 };

static void print_line(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

/* The test ends here without lavapipe and the layer. */
static struct vk *open_checked(void)
{
    static const struct log to_stderr = {print_line, NULL};
    struct err e;
    struct vk *vk =
        kit_checks("vulkan")
            ? vk_open(&(struct vk_params){.device = "llvmpipe", .validate = true}, &to_stderr, &e)
            : NULL;
    if (!vk || vk_caps(vk)->shared_bytes != N_SHARED)
        test_skip("no lavapipe with 32 KiB of shared memory under the validation layer");
    return vk;
}

/* Makes the pipelines of a plan for a device that differs from vk in being none of software. False
 * and why where it refuses the plan. Frees the rig. */
static bool make_pipelines(struct vk *vk, struct rig *r, struct err *why)
{
    struct err e;
    const struct exec_params params = {.n_ctx = 512, .n_seqs = 1, .n_ubatch = 16, .page = 256};
    struct vk_caps card = *vk_caps(vk);
    card.is_software = false;
    struct vk *imagined = vk_imagine(&card);
    struct gpu *g = gpu_new(&r->plan, &params, imagined, why);
    const bool ok = g != NULL;
    if (g) {
        VkPipeline *made = calloc(g->n_specs, sizeof *made);
        CHECK_OK(vk_pipelines_make(vk, g->specs, g->n_specs, made, &e));
        free(made);
    }
    gpu_free(g);
    vk_close(imagined);
    rig_close(r);
    return ok;
}

static void check_valid(struct vk *vk, struct rig *r)
{
    struct err e = {0};
    CHECK_OK(make_pipelines(vk, r, &e));
    CHECK_INT(vk_validation_errors(vk), 0);
}

static struct rig plan_project(enum block_type type, uint32_t n_in)
{
    struct rig r = rig_open(0, 1);
    plan_op(&r.plan, OP_PROJECT, 0)->project = (struct op_project){
        .in = rig_input(&r, "in", n_in),
        .norm = rig_floats(&r, n_in, 1, 1),
        .n_out = 1,
        .out = {{.w = rig_matrix(&r, type, n_in, N_OUT, 1), .out = rig_output(&r, "out", N_OUT)}},
    };
    return r;
}

static struct rig plan_glu(enum block_type gate, enum block_type up, uint32_t n_in)
{
    struct rig r = rig_open(0, 1);
    plan_op(&r.plan, OP_GLU, 0)->glu = (struct op_glu){
        .in = rig_input(&r, "in", n_in),
        .out = rig_output(&r, "out", N_OUT),
        .norm = rig_floats(&r, n_in, 1, 1),
        .gate = rig_matrix(&r, gate, n_in, N_OUT, 1),
        .up = rig_matrix(&r, up, n_in, N_OUT, 1),
    };
    return r;
}

/* A router, and the experts that it chooses among. */
static struct rig plan_experts(enum block_type gate, enum block_type up, uint32_t n_in,
                               uint32_t n_expert)
{
    enum { N_USED = 10 };
    struct rig r = rig_open(0, 1);
    const slot_id normed = rig_output(&r, "normed", n_in), ids = rig_output(&r, "ids", N_USED);
    plan_op(&r.plan, OP_ROUTE, 0)->route = (struct op_route){
        .x = rig_input(&r, "x", n_in),
        .normed = normed,
        .weights = rig_output(&r, "weights", N_USED),
        .ids = ids,
        .norm = rig_floats(&r, n_in, 1, 1),
        .router = rig_matrix(&r, BLOCK_F32, n_in, n_expert, 1),
        .n_expert = n_expert,
        .n_used = N_USED,
    };
    plan_op(&r.plan, OP_EXPERTS_UP, 0)->experts_up = (struct op_experts_up){
        .in = normed,
        .ids = ids,
        .out = rig_output(&r, "out", N_USED * N_OUT),
        .gate = rig_matrix(&r, gate, n_in, N_OUT, n_expert),
        .up = rig_matrix(&r, up, n_in, N_OUT, n_expert),
        .n_used = N_USED,
    };
    return r;
}

/* Rows of which eight, four or one just about fill the 32 KiB. */
TEST(pipelines_keep_to_the_shared_memory_of_a_card)
{
    struct err e = {0};
    struct vk *vk = open_checked();
    for (uint32_t n_in = 2944; n_in <= 3200; n_in += 128) {
        struct rig r = plan_project(BLOCK_Q8_0, n_in);
        check_valid(vk, &r);
        r = plan_glu(BLOCK_Q8_0, BLOCK_Q8_0, 2 * n_in);
        check_valid(vk, &r);
    }
    for (uint32_t n_in = 5120; n_in <= 7168; n_in += 512) {
        struct rig r = plan_experts(BLOCK_Q8_0, BLOCK_Q8_0, n_in, 512);
        const bool ok = make_pipelines(vk, &r, &e);
        CHECK_INT(vk_validation_errors(vk), 0);
        CHECK(ok ? n_in < 6912 : n_in > 5120 && e.code == ERR_UNSUPPORTED);
    }
    vk_close(vk);
}

/* Gates and ups of two types that share a dispatch, and of two that do not. */
TEST(pipelines_of_two_types_have_no_lengths_of_0)
{
    static const enum block_type types[][2] = {
        {BLOCK_Q4_K, BLOCK_Q6_K}, {BLOCK_MXFP4, BLOCK_IQ4_XS}, {BLOCK_F32, BLOCK_Q8_0}};
    struct vk *vk = open_checked();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct rig r = plan_glu(types[i][0], types[i][1], 256);
        check_valid(vk, &r);
        r = plan_experts(types[i][0], types[i][1], 256, 16);
        check_valid(vk, &r);
    }
    vk_close(vk);
}

/* Refusals name what is too large for the device, not what a device with more would take. */
TEST(pipelines_of_heads_that_do_not_fit_are_refused_with_their_bytes)
{
    struct err e = {0};
    struct kit_model m = kit_open_model(
        &(struct kit_spec){.arch = "llama", .head_dim = 512, .n_head = 30, .n_kv_head = 1});
    const struct exec_params params = {.n_ctx = 512,
                                       .n_seqs = 1,
                                       .n_ubatch = 16,
                                       .page = 256,
                                       .type_k = BLOCK_F16,
                                       .type_v = BLOCK_F16};
    struct vk *imagined = vk_imagine(&(struct vk_caps){.subgroup_min = 32,
                                                       .subgroup_max = 32,
                                                       .shared_bytes = VK_LEAST_SHARED,
                                                       .max_alloc = 1 << 30});
    CHECK(!gpu_new(&m.model->plan, &params, imagined, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK_STR(str_of(e.msg),
              STR("layer 0: query heads of 512 and 512 elements need 20960 bytes of shared memory, "
                  "the device has 20480: use the cpu backend"));
    vk_close(imagined);
    kit_close_model(&m);
}

/* Of SPIR-V, 2.2 and 3.52: opcodes, and the words of a header. */
enum { OP_TYPE_ARRAY = 28, OP_SPEC_CONSTANT_OP = 52, OP_SELECT = 169, OP_TYPE_MATRIX = 4456 };
enum { HEADER = 5, BOUND = 3 };

/* Arrays of cooperative matrices whose length is, or is made of, the choice of a constant. */
static uint32_t n_chosen_lengths(const uint32_t *code, size_t n_words)
{
    bool *is_matrix = calloc(code[BOUND], sizeof *is_matrix);
    bool *is_chosen = calloc(code[BOUND], sizeof *is_chosen);
    uint32_t n = 0;
    for (size_t i = HEADER; i < n_words; i += code[i] >> 16) {
        const uint32_t op = code[i] & 0xffff, n_op = code[i] >> 16;
        CHECK(n_op > 0 && i + n_op <= n_words);
        if (op == OP_TYPE_MATRIX)
            is_matrix[code[i + 1]] = true;
        if (op == OP_TYPE_ARRAY)
            n += is_matrix[code[i + 2]] && is_chosen[code[i + 3]];
        if (op != OP_SPEC_CONSTANT_OP)
            continue;
        is_chosen[code[i + 2]] = code[i + 3] == OP_SELECT;
        for (uint32_t k = 4; k < n_op; k++)
            is_chosen[code[i + 2]] |= code[i + k] < code[BOUND] && is_chosen[code[i + k]];
    }
    free(is_matrix);
    free(is_chosen);
    return n;
}

/* A prompt's kernel that had one computed nonsense on an H100 (driver 580.159.04), without a word
 * from the validation layer. */
TEST(pipelines_have_no_arrays_of_matrices_of_chosen_lengths)
{
    for (uint32_t shader = 0; shader < VK_N_SHADERS; shader++) {
        size_t n_bytes;
        const uint32_t *code = vk_shader_code(shader, &n_bytes);
        if (n_chosen_lengths(code, n_bytes / sizeof *code))
            test_fail(__FILE__, __LINE__, "%s: the length of an array of matrices is chosen",
                      vk_shader_name(shader));
    }
}
