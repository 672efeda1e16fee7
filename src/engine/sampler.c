#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "engine/seen.h"

enum { PENALTY_WINDOW = 64, MAX_WINDOW = 1 << 20 };

/* Taken from the logit of a token that is kept out. Not infinite: where a grammar allows nothing
 * else, it may come. */
static const float KEPT_OUT_PENALTY = 100;

struct sampler {
    struct sampling p;
    struct logit_bias *bias; /* [p.n_bias], own copy */
    uint32_t n_vocab;
    const unsigned char *allowed;
    const struct token_mask *mask; /* of this draw */
    int32_t kept_out;              /* of this draw; -1: none */
    bool penalties;
    struct seen seen;
    struct rng rng;
    struct candidate *cands; /* [n_vocab] still in the draw */
    float *weights;          /* [n_vocab] */
};

static bool in_range(struct err *e, const char *name, double v, double min, double max)
{
    if (v >= min && v <= max)
        return true;
    return err_set(e, ERR_USAGE, "%s: %g is outside %g .. %g", name, v, min, max);
}

bool sampling_check(const struct sampling *p, uint32_t n_vocab, struct err *e)
{
    if (!in_range(e, "temperature", (double)p->temperature, 0, 100) ||
        !in_range(e, "top_k", p->top_k, 0, INT32_MAX) ||
        !in_range(e, "top_p", (double)p->top_p, 0, 1) ||
        !in_range(e, "min_p", (double)p->min_p, 0, 1) ||
        !in_range(e, "repeat_penalty", (double)p->repeat_penalty, 0, 100) ||
        !in_range(e, "presence_penalty", (double)p->presence_penalty, -100, 100) ||
        !in_range(e, "frequency_penalty", (double)p->frequency_penalty, -100, 100) ||
        !in_range(e, "penalty_last_n", p->penalty_last_n, -1, MAX_WINDOW))
        return false;
    for (size_t i = 0; i < p->n_bias; i++) {
        if (!in_range(e, "logit_bias: token", p->bias[i].id, 0, (double)n_vocab - 1))
            return false;
        if (!in_range(e, "logit_bias", (double)p->bias[i].bias, -1e6, 1e6))
            return false;
    }
    return true;
}

struct sampler *sampler_open(const struct sampling *p, uint32_t n_vocab,
                             const unsigned char *allowed)
{
    struct sampler *s = mem_new(1, sizeof *s);
    *s = (struct sampler){
        .p = *p, .n_vocab = n_vocab, .allowed = allowed, .kept_out = -1, .rng = {p->seed}};
    s->bias = mem_new(p->n_bias, sizeof *s->bias);
    if (p->n_bias)
        memcpy(s->bias, p->bias, p->n_bias * sizeof *s->bias);
    s->p.bias = s->bias;
    if (s->p.repeat_penalty <= 0)
        s->p.repeat_penalty = 1;
    s->penalties =
        s->p.repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0;
    if (s->penalties) {
        int32_t last_n = p->penalty_last_n ? p->penalty_last_n : PENALTY_WINDOW;
        seen_open(&s->seen, n_vocab, last_n < 0 ? 0 : (uint32_t)last_n);
    }
    s->cands = mem_new(n_vocab, sizeof *s->cands);
    s->weights = mem_new(n_vocab, sizeof *s->weights);
    return s;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    if (s->penalties)
        seen_close(&s->seen);
    free(s->bias);
    free(s->cands);
    free(s->weights);
    free(s);
}

void sampler_accept(struct sampler *s, int32_t id)
{
    if (s->penalties && id >= 0 && (uint32_t)id < s->n_vocab)
        seen_add(&s->seen, (uint32_t)id);
}

void sampler_keep_out(struct sampler *s, int32_t id)
{
    s->kept_out = id;
}

/* The logit of a token that was seen. */
static float penalised(const struct sampler *s, uint32_t id, float l)
{
    l = l > 0 ? l / s->p.repeat_penalty : l * s->p.repeat_penalty;
    return l - ((float)s->seen.count[id] * s->p.frequency_penalty + s->p.presence_penalty);
}

