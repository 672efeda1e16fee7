#include "server/replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { N_BUCKETS = 4096 };

struct replay_call {
    str id, name;
    struct buf arguments;
};

/* A reply that is kept; one allocation of its own arena. */
struct entry {
    struct arena arena;
    struct chat_sample sample;
    str content, reasoning;
    const struct chat_call *calls;
    size_t n_calls;
    size_t n_bytes;
    struct entry *older, *newer;
};

/* What an entry is found by. */
struct key {
    uint64_t hash;
    str text;
    struct entry *entry;
    struct key *next;
};

struct replay {
    pthread_mutex_t lock;
    size_t max_bytes, n_bytes;
    struct entry *newest, *oldest;
    struct key *buckets[N_BUCKETS];
};

/* ---- recording ---- */

void replay_token(struct replay_reply *r, int32_t id)
{
    tok_ids_put(&r->ids, id);
}

void replay_event(struct replay_reply *r, const struct chat_event *event)
{
    switch (event->kind) {
    case CHAT_CONTENT: buf_str(&r->content, event->text); break;
    case CHAT_REASONING: buf_str(&r->reasoning, event->text); break;
    case CHAT_CALL_BEGIN:
        r->calls = mem_grow(r->calls, r->n_calls + 1, sizeof *r->calls);
        r->calls[r->n_calls++] = (struct replay_call){.id = arena_str(&r->arena, event->id),
                                                      .name = arena_str(&r->arena, event->name)};
        break;
    case CHAT_CALL_ARGUMENTS:
        if (event->i_call < r->n_calls)
            buf_str(&r->calls[event->i_call].arguments, event->text);
        break;
    case CHAT_CALL_END: break;
    }
}

void replay_reply_free(struct replay_reply *r)
{
    for (size_t i = 0; i < r->n_calls; i++)
        buf_free(&r->calls[i].arguments);
    free(r->calls);
    free(r->ids.ids);
    buf_free(&r->content);
    buf_free(&r->reasoning);
    arena_free(&r->arena);
    *r = (struct replay_reply){0};
}

/* ---- the store ---- */

