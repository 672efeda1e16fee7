/* Runs the registered tests, each in a process of its own, and ends with the line
 * "N passed, N failed, N skipped".
 * usage: tests [--filter TEXT] [--no-fork] [--seed N] [--shared DIR] [--list]
 *        tests --make-model PATH     writes the kit's small chat model, for tests of the program
 *        tests --make-script PATH STEPS   one that says what this JSON list of texts says */
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "kit/chat_model.h"
#include "test.h"

enum { EXIT_SKIP = 77, LIMIT_S = 240 };

static struct {
    struct test *first;
    uint64_t seed;
    const char *shared;
    const char *filter;
    bool no_fork;
    bool list;
} runner = {.seed = 20261123, .shared = "../shared"};

void test_register(struct test *t)
{
    t->next = runner.first;
    runner.first = t;
}

uint64_t test_seed(void)
{
    return runner.seed;
}

void test_skip(const char *why)
{
    printf("    skipped: %s\n", why);
    fflush(stdout);
    _exit(EXIT_SKIP);
}

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("    %s:%d: ", file, line);
    vprintf(format, args);
    printf("\n    (seed %llu)\n", (unsigned long long)runner.seed);
    va_end(args);
    fflush(stdout);
    if (runner.no_fork)
        abort();
    _exit(1);
}

const char *test_shared(const char *relative)
{
    /* Reachable for ever, or every test that asks for a path would leak. */
    static struct kept {
        struct kept *before;
        char path[PATH_MAX];
    } * kept;
    struct stat st;
    if (stat(runner.shared, &st) != 0)
        test_skip("the reference data (../shared) is not here");
    struct kept *k = malloc(sizeof *k);
    if (!k || snprintf(k->path, sizeof k->path, "%s/%s", runner.shared, relative) >= PATH_MAX)
        abort();
    k->before = kept;
    kept = k;
    return k->path;
}

/* The exit status of the test in a child, 124 for one over the time limit, 128 + N for signal N. */
static int run_forked(const struct test *t)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(LIMIT_S);
        t->run();
        fflush(stdout);
        exit(0); /* not _exit: leak checkers report at exit */
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        abort();
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGALRM ? 124 : 128 + WTERMSIG(status);
}

static struct test *sorted_by_file(struct test *list)
{
    struct test *sorted = NULL;
    while (list) {
        struct test *t = list;
        list = t->next;
        struct test **at = &sorted;
        while (*at && strcmp((*at)->file, t->file) < 0)
            at = &(*at)->next;
        t->next = *at;
        *at = t;
    }
    return sorted;
}

static void make_model(const char *path)
{
    char *made = kit_write_chat_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    if (rename(made, path))
        test_fail(__FILE__, __LINE__, "cannot rename %s to %s", made, path);
    exit(0);
}

static void make_script(const char *path, const char *list)
{
    struct err e;
    str steps[SCRIPT_MAX_STEPS];
    struct json *v = json_parse(str_of(list), &e);
    CHECK_OK(v);
    size_t n = json_count(v);
    CHECK(n <= SCRIPT_MAX_STEPS);
    for (size_t i = 0; i < n; i++)
        steps[i] = json_str(json_at(v, i));
    kit_write_script_model(path, steps, n);
    json_free(v);
    exit(0);
}

static void parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--filter") && more)
            runner.filter = argv[++i];
        else if (!strcmp(argv[i], "--seed") && more)
            runner.seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--shared") && more)
            runner.shared = argv[++i];
        else if (!strcmp(argv[i], "--make-model") && more)
            make_model(argv[++i]);
        else if (!strcmp(argv[i], "--make-script") && i + 2 < argc)
            make_script(argv[i + 1], argv[i + 2]);
        else if (!strcmp(argv[i], "--no-fork"))
            runner.no_fork = true;
        else if (!strcmp(argv[i], "--list"))
            runner.list = true;
        else {
            fprintf(stderr,
                    "usage: %s [--filter TEXT] [--no-fork] [--seed N] [--shared DIR] [--list]\n",
                    argv[0]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    int n_passed = 0, n_failed = 0, n_skipped = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    parse_options(argc, argv);
    for (struct test *t = sorted_by_file(runner.first); t; t = t->next) {
        if (runner.filter && !strstr(t->name, runner.filter) && !strstr(t->file, runner.filter))
            continue;
        if (runner.list) {
            printf("%s: %s\n", t->file, t->name);
            continue;
        }
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        int status = 0;
        if (runner.no_fork)
            t->run();
        else
            status = run_forked(t);
        clock_gettime(CLOCK_MONOTONIC, &to);
        double seconds =
            (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        const char *verdict = status == 0 ? "ok" : status == EXIT_SKIP ? "skip" : "FAIL";
        printf("%-4s %s (%.2f s)", verdict, t->name, seconds);
        if (status != 0 && status != EXIT_SKIP)
            printf(" exit status %d%s", status, status == 124 ? ": over the time limit" : "");
        printf("\n");
        n_passed += status == 0;
        n_skipped += status == EXIT_SKIP;
        n_failed += status != 0 && status != EXIT_SKIP;
    }
    if (!runner.list)
        printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped);
    return n_failed != 0;
}
