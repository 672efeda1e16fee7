/* Conversations that wait in files: they come back, also in the next engine, with the replies of
 * cold starts, whatever became of the files meanwhile. */
#include <dirent.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

enum { N_VOCAB = 96, CTX = 1500, TALKS = 5, NEW = 4, BEGIN = 600, ADDED = 20 };

struct world {
    char folder[64];
    char *model;
    const char *backend;
    int64_t cache_bytes, disk_bytes;
    uint64_t least_free;
    int32_t ids[TALKS][CTX];
    size_t n[TALKS];
    struct rng rng;
    atomic_int n_warnings;
    char warning[1200];
    uint64_t disk_tokens; /* of the last life */
};

static char *write_model(const char *arch, uint64_t seed)
{
    return kit_write_model(&(struct kit_spec){.arch = arch,
                                              .n_vocab = N_VOCAB,
                                              .n_embd = 32,
                                              .head_dim = 32,
                                              .n_ff = 32,
                                              .window = 16,
                                              .seed = seed});
}

static struct world *open_world(const char *backend, const char *arch, int64_t cache_bytes)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w);
    w->model = write_model(arch, 0);
    w->backend = backend;
    w->cache_bytes = cache_bytes;
    w->disk_bytes = 1 << 30;
    w->least_free = 1;
    w->rng.state = test_seed();
    snprintf(w->folder, sizeof w->folder, "/tmp/tawny-cold-XXXXXX");
    CHECK(mkdtemp(w->folder));
    for (int i = 0; i < TALKS; i++)
        while (w->n[i] < BEGIN)
            w->ids[i][w->n[i]++] = (int32_t)rng_below(&w->rng, N_VOCAB);
    return w;
}

static void close_world(struct world *w)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    CHECK_INT(system(command), 0);
    unlink(w->model);
    free(w->model);
    free(w);
}

static void take_line(void *ctx, enum log_level level, const char *line)
{
    struct world *w = ctx;
    if (level == LOG_WARN && atomic_fetch_add(&w->n_warnings, 1) == 0)
        snprintf(w->warning, sizeof w->warning, "%s", line);
}

static struct engine *open_engine(struct world *w)
{
    struct err e;
    const struct engine_params p = {.path = w->model,
                                    .backend = w->backend,
                                    .n_ctx = CTX,
                                    .n_sessions = 1,
                                    .n_ubatch = 64,
                                    .cache_bytes = w->cache_bytes,
                                    .disk_path = w->folder,
                                    .disk_bytes = w->disk_bytes,
                                    .disk_least_free = w->least_free,
                                    .log = {take_line, w}};
    struct engine *g = engine_open(&p, &e);
    CHECK_OK(g);
    return g;
}

/* A turn of one conversation: its reply is that of a cold start. Returns the tokens read. */
static size_t take_turn(struct world *w, struct engine *g, int i)
{
    const struct kit_cold cold = {w->backend, &engine_model(g)->plan, CTX, N_VOCAB};
    int32_t want[NEW];
    const struct kit_reply got = kit_ask(
        g, &(struct job_params){.prompt = w->ids[i], .n_prompt = w->n[i], .max_tokens = NEW});
    kit_cold_reply(&cold, w->ids[i], w->n[i], NEW, want, NULL);
    CHECK_INT(got.n, NEW);
    for (int k = 0; k < NEW; k++)
        CHECK_INT(got.ids[k], want[k]);
    memcpy(w->ids[i] + w->n[i], want, sizeof want);
    w->n[i] += NEW;
    for (int k = 0; k < ADDED; k++)
        w->ids[i][w->n[i]++] = (int32_t)rng_below(&w->rng, N_VOCAB);
    return got.usage.n_prompt - got.usage.n_cached;
}

