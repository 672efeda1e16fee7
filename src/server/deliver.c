#include "server/deliver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/hint.h"
#include "server/reply.h"

enum {
    POLL_MS = 20,  /* how late a hung-up client is noticed while nothing else happens */
    ALL_KEPT = 16, /* max_kept of so many replies is what all may keep */
    GRACE_S = 60   /* a reply that has ended is kept so long */
};

/* What says that two requests are the same one. */
struct identity {
    uint64_t what;    /* path, key, body and names */
    uint64_t session; /* 0: the client names none */
    uint64_t once;    /* its Idempotency-Key; 0: none */
    int64_t n_retries;
};

/* A reply and who reads it. Members below the line are under deliveries.lock. */
struct delivery {
    struct deliveries *all;
    bool streams;
    char id[48];
    struct tok_ids prompt;
    /* ---- */
    struct reply *reply; /* of whoever drives it; NULL: it ended and its clients have left */
    struct identity of;
    struct delivery *next;
    struct reader *readers;
    bool driven; /* one of the readers' threads runs the reply */
    bool ended;  /* no bytes come any more */
    uint64_t ended_ns;
    struct record_usage usage; /* once it has ended */
    bool headless;             /* the first bytes are not kept any more: nobody can attach */
    struct buf bytes;          /* those from `dropped` on */
    size_t dropped;            /* bytes before them */
    pthread_cond_t changed;
};

/* One client of it. */
struct reader {
    struct delivery *delivery;
    struct http_request *http;
    struct exchange *exchange; /* NULL: it is not recorded */
    struct reader *next;
    size_t at; /* bytes that it has */
    bool lost; /* what it needs next is not kept */
    bool left;
};

struct deliveries {
    pthread_mutex_t lock;
    struct delivery *first;
    size_t max_kept, n_kept; /* of one, of all */
};

/* ---- what is kept ---- */

static size_t bytes_of(const struct delivery *d)
{
    return d->bytes.n + d->prompt.n * sizeof *d->prompt.ids;
}

/* Out of the list. */
static void free_delivery(struct delivery *d)
{
    reply_close(d->reply);
    free(d->prompt.ids);
    buf_free(&d->bytes);
    pthread_cond_destroy(&d->changed);
    free(d);
}

static void unlink_delivery(struct delivery *d)
{
    struct delivery **at = &d->all->first;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    d->all->n_kept -= bytes_of(d);
}

static bool is_full(const struct deliveries *all)
{
    return all->n_kept > ALL_KEPT * all->max_kept;
}

/* Those that nobody asked for again, and the oldest where there is no room. */
static void forget_old(struct deliveries *all)
{
    const uint64_t now = clock_ns();
    struct delivery *oldest;
    do {
        oldest = NULL;
        for (struct delivery *d = all->first; d; d = d->next)
            if (!d->readers && (!oldest || d->ended_ns < oldest->ended_ns))
                oldest = d;
        if (oldest && !is_full(all) && now - oldest->ended_ns < GRACE_S * 1000000000ull)
            oldest = NULL;
        if (oldest) {
            unlink_delivery(oldest);
            free_delivery(oldest);
        }
    } while (oldest);
}

