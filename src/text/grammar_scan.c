/* grammar: text up to the first match of a pattern, by subset construction over the positions in
 * all patterns (as Aho and Corasick's automaton, but with blanks inside patterns). */
#include <stdlib.h>
#include <string.h>

#include "text/grammar_int.h"

enum { MAX_POSITIONS = 4096, MAX_SCAN_STATES = 4096 };

/* A place in a pattern and what may stand there. */
struct position {
    uint8_t byte;    /* of a literal */
    bool blanks;     /* any number of blanks instead */
    bool inner_line; /* of these, no line ends */
    bool alone;      /* and nothing behind them: the text so far */
    bool match;      /* the pattern's end */
    uint32_t pattern;
};

struct scan {
    struct position *at; /* [n] */
    size_t n;
    size_t n_words;
    uint64_t *always; /* [n_words] where a match may begin at any byte */
    uint64_t *lines;  /* the same at a line's start */
    uint64_t *ends;   /* [n_words] the patterns' ends */
    uint64_t *sets;   /* [n_sets][n_words] */
    size_t n_sets, room;
    uint32_t slots[2 * MAX_SCAN_STATES]; /* hash of sets: number + 1 */
    uint32_t (*edges)[128];
    bool over; /* too many states */
};

/* Adds a position, and those behind blanks, which may be none. */
static void add(const struct scan *s, uint64_t *set, size_t i)
{
    set[i / 64] |= UINT64_C(1) << (i % 64);
    if (s->at[i].blanks && !s->at[i].alone)
        add(s, set, i + 1);
}

static bool put_position(struct scan *s, struct position p)
{
    if (s->n == MAX_POSITIONS)
        return false;
    s->at[s->n++] = p;
    return true;
}

static bool put_pattern(struct scan *s, const struct grammar_pattern *p, uint32_t number)
{
    bool ok = true;
    if (p->indent)
        ok = put_position(s, (struct position){.blanks = true, .inner_line = true});
    for (size_t i = 0; ok && i < p->n_parts; i++) {
        if (i > 0)
            ok = put_position(s, (struct position){.blanks = true});
        for (size_t k = 0; ok && k < p->parts[i].n; k++)
            ok = put_position(s, (struct position){.byte = (uint8_t)p->parts[i].p[k]});
    }
    return ok && put_position(s, (struct position){.match = true, .pattern = number});
}

static bool takes(const struct position *p, unsigned byte)
{
    if (!p->blanks)
        return !p->match && p->byte == byte;
    return byte == ' ' || byte == '\t' || (!p->inner_line && (byte == '\n' || byte == '\r'));
}

/* The state with this set of positions; a new one gets the next number. */
static uint32_t state_of(struct scan *s, const uint64_t *set)
{
    enum { N_SLOTS = 2 * MAX_SCAN_STATES };
    size_t bytes = s->n_words * sizeof *set;
    uint64_t h = 0;
    for (size_t w = 0; w < s->n_words; w++)
        h = (h ^ set[w] ^ h >> 29) * 0x9e3779b97f4a7c15u;
    size_t at = (h >> 40) % N_SLOTS;
    for (; s->slots[at]; at = (at + 1) % N_SLOTS)
        if (memcmp(s->sets + (s->slots[at] - 1) * s->n_words, set, bytes) == 0)
            return s->slots[at] - 1;
    if (s->n_sets == MAX_SCAN_STATES) {
        s->over = true;
        return 0;
    }
    if (s->n_sets == s->room) {
        s->room = s->room ? 2 * s->room : 32;
        s->sets = mem_grow(s->sets, s->room, bytes);
        s->edges = mem_grow(s->edges, s->room, sizeof *s->edges);
    }
    memcpy(s->sets + s->n_sets * s->n_words, set, bytes);
    s->slots[at] = (uint32_t)++s->n_sets;
    return (uint32_t)s->n_sets - 1;
}

static uint32_t edge(struct scan *s, size_t state, unsigned byte, uint64_t *next,
                     const struct grammar_pattern *patterns)
{
    memcpy(next, s->always, s->n_words * sizeof *next);
    for (size_t w = 0; byte == '\n' && w < s->n_words; w++)
        next[w] |= s->lines[w];
    for (size_t w = 0; w < s->n_words; w++) {
        for (uint64_t bits = s->sets[state * s->n_words + w]; bits; bits &= bits - 1) {
            size_t i = 64 * w + (size_t)__builtin_ctzll(bits);
            if (takes(&s->at[i], byte))
                add(s, next, s->at[i].blanks ? i : i + 1);
        }
    }
    for (size_t w = 0; w < s->n_words; w++)
        if (next[w] & s->ends[w]) {
            size_t i = 64 * w + (size_t)__builtin_ctzll(next[w] & s->ends[w]);
            uint32_t pattern = s->at[i].pattern;
            return patterns[pattern].then == GRAMMAR_NEVER ? SCAN_NEVER : SCAN_MATCH + pattern;
        }
    return state_of(s, next);
}

