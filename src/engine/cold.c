#include "engine/cold.h"

#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/cold_int.h"
#include "engine/ration.h"

/* LEAST_LOST: fewer tokens are not worth a copy. LEAST_PART: nor less than this part of what would
 * be copied. STATES: saved states that are stored of a conversation, its last ones.
 * STEP_NS: of moving at a time. PATIENCE_NS: how long a job waits for a disk that is slower than
 * what has to be written; the rest is lost then. */
enum { LEAST_LOST = 64, LEAST_PART = 32, STATES = 3, STEP_NS = 100000000 };
static const uint64_t PATIENCE_NS = 2000000000;

/* ---- into the store ---------------------------------------------------------------------------
 */

/* Is much of the session in no other session, nor in what the prompt keeps of it? */
static bool loses_much(const struct engine *g, uint32_t seq, const int32_t *ids, size_t n)
{
    const struct session *s = &g->sessions[seq];
    struct head other;
    session_farthest(g->sessions, g->n_sessions, seq, s->ids, s->n, &other);
    const uint64_t lost = s->n - num_max(session_shared(s, ids, n), other.shared);
    return lost >= LEAST_LOST && lost * LEAST_PART >= s->n;
}

/* Tokens behind which the session's own state stands now, where states are needed; 0: none. */
static uint32_t state_stands(const struct session *s)
{
    return s->n_snapshots && exec_within(s->reach, s->n) ? s->n : 0;
}

/* Of the session's last states the one that is farthest, up to `end`; 0: none. */
static uint32_t last_state(const struct session *s, uint32_t end)
{
    const uint32_t own = state_stands(s);
    uint32_t last = own <= end ? own : 0, n_behind = own > end;
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        const uint32_t n = s->snapshots[i].n;
        n_behind += n > end && n != own;
        if (n <= end && n > last)
            last = n;
    }
    return n_behind < STATES ? last : 0;
}

uint32_t cold_end_of(const struct session *s)
{
    return s->n_snapshots ? last_state(s, s->n) : s->n;
}

static void put_state(struct engine *g, uint32_t seq, struct chunk *c)
{
    const struct session *s = &g->sessions[seq];
    struct err e;
    const uint32_t n = last_state(s, c->first + c->n);
    if (n <= c->first || n == c->n_state)
        return;
    uint8_t *bytes = store_add_state(g->store, c, s->n);
    if (!bytes)
        return;
    const struct snapshot *at = session_snapshot(s, n);
    if (at)
        memcpy(bytes, at->bytes, g->n_state_bytes);
    c->n_state = n;
    if (!at && !exec_state_save(g->exec, seq, n, bytes, &e))
        store_drop_state(g->store, c);
}

/* The chunk behind `at` with the next tokens of the session's first n, new if need be; NULL: no
 * room. */
static struct chunk *put_chunk(struct engine *g, uint32_t seq, struct chunk *at, uint32_t n,
                               struct use use)
{
    const struct session *s = &g->sessions[seq];
    const uint32_t first = at ? at->first + at->n : 0;
    const uint32_t size = (uint32_t)num_min(STORE_TOKENS, n - first);
    struct err e;
    uint32_t shared;
    struct chunk *c = store_step(g->store, at, s->ids, n, &shared);
    if (!c || shared < size) {
        c = store_add(g->store, at, s->ids, size, n, exec_rows_size(g->exec, size), use);
        if (c && !exec_rows_save(g->exec, seq, first, size, c->rows.bytes, &e)) {
            store_drop(g->store, c);
            return NULL;
        }
    }
    if (!c)
        return NULL;
    c->use = use;
    c->held = false;
    put_state(g, seq, c);
    store_filled(g->store, c);
    return c;
}

/* The chunk that ends behind `end` tokens of ids; NULL: there is none. */
static struct chunk *chunk_before(const struct engine *g, const int32_t *ids, uint32_t end)
{
    struct chunk *c = NULL;
    uint32_t shared;
    while ((c = store_step(g->store, c, ids, end, &shared)) && shared == STORE_TOKENS &&
           c->first + shared < end) {
        /* on to the next one */
    }
    return c && c->first + c->n == end && shared == c->n ? c : NULL;
}

bool cold_put_next(struct engine *g, uint32_t seq, uint32_t *at, uint32_t end, struct use use)
{
    struct chunk *before = *at ? chunk_before(g, g->sessions[seq].ids, *at) : NULL;
    if (*at && !before)
        return false;
    struct chunk *c = put_chunk(g, seq, before, end, use);
    if (!c)
        return false;
    *at = c->first + c->n;
    if (*at >= end)
        store_touch(g->store, c);
    return true;
}

