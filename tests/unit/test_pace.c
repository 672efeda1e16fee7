/* Pieces of prompts keep to their time on machines that are made of numbers. */
#include "engine/pace.h"

#include <math.h>

#include "base/num.h"
#include "test.h"

#define AT_MOST(got, most)   CHECK_INT(fmax(got, most), most)
#define AT_LEAST(least, got) CHECK_INT(fmin(got, least), least)

enum { STALL_NS = 150000000, MOST = 512 };

/* What rows take: `run` for all together, `row` for each and `token` for each token before it. */
struct machine {
    double run, row, token;
};

/* As measured with the demo model on two cores; one with a large model, where depth is little. */
static const struct machine demo = {1e6, 117e3, 213}, large = {20e6, 1e6, 5};

struct prompt {
    uint32_t at, n_pieces, smallest;
    double longest;
};

/* Reads one piece. */
static void read_piece(struct pace *p, const struct machine *m, struct prompt *of, uint32_t end)
{
    const uint32_t n = (uint32_t)num_min(pace_rows(p, of->at, STALL_NS, MOST), end - of->at);
    const double ns = m->run + n * (m->row + m->token * (of->at + (n - 1) / 2.0));
    pace_put(p, of->at, n, (uint64_t)ns);
    of->at += n;
    of->n_pieces++;
    if (of->at < end && (!of->smallest || n < of->smallest))
        of->smallest = n;
    if (ns > of->longest)
        of->longest = ns;
}

static struct prompt read_all(struct pace *p, const struct machine *m, uint32_t from, uint32_t end)
{
    struct prompt of = {.at = from};
    while (of.at < end)
        read_piece(p, m, &of, end);
    return of;
}

TEST(pace_pieces_of_one_prompt_keep_to_their_time)
{
    struct pace p = {0};
    const struct prompt of = read_all(&p, &demo, 0, 20000);
    AT_MOST(of.longest, STALL_NS * 1.02);
    /* 45 s of reading in pieces of 150 ms: few of them are smaller */
    const double all = 20000 * (demo.row + demo.token * 10000);
    AT_MOST(of.n_pieces, 1.1 * all / STALL_NS);
}

TEST(pace_goes_to_another_depth)
{
    /* A title is read at once; then 2,000 tokens behind 18,000 that were kept. */
    struct pace p = {0};
    read_all(&p, &demo, 0, 1000);
    AT_MOST(read_all(&p, &demo, 18000, 20000).longest, STALL_NS * 1.02);
    /* Once more: now that speed is known. */
    read_all(&p, &demo, 0, 1000);
    const uint32_t first = pace_rows(&p, 18000, STALL_NS, MOST);
    AT_LEAST(30, first);
    AT_MOST(read_all(&p, &demo, 18000, 20000).longest, STALL_NS * 1.02);
    AT_LEAST(250, pace_rows(&p, 0, STALL_NS, MOST));
}

TEST(pace_of_two_prompts_that_take_turns)
{
    struct pace p = {0};
    struct prompt deep = {.at = 16000}, new = {0};
    read_all(&p, &demo, 0, 16000);
    while (deep.at < 18000 || new.at < 4000) {
        if (deep.at < 18000)
            read_piece(&p, &demo, &deep, 18000);
        if (new.at < 4000)
            read_piece(&p, &demo, &new, 4000);
    }
    AT_MOST(deep.longest, STALL_NS * 1.02);
    AT_MOST(new.longest, STALL_NS * 1.02);
    AT_LEAST(30, deep.smallest);
    AT_LEAST(100, new.smallest);
}

TEST(pace_of_large_models_is_not_held_back_by_depth)
{
    struct pace p = {0};
    read_all(&p, &large, 0, 2000);
    for (uint32_t at = 0; at < 100000; at += 10000) {
        struct prompt of = {.at = at};
        read_piece(&p, &large, &of, at + 1000);
        read_piece(&p, &large, &of, at + 1000);
        read_piece(&p, &large, &of, at + 1000);
        AT_MOST(of.longest, STALL_NS * 1.02);
        AT_LEAST(80, pace_rows(&p, of.at, STALL_NS, MOST));
    }
}

TEST(pace_follows_a_machine_that_gets_busy)
{
    struct pace p = {0};
    read_all(&p, &demo, 0, 8000);
    const struct machine busy = {4 * demo.run, 4 * demo.row, 4 * demo.token};
    struct prompt of = {.at = 8000};
    read_piece(&p, &busy, &of, 9000); /* nobody could know */
    of.longest = 0;
    while (of.at < 12000)
        read_piece(&p, &busy, &of, 12000);
    AT_MOST(of.longest, STALL_NS * 1.02);
    /* Nor do speeds from before it was busy mislead. */
    AT_MOST(read_all(&p, &busy, 2000, 3000).longest, STALL_NS * 1.02);
    /* It is free again. */
    struct prompt after = {.at = 12000};
    read_piece(&p, &demo, &after, 16000);
    read_piece(&p, &demo, &after, 16000);
    AT_LEAST(45, pace_rows(&p, after.at, STALL_NS, MOST));
}

TEST(pace_of_few_rows)
{
    struct pace p = {0};
    CHECK_INT(pace_rows(&p, 0, STALL_NS, MOST), PACE_FIRST);
    CHECK_INT(pace_rows(&p, 0, STALL_NS, 5), 5);
    pace_put(&p, 0, PACE_LEAST - 1, 1000000000); /* says nothing */
    CHECK_INT(pace_rows(&p, 0, STALL_NS, MOST), PACE_FIRST);
    pace_put(&p, 0, PACE_LEAST, 0);
    CHECK_INT(pace_rows(&p, 100000, STALL_NS, MOST), MOST);
    pace_put(&p, UINT32_MAX - MOST, MOST, UINT64_MAX / 2);
    CHECK_INT(pace_rows(&p, 0, STALL_NS, MOST), PACE_LEAST);
    CHECK_INT(pace_rows(&p, 0, STALL_NS, 5), 5);
}
