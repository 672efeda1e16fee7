// The second half of OP_ROUTE: logits to experts and their weights. The includer's push constants are p.partials, p.router_bias,
// p.select_bias, p.ids, p.weights and p.scale. Who does not choose leaves the constants as they are, so that what would
// be ranked takes no room.
layout(constant_id = 7) const uint N_EXPERTS = 1;
layout(constant_id = 8) const uint N_USED = 1;
layout(constant_id = 9) const uint GATING = 0; // enum gating of src/model/plan.h
layout(constant_id = 10) const uint N_SPLITS = 1; // parts of a logit, added in order

// Many experts are ranked in pieces first, then the N_USED first of each among one another.
const uint PIECE = N_EXPERTS > 128 ? 64 : (N_EXPERTS + 15) / 16 * 16; // a multiple of 16
const uint N_PIECES = (N_EXPERTS + PIECE - 1) / PIECE;
const uint N_FIRST = N_PIECES > 1 ? (N_PIECES * N_USED + 7) / 8 * 8 : 0;

// What is ranked: the pieces, then the first ones, whose experts s_first has. What fills them up comes last.
const uint FIRST_AT = N_PIECES * PIECE;
shared ivec4 s_ranked[(FIRST_AT + N_FIRST) / 4]; // see order_of
shared uint s_first[N_FIRST + 1];
shared float s_scores[N_EXPERTS]; // what the weights are made of
shared float s_chosen[N_USED];
shared uint s_ids[N_USED];

const int LAST = -0x7fffffff;

// An integer for a float, in the same order: less than it by one is just less.
int order_of(float x)
{
    const int bits = floatBitsToInt(x);
    return max(bits ^ (bits >> 31 & 0x7fffffff), LAST);
}

// How many of [from, from + n) of s_ranked come before number `own`, which may be one of them: larger ones, and as
// large ones with a lower number.
uint rank_of(uint own, uint from, uint n)
{
    const int mine = s_ranked[own / 4][own % 4];
    uint rank = 0;
    [[dont_unroll]] for (uint i = from / 4; i < (from + n) / 4; i += 2)
        [[unroll]] for (uint k = i; k < i + 2; k++) {
            const ivec4 x = s_ranked[k];
            const int least = k < own / 4 ? mine - 1 : mine;
            [[unroll]] for (uint c = 0; c < 4; c++)
                rank += uint(x[c] > least);
        }
    if (own - from < n) {
        const ivec4 x = s_ranked[own / 4];
        [[unroll]] for (uint c = 0; c < 3; c++)
            rank += uint(c < own % 4 && x[c] == mine);
    }
    return rank;
}

// The same for the piece of number `own`, by SHARES threads of a subgroup beside one another.
const uint SHARES = 2 * N_EXPERTS <= THREADS ? 2 : 1;
uint rank_in_piece(uint own, uint share)
{
    const uint n = PIECE / SHARES;
    uint rank = rank_of(own, own / PIECE * PIECE + share * n, n);
    if (SHARES == 2)
        rank += subgroupShuffleXor(rank, 1);
    return rank;
}

void fill_up()
{
    const uint t = thread();
    for (uint i = N_EXPERTS + t; i < FIRST_AT + N_FIRST; i += THREADS)
        s_ranked[i / 4][i % 4] = LAST;
    for (uint i = t; i < N_FIRST; i += THREADS)
        s_first[i] = 0;
}

void load_logits(uint token)
{
    for (uint e = thread(); e < N_EXPERTS; e += THREADS) {
        float logit = 0, parts[N_SPLITS];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            parts[s] = p.partials.v[(token * N_SPLITS + s) * N_EXPERTS + e];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            logit += parts[s];
        if (p.router_bias != 0)
            logit += Floats(p.router_bias).v[e];
        const float score = GATING == 2 ? 1 / (1 + exp(-logit)) : logit;
        s_scores[e] = score;
        s_ranked[e / 4][e % 4] =
            order_of(score + (p.select_bias != 0 ? Floats(p.select_bias).v[e] : 0));
    }
}

void take(uint rank, uint e)
{
    if (rank < N_USED) {
        s_ids[rank] = e;
        s_chosen[rank] = s_scores[e];
    }
}

// s_ids and s_chosen.
void choose(uint token)
{
    fill_up();
    load_logits(token);
    barrier();
    for (uint work = thread(); work < N_EXPERTS * SHARES; work += THREADS) {
        const uint e = work / SHARES, piece = e / PIECE, rank = rank_in_piece(e, work % SHARES);
        if (N_PIECES == 1) {
            take(rank, e);
        } else if (rank < N_USED) {
            const uint i = piece * N_USED + rank, at = FIRST_AT + i;
            s_ranked[at / 4][at % 4] = s_ranked[e / 4][e % 4];
            s_first[i] = e;
        }
    }
    barrier();
    if (N_PIECES == 1)
        return;
    for (uint i = thread(); i < N_PIECES * N_USED; i += THREADS)
        take(rank_of(FIRST_AT + i, FIRST_AT, N_FIRST), s_first[i]);
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