/* True: nothing more is to be stored. */
static bool move_out(struct engine *g, struct mover *m, bool alone, uint64_t until_ns)
{
    while (m->at < m->end) {
        const uint64_t now = clock_ns();
        if (store_is_busy(g->store) && now > m->patient_until_ns)
            return true;
        if (now > until_ns || (store_is_busy(g->store) && !alone))
            return false;
        if (store_is_busy(g->store))
            store_poll(g->store, STEP_NS / 1000000);
        else if (!cold_put_next(g, m->seq, &m->at, m->end, m->use))
            return true;
    }
    return true;
}

/* ---- and back ---------------------------------------------------------------------------------
 */

struct head cold_head(const struct engine *g, const int32_t *ids, size_t n)
{
    struct head h = {0};
    uint32_t shared;
    for (const struct chunk *c = NULL; g->store;) {
        c = store_step(g->store, c, ids, (uint32_t)n, &shared);
        if (!c)
            break;
        h.shared = c->first + shared;
        if (c->n_state && c->n_state <= h.shared)
            h.reach = c->n_state;
        if (shared < STORE_TOKENS)
            break;
    }
    if (g->n_state_bytes == 0)
        h.reach = h.shared;
    return h;
}

/* Settles how much of the text is brought back: nothing where sessions have as much. */
static void begin_in(struct engine *g, struct mover *m)
{
    const struct turn *t = m->turn;
    const uint32_t most = t->n_text - 1;
    struct session *s = &g->sessions[t->seq];
    const struct head own = session_head(s, t->text, most);
    struct head other;
    session_farthest(g->sessions, g->n_sessions, t->seq, t->text, most, &other);
    const uint32_t reach = cold_head(g, t->text, most).reach;
    m->is_out = m->empties = false;
    m->end = reach > num_max(own.reach, other.reach) ? reach : 0;
    if (m->end)
        session_cut(s, session_shared(s, t->text, m->end));
}

/* The chunk with token number `at` of the text, on the way that cold_head takes: of branches that
 * are alike up to there, the one that goes on alike. */
static struct chunk *chunk_with(const struct engine *g, const struct mover *m, uint32_t at)
{
    const struct turn *t = m->turn;
    struct chunk *c = NULL;
    uint32_t shared;
    while ((c = store_step(g->store, c, t->text, t->n_text - 1, &shared)) &&
           c->first + shared <= at) {
        if (shared < STORE_TOKENS)
            return NULL;
    }
    return c;
}

uint32_t cold_next_rows(const struct engine *g, uint32_t *first)
{
    const struct mover *m = &g->mover;
    const uint32_t n = g->sessions[m->turn->seq].n;
    const struct chunk *c = !m->is_out && n < m->end ? chunk_with(g, m, n) : NULL;
    *first = c ? c->first : n;
    return c ? c->n : 0;
}

static void read_ahead(struct engine *g, const struct mover *m, const struct chunk *c)
{
    const uint8_t *bytes;
    const uint32_t end = c->first + c->n;
    struct chunk *next = end < m->end ? chunk_with(g, m, end) : NULL;
    if (next)
        store_fetch(g->store, next, DISK_ROWS, &bytes);
}

/* The next chunk of rows into the session. */
static enum fetch load_rows(struct engine *g, struct mover *m, bool *ok, struct err *e)
{
    struct session *s = &g->sessions[m->turn->seq];
    const uint8_t *bytes;
    struct chunk *c = chunk_with(g, m, s->n);
    const enum fetch got = c ? store_fetch(g->store, c, DISK_ROWS, &bytes) : FETCH_LOST;
    if (got != FETCH_LOST)
        read_ahead(g, m, c);
    if (got != FETCH_DONE)
        return got;
    *ok = exec_rows_load(g->exec, m->turn->seq, c->first, c->n, bytes, e);
    const uint32_t n = *ok ? (uint32_t)num_min(c->first + c->n, m->end) : 0;
    if (*ok) {
        memcpy(s->ids + c->first, m->turn->text + c->first, (n - c->first) * sizeof *s->ids);
        g->n_disk_tokens += c->rows.place == PART_FILED ? n - num_min(n, s->n) : 0;
    }
    s->n = n;
    s->reach = exec_reach(g->exec, m->turn->seq);
    c->held = true;
    store_release(g->store, c);
    return FETCH_DONE;
}

/* The state behind the last row, where one is needed: all is there then. */
static enum fetch load_state(struct engine *g, struct mover *m)
{
    struct session *s = &g->sessions[m->turn->seq];
    const uint8_t *bytes = NULL;
    struct chunk *c = chunk_with(g, m, m->end - 1);
    enum fetch got = c ? FETCH_DONE : FETCH_LOST;
    if (c && s->n_snapshots)
        got = c->n_state == m->end ? store_fetch(g->store, c, DISK_STATE, &bytes) : FETCH_LOST;
    if (got != FETCH_DONE)
        return got;
    if (c->use.last != s->last_used) /* another job's, not what this one left there */
        s->interval = g->n_jobs - c->use.last;
    store_touch(g->store, c);
    if (!s->n_snapshots)
        return FETCH_DONE;
    struct snapshot *room = session_snapshot_room(s, g->n_jobs);
    memcpy(room->bytes, bytes, g->n_state_bytes);
    *room = (struct snapshot){.n = m->end, .last_used = g->n_jobs, .bytes = room->bytes};
    return FETCH_DONE;
}

