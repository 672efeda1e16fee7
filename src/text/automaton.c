#include "text/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "text/grammar_int.h"

/* A frame under a place: where to go on when the place's rule, body or member ends. */
enum frame_kind { FRAME_NONE, FRAME_CALL, FRAME_REPEAT, FRAME_SET };
struct frame {
    uint32_t kind;
    uint32_t a;      /* CALL: state; REPEAT, SET: number */
    uint32_t parent; /* frame */
    uint32_t depth;
    uint64_t used;  /* SET: members that were there */
    uint32_t count; /* REPEAT: times that are over; SET: members so far, up to what matters */
};
/* A count that is enough and far from the most: it stays as it is. */
#define COUNT_FAR (UINT32_MAX - 1)
/* Frames with fixed numbers: the ground, and what an inside state stands on. */
enum { GROUND, BOTTOM, N_FIXED };

struct place {
    uint32_t state; /* of the program: OP_BYTE or OP_TOKEN */
    uint32_t frame;
};

/* A set of places, in order. */
struct aset {
    uint32_t from, n; /* in .places */
    bool accepts, left;
    uint32_t *next; /* [n_byte_classes] state + 1, 0 not known; NULL: none yet */
    struct automaton_part *parts;
    uint32_t n_parts;
};

enum {
    MAX_PLACES = 4096, /* visited while one set is made */
    SEEN_MASK = 4 * MAX_PLACES - 1,
    MAX_ALL_PLACES = 1 << 25, /* in all sets */
};

struct automaton {
    const struct grammar *g;
    struct frame *frames;
    uint32_t n_frames, frames_room;
    uint32_t *frame_slots; /* number + 1 */
    uint32_t frame_mask;
    struct place *places;
    uint32_t n_places, places_room;
    struct aset *sets; /* [0]: dead */
    uint32_t n_sets, sets_room;
    uint32_t *set_slots;
    uint32_t set_mask;
    size_t n_behind; /* bytes of the sets' edges and parts */
    uint64_t work;
    bool broken;
    /* The set that is being made. */
    struct place *made;  /* [MAX_PLACES] all that were visited */
    struct place *ready; /* [MAX_PLACES] those of them where something is read */
    uint32_t n_made;
    uint32_t *seen; /* hash of made: number + 1, valid where stamp is right */
    uint32_t *stamps;
    uint32_t stamp;
    bool accepts, left;
};

/* ---- frames ---- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t frame_hash(const struct frame *f)
{
    uint64_t h = mix(f->kind, (uint64_t)f->a << 32 | f->parent);
    return mix(mix(h, f->used), f->count);
}

static bool frame_eq(const struct frame *x, const struct frame *y)
{
    return x->kind == y->kind && x->a == y->a && x->parent == y->parent && x->used == y->used &&
           x->count == y->count;
}

static void frame_rehash(struct automaton *a)
{
    a->frame_mask = 2 * a->frame_mask + 1;
    free(a->frame_slots);
    a->frame_slots = mem_new((size_t)a->frame_mask + 1, sizeof *a->frame_slots);
    for (uint32_t i = N_FIXED; i < a->n_frames; i++) {
        uint32_t at = (uint32_t)frame_hash(&a->frames[i]) & a->frame_mask;
        while (a->frame_slots[at])
            at = (at + 1) & a->frame_mask;
        a->frame_slots[at] = i + 1;
    }
}

/* The number of a frame; its depth is filled in. */
static uint32_t frame_of(struct automaton *a, struct frame f)
{
    f.depth = a->frames[f.parent].depth + 1;
    uint32_t at = (uint32_t)frame_hash(&f) & a->frame_mask;
    for (; a->frame_slots[at]; at = (at + 1) & a->frame_mask)
        if (frame_eq(&a->frames[a->frame_slots[at] - 1], &f))
            return a->frame_slots[at] - 1;
    GROW(a->frames, a->n_frames, a->frames_room);
    a->frames[a->n_frames++] = f;
    a->frame_slots[at] = a->n_frames;
    if (2 * a->n_frames > a->frame_mask)
        frame_rehash(a);
    return a->n_frames - 1;
}

