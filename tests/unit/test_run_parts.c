/* Into how many submits the vulkan backend cuts a run: a plan and times as they would be, no
 * device. */
#include "compute/vulkan/gpu.h"
#include "compute/vulkan/steps.h"
#include "test.h"

static const double MS = 1e6;

/* Of a device with 400 steps and a plan that reads nothing. */
static struct gpu *fake(bool is_software)
{
    static const struct plan plan;
    struct gpu *g = calloc(1, sizeof *g);
    g->plan = &plan;
    g->n_steps = 400;
    g->vk = vk_imagine(&(struct vk_caps){.is_software = is_software});
    return g;
}

static void end(struct gpu *g)
{
    vk_close(g->vk);
    free(g);
}

TEST(run_parts_of_a_row_follow_its_time)
{
    struct gpu *g = fake(false);
    CHECK_INT(run_parts_needed(g, 1), 1);
    g->ns_of_few[1] = 11 * MS;
    CHECK_INT(run_parts_needed(g, 1), 1);
    CHECK_INT(run_parts_needed(g, 8), 1);
    g->ns_of_few[1] = 320 * MS; /* 75 GB of dense weights at 236 GB/s */
    CHECK_INT(run_parts_needed(g, 1), 4);
    CHECK_INT(run_parts_needed(g, 8), 32);
    g->ns_of_few[8] = 350 * MS; /* measured: they share the weights */
    CHECK_INT(run_parts_needed(g, 8), 4);
    end(g);
}

TEST(run_parts_of_prompts_are_as_many_as_they_need)
{
    struct gpu *g = fake(false);
    g->ns_of_few[1] = 320 * MS;
    g->ns_per_row = 1000.0 / 300 * MS;
    CHECK_INT(run_parts_needed(g, 16), 1);
    CHECK_INT(run_parts_needed(g, 2048), 128);
    g->n_steps = 100; /* no part is empty */
    CHECK_INT(run_parts_needed(g, 2048), 64);
    end(g);
}

TEST(run_parts_of_few_rows_are_one_on_software)
{
    struct gpu *g = fake(true);
    g->ns_of_few[1] = 5000 * MS;
    CHECK_INT(run_parts_needed(g, 1), 1);
    CHECK_INT(run_parts_needed(g, 8), 1);
    CHECK_INT(run_parts_needed(g, 9), 128);
    end(g);
}
