#include "cmd/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

enum { STEP_NS = 100000000 };

/* One write of the whole, so that a reader never sees half a line. */
static void put(const struct state *s, const char *line)
{
    char text[STATE_BYTES];
    snprintf(text, sizeof text, "%-*s", STATE_BYTES - 2, line);
    text[STATE_BYTES - 2] = '\n';
    if (s->fd >= 0 && pwrite(s->fd, text, STATE_BYTES - 1, 0) < 0)
        return; /* nobody depends on it: a full disk does not end a server */
}

bool state_open(struct state *s, const char *path, struct err *e)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *s = (struct state){.fd = -1};
    file_make_folders(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "%s: cannot create", path);
    if (fcntl(fd, F_SETLK, &lock) == 0) {
        s->fd = fd;
        put(s, "loading 0 0");
        return true;
    }
    if (errno == EAGAIN || errno == EACCES)
        err_set(e, ERR_IO, "%s: another server has it", path);
    else
        err_sys(e, "%s: cannot lock", path);
    close(fd);
    return false;
}

static void step(void *ctx, uint64_t done, uint64_t total)
{
    struct state *s = ctx;
    uint64_t now = clock_ns(), last = s->last_ns;
    char line[STATE_BYTES];
    if (now < last + STEP_NS || !atomic_compare_exchange_strong(&s->last_ns, &last, now))
        return;
    snprintf(line, sizeof line, "loading %" PRIu64 " %" PRIu64, done, total);
    put(s, line);
}

struct progress state_progress(struct state *s)
{
    return (struct progress){.step = s->fd >= 0 ? step : NULL, .ctx = s};
}

void state_ready(struct state *s, const char *url)
{
    char line[STATE_BYTES];
    snprintf(line, sizeof line, "ready %.*s", STATE_BYTES - 16, url);
    put(s, line);
}

void state_close(struct state *s)
{
    put(s, "");
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void state_see(const char *path, struct state_seen *out)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[STATE_BYTES] = "";
    *out = (struct state_seen){0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
        pread(fd, text, sizeof text - 1, 0) > 0) {
        out->pid = lock.l_pid;
        sscanf(text, "loading %" SCNu64 " %" SCNu64, &out->done, &out->total);
        sscanf(text, "ready %255s", out->url);
    }
    close(fd);
}