static float biased(const struct logit_bias *b, float l)
{
    return b->bias <= -100 ? -INFINITY : l + b->bias;
}

static void change_logits(const struct sampler *s, float *logits)
{
    if (s->kept_out >= 0)
        logits[s->kept_out] -= KEPT_OUT_PENALTY;
    for (size_t i = 0; s->penalties && i < s->seen.n_distinct; i++) {
        const uint32_t id = s->seen.distinct[i];
        logits[id] = penalised(s, id, logits[id]);
    }
    for (size_t i = 0; i < s->p.n_bias; i++)
        logits[s->bias[i].id] = biased(&s->bias[i], logits[s->bias[i].id]);
}

/* The same for one token. */
static float changed(const struct sampler *s, int32_t id, float l)
{
    if (s->kept_out == id)
        l -= KEPT_OUT_PENALTY;
    if (s->penalties && s->seen.count[id])
        l = penalised(s, (uint32_t)id, l);
    for (size_t i = 0; i < s->p.n_bias; i++)
        if (s->bias[i].id == id)
            l = biased(&s->bias[i], l);
    return l;
}

/* No token's logit grows. */
static bool only_lowers(const struct sampler *s)
{
    for (size_t i = 0; i < s->p.n_bias; i++)
        if (s->bias[i].bias > 0)
            return false;
    return s->p.repeat_penalty >= 1 && s->p.presence_penalty >= 0 && s->p.frequency_penalty >= 0;
}

/* Tokens that are looked at for a draw: all, or those of a short mask. */
static inline uint32_t n_tokens(const struct sampler *s)
{
    return s->mask && s->mask->ids ? s->mask->n : s->n_vocab;
}

static inline uint32_t token_at(const struct sampler *s, uint32_t i)
{
    return s->mask && s->mask->ids ? (uint32_t)s->mask->ids[i] : i;
}

static inline bool allowed(const struct sampler *s, uint32_t id)
{
    const uint64_t *bits = s->mask ? s->mask->bits : NULL;
    return (!s->allowed || s->allowed[id]) && (!bits || bits[id / 64] >> (id % 64) & 1);
}

/* May id be drawn with this logit? NaN and minus infinity may not. */
static inline bool drawable(const struct sampler *s, uint32_t id, float logit)
{
    return logit > -INFINITY && allowed(s, id);
}

/* When no logit is usable: something has to come out. */
static int32_t first_allowed(const struct sampler *s)
{
    for (uint32_t i = 0; i < n_tokens(s); i++)
        if (allowed(s, token_at(s, i)))
            return (int32_t)token_at(s, i);
    return 0;
}

static int32_t pick_greedy(const struct sampler *s, const float *logits)
{
    float best = -INFINITY;
    int32_t id = -1;
    for (uint32_t i = 0; i < n_tokens(s); i++) {
        uint32_t at = token_at(s, i);
        if (logits[at] > best && allowed(s, at)) {
            best = logits[at];
            id = (int32_t)at;
        }
    }
    return id >= 0 ? id : first_allowed(s);
}

/* The order of the chain: larger logits first, then lower ids. */
static inline bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Plus infinity would make infinity minus infinity below. */
static inline struct candidate cand_of(uint32_t id, float logit)
{
    return (struct candidate){logit < FLT_MAX ? logit : FLT_MAX, (int32_t)id};
}

static size_t gather(const struct sampler *s, const float *logits)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_tokens(s); i++) {
        uint32_t id = token_at(s, i);
        if (drawable(s, id, logits[id]))
            s->cands[n++] = cand_of(id, logits[id]);
    }
    return n;
}

/* Restores the heap whose root (the candidate that is last in the order) was replaced. */
static void sift_down(struct candidate *heap, size_t n, size_t i)
{
    struct candidate c = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && before(heap[child], heap[child + 1]))
            child++;
        if (!before(c, heap[child]))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = c;
}

