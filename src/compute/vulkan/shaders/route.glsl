// The second half of OP_ROUTE: logits to experts and their weights. The includer says whether they are sums of shares
// (IS_SHARED, route_share.glsl), which p.partials are then, SHARES_OF_ROW from row to row; its push constants are
// p.partials, p.router_bias, p.select_bias, p.ids, p.weights and p.scale. Who does not choose leaves the constants as they
// are, so that what would be ranked takes no room.
layout(constant_id = 7) const uint N_EXPERTS = 1;
layout(constant_id = 8) const uint N_USED = 1;
layout(constant_id = 9) const uint GATING = 0; // enum gating of src/model/plan.h
layout(constant_id = 10) const uint N_SPLITS = 1; // parts of a logit, added in order

// Groups of neighbouring threads, at least N_USED of them: so many experts are not behind the last of the groups' best,
// and nobody else needs a rank. LANES threads make a group: a power of two of at most a subgroup.
const uint N_HOLDERS = N_EXPERTS < THREADS ? N_EXPERTS : THREADS; // threads that have an expert, or several
const uint MOST_LANES = N_HOLDERS / N_USED;
const uint LANES = MOST_LANES >= 16 && LEAST_LANES >= 16 ? 16 : MOST_LANES >= 8 ? 8 : MOST_LANES >= 4 ? 4 : 1;
const uint N_GROUPS = (N_HOLDERS + LANES - 1) / LANES;

shared int s_best[N_GROUPS];          // of each group, see order_of
shared ivec2 s_candidates[N_EXPERTS]; // of those that are not behind, in no order: order_of; number << 16 | rank
shared uint s_n_candidates;
shared float s_scores[N_EXPERTS]; // what the weights are made of
shared float s_chosen[N_USED];
shared uint s_ids[N_USED];

const int LAST = -0x7fffffff;

// An integer for a float, in the same order.
int order_of(float x)
{
    const int bits = floatBitsToInt(x);
    return max(bits ^ (bits >> 31 & 0x7fffffff), LAST);
}

// Of the experts thread(), thread() + THREADS, ...: logits without biases, and these as order_of has them.
const uint HELD = (N_EXPERTS + THREADS - 1) / THREADS;
float raw[HELD];
int held[HELD];

// First of all; what is loaded is needed by hold_logits.
void load_logits(uint token)
{
    [[unroll]] for (uint i = 0; i < HELD; i++) {
        const uint e = min(thread() + i * THREADS, N_EXPERTS - 1);
        if (IS_SHARED) {
            raw[i] = share_sum(Sums(uint64_t(p.partials)), token * SHARES_OF_ROW + e);
            continue;
        }
        float parts[N_SPLITS];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            parts[s] = p.partials.v[(token * N_SPLITS + s) * N_EXPERTS + e];
        raw[i] = 0;
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            raw[i] += parts[s];
    }
}

int logit_order(float logit, uint e)
{
    if (p.router_bias != 0)
        logit += Floats(p.router_bias).v[e];
    const float score = GATING == 2 ? 1 / (1 + exp(-logit)) : logit;
    s_scores[e] = score;
    return order_of(score + (p.select_bias != 0 ? Floats(p.select_bias).v[e] : 0));
}

// Before choose. root: of the row, where that is not in the logits yet; else 1.
void hold_logits(float root)
{
    const uint t = thread();
    int best = LAST;
    if (t == 0)
        s_n_candidates = 0;
    [[unroll]] for (uint i = 0; i < HELD; i++) {
        // Without a branch, in which the logits would be waited for later (NVIDIA).
        const int order = logit_order(raw[i] * root, min(t + i * THREADS, N_EXPERTS - 1));
        held[i] = t + i * THREADS < N_EXPERTS ? order : LAST;
        best = max(best, held[i]);
    }
    [[unroll]] for (uint lane = 1; lane < LANES; lane *= 2)
        best = max(best, subgroupShuffleXor(best, lane));
    if (t % LANES == 0 && t < N_HOLDERS)
        s_best[t / LANES] = best;
}

// So many threads in a row have a candidate each; all rows share its comparisons.
const uint RANKERS = 64, RANKER_ROWS = THREADS / RANKERS;

// How many candidates of every RANKER_ROWS-th from `first` on come before this one: larger ones, and as large ones with a
// lower number. Ranks grow meanwhile, but do not decide: numbers differ.
int count_before(ivec2 own, uint first, uint n)
{
    int count = 0;
    [[dont_unroll]] for (uint i = first; i < n; i += RANKER_ROWS) {
        const ivec2 other = s_candidates[i];
        count += int(other.x > own.x || other.x == own.x && other.y < own.y);
    }
    return count;
}

// s_ids and s_chosen.
void choose()
{
    barrier();
    int least = s_best[0];
    [[unroll]] for (uint i = 1; i < N_GROUPS; i++)
        least = min(least, s_best[i]);
    [[unroll]] for (uint i = 0; i < HELD; i++) {
        const uint e = thread() + i * THREADS;
        if (e < N_EXPERTS && held[i] >= least)
            s_candidates[atomicAdd(s_n_candidates, 1)] = ivec2(held[i], e << 16);
    }
    barrier();
    const uint n = s_n_candidates;
    [[dont_unroll]] for (uint i = thread() % RANKERS; i < n; i += RANKERS)
        atomicAdd(s_candidates[i].y, count_before(s_candidates[i], thread() / RANKERS, n));
    barrier();
    for (uint i = thread(); i < n; i += THREADS) {
        const uint y = s_candidates[i].y, rank = y & 0xffff, e = y >> 16;
        if (rank < N_USED) {
            s_ids[rank] = e;
            s_chosen[rank] = s_scores[e];
        }
    }
    barrier();
}

// Behind choose, to memory.
void store_choice(uint token)
{
    const uint t = thread();
    float total = 1; // of the softmax over all experts
    if (GATING == 0) {
        float sum = 0;
        for (uint e = t; e < N_EXPERTS; e += THREADS)
            sum += exp(s_scores[e] - s_chosen[0]);
        total = workgroup_sum(sum);
    }
    if (t >= N_USED)
        return;
    WordsOut(p.ids).v[token * N_USED + t] = s_ids[t];
    float sum = 0;
    for (uint j = 0; j < N_USED; j++)
        sum += GATING == 2 ? s_chosen[j] : exp(s_chosen[j] - s_chosen[0]) / total;
    float weight = GATING == 2 ? s_chosen[t] : exp(s_chosen[t] - s_chosen[0]) / total;
    if (GATING != 1)
        sum = max(sum, 6.103515625e-5);
    p.weights.v[token * N_USED + t] = weight / sum * (GATING == 2 ? p.scale : 1);
}
