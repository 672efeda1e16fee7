#include "server/responses_store.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

enum { N_BUCKETS = 1024 };

/* One allocation and what is in its arena. */
struct entry {
    struct arena arena;
    str id, previous, input, output, body;
    size_t n_bytes;
    uint64_t used;      /* when, in the store's ticks */
    struct entry *next; /* of the bucket */
};

struct responses_store {
    size_t max_bytes;
    pthread_mutex_t lock; /* over what follows */
    size_t n_bytes;
    uint64_t tick;
    struct entry *buckets[N_BUCKETS];
};

struct responses_store *responses_store_open(size_t max_bytes)
{
    struct responses_store *s = mem_new(1, sizeof *s);
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

/* Where the entry is linked; *result is NULL when there is none of that id. */
static struct entry **place_of(struct responses_store *s, str id)
{
    struct entry **at = &s->buckets[str_hash(STR_HASH, id) % N_BUCKETS];
    while (*at && !str_eq((*at)->id, id))
        at = &(*at)->next;
    return at;
}

static void drop(struct responses_store *s, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    s->n_bytes -= e->n_bytes;
    arena_free(&e->arena);
    free(e);
}

void responses_store_close(struct responses_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < N_BUCKETS; i++)
        while (s->buckets[i])
            drop(s, &s->buckets[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

size_t responses_store_bytes(struct responses_store *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_bytes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static struct entry **least_used(struct responses_store *s)
{
    struct entry **least = NULL;
    for (size_t i = 0; i < N_BUCKETS; i++)
        for (struct entry **at = &s->buckets[i]; *at; at = &(*at)->next)
            if (!least || (*at)->used < (*least)->used)
                least = at;
    return least;
}

void responses_store_put(struct responses_store *s, str id, str previous, str input, str output,
                         str body)
{
    struct entry *e = mem_new(1, sizeof *e);
    const str parts[] = {id, previous, input, output, body};
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        n += arena_size(parts[i].n + 1);
    arena_reserve(&e->arena, n);
    e->id = arena_str(&e->arena, id);
    e->previous = arena_str(&e->arena, previous);
    e->input = arena_str(&e->arena, input);
    e->output = arena_str(&e->arena, output);
    e->body = arena_str(&e->arena, body);
    e->n_bytes = sizeof *e + e->arena.n_held;
    if (e->n_bytes > s->max_bytes) {
        arena_free(&e->arena);
        free(e);
        return;
    }
    pthread_mutex_lock(&s->lock);
    struct entry **at = place_of(s, id);
    if (*at)
        drop(s, at);
    s->n_bytes += e->n_bytes;
    e->used = ++s->tick;
    at = place_of(s, id);
    *at = e;
    while (s->n_bytes > s->max_bytes)
        drop(s, least_used(s));
    pthread_mutex_unlock(&s->lock);
}

bool responses_store_body(struct responses_store *s, str id, struct buf *out)
{
    pthread_mutex_lock(&s->lock);
    struct entry *e = *place_of(s, id);
    if (e) {
        e->used = ++s->tick;
        buf_str(out, e->body);
    }
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

bool responses_store_output(struct responses_store *s, str id, struct buf *out)
{
    pthread_mutex_lock(&s->lock);
    struct entry *e = *place_of(s, id);
    if (e)
        buf_str(out, e->output);
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

static void put_items(str items, struct buf *out)
{
    if (items.n && out->n)
        buf_byte(out, ',');
    buf_str(out, items);
}

bool responses_store_items(struct responses_store *s, str id, struct buf *out)
{
    struct entry **chain = NULL; /* from the last to the first */
    size_t n = 0;
    bool whole = true;
    pthread_mutex_lock(&s->lock);
    s->tick++;
    while (whole && id.n) {
        struct entry *e = *place_of(s, id);
        whole = e != NULL;
        if (!e)
            break;
        chain = mem_grow(chain, n + 1, sizeof *chain);
        chain[n++] = e;
        e->used = s->tick; /* all of them: none is of use without those before it */
        id = e->previous;
    }
    while (whole && n > 0) {
        const struct entry *e = chain[--n];
        put_items(e->input, out);
        put_items(e->output, out);
    }
    pthread_mutex_unlock(&s->lock);
    free(chain);
    return whole;
}

bool responses_store_delete(struct responses_store *s, str id)
{
    pthread_mutex_lock(&s->lock);
    struct entry **at = place_of(s, id);
    bool there = *at != NULL;
    if (there)
        drop(s, at);
    pthread_mutex_unlock(&s->lock);
    return there;
}
