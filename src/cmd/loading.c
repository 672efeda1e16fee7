#include "cmd/loading.h"

#include <unistd.h>

#include "cmd/term.h"

struct loading {
    struct bar bar;
    const struct interrupt *interrupt;
    struct progress also; /* the caller's */
};

/* A load has nothing to clean up: a signal ends the program here. */
static void step(void *ctx, uint64_t done, uint64_t total)
{
    struct loading *l = ctx;
    if (interrupt_take(l->interrupt)) {
        bar_wipe(&l->bar);
        _exit(EXIT_INTERRUPTED);
    }
    bar_step(&l->bar, done, total);
    progress_step(&l->also, done, total);
}

/* Warnings would be drawn over the bar. */
static void write_line(void *ctx, enum log_level level, const char *line)
{
    struct loading *l = ctx;
    const struct log log = term_log(true);
    bar_wipe(&l->bar);
    log.write(NULL, level, line);
}

static void write_warning(void *ctx, enum log_level level, const char *line)
{
    if (level == LOG_WARN)
        write_line(ctx, level, line);
}

struct engine *loading_open(const struct engine_params *p, const struct interrupt *interrupt,
                            bool verbose, struct err *e)
{
    struct loading l = {.interrupt = interrupt, .also = p->progress};
    struct engine_params params = *p;
    params.log = (struct log){verbose ? write_line : write_warning, &l};
    params.progress = (struct progress){step, &l};
    bar_open(&l.bar, "Loading", BAR_BYTES);
    struct engine *g = engine_open(&params, e);
    bar_close(&l.bar);
    return g;
}