/* The mover goes out of a session, as far as that has what is nowhere else and not in ids[n]. */
static void begin_out(struct engine *g, struct mover *m, uint32_t seq, const int32_t *ids, size_t n)
{
    m->is_on = m->is_out = true;
    m->seq = seq;
    m->at = 0;
    m->end = g->store && loses_much(g, seq, ids, n) ? cold_end_of(&g->sessions[seq]) : 0;
    m->patient_until_ns = clock_ns() + PATIENCE_NS;
}

/* The session is stored and gives its pages up. */
static void begin_empty(struct engine *g, struct mover *m, uint32_t seq)
{
    const struct session *s = &g->sessions[seq];
    m->use = (struct use){s->last_used, s->interval};
    m->empties = true;
    begin_out(g, m, seq, NULL, 0);
}

/* There are no pages for what comes next into the mover's turn: another session gives some up, or
 * the turn waits. */
static void give_way(struct engine *g, struct mover *m)
{
    const uint32_t victim = ration_victim(g);
    store_release(g->store, NULL);
    m->parks = victim == g->n_sessions;
    begin_empty(g, m, m->parks ? m->turn->seq : victim);
}

void cold_again(struct engine *g)
{
    store_release(g->store, NULL);
    begin_in(g, &g->mover);
}

static enum cold move_in(struct engine *g, struct mover *m, bool alone, uint64_t until_ns,
                         struct err *e)
{
    const struct session *s = &g->sessions[m->turn->seq];
    bool ok = true;
    while (m->end) {
        const bool is_last = s->n >= m->end;
        if (!is_last && !ration_has_room(g, m->turn)) {
            give_way(g, m);
            return COLD_MOVES;
        }
        const enum fetch got = is_last ? load_state(g, m) : load_rows(g, m, &ok, e);
        if (!ok)
            return COLD_FAILED;
        if (got == FETCH_DONE && is_last)
            m->end = 0;
        if (got == FETCH_LOST)
            cold_again(g);
        if (m->end && (clock_ns() > until_ns || (got == FETCH_WAIT && !alone)))
            return COLD_MOVES;
        if (got == FETCH_WAIT)
            store_poll(g->store, STEP_NS / 1000000);
    }
    return COLD_DONE;
}

/* ---- one turn ---------------------------------------------------------------------------------
 */

void cold_lose_sessions(struct engine *g)
{
    if (g->mover.is_out)
        g->mover.end = 0;
}

void cold_begin(struct engine *g, struct turn *t, struct use use)
{
    g->mover = (struct mover){.turn = t, .use = use};
    begin_out(g, &g->mover, t->seq, t->text, t->n_text);
}

void cold_empty(struct engine *g, uint32_t seq, struct turn *parks)
{
    g->mover = (struct mover){.turn = parks, .parks = parks != NULL};
    begin_empty(g, &g->mover, seq);
}

void cold_bring(struct engine *g, struct turn *t)
{
    g->mover = (struct mover){.is_on = true, .turn = t};
    begin_in(g, &g->mover);
}

static void stop(struct engine *g)
{
    g->mover = (struct mover){0};
    if (g->store)
        store_release(g->store, NULL);
}

/* What was to be stored is. True: the mover's turn goes on from here. */
static bool end_out(struct engine *g, struct mover *m)
{
    struct session *s = &g->sessions[m->seq];
    if (m->empties) {
        *(m->parks ? &g->n_parked : &g->n_emptied) += 1;
        session_cut(s, 0);
        exec_seq_cut(g->exec, m->seq, 0);
        s->reach = exec_reach(g->exec, m->seq);
    }
    if (m->turn && !m->parks) {
        begin_in(g, m);
        return true;
    }
    if (m->turn)
        m->turn->waits = true;
    stop(g);
    return false;
}

enum cold cold_step(struct engine *g, bool alone, struct err *e)
{
    struct mover *m = &g->mover;
    const uint64_t until_ns = clock_ns() + STEP_NS;
    if (g->store)
        store_poll(g->store, 0);
    if (m->is_out) {
        if (!move_out(g, m, alone, until_ns))
            return COLD_MOVES;
        if (!end_out(g, m))
            return COLD_DONE;
    }
    const enum cold moved = move_in(g, m, alone, until_ns, e);
    if (moved == COLD_DONE)
        stop(g);
    return moved;
}

void cold_abandon(struct engine *g, const struct turn *t)
{
    if (g->mover.turn == t)
        stop(g);
}
