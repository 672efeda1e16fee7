#include "cmd/loading.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void step(void *ctx, uint64_t done, uint64_t total)
{
    struct loading *l = ctx;
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

static void *load(void *ctx)
{
    struct loading *l = ctx;
    const uint64_t one = 1;
    l->engine = engine_open(&l->params, &l->error);
    while (write(l->done_fd, &one, sizeof one) < 0 && errno == EINTR) {
        /* the other side waits for it */
    }
    return NULL;
}

/* Until the thread is through. Its reads and compilations cannot be called off, and have nothing to
 * clean up: a signal ends the program here. */
static void wait_for(struct loading *l, const struct interrupt *interrupt, const char *leaves)
{
    struct pollfd fds[] = {{.fd = l->done_fd, .events = POLLIN},
                           {.fd = interrupt->fd, .events = POLLIN}};
    while (!(fds[0].revents & POLLIN)) {
        poll(fds, 2, -1);
        if (!interrupt_take(interrupt))
            continue;
        bar_wipe(&l->bar);
        if (leaves)
            unlink(leaves);
        _exit(EXIT_INTERRUPTED);
    }
}

bool loading_open(struct loading *l, const struct engine_params *p,
                  const struct interrupt *interrupt, const char *leaves, bool verbose,
                  struct err *e)
{
    pthread_t thread;
    *l = (struct loading){.params = *p, .also = p->progress, .done_fd = eventfd(0, EFD_CLOEXEC)};
    bar_open(&l->bar, "Loading", BAR_BYTES);
    l->params.log = (struct log){verbose ? write_line : write_warning, l};
    l->params.progress = (struct progress){step, l};
    errno = l->done_fd < 0 ? errno : pthread_create(&thread, NULL, load, l);
    if (errno)
        return err_sys(e, "cannot start the thread that loads");
    wait_for(l, interrupt, leaves);
    pthread_join(thread, NULL);
    bar_wipe(&l->bar);
    *e = l->error;
    return l->engine != NULL;
}

void loading_close(struct loading *l)
{
    if (!l->bar.label)
        return;
    engine_close(l->engine);
    bar_close(&l->bar);
    if (l->done_fd >= 0)
        close(l->done_fd);
}