struct deliveries *deliveries_open(size_t max_kept)
{
    struct deliveries *all = mem_new(1, sizeof *all);
    all->max_kept = max_kept;
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void deliveries_close(struct deliveries *all)
{
    if (!all)
        return;
    while (all->first) {
        struct delivery *d = all->first;
        unlink_delivery(d);
        free_delivery(d);
    }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* ---- the same request ---- */

static struct identity identify(const struct http_request *http)
{
    static const char *const keys[] = {"Authorization", "x-api-key"};
    struct identity of = {.session = hint_session(http)};
    const str once = http_header(http, "Idempotency-Key");
    uint64_t h = str_hash(STR_HASH, http_path(http));
    h = str_hash(h, http_body(http));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        h = str_hash(str_hash(h, STR("\n")), http_header(http, keys[i]));
    of.what = str_hash(h, (str){(const char *)&of.session, sizeof of.session});
    of.once = once.n ? str_hash(STR_HASH, once) | 1 : 0;
    if (!str_to_i64(http_header(http, "x-stainless-retry-count"), &of.n_retries))
        of.n_retries = 0;
    return of;
}

/* Who asks in a session for what it has got wants another reply. */
static bool is_again(const struct identity *now, const struct delivery *d)
{
    const struct identity *before = &d->of;
    if (now->what != before->what || (now->once && before->once && now->once != before->once))
        return false;
    return (now->session && !d->ended) || (now->once && before->once) ||
           now->n_retries > before->n_retries;
}

/* The sums say that the bodies are the same; the prompts are compared. */
static bool same_prompt(const struct tok_ids *x, const struct tok_ids *y)
{
    return x->n == y->n && memcmp(x->ids, y->ids, x->n * sizeof *x->ids) == 0;
}

static void add_reader(struct delivery *d, struct reader *r)
{
    r->delivery = d;
    r->next = d->readers;
    d->readers = r;
}

/* The running reply that r's request has asked for before; NULL: it is a new one. */
static struct delivery *attach(struct deliveries *all, struct reader *r, const struct identity *of,
                               const struct reply *reply)
{
    struct delivery *d;
    pthread_mutex_lock(&all->lock);
    forget_old(all);
    for (d = all->first; d; d = d->next)
        if (!d->headless && is_again(of, d) && same_prompt(reply_prompt(reply), &d->prompt))
            break;
    if (d) {
        add_reader(d, r);
        if (of->n_retries > d->of.n_retries)
            d->of.n_retries = of->n_retries;
    }
    pthread_mutex_unlock(&all->lock);
    return d;
}

/* ---- the bytes ---- */

static size_t end_of(const struct delivery *d)
{
    return d->dropped + d->bytes.n;
}

/* Forgets bytes of a reply that is too long to be kept, but for those that somebody has to take. */
static void trim(struct delivery *d)
{
    struct deliveries *all = d->all;
    const size_t end = end_of(d);
    size_t from = end;
    if (!d->headless && d->bytes.n <= all->max_kept && !is_full(all))
        return;
    d->headless = true;
    for (struct reader *r = d->readers; r; r = r->next) {
        r->lost = r->lost || end - r->at > all->max_kept;
        if (!r->lost && r->at < from)
            from = r->at;
    }
    all->n_kept -= from - d->dropped;
    buf_drop(&d->bytes, from - d->dropped);
    d->dropped = from;
}

/* Runs the reply by one step, without the lock. */
static void drive(struct delivery *d)
{
    struct buf out = {0};
    d->driven = true;
    pthread_mutex_unlock(&d->all->lock);
    const bool goes_on = reply_step(d->reply, &out);
    pthread_mutex_lock(&d->all->lock);
    d->driven = false;
    if (!goes_on) {
        d->ended = true;
        d->ended_ns = clock_ns();
        d->usage = reply_usage(d->reply);
    }
    buf_str(&d->bytes, buf_view(&out));
    d->all->n_kept += out.n;
    buf_free(&out);
    pthread_cond_broadcast(&d->changed);
}

static void wait_for_driver(struct delivery *d)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&d->changed, &d->all->lock, &until);
}

/* Waits until there is something for r, or nothing more, or its client has gone. Appends the bytes
 * to out (NULL: they are only waited for, all of them). False: r has to leave. */
static bool take(struct reader *r, struct buf *out)
{
    struct delivery *d = r->delivery;
    bool there = true;
    pthread_mutex_lock(&d->all->lock);
    for (;;) {
        there = !http_gone(r->http) && !r->lost;
        if (!there || d->ended || (out && r->at < end_of(d)))
            break;
        if (d->driven)
            wait_for_driver(d);
        else
            drive(d);
    }
    if (there && out) {
        buf_put(out, d->bytes.p + (r->at - d->dropped), end_of(d) - r->at);
        r->at = end_of(d);
        trim(d);
    }
    pthread_mutex_unlock(&d->all->lock);
    return there;
}

/* ---- the end ---- */

/* The last one to leave ends the reply. One that had ended may still be asked for again: a client
 * that gave up waiting for it need not have gone in a way that can be seen. */
