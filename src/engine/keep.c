#include "engine/turn.h"

#include <string.h>

#include "base/num.h"

/* PROGRESS_STEP: tokens that a client who hangs up during a long prompt may have to read again.
 * MESSAGE_STEP: messages nearer than this to the snapshot before are read again rather than kept.
 */
enum { PROGRESS_STEP = 512, MESSAGE_STEP = 64 };

/* The last control token begins the reply's header; without one, all but the last token. */
static uint32_t turn_border(const struct engine *g, const struct turn *t)
{
    const uint32_t n = t->n_text;
    for (uint32_t i = n - 1; g->tok && i > 0; i--)
        if (tok_type(g->tok, t->text[i]) == TOK_CONTROL)
            return i;
    return n - 1;
}

static void add_border(struct keeper *k, uint32_t at)
{
    if (k->n_borders == 0 || k->borders[k->n_borders - 1] < at)
        k->borders[k->n_borders++] = at;
}

/* Messages begin with the token that the reply's header begins with, in most templates. The last
 * ones before it, the newest first. */
static uint32_t find_messages(const int32_t *text, uint32_t fork, uint32_t turn,
                              uint32_t at[KEEP_MESSAGES])
{
    uint32_t n = 0;
    for (uint32_t i = turn; i-- > fork && n < KEEP_MESSAGES;)
        if (text[i] == text[turn])
            at[n++] = i;
    return n;
}

void keep_begin(struct keeper *k, struct engine *g, const struct turn *t, uint32_t fork)
{
    const uint32_t seq = t->seq, turn = turn_border(g, t), begin = g->sessions[seq].n;
    uint32_t messages[KEEP_MESSAGES], n_messages = 0;
    *k = (struct keeper){.engine = g, .seq = seq, .progress = begin};
    if (g->sessions[seq].n_snapshots == 0)
        return;
    if (g->tok && tok_type(g->tok, t->text[turn]) == TOK_CONTROL)
        n_messages = find_messages(t->text, fork, turn, messages);
    add_border(k, (uint32_t)num_min(fork, turn));
    while (n_messages-- > 0)
        if (messages[n_messages] >= k->borders[k->n_borders - 1] + MESSAGE_STEP)
            add_border(k, messages[n_messages]);
    add_border(k, turn);
    add_border(k, fork);
}

void keep_also(struct keeper *k, uint32_t at)
{
    const uint32_t room = sizeof k->borders / sizeof *k->borders;
    uint32_t i = k->next;
    if (k->engine->sessions[k->seq].n_snapshots == 0 || k->n_borders == room)
        return;
    while (i < k->n_borders && k->borders[i] < at)
        i++;
    if (i < k->n_borders && k->borders[i] == at)
        return;
    memmove(&k->borders[i + 1], &k->borders[i], (k->n_borders - i) * sizeof *k->borders);
    k->borders[i] = at;
    k->n_borders++;
}

uint32_t keep_rows(const struct keeper *k, uint32_t n_rows)
{
    if (k->next == k->n_borders || k->engine->model->plan.n_states == 0)
        return n_rows;
    return (uint32_t)num_min(n_rows, k->borders[k->next] - k->engine->sessions[k->seq].n);
}

/* Keeps what the session needs to go on behind its first n tokens, if it can be had. */
static void take(struct keeper *k, uint32_t n, bool passing)
{
    struct engine *g = k->engine;
    struct session *s = &g->sessions[k->seq];
    if (n == 0 || !exec_within(s->reach, n))
        return;
    if (k->passing)
        session_drop_snapshot(s, k->progress);
    k->progress = n;
    k->passing = passing;
    if (session_snapshot(s, n))
        return;
    struct snapshot *room = session_snapshot_room(s, g->n_jobs);
    struct err e = {0};
    room->n = exec_state_save(g->exec, k->seq, n, room->bytes, &e) ? n : 0;
    room->last_used = g->n_jobs;
}

void keep_snapshots(struct keeper *k)
{
    const struct session *s = &k->engine->sessions[k->seq];
    if (s->n_snapshots == 0)
        return;
    for (; k->next < k->n_borders && k->borders[k->next] <= s->n; k->next++)
        take(k, k->borders[k->next], false);
    if (s->n >= k->progress + PROGRESS_STEP)
        take(k, s->n, true);
}
