/* prompt: what a request asks as the token ids that the model reads. */
#include "server/serve.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void add_bos(const struct tok *t, struct tok_ids *ids)
{
    int32_t bos = tok_bos(t);
    if (!tok_add_bos(t) || bos < 0 || (ids->n && ids->ids[0] == bos))
        return;
    tok_ids_put(ids, bos);
    memmove(ids->ids + 1, ids->ids, (ids->n - 1) * sizeof *ids->ids);
    ids->ids[0] = bos;
}

static bool encode_chat(const struct server *s, const struct openai_request *q, struct prompt *out,
                        struct openai_error *e)
{
    struct arena arena = {0};
    struct chat_prompt prompt = {0};
    struct chat_request r = q->conversation;
    struct err why;
    if (!s->chat)
        return openai_refuse(e, q->prompt_at, "%s", s->no_chat.msg);
    r.n_tools -= q->n_loaded < r.n_tools ? q->n_loaded : r.n_tools;
    r.now_unix = dates_of(s->dates, &r, clock_unix());
    r.messages = replay_messages(s->replay, r.messages, r.n_messages, &arena);
    bool ok = chat_render(s->chat, &r, &prompt, &why);
    if (ok) {
        chat_prompt_encode(&prompt, s->tok, &out->ids);
        buf_str(&out->opening, prompt.opening);
        out->in_reasoning = prompt.in_reasoning;
    }
    chat_prompt_free(&prompt);
    arena_free(&arena);
    return ok || openai_refuse(e, q->prompt_at, "%s", why.msg);
}

bool prompt_encode(const struct server *s, const struct openai_request *q, struct prompt *out,
                   struct openai_error *e)
{
    if (q->chat)
        return encode_chat(s, q, out, e);
    const uint32_t n_vocab = engine_model(s->engine)->plan.n_vocab;
    for (size_t i = 0; i < q->n_prompt_ids; i++) {
        if (q->prompt_ids[i] < 0 || (uint32_t)q->prompt_ids[i] >= n_vocab)
            return openai_refuse(e, q->prompt_at,
                                 "'%s[%zu]' is %d; the model's tokens are 0 to %u.", q->prompt_at,
                                 i, (int)q->prompt_ids[i], n_vocab - 1);
        tok_ids_put(&out->ids, q->prompt_ids[i]);
    }
    if (!q->prompt_ids) {
        tok_encode(s->tok, q->prompt, &(struct tok_params){.special = true}, &out->ids);
        add_bos(s->tok, &out->ids);
    }
    return true;
}

void prompt_free(struct prompt *p)
{
    free(p->ids.ids);
    buf_free(&p->opening);
}

bool prompt_count(const struct server *s, const struct openai_request *q, size_t *n,
                  struct openai_error *e)
{
    struct prompt prompt = {0};
    bool ok = prompt_encode(s, q, &prompt, e);
    *n = prompt.ids.n;
    prompt_free(&prompt);
    return ok;
}