/* An engine from its start to its end, with so many turns of every conversation. */
static size_t live(struct world *w, int n_rounds)
{
    struct engine *g = open_engine(w);
    struct session_info info;
    struct engine_cache cache;
    size_t n_read = 0;
    for (int round = 0; round < n_rounds; round++)
        for (int i = 0; i < TALKS; i++)
            n_read += take_turn(w, g, i);
    engine_sessions(g, &info, &cache);
    w->disk_tokens = cache.disk_tokens;
    if (w->cache_bytes > 0)
        CHECK(cache.host_bytes <= (uint64_t)w->cache_bytes);
    engine_close(g);
    return n_read;
}

/* The new tokens, and the last one drawn before. */
enum { FIRST = TALKS * BEGIN, AGAIN = TALKS * (ADDED + 1) };

/* Memory has room for next to nothing, or is not used at all: all comes from files. */
TEST(conversations_that_memory_has_no_room_for_come_back_from_files)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (int i = 0; i < 6; i++) {
        struct world *w = open_world("cpu", archs[i / 2], i % 2 ? -1 : 100000);
        CHECK_INT(live(w, 3), FIRST + 2 * AGAIN);
        CHECK(w->disk_tokens > 2 * TALKS * BEGIN * 3 / 4);
        CHECK_INT(w->n_warnings, 0);
        close_world(w);
    }
}

/* Sessions, memory and files: the next engine has them all. */
TEST(conversations_come_back_after_a_restart)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (int i = 0; i < 6; i++) {
        struct world *w = open_world("cpu", archs[i / 2], i % 2 ? 150000 : 1 << 28);
        CHECK_INT(live(w, 1), FIRST);
        CHECK_INT(live(w, 2), 2 * AGAIN);
        CHECK(w->disk_tokens >= TALKS * BEGIN);
        CHECK_INT(live(w, 1), AGAIN);
        CHECK_INT(w->n_warnings, 0);
        close_world(w);
    }
}

/* Another file, or other types in the cache, never sees them. */
TEST(files_of_another_model_are_not_taken)
{
    struct world *w = open_world("cpu", "qwen3moe", 1 << 28);
    char *first = w->model;
    CHECK_INT(live(w, 1), FIRST);
    w->model = write_model("qwen3moe", 1);
    size_t n_prompts = 0;
    for (int i = 0; i < TALKS; i++)
        n_prompts += w->n[i];
    CHECK_INT(live(w, 1), n_prompts);
    unlink(w->model);
    free(w->model);
    w->model = first;
    for (int i = 0; i < TALKS; i++)
        w->n[i] -= NEW + ADDED; /* what the other one said */
    CHECK_INT(live(w, 1), AGAIN);
    CHECK_INT(w->n_warnings, 0);
    close_world(w);
}

