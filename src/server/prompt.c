/* prompt: what a request asks as the token ids that the model reads. */
#include "server/serve.h"

#include <string.h>

static void add_bos(const struct tok *t, struct tok_ids *ids)
{
    int32_t bos = tok_bos(t);
    if (!tok_add_bos(t) || bos < 0 || (ids->n && ids->ids[0] == bos))
        return;
    tok_ids_put(ids, bos);
    memmove(ids->ids + 1, ids->ids, (ids->n - 1) * sizeof *ids->ids);
    ids->ids[0] = bos;
}

bool prompt_encode(const struct server *s, const struct openai_request *q, struct tok_ids *ids,
                   struct openai_error *e)
{
    struct err why;
    if (q->chat) {
        struct chat_prompt prompt = {0};
        bool rendered = chat_can_render(s->tok, &why) &&
                        chat_render(s->format, &q->conversation, &prompt, &why);
        if (rendered)
            tok_encode(s->tok, buf_view(&prompt.text),
                       &(struct tok_params){
                           .special = true, .literal = prompt.spans, .n_literal = prompt.n_spans},
                       ids);
        chat_prompt_free(&prompt);
        if (!rendered)
            return openai_refuse(e, "messages", "%s", why.msg);
    } else if (q->prompt_ids) {
        for (size_t i = 0; i < q->n_prompt_ids; i++)
            tok_ids_put(ids, q->prompt_ids[i]);
        return true;
    } else {
        tok_encode(s->tok, q->prompt, &(struct tok_params){.special = true}, ids);
    }
    add_bos(s->tok, ids);
    return true;
}