/* ---- making a set ---- */

static void begin(struct automaton *a)
{
    a->n_made = 0;
    a->accepts = a->left = false;
    if (++a->stamp == 0) {
        memset(a->stamps, 0, (SEEN_MASK + 1) * sizeof *a->stamps);
        a->stamp = 1;
    }
}

/* Adds a place of any kind to the list, once; unless what follows would be nested too deeply. */
static void visit(struct automaton *a, uint32_t state, uint32_t frame)
{
    if (a->frames[frame].depth + a->g->need[state] > GRAMMAR_MAX_FRAMES || a->broken)
        return;
    uint32_t at = (uint32_t)mix(state, frame) & SEEN_MASK;
    for (; a->stamps[at] == a->stamp; at = (at + 1) & SEEN_MASK)
        if (a->made[a->seen[at]].state == state && a->made[a->seen[at]].frame == frame)
            return;
    if (a->n_made == MAX_PLACES || a->work == 0) {
        a->broken = true;
        return;
    }
    a->work--;
    a->stamps[at] = a->stamp;
    a->seen[at] = a->n_made;
    a->made[a->n_made++] = (struct place){state, frame};
}

/* May member i of a set come now? parent: under the set's frame. */
static bool may_come(const struct automaton *a, const struct frame *now, uint32_t parent,
                     uint32_t i)
{
    const struct set_def *set = &a->g->sets[now->a];
    uint64_t bit = UINT64_C(1) << i;
    uint32_t n_missing = (uint32_t)__builtin_popcountll(set->required & ~now->used);
    if (now->used & bit & ~set->many)
        return false;
    /* Room must be left for those that have to come. */
    if (set->max != GRAMMAR_UNBOUNDED && !(set->required & bit & ~now->used) &&
        now->count + n_missing >= set->max)
        return false;
    return a->frames[parent].depth + 1 + a->g->need[set->members[i].start] <= GRAMMAR_MAX_FRAMES;
}

/* Enters the members of a set that may come now. */
static void choose(struct automaton *a, const struct frame *now, uint32_t parent)
{
    const struct set_def *set = &a->g->sets[now->a];
    uint32_t cap = set->max == GRAMMAR_UNBOUNDED ? set->min : set->max;
    for (uint32_t i = 0; i < set->n; i++) {
        if (!may_come(a, now, parent, i))
            continue;
        struct frame f = {.kind = FRAME_SET, .a = now->a, .parent = parent};
        f.used = now->used | UINT64_C(1) << i;
        f.count = now->count < cap ? now->count + 1 : cap;
        visit(a, set->members[i].start, frame_of(a, f));
    }
}

/* May another member follow? */
static bool has_more(const struct automaton *a, const struct frame *f)
{
    for (uint32_t i = 0; i < a->g->sets[f->a].n; i++)
        if (may_come(a, f, f->parent, i))
            return true;
    return false;
}

static bool is_enough(const struct set_def *set, const struct frame *f)
{
    return (set->required & ~f->used) == 0 && f->count >= set->min;
}

/* After `count` times of a repeated body. */
static void repeat(struct automaton *a, uint32_t number, uint32_t count, uint32_t parent)
{
    const struct repeat_def *r = &a->g->repeats[number];
    if (count >= r->min)
        visit(a, r->next, parent);
    if (count < r->max || count == COUNT_FAR) {
        struct frame f = {.kind = FRAME_REPEAT, .a = number, .parent = parent, .count = count};
        if (r->max == GRAMMAR_UNBOUNDED && count > r->min)
            f.count = r->min;
        visit(a, r->body, frame_of(a, f));
    }
}

static void pop(struct automaton *a, uint32_t frame)
{
    struct frame f = a->frames[frame]; /* the array may move */
    switch ((enum frame_kind)f.kind) {
    case FRAME_NONE:
        a->accepts = a->accepts || frame == GROUND;
        a->left = a->left || frame == BOTTOM;
        break;
    case FRAME_CALL: visit(a, f.a, f.parent); break;
    case FRAME_REPEAT:
        repeat(a, f.a, f.count == COUNT_FAR ? COUNT_FAR : f.count + 1, f.parent);
        break;
    case FRAME_SET: {
        const struct set_def *set = &a->g->sets[f.a];
        if (is_enough(set, &f))
            visit(a, set->next, f.parent);
        if (has_more(a, &f))
            visit(a, set->separator_start, frame);
        break;
    }
    }
}

