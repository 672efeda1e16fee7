/* mask: calm characters. In most places of a grammar either all of them may come or none, and then
 * the state behind them is the same for all: what tokens made of them may come is known without
 * looking at any. */
#include "text/mask_int.h"

/* calm_next: 0 not known yet, else the state + 1, or NEXT_MIXED. */
#define NEXT_MIXED UINT32_MAX

/* UTF-8 beyond ASCII: lead bytes and what may follow first; all others are 0x80 to 0xbf (RFC 3629,
 * section 4). */
static const struct {
    uint8_t from, to, next_from, next_to, n_more;
} sequences[] = {{0xc2, 0xdf, 0x80, 0xbf, 0}, {0xe0, 0xe0, 0xa0, 0xbf, 1},
                 {0xe1, 0xec, 0x80, 0xbf, 1}, {0xed, 0xed, 0x80, 0x9f, 1},
                 {0xee, 0xef, 0x80, 0xbf, 1}, {0xf0, 0xf0, 0x90, 0xbf, 2},
                 {0xf1, 0xf3, 0x80, 0xbf, 2}, {0xf4, 0xf4, 0x80, 0x8f, 2}};

static uint32_t range(struct masks *m, uint32_t state, uint8_t from, uint8_t to)
{
    return state == AUTOMATON_MIXED ? state : automaton_range(m->a, state, from, to);
}

uint32_t mask_calm_high(struct masks *m, uint32_t state)
{
    uint32_t next = AUTOMATON_DEAD;
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        uint32_t at = range(m, state, sequences[i].from, sequences[i].to);
        at = range(m, at, sequences[i].next_from, sequences[i].next_to);
        for (int k = 0; k < sequences[i].n_more; k++)
            at = range(m, at, 0x80, 0xbf);
        next = i == 0 || at == next ? at : AUTOMATON_MIXED;
    }
    return next;
}

/* The state behind any calm character; AUTOMATON_MIXED: it depends. */
static uint32_t behind(struct masks *m, uint32_t state)
{
    static const uint8_t ascii[][2] = {{' ', '!'}, {'#', ';'}, {'=', '['}, {']', '~'}};
    uint32_t next = automaton_step(m->a, state, ' ');
    for (size_t i = 0; i < sizeof ascii / sizeof *ascii; i++)
        if (range(m, state, ascii[i][0], ascii[i][1]) != next)
            return AUTOMATON_MIXED;
    return mask_calm_high(m, state) == next ? next : AUTOMATON_MIXED;
}

static uint32_t calm_next(struct masks *m, uint32_t state)
{
    mask_make_room(m);
    if (!m->calm_next[state]) {
        uint32_t next = behind(m, state);
        m->calm_next[state] = next == AUTOMATON_MIXED ? NEXT_MIXED : next + 1;
    }
    return m->calm_next[state] == NEXT_MIXED ? AUTOMATON_MIXED : m->calm_next[state] - 1;
}

int32_t mask_calm_run(struct masks *m, uint32_t state)
{
    for (int32_t n = 0; n < AUTOMATON_HORIZON; n++) {
        uint32_t next = calm_next(m, state);
        if (next == AUTOMATON_MIXED || automaton_left(m->a, next))
            return MASK_NOT_CALM;
        if (next == AUTOMATON_DEAD)
            return n;
        if (next == state)
            break;
        state = next;
    }
    return MASK_ALL_CALM;
}

/* Does each calm character count for one at a state? The first may change more than the count. */
static bool counts(struct masks *m, uint32_t state, const struct inner *in, int n_steps)
{
    struct inner *rough = mask_inner(m, in->rough);
    if (rough->step == STEP_UNKNOWN && in->left > 2) {
        uint32_t next = calm_next(m, state);
        bool stays =
            next != AUTOMATON_MIXED && next != AUTOMATON_DEAD && !automaton_left(m->a, next);
        const struct inner *then = stays ? mask_inner(m, next) : NULL;
        stays = stays && then->left == in->left - 1;
        stays = stays && (then->rough == in->rough || (n_steps > 1 && counts(m, next, then, 1)));
        rough->step = stays ? STEP_COUNTS : STEP_MIXED;
    }
    return rough->step == STEP_COUNTS;
}

uint32_t mask_calm_left(struct masks *m, uint32_t state)
{
    const struct inner *in = mask_inner(m, state);
    return in->left && counts(m, state, in, 2) ? in->left : 0;
}

void mask_put_calm(struct masks *m, uint32_t n)
{
    const struct mask_vocab *v = m->v;
    uint32_t most = n < MASK_CALM_LENGTHS ? n : MASK_CALM_LENGTHS - 1;
    const uint64_t *calm = v->calm + (size_t)most * v->n_words;
    for (uint32_t w = 0; w < v->n_words; w++)
        m->taken[w] |= calm[w];
    for (uint32_t i = 0; i < v->n_long_calm; i++)
        if (v->long_calm[i].n_chars <= n)
            m->taken[v->long_calm[i].id / 64] |= UINT64_C(1) << (v->long_calm[i].id % 64);
    m->many = true;
}
