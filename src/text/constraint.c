#include "text/constraint.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "text/automaton.h"
#include "text/chat_int.h"

/* What a constraint may remember before it forgets all but where its runs are. */
enum { MAX_BYTES = 48 << 20, MAX_RUNS = 64 };

struct constraint {
    atomic_uint n_refs;
    struct grammar *g;
    const struct mask_vocab *v;
    bool skips_code;
    /* Made when it is first used: a client may hang up before. */
    struct automaton *automaton;
    struct masks *masks;
    struct constraint_run *runs; /* at work */
};

struct constraint_run {
    struct constraint *c;
    struct constraint_run *next;
    uint32_t state;
    struct chat_lines lines;
};

struct constraint *constraint_new(struct grammar *g, const struct mask_vocab *v, bool skips_code)
{
    struct constraint *c = mem_new(1, sizeof *c);
    c->g = g;
    c->v = v;
    c->skips_code = skips_code;
    atomic_init(&c->n_refs, 1);
    return c;
}

struct constraint *constraint_ref(struct constraint *c)
{
    if (c)
        atomic_fetch_add(&c->n_refs, 1);
    return c;
}

void constraint_unref(struct constraint *c)
{
    if (!c || atomic_fetch_sub(&c->n_refs, 1) > 1)
        return;
    masks_close(c->masks);
    automaton_close(c->automaton);
    grammar_free(c->g);
    free(c);
}

struct constraint_run *constraint_begin(struct constraint *c)
{
    if (!c)
        return NULL;
    if (c->automaton && !c->runs && automaton_broken(c->automaton)) {
        masks_close(c->masks);
        automaton_close(c->automaton);
        c->automaton = NULL;
    }
    if (!c->automaton) {
        c->automaton = automaton_open(c->g);
        c->masks = masks_open(c->v, c->automaton);
    }
    struct constraint_run *r = mem_new(1, sizeof *r);
    r->c = constraint_ref(c);
    r->state = automaton_start(c->automaton);
    r->next = c->runs;
    c->runs = r;
    return r;
}

void constraint_end(struct constraint_run *r)
{
    if (!r)
        return;
    struct constraint_run **at = &r->c->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    constraint_unref(r->c);
    free(r);
}

/* Bounds what is remembered; all runs keep their places. */
static void trim(struct constraint *c)
{
    uint32_t states[MAX_RUNS];
    size_t n = 0;
    for (struct constraint_run *r = c->runs; r; r = r->next) {
        if (n == MAX_RUNS)
            return;
        states[n++] = r->state;
    }
    masks_trim(c->masks, states, n, MAX_BYTES);
    n = 0;
    for (struct constraint_run *r = c->runs; r; r = r->next)
        r->state = states[n++];
}

/* Is the next byte inside code, in free text? */
static bool in_code(const struct constraint_run *r)
{
    return r->c->skips_code && chat_lines_code(&r->lines) &&
           automaton_accepts(r->c->automaton, r->state);
}

static bool too_ambiguous(struct err *e)
{
    return err_set(e, ERR_LIMIT,
                   "the grammar that the reply has to follow is too ambiguous: simplify it");
}

bool constraint_mask(struct constraint_run *r, const struct token_mask **mask, struct err *e)
{
    *mask = NULL;
    if (!r || in_code(r))
        return true;
    trim(r->c);
    *mask = masks_at(r->c->masks, r->state);
    if (!*mask)
        return too_ambiguous(e);
    if ((*mask)->n == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "no token of the model's vocabulary fits the grammar of the reply");
    if ((*mask)->all)
        *mask = NULL;
    return true;
}

/* Follows lines of free text, for code. Elsewhere a new line begins. */
static void follow_lines(struct constraint_run *r, str bytes)
{
    if (!automaton_accepts(r->c->automaton, r->state))
        r->lines = (struct chat_lines){0};
    else
        for (size_t i = 0; i < bytes.n; i++)
            chat_lines_put(&r->lines, bytes.p[i]);
}

bool constraint_accept(struct constraint_run *r, int32_t id, struct err *e)
{
    if (!r)
        return true;
    struct constraint *c = r->c;
    str bytes = mask_vocab_bytes(c->v, id);
    if (in_code(r)) {
        follow_lines(r, bytes);
        /* The text goes on where it was, perhaps on a new line. */
        if (!in_code(r) && !r->lines.has_text)
            r->state = automaton_step(c->automaton, r->state, '\n');
        return true;
    }
    uint32_t next = masks_step(c->masks, r->state, id);
    if (automaton_broken(c->automaton))
        return too_ambiguous(e);
    if (next == AUTOMATON_DEAD)
        return err_set(e, ERR_UNSUPPORTED, "token %d does not fit the grammar of the reply",
                       (int)id);
    r->state = next;
    follow_lines(r, bytes);
    return true;
}
