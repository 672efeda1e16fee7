/* Reading weights: the pieces of fused tensors, and other types than the file's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/requant.h"
#include "model/plan.h"

enum { SUPER_BLOCK = 256, CONVERT_STEP = 256 * SUPER_BLOCK }; /* elements */

/* Bytes [offset, offset + n) of a run. A fused tensor interleaves its parts, so a read goes piece
 * by piece. */
static bool read_run(const struct weight *w, const struct weight_run *run, uint64_t offset,
                     char *out, size_t n, struct err *e)
{
    while (n > 0) {
        uint64_t inside = offset % run->bytes;
        size_t piece = num_min(n, run->bytes - inside);
        uint64_t at = run->first + offset / run->bytes * run->stride + inside;
        if (!gguf_read(w->file, w->tensor, at, out, piece, e))
            return false;
        offset += piece;
        out += piece;
        n -= piece;
    }
    return true;
}

/* The same of the whole weight, as the file has it. */
static bool read_stored(const struct weight *w, uint64_t offset, void *out, size_t n, struct err *e)
{
    char *at = out;
    if (!w->file) {
        memcpy(out, (const char *)w->data + offset, n);
        return true;
    }
    for (uint32_t i = 0; i < w->n_runs && n > 0; i++) {
        const uint64_t run_bytes = w->runs[i].bytes * w->runs[i].n;
        if (offset >= run_bytes) {
            offset -= run_bytes;
            continue;
        }
        const size_t piece = num_min(n, run_bytes - offset);
        if (!read_run(w, &w->runs[i], offset, at, piece, e))
            return false;
        offset = 0;
        at += piece;
        n -= piece;
    }
    return true;
}

/* Elements [first, first + n) in w->type to out. raw: room for n elements as the file has them. */
static bool convert(const struct weight *w, uint64_t first, size_t n, void *raw, void *out,
                    struct err *e)
{
    const enum block_type stored = w->tensor->type;
    return read_stored(w, block_row_bytes(stored, first), raw, block_row_bytes(stored, n), e) &&
           requant_blocks(w->file, w->tensor, raw, w->type, out, n, e);
}

/* Makes every block that [offset, offset + n) touches, and around them whole super-blocks, since a
 * block of the file may be larger than one of w->type. */
static bool read_converted(const struct weight *w, uint64_t offset, char *out, size_t n,
                           struct err *e)
{
    const struct block_info *info = block_info((uint32_t)w->type);
    const uint64_t n_elems = w->ne[0] * w->ne[1] * w->ne[2];
    const uint64_t last = (offset + n - 1) / info->n_bytes * info->n_elems;
    const uint64_t end = num_min(n_elems, (last / SUPER_BLOCK + 1) * SUPER_BLOCK);
    uint64_t first = offset / info->n_bytes * info->n_elems / SUPER_BLOCK * SUPER_BLOCK;
    const size_t room = num_min(end - first, CONVERT_STEP);
    char *raw = mem_new(room, sizeof(float)), *made = mem_new(room, sizeof(float));
    bool ok = true;
    while (first < end && ok) {
        const size_t n_step = num_min(end - first, CONVERT_STEP);
        const uint64_t at = block_row_bytes(w->type, first);
        const size_t skip = at < offset ? offset - at : 0;
        const size_t n_copy = num_min(block_row_bytes(w->type, n_step) - skip, n);
        ok = convert(w, first, n_step, raw, made, e);
        memcpy(out, made + skip, n_copy);
        out += n_copy;
        offset += n_copy;
        n -= n_copy;
        first += n_step;
    }
    free(raw);
    free(made);
    return ok;
}

bool weight_read(const struct weight *w, uint64_t offset, void *out, size_t n, struct err *e)
{
    assert(offset <= w->n_bytes && n <= w->n_bytes - offset);
    if (n > 0 && w->file && w->type != w->tensor->type)
        return read_converted(w, offset, out, n, e);
    return read_stored(w, offset, out, n, e);
}