/* The k first in the order. A heap of k holds the best so far; nearly all of the vocabulary
 * fails one comparison with its root. */
static size_t gather_top_k(const struct sampler *s, const float *logits, size_t k)
{
    struct candidate *heap = s->cands;
    size_t n = 0;
    uint32_t i = 0;
    for (; i < n_tokens(s) && n < k; i++) {
        uint32_t id = token_at(s, i);
        if (drawable(s, id, logits[id]))
            heap[n++] = cand_of(id, logits[id]);
    }
    for (size_t at = n / 2; at-- > 0;)
        sift_down(heap, n, at);
    for (; i < n_tokens(s); i++) {
        uint32_t id = token_at(s, i);
        /* Ids rise, so that an equal logit comes later in the order than the root. */
        if (logits[id] > heap[0].logit && drawable(s, id, logits[id])) {
            heap[0] = cand_of(id, logits[id]);
            sift_down(heap, n, 0);
        }
    }
    return n;
}

/* In the order. Few, and mostly in it already. */
static void sort(struct candidate *c, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct candidate own = c[i];
        size_t at = i;
        for (; at > 0 && before(own, c[at - 1]); at--)
            c[at] = c[at - 1];
        c[at] = own;
    }
}

/* weights[i] = exp((logit_i - max) / temperature); returns their sum. */
static double softmax(const struct sampler *s, size_t n, float temperature)
{
    float max = s->cands[0].logit, scale = 1 / temperature;
    for (size_t i = 1; i < n; i++)
        max = s->cands[i].logit > max ? s->cands[i].logit : max;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        s->weights[i] = expf((s->cands[i].logit - max) * scale);
        sum += (double)s->weights[i];
    }
    return sum;
}

static void swap(const struct sampler *s, size_t a, size_t b)
{
    struct candidate c = s->cands[a];
    float w = s->weights[a];
    s->cands[a] = s->cands[b];
    s->weights[a] = s->weights[b];
    s->cands[b] = c;
    s->weights[b] = w;
}

/* Moves the middle one of three candidates of [from, to) to its last place. */
static void choose_pivot(const struct sampler *s, size_t from, size_t to)
{
    size_t a = from, b = from + (to - from) / 2, c = to - 1;
    if (before(s->cands[b], s->cands[a]))
        swap(s, a, b);
    if (before(s->cands[b], s->cands[c]))
        swap(s, b, c);
    if (before(s->cands[c], s->cands[a]))
        swap(s, a, c);
}

/* The shortest head of the order whose probabilities reach top_p, in front and in no order: like
 * quickselect, but what is looked for is a sum of weights and not a rank. */
static size_t keep_top_p(const struct sampler *s, size_t n)
{
    double wanted = (double)s->p.top_p * softmax(s, n, 1);
    size_t from = 0, to = n; /* the border is in here; all before `from` are in the head */
    while (from < to) {
        size_t at = from;
        double sum = 0; /* of [from, at) */
        choose_pivot(s, from, to);
        for (size_t i = from; i + 1 < to; i++) {
            if (before(s->cands[i], s->cands[to - 1])) {
                sum += (double)s->weights[i];
                swap(s, i, at++);
            }
        }
        swap(s, at, to - 1);
        if (sum >= wanted) {
            to = at;
        } else {
            wanted -= sum + (double)s->weights[at];
            from = at + 1;
            if (wanted <= 0)
                return from;
        }
    }
    return from;
}

/* Those with at least min_p times the largest probability; the order stays. */
static size_t keep_min_p(const struct sampler *s, size_t n)
{
    float max = s->cands[0].logit;
    for (size_t i = 1; i < n; i++)
        max = s->cands[i].logit > max ? s->cands[i].logit : max;
    float least = max + logf(s->p.min_p);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (s->cands[i].logit >= least)
            s->cands[kept++] = s->cands[i];
    return kept;
}