struct replay *replay_open(size_t max_bytes)
{
    struct replay *p = mem_new(1, sizeof *p);
    p->max_bytes = max_bytes;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

static struct key **bucket_of(struct replay *p, uint64_t hash)
{
    return &p->buckets[hash % N_BUCKETS];
}

static struct entry *find(struct replay *p, str text)
{
    uint64_t hash = str_hash(STR_HASH, text);
    for (struct key *k = *bucket_of(p, hash); k; k = k->next) {
        if (k->hash == hash && str_eq(k->text, text))
            return k->entry;
    }
    return NULL;
}

/* The texts that an entry is found by: a call's id each, or its content. */
static str key_text(const struct entry *e, size_t i)
{
    return e->n_calls ? e->calls[i].id : e->content;
}

static size_t n_keys(const struct entry *e)
{
    return e->n_calls ? e->n_calls : 1;
}

static void link_newest(struct replay *p, struct entry *e)
{
    e->newer = NULL;
    e->older = p->newest;
    if (p->newest)
        p->newest->newer = e;
    p->newest = e;
    if (!p->oldest)
        p->oldest = e;
}

static void unlink_entry(struct replay *p, struct entry *e)
{
    *(e->newer ? &e->newer->older : &p->newest) = e->older;
    *(e->older ? &e->older->newer : &p->oldest) = e->newer;
}

static void forget(struct replay *p, struct entry *e)
{
    for (size_t i = 0; i < n_keys(e); i++) {
        struct key **at = bucket_of(p, str_hash(STR_HASH, key_text(e, i)));
        while (*at && (*at)->entry != e)
            at = &(*at)->next;
        if (*at)
            *at = (*at)->next; /* the key itself is in the entry's arena */
    }
    unlink_entry(p, e);
    p->n_bytes -= e->n_bytes;
    arena_free(&e->arena);
    free(e);
}

void replay_close(struct replay *p)
{
    if (!p)
        return;
    while (p->oldest)
        forget(p, p->oldest);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

size_t replay_bytes(struct replay *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->n_bytes;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* What an entry and its keys take of their arena. */
static size_t entry_size(const struct replay_reply *r, str opening)
{
    const size_t n_keys = r->n_calls ? r->n_calls : 1;
    size_t n = arena_size((r->n_calls + 1) * sizeof(struct chat_call)) +
               arena_size((r->ids.n + 1) * sizeof *r->ids.ids) +
               arena_size(n_keys * sizeof(struct key)) + arena_size(r->content.n + 1) +
               arena_size(r->reasoning.n + 1) + arena_size(opening.n + 1);
    for (size_t i = 0; i < r->n_calls; i++)
        n += arena_size(r->calls[i].id.n + 1) + arena_size(r->calls[i].name.n + 1) +
             arena_size(r->calls[i].arguments.n + 1);
    return n;
}

static struct entry *make_entry(const struct replay_reply *r, str opening)
{
    struct entry *e = mem_new(1, sizeof *e);
    arena_reserve(&e->arena, entry_size(r, opening));
    struct chat_call *calls = arena_new(&e->arena, r->n_calls + 1, sizeof *calls);
    int32_t *ids = arena_new(&e->arena, r->ids.n + 1, sizeof *ids);
    if (r->ids.n)
        memcpy(ids, r->ids.ids, r->ids.n * sizeof *ids);
    for (size_t i = 0; i < r->n_calls; i++)
        calls[i] = (struct chat_call){arena_str(&e->arena, r->calls[i].id),
                                      arena_str(&e->arena, r->calls[i].name),
                                      arena_str(&e->arena, buf_view(&r->calls[i].arguments))};
    e->calls = calls;
    e->n_calls = r->n_calls;
    e->content = arena_str(&e->arena, str_trim(buf_view(&r->content)));
    e->reasoning = arena_str(&e->arena, str_trim(buf_view(&r->reasoning)));
    e->sample = (struct chat_sample){ids, r->ids.n, arena_str(&e->arena, opening)};
    return e;
}

void replay_put(struct replay *p, const struct replay_reply *r, str opening)
{
    struct entry *e = make_entry(r, opening), *old;
    if (!e->n_calls && !e->content.n) {
        arena_free(&e->arena);
        free(e);
        return;
    }
    struct key *keys = arena_new(&e->arena, n_keys(e), sizeof *keys);
    e->n_bytes = sizeof *e + e->arena.n_held;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n_keys(e); i++) {
        while ((old = find(p, key_text(e, i))))
            forget(p, old);
    }
    for (size_t i = 0; i < n_keys(e); i++) {
        uint64_t hash = str_hash(STR_HASH, key_text(e, i));
        struct key **bucket = bucket_of(p, hash);
        keys[i] = (struct key){hash, key_text(e, i), e, *bucket};
        *bucket = &keys[i];
    }
    link_newest(p, e);
    p->n_bytes += e->n_bytes;
    while (p->n_bytes > p->max_bytes)
        forget(p, p->oldest);
    pthread_mutex_unlock(&p->lock);
}

/* ---- does a message mean the same? ---- */

static bool same_json(const struct json *a, const struct json *b);

static bool same_members(const struct json *a, const struct json *b)
{
    struct json_iter it = {0};
    struct json *value;
    str key;
    if (json_count(a) != json_count(b))
        return false;
    while (json_next(a, &it, &key, &value)) {
        if (!json_has(b, key.p) || !same_json(value, json_get(b, key.p)))
            return false;
    }
    return true;
}

static bool same_elements(const struct json *a, const struct json *b)
{
    bool same = json_count(a) == json_count(b);
    for (size_t i = 0; same && i < json_count(a); i++)
        same = same_json(json_at(a, i), json_at(b, i));
    return same;
}

/* JSON_MAX_DEPTH bounds the recursion. */
static bool same_json(const struct json *a, const struct json *b)
{
    enum json_type of = json_type(a);
    bool numbers = (of == JSON_INT || of == JSON_FLOAT) &&
                   (json_type(b) == JSON_INT || json_type(b) == JSON_FLOAT);
    if (numbers)
        return json_int(a) == json_int(b) && !(json_float(a) < json_float(b)) &&
               !(json_float(a) > json_float(b));
    if (of != json_type(b))
        return false;
    switch (of) {
    case JSON_BOOL: return json_bool(a) == json_bool(b);
    case JSON_STRING: return str_eq(json_str(a), json_str(b));
    case JSON_ARRAY: return same_elements(a, b);
    case JSON_OBJECT: return same_members(a, b);
    default: return true;
    }
}

static bool same_arguments(str a, str b)
{
    struct err ignored;
    if (str_eq(a, b))
        return true;
    struct json *x = json_parse(a, &ignored);
    struct json *y = json_parse(b, &ignored);
    bool same = x && y && same_json(x, y);
    json_free(x);
    json_free(y);
    return same;
}

static bool same_reply(const struct entry *e, const struct chat_message *m)
{
    str content = str_trim(m->content);
    str reasoning = str_trim(m->reasoning);
    if (m->n_calls != e->n_calls || (content.n && !str_eq(content, e->content)))
        return false;
    if (reasoning.n && !str_eq(reasoning, e->reasoning))
        return false;
    for (size_t i = 0; i < e->n_calls; i++) {
        if (!str_eq(m->calls[i].id, e->calls[i].id) ||
            !str_eq(m->calls[i].name, e->calls[i].name) ||
            !same_arguments(m->calls[i].arguments, e->calls[i].arguments))
            return false;
    }
    return true;
}

/* ---- finding ---- */

static const struct chat_sample *copy_sample(const struct chat_sample *s, struct arena *a)
{
    struct chat_sample *copy = arena_new(a, 1, sizeof *copy);
    int32_t *ids = arena_new(a, s->n_ids + 1, sizeof *ids);
    if (s->n_ids)
        memcpy(ids, s->ids, s->n_ids * sizeof *ids);
    *copy = (struct chat_sample){ids, s->n_ids, arena_str(a, s->opening)};
    return copy;
}

static void look_up(struct replay *p, struct chat_message *m, struct arena *a)
{
    str text = m->n_calls ? m->calls[0].id : str_trim(m->content);
    struct entry *e = text.n ? find(p, text) : NULL;
    if (!e || !same_reply(e, m))
        return;
    unlink_entry(p, e);
    link_newest(p, e);
    m->sampled = copy_sample(&e->sample, a);
    /* The same text may be an answer to another question: only an id tells whose reasoning it was.
     */
    if (m->n_calls && !m->reasoning.n)
        m->reasoning = arena_str(a, e->reasoning);
    if (m->n_calls && !m->content.n)
        m->content = arena_str(a, e->content);
}

const struct chat_message *replay_messages(struct replay *p, const struct chat_message *messages,
                                           size_t n, struct arena *a)
{
    struct chat_message *list = arena_new(a, n + 1, sizeof *list);
    if (n)
        memcpy(list, messages, n * sizeof *list);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) {
        if (list[i].role == CHAT_ASSISTANT && !list[i].n_parts)
            look_up(p, &list[i], a);
    }
    pthread_mutex_unlock(&p->lock);
    return list;
}