/* blank: the position of what was blank so far; SIZE_MAX: nobody asks. */
static bool run(struct scan *s, const struct grammar_pattern *patterns, size_t blank,
                struct scan_def *out)
{
    uint64_t *next = mem_new(s->n_words, sizeof *next);
    memcpy(next, s->always, s->n_words * sizeof *next);
    for (size_t w = 0; w < s->n_words; w++)
        next[w] |= s->lines[w];
    if (blank != SIZE_MAX)
        add(s, next, blank);
    state_of(s, next);
    out->reset = state_of(s, s->always);
    bool matters[128] = {[' '] = true, ['\t'] = true, ['\n'] = true, ['\r'] = true};
    for (size_t i = 0; i < s->n; i++)
        matters[s->at[i].byte & 127] |= !s->at[i].blanks && !s->at[i].match;
    for (size_t i = 0; i < s->n_sets && !s->over; i++)
        for (unsigned byte = 0; byte < 128; byte++) {
            /* May move .edges. */
            uint32_t to = matters[byte] ? edge(s, i, byte, next, patterns) : out->reset;
            s->edges[i][byte] = to;
        }
    free(next);
    return !s->over;
}

/* In which states the text may end. */
static void find_ends(struct grammar *g, const struct scan *s, const struct grammar_scan *scan,
                      size_t blank, struct scan_def *out)
{
    out->ends = arena_new(&g->arena, s->n_sets, sizeof *out->ends);
    for (size_t i = 0; i < s->n_sets; i++) {
        const uint64_t *set = s->sets + i * s->n_words;
        out->ends[i] =
            scan->may_end && (blank == SIZE_MAX || !(set[blank / 64] >> (blank % 64) & 1));
    }
}

/* Bytes that cannot stand in a JSON string. */
static void cut_json(const struct scan *s)
{
    for (size_t i = 0; i < s->n_sets; i++)
        for (unsigned byte = 0; byte < 128; byte++)
            if (byte < 0x20 || byte == '"' || byte == '\\')
                s->edges[i][byte] = SCAN_NEVER;
}

bool scan_build(struct grammar *g, const struct grammar_scan *scan, struct scan_def *out)
{
    struct scan s = {.at = mem_new(MAX_POSITIONS, sizeof *s.at)};
    s.n_words = MAX_POSITIONS / 64;
    s.always = mem_new(s.n_words, sizeof *s.always);
    s.lines = mem_new(s.n_words, sizeof *s.lines);
    s.ends = mem_new(s.n_words, sizeof *s.ends);
    *out = (struct scan_def){.n_patterns = (uint32_t)scan->n,
                             .any_byte = scan->any_byte,
                             .in_json = scan->in_json,
                             .escape = scan->escape};
    out->then = arena_new(&g->arena, scan->n + 1, sizeof *out->then);
    bool ok = true;
    for (uint32_t i = 0; ok && i < scan->n; i++) {
        size_t first = s.n;
        ok = put_pattern(&s, &scan->patterns[i], i);
        if (ok) {
            s.ends[(s.n - 1) / 64] |= UINT64_C(1) << (s.n - 1) % 64;
            add(&s, scan->patterns[i].line_start ? s.lines : s.always, first);
        }
        out->then[i] = scan->patterns[i].then;
    }
    const size_t blank = scan->not_blank ? s.n : SIZE_MAX;
    if (ok && scan->not_blank)
        ok = put_position(&s, (struct position){.blanks = true, .alone = true});
    s.n_words = s.n / 64 + 1;
    ok = ok && run(&s, scan->patterns, blank, out);
    if (ok) {
        find_ends(g, &s, scan, blank, out);
        if (scan->in_json)
            cut_json(&s);
        out->n = (uint32_t)s.n_sets;
        out->edges = arena_new(&g->arena, s.n_sets, sizeof *out->edges);
        memcpy(out->edges, s.edges, s.n_sets * sizeof *out->edges);
    }
    free(s.at);
    free(s.always);
    free(s.lines);
    free(s.ends);
    free(s.sets);
    free(s.edges);
    return ok;
}