/* Follows a place to those where something is read. True: it is one itself. */
static bool expand(struct automaton *a, struct place p)
{
    const struct grammar *g = a->g;
    struct gstate s = g->states[p.state];
    switch ((enum op)s.op) {
    case OP_BYTE:
    case OP_TOKEN: return true;
    case OP_SPLIT:
        for (uint32_t i = 0; i < s.next; i++)
            visit(a, g->targets[s.a + i], p.frame);
        break;
    case OP_CALL:
        if (g->states[s.next].op == OP_RETURN) {
            visit(a, g->rule_start[s.a], p.frame); /* nothing is left to come back for */
        } else {
            struct frame f = {.kind = FRAME_CALL, .a = s.next, .parent = p.frame};
            visit(a, g->rule_start[s.a], frame_of(a, f));
        }
        break;
    case OP_RETURN: pop(a, p.frame); break;
    case OP_REPEAT: repeat(a, s.a, 0, p.frame); break;
    case OP_SET: {
        const struct set_def *set = &g->sets[s.a];
        struct frame none = {.kind = FRAME_SET, .a = s.a};
        if (is_enough(set, &none))
            visit(a, set->next, p.frame);
        choose(a, &none, p.frame);
        break;
    }
    case OP_CHOOSE: {
        struct frame now = a->frames[p.frame];
        choose(a, &now, now.parent);
        break;
    }
    case OP_FAIL: break;
    }
    return false;
}

static int by_place(const void *x, const void *y)
{
    const struct place *p = x, *q = y;
    if (p->state != q->state)
        return p->state < q->state ? -1 : 1;
    return p->frame < q->frame ? -1 : p->frame > q->frame;
}

/* Few, mostly, and often in order already. */
static void sort_places(struct place *places, uint32_t n)
{
    enum { FEW = 32 };
    if (n > FEW) {
        qsort(places, n, sizeof *places, by_place);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        struct place p = places[i];
        uint32_t k = i;
        for (; k > 0 && by_place(&places[k - 1], &p) > 0; k--)
            places[k] = places[k - 1];
        places[k] = p;
    }
}

static uint64_t set_hash(const struct place *places, uint32_t n, bool accepts, bool left)
{
    uint64_t h = n + ((uint64_t)accepts << 40) + ((uint64_t)left << 41);
    for (uint32_t i = 0; i < n; i++)
        h = mix(h, (uint64_t)places[i].state << 32 | places[i].frame);
    return h;
}

static uint64_t set_hash_of(const struct automaton *a, const struct aset *s)
{
    return set_hash(a->places + s->from, s->n, s->accepts, s->left);
}

static void set_rehash(struct automaton *a)
{
    a->set_mask = 2 * a->set_mask + 1;
    free(a->set_slots);
    a->set_slots = mem_new((size_t)a->set_mask + 1, sizeof *a->set_slots);
    for (uint32_t i = 1; i < a->n_sets; i++) {
        uint32_t at = (uint32_t)set_hash_of(a, &a->sets[i]) & a->set_mask;
        while (a->set_slots[at])
            at = (at + 1) & a->set_mask;
        a->set_slots[at] = i;
    }
}

