#include "engine/logprob.h"

#include <math.h>

/* log of the sum of exp(logits). */
static double log_sum_exp(const float *logits, uint32_t n_vocab)
{
    float max = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++)
        max = logits[i] > max ? logits[i] : max;
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] > -INFINITY)
            sum += (double)expf(logits[i] - max);
    return (double)max + log(sum);
}

uint32_t logprob_top(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n,
                     struct token_logprob *token, struct token_logprob *top)
{
    double norm = log_sum_exp(logits, n_vocab);
    float own = logits[id];
    *token = (struct token_logprob){id, own > -INFINITY ? (float)((double)own - norm) : -INFINITY};
    uint32_t n_top = 0;
    for (uint32_t i = 0; i < n_vocab && n; i++) {
        if (!(logits[i] > -INFINITY) || (n_top == n && logits[i] <= logits[top[n - 1].id]))
            continue;
        uint32_t at = n_top < n ? n_top++ : n - 1;
        for (; at > 0 && logits[i] > logits[top[at - 1].id]; at--)
            top[at] = top[at - 1];
        top[at] = (struct token_logprob){(int32_t)i, (float)((double)logits[i] - norm)};
    }
    return n_top;
}
