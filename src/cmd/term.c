#include "cmd/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

int term_fail(const struct err *e)
{
    fprintf(stderr, "tawny: %s\n", e->msg);
    switch (e->code) {
    case ERR_USAGE: return EXIT_WRONG_USAGE;
    case ERR_CANCELLED: return EXIT_INTERRUPTED;
    case ERR_NONE:
    case ERR_IO:
    case ERR_FORMAT:
    case ERR_UNSUPPORTED:
    case ERR_LIMIT:
    case ERR_MEMORY:
    case ERR_DEVICE: break;
    }
    return EXIT_FAILED;
}

static void write_all(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    fprintf(stderr, "tawny: %s%s\n", level == LOG_WARN ? "warning: " : "", line);
}

static void write_warnings(void *ctx, enum log_level level, const char *line)
{
    if (level == LOG_WARN)
        write_all(ctx, level, line);
}

struct log term_log(bool verbose)
{
    return (struct log){.write = verbose ? write_all : write_warnings};
}

bool term_user_file(const char *variable, const char *below, const char *name,
                    char out[TERM_MAX_PATH])
{
    const char *folder = getenv(variable), *home = getenv("HOME");
    int n = -1;
    if (folder && folder[0] == '/')
        n = snprintf(out, TERM_MAX_PATH, "%s/tawny/%s", folder, name);
    else if (home && home[0] == '/')
        n = snprintf(out, TERM_MAX_PATH, "%s/%s/tawny/%s", home, below, name);
    if (n > 0 && n < TERM_MAX_PATH)
        return true;
    *out = 0;
    return false;
}

bool term_is_tty(FILE *f)
{
    return isatty(fileno(f));
}

static bool has_colors(FILE *f)
{
    const char *off = getenv("NO_COLOR"), *kind = getenv("TERM");
    return term_is_tty(f) && !(off && *off) && kind && strcmp(kind, "dumb") != 0;
}

const char *term_dim(FILE *f)
{
    return has_colors(f) ? "\033[2m" : "";
}

const char *term_plain(FILE *f)
{
    return has_colors(f) ? "\033[0m" : "";
}

void term_safe(str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        unsigned char next = i + 1 < text.n ? (unsigned char)text.p[i + 1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        if (c1 || c == 0x7f || (c < 0x20 && c != '\n' && c != '\t'))
            buf_byte(out, '?');
        else
            buf_byte(out, (char)c);
        i += c1;
    }
}

bool term_write(str text, FILE *f)
{
    return !text.n || fwrite(text.p, 1, text.n, f) == text.n;
}

bool term_read(FILE *f, const char *name, size_t max, struct buf *out, struct err *e)
{
    char piece[65536];
    size_t n, n_read = 0;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && (n_read += n) <= max)
        buf_put(out, piece, n);
    if (n_read > max)
        return err_set(e, ERR_LIMIT, "%s is over %zu bytes", name, max);
    return !ferror(f) || err_sys(e, "%s", name);
}

bool term_put(struct buf *out, struct err *e)
{
    bool ok = term_write(buf_view(out), stdout) && fflush(stdout) == 0;
    buf_free(out);
    return ok || err_sys(e, "standard output");
}

/* n with the unit that leaves it below `base`; two digits behind the point from the second unit on.
 */
static struct term_num scaled(double n, double base, const char *const units[static 5])
{
    struct term_num r;
    size_t i = 0;
    for (; n >= base && i < 4; i++)
        n /= base;
    snprintf(r.text, sizeof r.text, "%.*f%s", i ? 2 : 0, n, units[i]);
    return r;
}

struct term_num term_bytes(double n)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return scaled(n, 1024, units);
}

struct term_num term_count(double n)
{
    static const char *const units[] = {"", " K", " M", " B", " T"};
    return scaled(n, 1000, units);
}

void table_cell(struct table *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    buf_put(&t->cells, n < 0 ? "" : text, n < 0 ? 1 : strlen(text) + 1);
    t->n_cells++;
    if (n >= 0)
        free(text);
}

size_t term_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static size_t *column_widths(const struct table *t, size_t n_cols)
{
    size_t *width = mem_new(n_cols, sizeof *width);
    const char *cell = t->cells.p;
    for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1)
        width[i % n_cols] = num_max(width[i % n_cols], term_width(cell));
    return width;
}

static void put_cell(const struct table *t, size_t col, const char *cell, size_t width, bool pad,
                     struct buf *out)
{
    int fill = (int)(width - term_width(cell));
    if (t->align[col] == 'r')
        buf_fmt(out, "%*s%s", fill, "", cell);
    else
        buf_fmt(out, "%s%*s", cell, pad ? fill : 0, "");
}

void table_text(const struct table *t, struct buf *out)
{
    size_t n_cols = strlen(t->align);
    size_t *width = column_widths(t, n_cols);
    const char *cell = t->cells.p;
    for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1) {
        bool last = i % n_cols == n_cols - 1;
        put_cell(t, i % n_cols, cell, width[i % n_cols], !last, out);
        buf_str(out, last ? STR("\n") : STR("  "));
    }
    free(width);
}

void table_markdown(const struct table *t, struct buf *out)
{
    size_t n_cols = strlen(t->align);
    size_t *width = column_widths(t, n_cols);
    const char *cell = t->cells.p;
    for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1) {
        size_t col = i % n_cols;
        buf_str(out, col ? STR(" | ") : STR("| "));
        put_cell(t, col, cell, width[col], true, out);
        if (col < n_cols - 1)
            continue;
        buf_str(out, STR(" |\n"));
        for (size_t c = 0; i == n_cols - 1 && c < n_cols; c++) {
            buf_str(out, c ? STR(" | ") : STR("| "));
            for (size_t k = 0; k + 1 < width[c]; k++)
                buf_byte(out, '-');
            buf_str(out, t->align[c] == 'r' ? STR(":") : STR("-"));
        }
        if (i == n_cols - 1)
            buf_str(out, STR(" |\n"));
    }
    free(width);
}

void table_free(struct table *t)
{
    buf_free(&t->cells);
    t->n_cells = 0;
}
