/* What a model says that is no answer ends the reply with an error. */
#include "engine/turn.h"

#include <unistd.h>

#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

/* Logits that are all NaN, of a damaged file, however tokens are drawn. */
static void check_nan_is_said(const char *backend)
{
    enum { N_PROMPT = 20 };
    int32_t prompt[N_PROMPT] = {1, 2, 3};
    char *path = kit_write_model(&(struct kit_spec){.ruined = "output_norm.weight"});
    struct engine *g = kit_open_engine(backend, path, 1, 64, 32);
    static const struct job_params how[] = {
        {.sampling = {.temperature = 0}},
        {.sampling = {.temperature = 1, .top_k = 20}},
        {.sampling = {.temperature = 1}},
        {.want_logprobs = true},
    };
    for (size_t i = 0; g && i < sizeof how / sizeof *how; i++) {
        struct job_params p = how[i];
        p.prompt = prompt;
        p.n_prompt = N_PROMPT;
        p.max_tokens = 4;
        const struct kit_reply r = kit_ask(g, &p);
        CHECK_INT(r.n, 0);
        CHECK_INT(r.last.finish, FINISH_ERROR);
        CHECK_INT(r.last.error.code, ERR_FORMAT);
        CHECK(strstr(r.last.error.msg, "behind 20 tokens the logits are NaN"));
        CHECK(strstr(r.last.error.msg, backend));
    }
    if (g)
        engine_close(g);
    unlink(path);
    free(path);
}

TEST(turn_ends_with_an_error_where_no_logit_is_a_number)
{
    check_nan_is_said("ref");
    check_nan_is_said("cpu");
    check_nan_is_said("vulkan");
}
