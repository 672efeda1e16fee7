/* Opens files and sets of shards, and answers questions about them. Parsing is in gguf_parse.c. */
#include "gguf/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/gguf_int.h"

/* From where on reading past the page cache pays. */
enum { PAST_FILE_BYTES = 64 << 20, PAST_READ_BYTES = 64 << 10 };

static void close_shard(struct gguf_shard *s)
{
    mem_big_free(s->room, s->n_room);
    if (s->fd >= 0)
        close(s->fd);
    if (s->past >= 0)
        close(s->past);
    free(s->path);
}

void gguf_keys_free(struct gguf_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        free(keys->starts[i]);
    free(keys->starts);
    free(keys->order);
    free(keys->at);
    *keys = (struct gguf_keys){0};
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    gguf_keys_free(&g->keys);
    free(g->tensors.at);
    free(g->tensors.order);
    for (uint32_t i = 0; i < g->n_shards; i++)
        close_shard(&g->shards[i]);
    free(g->shards);
    free(g);
}

/* The head gets address space for as much as it may need; memory is used as far as it is read. */
static bool open_shard(struct gguf_shard *s, const char *path, struct err *e)
{
    s->path = strdup(path);
    s->past = -1;
    s->fd = file_open(path, &s->n_bytes, e);
    if (s->fd < 0)
        return false;
    if (s->n_bytes >= PAST_FILE_BYTES)
        s->past = file_open_past(path, s->fd, s->n_bytes);
    s->n_room = num_min(s->n_bytes, GGUF_MAX_HEAD_BYTES);
    s->head = s->room = mem_big(s->n_room, path, e);
    return s->room != NULL;
}

/* "model-00001-of-00003.gguf" to "model" for n = 3. False when path does not end that way. */
static bool split_prefix(str path, uint32_t n, str *prefix)
{
    struct buf suffix = {0};
    buf_fmt(&suffix, "-00001-of-%05" PRIu32 ".gguf", n);
    bool ok = str_ends(path, buf_view(&suffix));
    *prefix = str_sub(path, 0, path.n - (ok ? suffix.n : 0));
    buf_free(&suffix);
    return ok;
}

/* Opens shard i (from 1) and checks that it is the i-th of n. */
static bool add_shard(struct gguf *g, str prefix, uint32_t i, uint32_t n, const struct log *log,
                      struct err *e)
{
    struct gguf_keys keys = {0};
    struct buf path = {0};
    uint32_t no = 0, count = 0;
    struct gguf_shard *s = &g->shards[i];
    buf_fmt(&path, "%.*s-%05" PRIu32 "-of-%05" PRIu32 ".gguf", STRF(prefix), i + 1, n);
    g->n_shards = i + 1;
    bool ok = open_shard(s, path.p, e) && gguf_parse(s, i, &keys, &g->tensors, &(uint32_t){0}, e) &&
              gguf_keys_u32(&keys, s->path, "split.no", true, &no, e) &&
              gguf_keys_u32(&keys, s->path, "split.count", true, &count, e);
    if (ok && no != i)
        ok = err_set(e, ERR_FORMAT, "%s: key 'split.no' is %" PRIu32 ", must be %" PRIu32, s->path,
                     no, i);
    if (ok && count != n)
        ok = err_set(e, ERR_FORMAT,
                     "%s: key 'split.count' is %" PRIu32 ", the first shard's %" PRIu32, s->path,
                     count, n);
    for (size_t k = 0; ok && k < keys.n; k++)
        if (!str_starts(keys.at[k].key, STR("split.")) &&
            !str_eq(keys.at[k].key, STR("general.alignment"))) {
            log_warn(log, "%s: metadata outside the first shard is ignored (key '%.*s' ...)",
                     s->path, STRF(keys.at[k].key));
            break;
        }
    gguf_keys_free(&keys);
    buf_free(&path);
    return ok;
}