/* A byte of every file of a kind, behind its head. */
static int damage_files(const struct world *w, const char *suffix, long at)
{
    char path[700], folder[400] = "";
    int n = 0;
    DIR *dir = opendir(w->folder);
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (strlen(d->d_name) == 16)
            snprintf(folder, sizeof folder, "%s/%s", w->folder, d->d_name);
    closedir(dir);
    dir = opendir(folder);
    CHECK(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        const size_t len = strlen(d->d_name);
        if (len < strlen(suffix) || strcmp(d->d_name + len - strlen(suffix), suffix) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        FILE *f = fopen(path, "r+b");
        CHECK(f);
        CHECK_INT(fseek(f, at, SEEK_END), 0);
        const int byte = fgetc(f);
        CHECK_INT(fseek(f, at, SEEK_END), 0);
        fputc(byte ^ 0x40, f);
        CHECK_INT(fclose(f), 0);
        n++;
    }
    closedir(dir);
    return n;
}

TEST(damaged_files_cost_reading_again_and_nothing_else)
{
    static const char *const suffixes[] = {".rows", ".state"};
    for (int i = 0; i < 2; i++) {
        struct world *w = open_world("cpu", "qwen3next", 1 << 28);
        CHECK_INT(live(w, 1), FIRST);
        CHECK(damage_files(w, suffixes[i], -5) >= TALKS);
        CHECK(live(w, 1) > AGAIN);
        CHECK(w->n_warnings >= TALKS);
        CHECK(strstr(w->warning, "checksum"));
        w->n_warnings = 0;
        CHECK_INT(live(w, 1), AGAIN);
        CHECK_INT(w->n_warnings, 0);
        close_world(w);
    }
}

TEST(a_full_disk_costs_one_line)
{
    struct world *w = open_world("cpu", "qwen3moe", 100000);
    w->least_free = UINT64_MAX / 2;
    CHECK(live(w, 2) > FIRST + AGAIN);
    CHECK_INT(w->n_warnings, 1);
    CHECK(strstr(w->warning, "are left to others"));
    close_world(w);
}

TEST(files_keep_to_their_limit)
{
    struct world *w = open_world("cpu", "qwen3moe", -1);
    w->disk_bytes = 700000;
    struct engine *g = open_engine(w);
    struct session_info info;
    struct engine_cache cache;
    for (int turn = 0; turn < 4 * TALKS; turn++) {
        take_turn(w, g, turn % TALKS);
        engine_sessions(g, &info, &cache);
        CHECK(cache.disk_bytes <= 700000);
    }
    CHECK(cache.disk_tokens > 0);
    engine_close(g);
    w->disk_bytes = 300000; /* less than what there is */
    g = open_engine(w);
    take_turn(w, g, 0);
    engine_sessions(g, &info, &cache);
    CHECK(cache.disk_bytes <= 300000);
    engine_close(g);
    CHECK_INT(w->n_warnings, 0);
    close_world(w);
}

/* The second one with the same model does without, and its replies are right. */
TEST(two_engines_do_not_share_a_folder)
{
    struct world *w = open_world("cpu", "qwen3moe", 100000);
    struct engine *first = open_engine(w), *second = open_engine(w);
    CHECK_INT(w->n_warnings, 1);
    CHECK(strstr(w->warning, "another server"));
    for (int i = 0; i < TALKS; i++) {
        take_turn(w, first, i);
        take_turn(w, second, i);
    }
    engine_close(second);
    engine_close(first);
    close_world(w);
}

TEST(a_folder_that_cannot_be_made_costs_one_line)
{
    struct world *w = open_world("cpu", "qwen3moe", 1 << 28);
    snprintf(w->folder, sizeof w->folder, "/proc/none");
    CHECK_INT(live(w, 2), FIRST + AGAIN);
    CHECK_INT(w->n_warnings, 1);
    CHECK(strstr(w->warning, "/proc/none"));
    close_world(w);
}

static size_t ask_again(const struct world *w, struct engine *g, const int32_t *ids, size_t n)
{
    const struct kit_cold cold = {w->backend, &engine_model(g)->plan, CTX, N_VOCAB};
    int32_t want;
    const struct kit_reply got =
        kit_ask(g, &(struct job_params){.prompt = ids, .n_prompt = n, .max_tokens = 1});
    kit_cold_reply(&cold, ids, n, 1, &want, NULL);
    CHECK_INT(got.n, 1);
    CHECK_INT(got.ids[0], want);
    return got.usage.n_prompt - got.usage.n_cached;
}

/* Two chunks begin alike, and the state is in the one that shares more with the prompt, behind what
 * both have. */
TEST(a_state_is_taken_from_the_branch_that_it_belongs_to)
{
    struct world *w = open_world("cpu", "qwen3next", 1 << 28);
    struct engine *g = open_engine(w);
    int32_t branch[420];
    memcpy(branch, w->ids[0], sizeof branch);
    for (int i = 320; i < 420; i++)
        branch[i] = (w->ids[0][i] + 1) % N_VOCAB;
    ask_again(w, g, w->ids[0], 400);
    ask_again(w, g, w->ids[1], BEGIN);
    ask_again(w, g, w->ids[0], 300); /* its state is now behind 300 tokens of the first's chunk */
    ask_again(w, g, w->ids[2], BEGIN);
    CHECK_INT(ask_again(w, g, branch, 420), 120);
    ask_again(w, g, w->ids[3], BEGIN);
    CHECK_INT(ask_again(w, g, w->ids[0], 350), 50);
    engine_close(g);
    close_world(w);
}
