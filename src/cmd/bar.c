#include "cmd/term.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"

enum { BAR_FIRST_NS = 200000000, BAR_STEP_NS = 100000000, BAR_WIDTH = 24 };

void bar_open(struct bar *b, const char *label, enum bar_unit unit)
{
    *b = (struct bar){.label = label, .unit = unit, .tty = term_is_tty(stderr)};
    b->start_ns = clock_ns();
    b->last_ns = b->start_ns + BAR_FIRST_NS - BAR_STEP_NS;
    pthread_mutex_init(&b->lock, NULL);
}

static struct term_num amount(const struct bar *b, double n)
{
    return b->unit == BAR_BYTES ? term_bytes(n) : term_count(n);
}

/* Columns of the terminal; a line that wraps could not be wiped. */
static size_t columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

static void draw(struct bar *b, uint64_t done, uint64_t total, uint64_t now)
{
    struct buf line = {0};
    double seconds = (double)(now - b->start_ns) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    buf_fmt(&line, "%s ", b->label);
    if (total) {
        double part = done < total ? (double)done / (double)total : 1;
        for (int i = 0; i < BAR_WIDTH; i++)
            buf_byte(&line, i < (int)(part * BAR_WIDTH) ? '#' : '.');
        buf_fmt(&line, " %3d%%  %s of %s", (int)(part * 100), amount(b, (double)done).text,
                amount(b, (double)total).text);
    } else {
        buf_str(&line, str_of(amount(b, (double)done).text));
    }
    buf_fmt(&line, "  %s/s", amount(b, rate).text);
    if (total > done && rate > 0)
        buf_fmt(&line, "  %.0f s left", (double)(total - done) / rate);
    str shown = str_sub(buf_view(&line), 0, columns() - 1);
    fprintf(stderr, "\r%.*s\033[K", STRF(shown));
    fflush(stderr);
    buf_free(&line);
}

void bar_step(struct bar *b, uint64_t done, uint64_t total)
{
    if (!b->tty)
        return;
    pthread_mutex_lock(&b->lock);
    uint64_t now = clock_ns();
    if (now >= b->last_ns + BAR_STEP_NS) {
        draw(b, done, total, now);
        b->last_ns = now;
        b->drawn = true;
    }
    pthread_mutex_unlock(&b->lock);
}

static void step(void *ctx, uint64_t done, uint64_t total)
{
    bar_step(ctx, done, total);
}

struct progress bar_progress(struct bar *b)
{
    return (struct progress){.step = step, .ctx = b};
}

void bar_wipe(struct bar *b)
{
    pthread_mutex_lock(&b->lock);
    if (b->drawn)
        fputs("\r\033[K", stderr);
    b->drawn = false;
    pthread_mutex_unlock(&b->lock);
}

void bar_close(struct bar *b)
{
    bar_wipe(b);
    pthread_mutex_destroy(&b->lock);
}
