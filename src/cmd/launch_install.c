#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/launch.h"

enum { MAX_SETTINGS = 16 << 20, MAX_BACKUPS = 1000 };

/* The file's new content. had: is there one, and *old what it holds? */
static bool new_text(const struct launch_file *f, const char *path, bool *had, struct buf *old,
                     struct buf *out, struct err *e)
{
    struct err inner;
    *had = access(path, F_OK) == 0;
    if (*had && !file_read_all(path, MAX_SETTINGS, old, e))
        return false;
    if (!f->merge)
        buf_str(out, f->text);
    else if (!launch_merge(buf_view(old), f->text, out, &inner))
        return err_set(e, ERR_FORMAT,
                       "%s: %s: it is left as it is; with --print --install you can copy by hand "
                       "what belongs there into a file without comments",
                       path, inner.msg);
    return true;
}

static bool put_file(const char *path, str text, mode_t mode, struct err *e)
{
    struct file_out out = {.fd = -1};
    bool ok = file_create(&out, path, e) && (fchmod(out.fd, mode) == 0 || err_sys(e, "%s", path)) &&
              file_write_at(&out, 0, text.p, text.n, e) && file_commit(&out, e);
    file_abandon(&out);
    return ok;
}

/* The first PATH.backup-N that is free. */
static bool back_up(const char *path, str old, mode_t mode, struct arena *a, str *name,
                    struct err *e)
{
    for (int i = 1; i < MAX_BACKUPS; i++) {
        *name = arena_fmt(a, "%s.backup-%d", path, i);
        if (access(name->p, F_OK) != 0)
            return put_file(name->p, old, mode, e);
    }
    return err_set(e, ERR_LIMIT, "%s: has %d backups: remove some", path, MAX_BACKUPS - 1);
}

/* Keys stand in these files: the user's alone unless he said otherwise. A link stays a link. */
static bool write_over(const char *path, bool had, str old, str text, struct arena *a,
                       struct buf *report, struct err *e)
{
    struct stat st = {.st_mode = 0600};
    str backup = {0};
    char *real = had ? realpath(path, NULL) : NULL;
    bool ok = (!had || (real && stat(real, &st) == 0)) || err_sys(e, "%s", path);
    if (ok && had)
        ok = back_up(path, old, st.st_mode & 0777, a, &backup, e);
    else if (ok)
        file_make_folders(path);
    ok = ok && put_file(real ? real : path, text, st.st_mode & 0777, e);
    if (ok)
        buf_fmt(report, "%s: written%s%.*s\n", path, had ? "; as it was: " : "", STRF(backup));
    free(real);
    return ok;
}

static bool install(const struct launch_file *f, bool print, struct arena *a, struct buf *report,
                    struct err *e)
{
    const char *path = launch_home_path(f->home, f->home_name, a);
    struct buf old = {0}, text = {0};
    bool had = false;
    if (!path)
        return err_set(e, ERR_USAGE, "launch: --install: HOME is not set");
    bool ok = new_text(f, path, &had, &old, &text, e);
    if (ok && print)
        buf_fmt(report, "# %s\n%.*s", path, STRF(buf_view(&text)));
    else if (ok && had && str_eq(buf_view(&old), buf_view(&text)))
        buf_fmt(report, "%s: says so already\n", path);
    else if (ok)
        ok = write_over(path, had, buf_view(&old), buf_view(&text), a, report, e);
    buf_free(&old);
    buf_free(&text);
    return ok;
}

bool launch_install(const struct launch_plan *p, bool print, struct arena *a, struct buf *report,
                    struct err *e)
{
    for (size_t i = 0; i < p->n_files; i++)
        if (p->files[i].home && !install(&p->files[i], print, a, report, e))
            return false;
    if (!print)
        buf_fmt(report, "start it with: %s\n", p->then);
    return true;
}