/* The number of the set of n places (which are sorted here). */
static uint32_t intern(struct automaton *a, struct place *places, uint32_t n)
{
    if (a->broken || (n == 0 && !a->accepts && !a->left))
        return AUTOMATON_DEAD;
    sort_places(places, n);
    uint32_t at = (uint32_t)set_hash(places, n, a->accepts, a->left) & a->set_mask;
    for (; a->set_slots[at]; at = (at + 1) & a->set_mask) {
        const struct aset *s = &a->sets[a->set_slots[at]];
        if (s->n == n && s->accepts == a->accepts && s->left == a->left &&
            memcmp(a->places + s->from, places, n * sizeof *places) == 0)
            return a->set_slots[at];
    }
    if (a->n_places + n > MAX_ALL_PLACES) {
        a->broken = true;
        return AUTOMATON_DEAD;
    }
    if (a->n_places + n > a->places_room) {
        a->places_room = 2 * (a->n_places + n);
        a->places = mem_grow(a->places, a->places_room, sizeof *a->places);
    }
    memcpy(a->places + a->n_places, places, n * sizeof *places);
    GROW(a->sets, a->n_sets, a->sets_room);
    a->sets[a->n_sets] =
        (struct aset){.from = a->n_places, .n = n, .accepts = a->accepts, .left = a->left};
    a->n_places += n;
    a->set_slots[at] = a->n_sets++;
    if (2 * a->n_sets > a->set_mask)
        set_rehash(a);
    return a->n_sets - 1;
}

/* Follows all that was visited; the set of what is left. */
static uint32_t finish(struct automaton *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_made; i++)
        if (expand(a, a->made[i]))
            a->ready[n++] = a->made[i];
    return intern(a, a->ready, n);
}

/* ---- the public functions ---- */

static void reset(struct automaton *a)
{
    a->n_frames = N_FIXED;
    a->n_places = 0;
    a->n_sets = 1;
    a->frame_mask = a->set_mask = 1023;
    a->frame_slots = mem_new((size_t)a->frame_mask + 1, sizeof *a->frame_slots);
    a->set_slots = mem_new((size_t)a->set_mask + 1, sizeof *a->set_slots);
    a->frames_room = a->places_room = a->sets_room = 1024;
    a->frames = mem_new(a->frames_room, sizeof *a->frames);
    a->places = mem_new(a->places_room, sizeof *a->places);
    a->sets = mem_new(a->sets_room, sizeof *a->sets);
    a->n_behind = 0;
}

static void release(struct automaton *a)
{
    for (uint32_t i = 0; i < a->n_sets; i++) {
        free(a->sets[i].next);
        free(a->sets[i].parts);
    }
    free(a->frames);
    free(a->frame_slots);
    free(a->places);
    free(a->sets);
    free(a->set_slots);
}

struct automaton *automaton_open(const struct grammar *g)
{
    struct automaton *a = mem_new(1, sizeof *a);
    a->g = g;
    a->work = UINT64_MAX;
    a->made = mem_new(MAX_PLACES, sizeof *a->made);
    a->ready = mem_new(MAX_PLACES, sizeof *a->ready);
    a->seen = mem_new(SEEN_MASK + 1, sizeof *a->seen);
    a->stamps = mem_new(SEEN_MASK + 1, sizeof *a->stamps);
    reset(a);
    return a;
}

void automaton_close(struct automaton *a)
{
    if (!a)
        return;
    release(a);
    free(a->made);
    free(a->ready);
    free(a->seen);
    free(a->stamps);
    free(a);
}

uint32_t automaton_start(struct automaton *a)
{
    begin(a);
    visit(a, a->g->root, GROUND);
    return finish(a);
}

static uint32_t step_anew(struct automaton *a, uint32_t state, uint8_t byte)
{
    uint32_t from = a->sets[state].from, n = a->sets[state].n;
    begin(a);
    for (uint32_t i = 0; i < n; i++) {
        struct place p = a->places[from + i];
        struct gstate s = a->g->states[p.state];
        if (s.op == OP_BYTE && byteset_has(&a->g->classes[s.a], byte))
            visit(a, s.next, p.frame);
    }
    return finish(a);
}

uint32_t automaton_step(struct automaton *a, uint32_t state, uint8_t byte)
{
    uint32_t class = a->g->byte_class[byte];
    if (!a->sets[state].next) {
        a->sets[state].next = mem_new(a->g->n_byte_classes, sizeof *a->sets->next);
        a->n_behind += a->g->n_byte_classes * sizeof *a->sets->next;
    }
    uint32_t known = a->sets[state].next[class];
    if (known)
        return known - 1;
    uint32_t to = step_anew(a, state, byte);
    if (!a->broken)
        a->sets[state].next[class] = to + 1;
    return to;
}

