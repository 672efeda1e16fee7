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

static uint64_t hash_text(uint64_t h, str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u; /* FNV-1a */
    return (h ^ 0xff) * 0x100000001b3u;
}

static uint64_t hash_start(const struct chat_request *r)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        h = hash_text(h, m->content);
        for (size_t k = 0; k < m->n_parts; k++)
            h = hash_text(h, m->parts[k]);
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
