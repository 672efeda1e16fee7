#include "cmd/make_file.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cmd/interrupt.h"
#include "cmd/term.h"

#define AT(field) offsetof(struct make_opts, field)
const struct opt make_table[2] = {
    {"-t --threads", "N", "threads", "one per core", OPT_U32, AT(n_threads), 1, 1024},
    {"--force", NULL, "replace OUT where it exists", NULL, OPT_FLAG, AT(force), 0, 0},
};
#undef AT

bool make_allowed(const struct make_opts *o, const char *path, struct err *e)
{
    struct stat st;
    if (o->force || (lstat(path, &st) != 0 && errno == ENOENT))
        return true;
    return err_set(e, ERR_IO, "%s: exists already; --force replaces it", path);
}

/* "tawny: wrote out.gguf: 17.30 GiB in 12.0 s, 1.44 GiB/s"; of a file with holes, what it takes. */
static void report(const char *path, uint64_t from_ns)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return;
    const double seconds = (double)(clock_ns() - from_ns) / 1e9;
    const double on_disk = 512.0 * (double)st.st_blocks; /* the unit of st_blocks */
    if (on_disk < 0.5 * (double)st.st_size) {
        fprintf(stderr, "tawny: wrote %s: %s, of which %s are on disk\n", path,
                term_bytes((double)st.st_size).text, term_bytes(on_disk).text);
        return;
    }
    fprintf(stderr, "tawny: wrote %s: %s in %.1f s, %s/s\n", path,
            term_bytes((double)st.st_size).text, seconds,
            term_bytes((double)st.st_size / (seconds > 0 ? seconds : 1)).text);
}

struct making {
    struct bar bar;
    struct interrupt interrupt;
    atomic_bool stop;
};

/* Every piece that is done is an occasion to look for Ctrl-C. */
static void step(void *ctx, uint64_t done, uint64_t total)
{
    struct making *m = ctx;
    if (interrupt_take(&m->interrupt))
        m->stop = true;
    bar_step(&m->bar, done, total);
}

bool make_run(const char *label, const char *path, make_fn *write, void *ctx, struct err *e)
{
    struct making m = {.interrupt.fd = -1};
    uint64_t from_ns = clock_ns();
    if (!interrupt_open(&m.interrupt, e))
        return false;
    bar_open(&m.bar, label, BAR_BYTES);
    bool ok = write(ctx, &(struct progress){step, &m}, &m.stop, e);
    bar_close(&m.bar);
    interrupt_close(&m.interrupt);
    if (ok)
        report(path, from_ns);
    return ok;
}

bool make_type(const char *name, enum block_type *out, struct err *e)
{
    struct buf list = {0};
    if (block_type_of(str_of(name), out))
        return true;
    for (uint32_t id = 0; id < BLOCK_TYPE_LIMIT; id++)
        if (block_info(id))
            buf_fmt(&list, "%s%s", list.n ? ", " : "", block_info(id)->name);
    err_set(e, ERR_USAGE, "type '%s' is not one of: %s", name, list.p);
    buf_free(&list);
    return false;
}