uint32_t automaton_range(struct automaton *a, uint32_t state, uint8_t from, uint8_t to)
{
    const uint8_t *class = a->g->byte_class;
    uint32_t first = automaton_step(a, state, from);
    for (unsigned b = from + 1u; b <= to; b++)
        if (class[b] != class[b - 1] && automaton_step(a, state, (uint8_t)b) != first)
            return AUTOMATON_MIXED;
    return first;
}

uint32_t automaton_text(struct automaton *a, uint32_t state, str text)
{
    for (size_t i = 0; i < text.n && state != AUTOMATON_DEAD; i++)
        state = automaton_step(a, state, (uint8_t)text.p[i]);
    return state;
}

uint32_t automaton_token(struct automaton *a, uint32_t state, int32_t id)
{
    uint32_t from = a->sets[state].from, n = a->sets[state].n;
    begin(a);
    for (uint32_t i = 0; i < n; i++) {
        struct place p = a->places[from + i];
        struct gstate s = a->g->states[p.state];
        if (s.op == OP_TOKEN && s.a == (uint32_t)id)
            visit(a, s.next, p.frame);
    }
    return finish(a);
}

bool automaton_accepts(const struct automaton *a, uint32_t state)
{
    return a->sets[state].accepts;
}

bool automaton_left(const struct automaton *a, uint32_t state)
{
    return a->sets[state].left;
}

void automaton_each_token(const struct automaton *a, uint32_t state,
                          void (*each)(void *ctx, int32_t id), void *ctx)
{
    const struct aset *set = &a->sets[state];
    for (uint32_t i = 0; i < set->n; i++) {
        const struct gstate *s = &a->g->states[a->places[set->from + i].state];
        if (s->op == OP_TOKEN)
            each(ctx, (int32_t)s->a);
    }
}

struct byteset automaton_bytes(const struct automaton *a, uint32_t state)
{
    const struct aset *set = &a->sets[state];
    struct byteset all = {0};
    for (uint32_t i = 0; i < set->n; i++) {
        const struct gstate *s = &a->g->states[a->places[set->from + i].state];
        for (int w = 0; w < 4 && s->op == OP_BYTE; w++)
            all.bits[w] |= a->g->classes[s->a].bits[w];
    }
    return all;
}

/* ---- parts ---- */

/* A count that so many bytes cannot tell from `count`: each repetition takes one at least. */
static uint32_t rough_count(const struct repeat_def *r, uint32_t count, uint32_t horizon)
{
    uint64_t reach = (uint64_t)count + horizon;
    if (reach < r->min)
        return 0;
    if (count < r->min || reach >= r->max)
        return count;
    return r->max == GRAMMAR_UNBOUNDED ? r->min : COUNT_FAR;
}

/* The frame that a place's part stands on: counts above it are the part's own. */
static uint32_t ground_of(const struct automaton *a, uint32_t frame)
{
    while (a->frames[frame].kind == FRAME_REPEAT)
        frame = a->frames[frame].parent;
    return frame;
}

/* The frame with rough counts, standing on `on` instead of its ground. */
static uint32_t lift(struct automaton *a, uint32_t frame, uint32_t on, uint32_t horizon)
{
    struct frame f = a->frames[frame];
    if (f.kind != FRAME_REPEAT)
        return on;
    f.parent = lift(a, f.parent, on, horizon);
    f.count = rough_count(&a->g->repeats[f.a], f.count, horizon);
    return frame_of(a, f);
}

