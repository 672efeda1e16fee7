/* mem_table: what a plan takes, in rows, compared with what there is (exec.h). */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "compute/exec.h"

enum { ERROR_ROWS = 3 };

void mem_table_add(struct mem_table *t, const char *what, uint64_t n_items, uint64_t item_bytes,
                   const char *detail, ...)
{
    uint64_t n_bytes;
    if (!num_mul(n_items, item_bytes, &n_bytes))
        n_bytes = UINT64_MAX;
    if (!num_add(t->total, n_bytes, &t->total))
        t->total = UINT64_MAX;
    if (t->n_rows == MEM_MAX_ROWS)
        return; /* counted, but without a line of its own */
    struct mem_row *row = &t->rows[t->n_rows++];
    row->what = what;
    row->n_bytes = n_bytes;
    va_list args;
    va_start(args, detail);
    vsnprintf(row->detail, sizeof row->detail, detail, args);
    va_end(args);
}

void mem_table_add_kv(struct mem_table *t, const struct plan *p, const struct exec_params *params,
                      uint64_t n_bytes)
{
    uint32_t n_rings = 0, n_rows = 0;
    struct buf rings = {0}, pool = {0};
    for (size_t i = 0; i < p->n_kv; i++)
        if (exec_kv_is_ring(&p->kv[i], params)) {
            n_rings++;
            n_rows = (uint32_t)num_max(n_rows, exec_kv_rows(&p->kv[i], params));
        }
    if (n_rings)
        buf_fmt(&rings, "; %u of %zu layers keep %u", n_rings, p->n_kv, n_rows);
    if (params->n_pages < exec_all_pages(params))
        buf_fmt(&pool, ", %llu at once", (unsigned long long)params->n_pages * params->page);
    mem_table_add(t, "kv cache", 1, n_bytes, "%u x %u tokens%.*s, keys %s, values %s%.*s",
                  params->n_seqs, params->n_ctx, STRF(buf_view(&pool)),
                  block_info(params->type_k)->name, block_info(params->type_v)->name,
                  STRF(buf_view(&rings)));
    buf_free(&rings);
    buf_free(&pool);
}

/* "17.3 GiB", "640 KiB": three digits and the unit that leaves them before the point. */
static void print_bytes(uint64_t n_bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n_bytes;
    size_t unit = 0;
    while (v >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        unit++;
    }
    buf_fmt(out, "%.*f %s", unit == 0 || v >= 100 ? 0 : v >= 10 ? 1 : 2, v, units[unit]);
}

static void print_line(const char *what, uint64_t n_bytes, const char *detail, struct buf *out)
{
    struct buf size = {0};
    print_bytes(n_bytes, &size);
    buf_fmt(out, "%-12s %10.*s", what, STRF(buf_view(&size)));
    buf_fmt(out, *detail ? "   %s\n" : "%s\n", detail);
    buf_free(&size);
}

void mem_table_add_piece(struct mem_table *t, const struct mem_piece *piece)
{
    assert(t->n_pieces < MEM_MAX_PIECES);
    t->pieces[t->n_pieces++] = *piece;
}

const struct mem_piece *mem_table_large_piece(const struct mem_table *t)
{
    for (size_t i = 0; i < t->n_pieces; i++)
        if (t->most_piece && t->pieces[i].n_bytes > t->most_piece)
            return &t->pieces[i];
    return NULL;
}

bool mem_table_fits(const struct mem_table *t)
{
    return t->total <= t->available && !mem_table_large_piece(t);
}

void mem_table_print(const struct mem_table *t, struct buf *out)
{
    const struct mem_piece *piece = mem_table_large_piece(t);
    for (size_t i = 0; i < t->n_rows; i++)
        print_line(t->rows[i].what, t->rows[i].n_bytes, t->rows[i].detail, out);
    print_line("total", t->total, "", out);
    print_line("available", t->available, "", out);
    if (piece) {
        print_line("one piece", piece->n_bytes, piece->what, out);
        print_line("at most", t->most_piece, "in one piece on this device", out);
    }
}

static int largest_first(const void *a, const void *b)
{
    const struct mem_row *x = a, *y = b;
    return (x->n_bytes < y->n_bytes) - (x->n_bytes > y->n_bytes);
}

static bool refuse_piece(const struct mem_table *t, const struct mem_piece *piece, struct err *e)
{
    struct buf text = {0};
    buf_fmt(&text, "%s take ", piece->what);
    print_bytes(piece->n_bytes, &text);
    for (size_t i = 0; i < t->n_rows; i++)
        if (str_eq(str_of(t->rows[i].what), str_of(piece->row)))
            buf_fmt(&text, " (%s)", t->rows[i].detail);
    buf_str(&text, STR(", the device allocates at most "));
    print_bytes(t->most_piece, &text);
    err_set(e, ERR_MEMORY, "%.*s at once: use %s", STRF(buf_view(&text)), piece->remedy);
    buf_free(&text);
    return false;
}

bool mem_table_check(const struct mem_table *t, struct err *e)
{
    if (mem_table_fits(t))
        return true;
    if (t->total <= t->available)
        return refuse_piece(t, mem_table_large_piece(t), e);
    struct mem_table sorted = *t;
    struct buf text = {0};
    qsort(sorted.rows, sorted.n_rows, sizeof *sorted.rows, largest_first);
    buf_str(&text, STR("the model needs "));
    print_bytes(t->total, &text);
    buf_str(&text, STR(" of memory, "));
    print_bytes(t->available, &text);
    buf_str(&text, STR(" are available ("));
    for (size_t i = 0; i < sorted.n_rows && i < ERROR_ROWS; i++) {
        buf_fmt(&text, "%s%s ", i ? "; " : "", sorted.rows[i].what);
        print_bytes(sorted.rows[i].n_bytes, &text);
        if (*sorted.rows[i].detail)
            buf_fmt(&text, ": %s", sorted.rows[i].detail);
    }
    buf_str(&text, sorted.rows[0].n_bytes > t->available
                       ? STR("): use a smaller model, or --requant for smaller types")
                       : STR("): use a smaller context, fewer sequences or a smaller cache type"));
    err_set(e, ERR_MEMORY, "%.*s", STRF(buf_view(&text)));
    buf_free(&text);
    return false;
}