static int32_t draw(struct sampler *s, size_t n)
{
    double sum = softmax(s, n, s->p.temperature);
    double at = rng_f64(&s->rng) * sum;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->weights[i] <= 0)
            continue;
        last = i;
        at -= (double)s->weights[i];
        if (at < 0)
            break;
    }
    return s->cands[last].id;
}

/* The same of candidates in order, which they stay in. */
static size_t keep_top_p_sorted(const struct sampler *s, size_t n)
{
    const double wanted = (double)s->p.top_p * softmax(s, n, 1);
    double sum = 0;
    size_t kept = 0;
    while (kept < n && sum < wanted)
        sum += (double)s->weights[kept++];
    return kept;
}

/* top-p, min-p and the draw among the first n of cands, n > 0. What is drawn depends on their
 * order. */
static int32_t draw_of(struct sampler *s, size_t n, bool sorted)
{
    if (s->p.top_p > 0 && s->p.top_p < 1)
        n = sorted ? keep_top_p_sorted(s, n) : keep_top_p(s, n);
    if (s->p.min_p > 0)
        n = keep_min_p(s, n);
    return draw(s, n);
}

int32_t sampler_pick(struct sampler *s, float *logits, const struct token_mask *mask)
{
    s->mask = mask;
    change_logits(s, logits);
    s->kept_out = -1;
    if (s->p.temperature <= 0)
        return pick_greedy(s, logits);
    bool top_k = s->p.top_k > 0 && (uint32_t)s->p.top_k < n_tokens(s);
    size_t n = top_k ? gather_top_k(s, logits, (size_t)s->p.top_k) : gather(s, logits);
    if (!n)
        return first_allowed(s);
    const bool sorted = sampler_takes_best(s) && n <= EXEC_BEST;
    if (sorted)
        sort(s->cands, n); /* the order in which sampler_pick_best has them */
    return draw_of(s, n, sorted);
}

/* ---- from the likeliest tokens alone ----------------------------------------------------------
 */

bool sampler_takes_best(const struct sampler *s)
{
    const bool few = s->p.temperature <= 0 || (s->p.top_k > 0 && s->p.top_k <= EXEC_BEST);
    return few && only_lowers(s);
}

/* To cands, in order: those of the list that come before every token that is not on it. Behind its
 * last one stand all others, which no penalty moves up. */
static size_t gather_best(const struct sampler *s, const struct best *best)
{
    size_t n = 0;
    for (uint32_t i = 0; i < best->n; i++) {
        const struct candidate *c = &best->at[i];
        const float logit = changed(s, c->id, c->logit);
        if (logit > -INFINITY && (!s->mask || token_mask_has(s->mask, (uint32_t)c->id)))
            s->cands[n++] = (struct candidate){logit, c->id};
    }
    sort(s->cands, n);
    while (best->n == EXEC_BEST && n > 0 && before(best->at[EXEC_BEST - 1], s->cands[n - 1]))
        n--;
    return n;
}

int32_t sampler_pick_best(struct sampler *s, const struct best *best, const struct token_mask *mask)
{
    const size_t k = s->p.temperature <= 0 ? 1 : (size_t)s->p.top_k;
    s->mask = mask;
    if (!sampler_takes_best(s) || (best->n > 0 && best->at[0].logit >= FLT_MAX))
        return -1;
    size_t n = gather_best(s, best);
    if (n < k && best->n == EXEC_BEST)
        return -1;
    s->kept_out = -1;
    if (n == 0)
        return first_allowed(s);
    n = num_min(n, k);
    return s->p.temperature <= 0 ? s->cands[0].id : draw_of(s, n, true);
}

void sampler_next_draw(const struct sampler *s, struct draw *out)
{
    *out = (struct draw){.temperature = s->p.temperature,
                         .top_k = (uint32_t)s->p.top_k,
                         .top_p = s->p.top_p,
                         .min_p = s->p.min_p,
                         .state = s->rng.state};
}

bool sampler_is_plain(const struct sampler *s)
{
    return !s->penalties && s->p.n_bias == 0;
}
