/* What the store has in files: writing, reading, and finding it after a restart. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/store_int.h"

/* After a write that failed, nothing is written for so long. */
static const uint64_t PAUSE_NS = 60ull * 1000000000u;

void store_use_disk(struct store *s, struct spool *spool, const struct log *log)
{
    s->spool = spool;
    s->log = *log;
}

uint64_t store_disk_bytes(const struct store *s)
{
    return s->n_disk_bytes;
}

uint64_t store_disk_max_bytes(const struct store *s)
{
    return s->spool ? disk_max_bytes(spool_disk(s->spool)) : 0;
}

const char *store_disk_folder(const struct store *s)
{
    return s->spool ? disk_folder(spool_disk(s->spool)) : NULL;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static struct disk_head head_of(const struct chunk *c, enum disk_kind kind)
{
    const bool is_rows = kind == DISK_ROWS;
    struct disk_head h = {.id = c->id,
                          .parent = c->parent->id,
                          .n_bytes = is_rows ? c->rows.n : c->state.n,
                          .kind = (uint32_t)kind,
                          .first = c->first,
                          .n = is_rows ? c->n : c->n_state};
    if (is_rows)
        memcpy(h.ids, c->ids, c->n * sizeof *h.ids);
    return h;
}

void store_send(struct store *s, struct chunk *c, enum disk_kind kind)
{
    struct part *p = store_part(c, kind);
    struct spool_job *j = mem_new(1, sizeof *j);
    *j = (struct spool_job){
        .what = SPOOL_WRITE, .head = head_of(c, kind), .bytes = p->bytes, .owner = c};
    store_move(s, c, p, PART_LEAVING);
    p->job = j;
    s->n_writes++;
    spool_post(s->spool, j);
}

/* A full disk is nothing that anybody has to do something about at once. */
static void note_failure(struct store *s, const struct err *e)
{
    if (!s->failing)
        log_warn(&s->log, "%s; conversations that memory has no room for are lost meanwhile",
                 e->msg);
    s->failing = true;
    s->paused_until_ns = clock_ns() + PAUSE_NS;
}

static void end_write(struct store *s, struct spool_job *j)
{
    struct chunk *c = j->owner;
    const enum disk_kind kind = (enum disk_kind)j->head.kind;
    s->n_writes--;
    if (j->ok)
        s->failing = false;
    else
        note_failure(s, &j->error);
    if (c && j->ok) {
        struct part *p = store_part(c, kind);
        store_move(s, c, p, PART_FILED);
        p->bytes = NULL; /* the job's */
        p->job = NULL;
    } else if (c && kind == DISK_ROWS) {
        store_drop(s, c);
    } else if (c) {
        store_drop_state(s, c);
    }
    spool_free(j);
}

void store_poll(struct store *s, int wait_ms)
{
    for (struct spool_job *j; s->spool && (j = spool_take(s->spool, wait_ms)); wait_ms = 0) {
        if (j->what == SPOOL_WRITE) {
            end_write(s, j);
        } else if (j->owner) {
            ((struct reading *)j->owner)->done = true;
        } else {
            spool_free(j);
        }
    }
}

bool store_is_busy(const struct store *s)
{
    return s->n_in_flight >= STORE_IN_FLIGHT;
}

bool store_is_writing(const struct store *s)
{
    return s->n_writes > 0;
}

void store_touch(struct store *s, const struct chunk *c)
{
    if (s->spool && c->rows.place == PART_FILED)
        spool_touch(s->spool, c->id, DISK_ROWS);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static void release(struct reading *r)
{
    if (r->job && r->done)
        spool_free(r->job);
    else if (r->job)
        r->job->owner = NULL; /* freed when it is done */
    *r = (struct reading){0};
}

void store_release(struct store *s, const struct chunk *c)
{
    for (int i = 0; i < STORE_READS; i++)
        if (s->reads[i].job && (!c || s->reads[i].job->head.id == c->id))
            release(&s->reads[i]);
}

static struct reading *find_reading(struct store *s, const struct chunk *c, enum disk_kind kind)
{
    for (int i = 0; i < STORE_READS; i++) {
        const struct spool_job *j = s->reads[i].job;
        if (j && j->head.id == c->id && j->head.kind == (uint32_t)kind)
            return &s->reads[i];
    }
    return NULL;
}

/* False: there is no memory for it. */
static bool begin_reading(struct store *s, struct chunk *c, enum disk_kind kind)
{
    struct err e;
    int i = 0;
    while (i < STORE_READS && s->reads[i].job)
        i++;
    if (i == STORE_READS)
        return true;
    uint8_t *bytes = mem_big(store_part(c, kind)->n, "disk cache", &e);
    if (!bytes)
        return false;
    struct spool_job *j = mem_new(1, sizeof *j);
    *j = (struct spool_job){
        .what = SPOOL_READ, .head = head_of(c, kind), .bytes = bytes, .owner = &s->reads[i]};
    s->reads[i] = (struct reading){.job = j};
    spool_post(s->spool, j);
    return true;
}

static enum fetch lose(struct store *s, struct chunk *c, enum disk_kind kind)
{
    if (kind == DISK_ROWS)
        store_drop(s, c);
    else
        store_drop_state(s, c);
    return FETCH_LOST;
}

enum fetch store_fetch(struct store *s, struct chunk *c, enum disk_kind kind, const uint8_t **bytes)
{
    const struct part *p = store_part(c, kind);
    *bytes = p->bytes;
    if (p->place != PART_FILED || p->n == 0)
        return p->place != PART_NONE ? FETCH_DONE : FETCH_LOST;
    struct reading *r = find_reading(s, c, kind);
    if (!r)
        return begin_reading(s, c, kind) ? FETCH_WAIT : lose(s, c, kind);
    if (!r->done)
        return FETCH_WAIT;
    if (!r->job->ok) {
        log_warn(&s->log, "%s; it is removed", r->job->error.msg);
        release(r);
        return lose(s, c, kind);
    }
    *bytes = r->job->bytes;
    return FETCH_DONE;
}
