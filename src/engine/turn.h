/* turn: a job at work in a session: reads its prompt in pieces, then draws its reply token by
 * token. Which turn goes on when is the schedule's (schedule.c). Engine thread only. */
#pragma once
#include "engine/keep.h"

/* Turn i belongs to session i. */
struct turn {
    struct job *job; /* NULL: nobody is in the session. Written under engine.lock */
    uint32_t seq;    /* the session */
    bool reads;      /* the text is not yet read */
    bool waits;      /* it gave its pages up and holds nothing (ration.h); it reads then */
    /* What is read before the next token is drawn: the prompt; behind a wait that and the reply so
     * far. */
    const int32_t *text; /* [n_text] */
    uint32_t n_text;
    int32_t *own_text; /* where it is not the job's */
    bool has_read;     /* some of it */
    int32_t next;      /* drawn, not yet in the session; where it does not read */
    struct keeper keeper;
    /* Another turn is reading what this prompt begins with too (share.c). */
    bool has_leader;
    uint32_t leader, n_shared; /* who, and how many tokens */
    uint64_t leader_came;      /* its session.last_used: another job has another one */
    struct sampler *sampler;
    struct constraint_run *constraint; /* NULL: none */
    bool refused;                      /* the constraint cannot be followed */
    struct loop loop;
    uint32_t n_whole;   /* draws to come for which all logits are read */
    uint32_t n_guessed; /* draws up to now, in a row, that were as exec_best guessed */
    struct job_usage usage;
    uint64_t began_ns;
};

/* Begins with t->job, which was set; to be followed by turn_move, until the engine's mover has no
 * turn any more. */
void turn_begin(struct engine *g, struct turn *t);
/* Moves on with what the mover has to store and to bring back, a tenth of a second at most, then
 * synchronises its turn's session with the text. alone: nobody else is at work. As with all that
 * follow, the job may have ended behind it: turn.job is NULL then. */
void turn_move(struct engine *g, bool alone);
/* It has to wait: its session is stored and gives its pages up; to be followed by turn_move. */
void turn_park(struct engine *g, struct turn *t);
/* The same where the session holds nothing any more: at once. */
void turn_park_lost(struct engine *g, struct turn *t);
/* It goes on: its text comes back as far as it can; to be followed by turn_move. */
void turn_unpark(struct engine *g, struct turn *t);
/* Takes what others have read of its prompt by now; for a turn that has not read yet. */
void turn_join(struct engine *g, struct turn *t);
/* Tokens of the text that are left to be read: 1 or more while it reads. */
uint32_t turn_left(const struct engine *g, const struct turn *t);
/* Reads at most n_rows (>= 1) of them; behind the last one, draws. */
void turn_read(struct engine *g, struct turn *t, uint32_t n_rows);
/* Whether its next draw is one from the best tokens alone, most likely. */
bool turn_takes_best(const struct turn *t);
/* Whether the step behind its next one is certain enough to be begun at once (batch.goes_on). */
bool turn_goes_on(const struct turn *t);
/* Draws the next token from the wanted row number `row` of the last run, the one behind the
 * session's last token. */
void turn_draw(struct engine *g, struct turn *t, uint32_t row);
/* Ends it: the job was cancelled; a batch failed. */
void turn_cancel(struct engine *g, struct turn *t);
void turn_fail(struct engine *g, struct turn *t, const struct err *e);

/* Runs n rows as g->pos, g->seq, g->want, g->want_best, g->draws and g->goes_on say; on success
 * they are part of their sessions. On failure these are as they were, but may be out of reach. */
bool turn_rows(struct engine *g, const int32_t *ids, uint32_t n, const atomic_bool *cancel,
               struct err *e);
