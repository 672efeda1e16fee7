#include "server/logprobs.h"

#include <stdlib.h>
#include <string.h>

void logprobs_put(struct logprobs *l, const struct tok *t, const struct job_event *event,
                  size_t offset)
{
    struct openai_logprob *top = arena_new(&l->arena, event->n_top, sizeof *top);
    for (size_t i = 0; i < event->n_top; i++)
        top[i] = (struct openai_logprob){tok_bytes(t, event->top[i].id), event->top[i].logprob};
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 16;
        l->tokens = mem_grow(l->tokens, l->room, sizeof *l->tokens);
    }
    l->tokens[l->n++] = (struct openai_token){
        .token = {tok_bytes(t, event->token.id), event->token.logprob},
        .top = top,
        .n_top = event->n_top,
        .offset = offset,
    };
}

size_t logprobs_before(const struct logprobs *l, size_t offset)
{
    size_t n = 0;
    while (n < l->n && l->tokens[n].offset < offset)
        n++;
    return n;
}

void logprobs_drop(struct logprobs *l, size_t n)
{
    if (n == 0)
        return;
    l->n -= n;
    memmove(l->tokens, l->tokens + n, l->n * sizeof *l->tokens);
    if (l->n == 0)
        arena_free(&l->arena);
}

void logprobs_free(struct logprobs *l)
{
    arena_free(&l->arena);
    free(l->tokens);
    *l = (struct logprobs){0};
}
