#include "server/dates.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

enum { N_KEPT = 1024, FORGET_SECONDS = 12 * 3600 };

struct dates {
    pthread_mutex_t lock;
    struct kept {
        uint64_t hash;
        int64_t began, heard; /* heard: 0 in an empty place */
    } kept[N_KEPT];
};

struct dates *dates_open(void)
{
    struct dates *d = mem_new(1, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void dates_close(struct dates *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static uint64_t hash_start(const struct chat_request *r)
{
    const str end = STR("\xff"); /* in no UTF-8 */
    uint64_t h = STR_HASH;
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        h = str_hash(str_hash(h, m->content), end);
        for (size_t k = 0; k < m->n_parts; k++)
            h = str_hash(str_hash(h, m->parts[k]), end);
        if (m->role == CHAT_USER)
            break;
    }
    return h;
}

int64_t dates_of(struct dates *d, const struct chat_request *r, int64_t now)
{
    uint64_t hash = hash_start(r);
    pthread_mutex_lock(&d->lock);
    struct kept *at = &d->kept[0];
    for (size_t i = 0; i < N_KEPT; i++) {
        struct kept *k = &d->kept[i];
        if (k->heard && k->hash == hash) {
            at = k;
            break;
        }
        if (k->heard < at->heard)
            at = k;
    }
    if (!at->heard || at->hash != hash || now - at->heard > FORGET_SECONDS)
        *at = (struct kept){hash, now, now};
    at->heard = now;
    int64_t began = at->began;
    pthread_mutex_unlock(&d->lock);
    return began;
}