/* Follows split.count of the first shard, if it has that key. */
static bool open_split(struct gguf *g, const struct log *log, struct err *e)
{
    const char *path = gguf_path(g);
    uint32_t n = 1, no = 0, n_tensors;
    str prefix;
    if (!gguf_u32(g, "split.count", false, &n, e) || !gguf_u32(g, "split.no", false, &no, e))
        return false;
    if (n == 0 || n > GGUF_MAX_SHARDS)
        return err_set(e, ERR_FORMAT, "%s: key 'split.count' is %" PRIu32 ", must be 1 to %d", path,
                       n, GGUF_MAX_SHARDS);
    if (no != 0)
        return err_set(e, ERR_USAGE,
                       "%s: shard %" PRIu32 " of %" PRIu32 ": open the first one instead", path,
                       no + 1, n);
    if (n == 1)
        return true;
    if (g->shards[0].fd < 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the first of %" PRIu32 " shards has no files beside it", path, n);
    if (!split_prefix(str_of(path), n, &prefix))
        return err_set(e, ERR_FORMAT,
                       "%s: the first of %" PRIu32 " shards, must be named '...-00001-of-%05" PRIu32
                       ".gguf' so that the others can be found",
                       path, n, n);
    g->shards = mem_grow(g->shards, n, sizeof *g->shards);
    memset(g->shards + 1, 0, (n - 1) * sizeof *g->shards);
    for (uint32_t i = 1; i < n; i++)
        if (!add_shard(g, prefix, i, n, log, e))
            return false;
    if (!gguf_u32(g, "split.tensors.count", true, &n_tensors, e))
        return false;
    if (n_tensors != g->tensors.n)
        return err_set(e, ERR_FORMAT,
                       "%s: key 'split.tensors.count' is %" PRIu32
                       ", but the shards have %zu tensors",
                       gguf_path(g), n_tensors, g->tensors.n);
    return true;
}

static int compare_tensors(const void *a, const void *b, void *ctx)
{
    const struct gguf_tensor *at = ctx;
    return gguf_compare(at[*(const uint32_t *)a].name, at[*(const uint32_t *)b].name);
}

static bool sort_tensors(struct gguf *g, struct err *e)
{
    struct gguf_tensors *t = &g->tensors;
    t->order = mem_new(t->n, sizeof *t->order);
    for (size_t i = 0; i < t->n; i++)
        t->order[i] = (uint32_t)i;
    qsort_r(t->order, t->n, sizeof *t->order, compare_tensors, t->at);
    for (size_t i = 1; i < t->n; i++) {
        const struct gguf_tensor *a = &t->at[t->order[i - 1]], *b = &t->at[t->order[i]];
        if (str_eq(a->name, b->name))
            return err_set(e, ERR_FORMAT, "%s: tensor '%.*s' stands twice%s",
                           g->shards[b->shard].path, STRF(b->name),
                           a->shard == b->shard ? "" : " in the set of shards");
    }
    return true;
}

/* Parses shard 0, which is open, and the rest. Closes g and returns NULL on failure. */
static struct gguf *finish_open(struct gguf *g, const struct log *log, struct err *e)
{
    if (gguf_parse(&g->shards[0], 0, &g->keys, &g->tensors, &g->version, e) &&
        open_split(g, log, e) && sort_tensors(g, e))
        return g;
    gguf_close(g);
    return NULL;
}

static struct gguf *new_gguf(void)
{
    struct gguf *g = mem_new(1, sizeof *g);
    g->shards = mem_new(1, sizeof *g->shards);
    g->n_shards = 1;
    g->shards[0].fd = g->shards[0].past = -1;
    return g;
}

struct gguf *gguf_open(const char *path, const struct log *log, struct err *e)
{
    struct gguf *g = new_gguf();
    if (open_shard(&g->shards[0], path, e))
        return finish_open(g, log, e);
    gguf_close(g);
    return NULL;
}

struct gguf *gguf_open_memory(const void *bytes, size_t n_bytes, struct err *e)
{
    struct gguf *g = new_gguf();
    struct gguf_shard *s = &g->shards[0];
    s->path = strdup("(memory)");
    s->head = bytes;
    s->n_bytes = n_bytes;
    s->n_room = s->n_loaded = num_min(n_bytes, GGUF_MAX_HEAD_BYTES);
    return finish_open(g, NULL, e);
}

const char *gguf_path(const struct gguf *g)
{
    return g->shards[0].path;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint32_t gguf_n_shards(const struct gguf *g)
{
    return g->n_shards;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_shards; i++)
        sum += g->shards[i].n_bytes;
    return sum;
}

size_t gguf_n_kv(const struct gguf *g)
{
    return g->keys.n;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
    return &g->keys.at[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, str key)
{
    return gguf_keys_find(&g->keys, key);
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->tensors.n;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensors.at[i];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, str name)
{
    size_t lo = 0, hi = g->tensors.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct gguf_tensor *t = &g->tensors.at[g->tensors.order[mid]];
        int order = gguf_compare(t->name, name);
        if (order == 0)
            return t;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool gguf_read(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset, void *out,
               size_t n, struct err *e)
{
    const struct gguf_shard *s = &g->shards[t->shard];
    if (offset > t->n_bytes || n > t->n_bytes - offset)
        return err_set(e, ERR_LIMIT,
                       "%s: tensor '%.*s': %zu bytes at %" PRIu64 " wanted, it has %" PRIu64,
                       s->path, STRF(t->name), n, offset, t->n_bytes);
    if (s->fd >= 0)
        return file_read_past(n >= PAST_READ_BYTES ? s->past : -1, s->fd, s->path,
                              t->offset + offset, out, n, e);
    memcpy(out, s->head + t->offset + offset, n);
    return true;
}