static struct automaton_part make_part(struct automaton *a, uint32_t state, uint32_t ground)
{
    struct automaton_part part;
    uint32_t from = a->sets[state].from, n = a->sets[state].n;
    /* Deep down it matters how deep: an inside state does not know. Outside of the ground there is
     * nothing. */
    bool as_it_is = ground == GROUND || a->frames[ground].depth > GRAMMAR_MAX_FRAMES / 2;
    begin(a);
    for (uint32_t i = 0; i < n; i++) {
        struct place p = a->places[from + i];
        if (ground_of(a, p.frame) == ground)
            visit(a, p.state, lift(a, p.frame, as_it_is ? ground : BOTTOM, AUTOMATON_HORIZON));
    }
    part.inside = finish(a);
    begin(a);
    if (!as_it_is)
        pop(a, ground);
    part.outside = finish(a);
    return part;
}

const struct automaton_part *automaton_parts(struct automaton *a, uint32_t state, uint32_t *n)
{
    uint32_t from = a->sets[state].from, n_places = a->sets[state].n, n_parts = 0;
    if (!a->sets[state].parts) {
        struct automaton_part *parts = mem_new((size_t)n_places + 1, sizeof *parts);
        uint32_t *grounds = mem_new(n_places, sizeof *grounds);
        for (uint32_t i = 0; i < n_places; i++) {
            uint32_t ground = ground_of(a, a->places[from + i].frame), k = 0;
            while (k < n_parts && grounds[k] != ground)
                k++;
            if (k == n_parts) {
                grounds[n_parts] = ground;
                parts[n_parts++] = make_part(a, state, ground);
            }
        }
        free(grounds);
        a->n_behind += ((size_t)n_places + 1) * sizeof *parts;
        a->sets[state].parts = parts;
        a->sets[state].n_parts = n_parts;
    }
    *n = a->sets[state].n_parts;
    return a->sets[state].parts;
}

uint32_t automaton_rough(struct automaton *a, uint32_t state, uint32_t horizon, uint32_t *left)
{
    uint32_t from = a->sets[state].from, n = a->sets[state].n, counted = BOTTOM;
    bool is_one = true;
    begin(a);
    for (uint32_t i = 0; i < n; i++) {
        struct place p = a->places[from + i];
        uint32_t rough = lift(a, p.frame, ground_of(a, p.frame), horizon);
        visit(a, p.state, rough);
        if (rough == p.frame)
            continue;
        is_one = is_one && (counted == BOTTOM || counted == p.frame) &&
                 a->frames[rough].count == COUNT_FAR &&
                 a->frames[rough].parent == a->frames[p.frame].parent;
        counted = p.frame;
    }
    *left = 0;
    if (counted == BOTTOM)
        return state;
    if (is_one)
        *left = a->g->repeats[a->frames[counted].a].max - a->frames[counted].count;
    return finish(a);
}

/* ---- limits ---- */

void automaton_allow(struct automaton *a, uint64_t work)
{
    a->work = work;
}

bool automaton_broken(const struct automaton *a)
{
    return a->broken;
}

size_t automaton_n_bytes(const struct automaton *a)
{
    const size_t n_slots = (size_t)a->frame_mask + a->set_mask + 2;
    return a->frames_room * sizeof *a->frames + a->places_room * sizeof *a->places +
           a->sets_room * sizeof *a->sets + n_slots * sizeof *a->set_slots + a->n_behind;
}

uint32_t automaton_n_states(const struct automaton *a)
{
    return a->n_sets;
}

/* The frame of the automaton as it was, in the one that replaces it. */
static uint32_t keep_frame(struct automaton *a, const struct frame *old, uint32_t frame)
{
    if (frame < N_FIXED)
        return frame;
    struct frame f = old[frame];
    f.parent = keep_frame(a, old, f.parent);
    return frame_of(a, f);
}

void automaton_trim(struct automaton *a, uint32_t *states, size_t n)
{
    struct automaton old = *a;
    reset(a);
    for (size_t i = 0; i < n; i++) {
        const struct aset *set = &old.sets[states[i]];
        if (states[i] == AUTOMATON_DEAD)
            continue;
        for (uint32_t k = 0; k < set->n; k++) {
            struct place p = old.places[set->from + k];
            a->ready[k] = (struct place){p.state, keep_frame(a, old.frames, p.frame)};
        }
        a->accepts = set->accepts;
        a->left = set->left;
        states[i] = intern(a, a->ready, set->n);
    }
    release(&old);
}