static void leave(struct reader *r)
{
    struct delivery *d = r->delivery;
    struct reader **at = &d->readers;
    struct openai_error e;
    if (r->left)
        return;
    r->left = true;
    pthread_mutex_lock(&d->all->lock);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    struct record_usage usage = d->ended ? d->usage : reply_usage(d->reply);
    usage.gone = !d->ended || r->at < end_of(d);
    record_usage(r->exchange, &usage);
    const bool is_last = !d->readers;
    const bool stays = d->ended && !d->headless && !(d->reply && reply_failed(d->reply, &e));
    struct reply *over = is_last && stays ? d->reply : NULL;
    if (is_last && stays)
        d->reply = NULL;
    else if (is_last)
        unlink_delivery(d);
    pthread_mutex_unlock(&d->all->lock);
    reply_close(over);
    if (is_last && !stays)
        free_delivery(d);
}

/* ---- streamed ---- */

static bool next_bytes(void *ctx, struct buf *out)
{
    struct reader *r = ctx;
    if (take(r, out))
        return out->n > 0;
    if (r->lost)
        http_break(r->http);
    leave(r);
    return false;
}

static void close_reader(void *ctx)
{
    leave(ctx);
    free(ctx);
}

/* ---- at once ---- */

/* reply: NULL when it is over. */
static void refuse(const struct reply *reply, struct http_request *http,
                   const struct openai_error *e)
{
    const struct reply_request *to = reply ? reply_asked(reply) : NULL;
    if (to && to->protocol->refuse)
        to->protocol->refuse(to->state, http, e);
    else
        server_refuse(http, e);
}

static void answer_at_once(struct reader *r)
{
    struct delivery *d = r->delivery;
    struct openai_error e;
    const bool gone = !take(r, NULL);
    if (gone)
        openai_fail(&e, 503, NULL, "The request was cancelled.");
    pthread_mutex_lock(&d->all->lock);
    if (gone || (d->reply && reply_failed(d->reply, &e)))
        refuse(d->reply, r->http, &e);
    else
        http_send(r->http, 200, "application/json", buf_view(&d->bytes));
    r->at = gone ? 0 : end_of(d);
    pthread_mutex_unlock(&d->all->lock);
    leave(r);
    free(r);
}

/* ---- the beginning ---- */

static struct delivery *open_delivery(const struct server *s, struct reply *reply,
                                      const struct identity *of)
{
    struct delivery *d = mem_new(1, sizeof *d);
    pthread_condattr_t attr;
    d->all = s->deliveries;
    d->reply = reply;
    d->streams = reply_asked(reply)->request->stream;
    snprintf(d->id, sizeof d->id, "%s", reply_asked(reply)->id);
    const struct tok_ids *prompt = reply_prompt(reply);
    for (size_t i = 0; i < prompt->n; i++)
        tok_ids_put(&d->prompt, prompt->ids[i]);
    d->of = *of;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attr);
    pthread_condattr_destroy(&attr);
    return d;
}

static void announce(struct delivery *d, struct reader *r)
{
    pthread_mutex_lock(&d->all->lock);
    d->next = d->all->first;
    d->all->first = d;
    d->all->n_kept += bytes_of(d);
    add_reader(d, r);
    pthread_mutex_unlock(&d->all->lock);
}

/* The delivery that the request's bytes come from, a new one or one that runs. NULL: it was refused
 * or e says why. Takes over the reply. */
static struct delivery *find_delivery(const struct server *s, struct reader *r, struct reply *reply,
                                      struct openai_error *e)
{
    const struct openai_request *q = reply_asked(reply)->request;
    const struct identity of = identify(r->http);
    struct delivery *d = attach(s->deliveries, r, &of, reply);
    if (d) {
        log_info(&s->params.log, "%s: asked for again, as %s", d->id, reply_asked(reply)->id);
        reply_close(reply);
    } else if (reply_submit(reply, hint_of(r->http, q->body), e)) {
        d = open_delivery(s, reply, &of);
        announce(d, r);
    }
    return d;
}

void reply_run(const struct server *s, struct http_request *http, const struct reply_request *to)
{
    struct reply *reply = reply_open(s, to);
    struct reader *r = mem_new(1, sizeof *r);
    struct openai_error e;
    r->http = http;
    r->exchange = record_of(http);
    struct delivery *d = reply_encode(reply, &e) ? find_delivery(s, r, reply, &e) : NULL;
    if (!d) {
        refuse(reply, http, &e);
        reply_close(reply);
        free(r);
    } else if (d->streams) {
        http_stream(http, to->protocol->stream_type,
                    &(struct http_source){next_bytes, close_reader, r});
    } else {
        answer_at_once(r);
    }
}
