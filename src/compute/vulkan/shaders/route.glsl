// The second half of OP_ROUTE: logits to experts and their weights. The includer's push constants are p.partials, p.router_bias,
// p.select_bias, p.ids, p.weights and p.scale.
layout(constant_id = 7) const uint N_EXPERTS = 128;
layout(constant_id = 8) const uint N_USED = 8;
layout(constant_id = 9) const uint GATING = 0; // enum gating of src/model/plan.h
layout(constant_id = 10) const uint N_SPLITS = 1; // parts of a logit, added in order

// What is compared, filled up to a multiple of 8 with what comes last.
const uint N_FILLED = (N_EXPERTS + 7) / 8 * 8;
shared vec4 s_logits[N_FILLED / 4];
shared float s_scores[N_EXPERTS]; // what the weights are made of
shared float s_chosen[N_USED];
shared uint s_ids[N_USED];

// Position of expert e in falling order of s_logits, ties: lower expert first.
uint rank_of(uint e)
{
    const float mine = s_logits[e / 4][e % 4];
    uint rank = 0;
    [[dont_unroll]] for (uint i = 0; i < N_FILLED / 4; i += 2)
        [[unroll]] for (uint k = i; k < i + 2; k++) {
            const vec4 x = s_logits[k];
            [[unroll]] for (uint c = 0; c < 4; c++)
                rank += uint(x[c] > mine || x[c] == mine && 4 * k + c < e);
        }
    return rank;
}

// s_ids and s_chosen.
void choose(uint token)
{
    const uint t = thread();
    if (t < N_USED)
        s_ids[t] = 0; // what is no number has no rank
    if (t < 8 && N_EXPERTS % 8 != 0) // those of experts follow behind a barrier
        s_logits[N_EXPERTS / 8 * 2 + t / 4][t % 4] = -1e38;
    barrier();
    for (uint e = t; e < N_EXPERTS; e += THREADS) {
        float logit = 0, parts[N_SPLITS];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            parts[s] = p.partials.v[(token * N_SPLITS + s) * N_EXPERTS + e];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            logit += parts[s];
        if (p.router_bias != 0)
            logit += Floats(p.router_bias).v[e];
        const float score = GATING == 2 ? 1 / (1 + exp(-logit)) : logit;
        s_scores[e] = score;
        s_logits[e / 4][e % 4] = score + (p.select_bias != 0 ? Floats(p.select_bias).v[e] : 0);
    }
    barrier();
    for (uint e = t; e < N_EXPERTS; e += THREADS) {
        const uint rank = rank_of(e);
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
