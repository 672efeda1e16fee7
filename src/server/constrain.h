/* constrain: what a reply has to follow, from what its request asks for. Grammars and their masks
 * are kept: an agent sends the same tools with every request. */
#pragma once
#include "server/serve.h"

struct constrain_cache;
struct constrain_cache *constrain_open(const struct tok *t, uint32_t n_vocab);
/* Replies must have ended. */
void constrain_close(struct constrain_cache *k);

/* *out: a reference to the request's constraint; NULL: the reply is free. in_reasoning: the prompt
 * ends inside reasoning. False: the shape that was asked for cannot be had. Any thread. */
bool constrain_request(const struct server *s, const struct openai_request *q, bool in_reasoning,
                       struct constraint **out, struct openai_error *e);

/* Does what the model wrote keep to the schema that was asked for? If not, why. The check is its
 * own: grammars leave out some keywords. */
bool constrain_check(const struct json *root, const struct json *schema, str value,
                     struct buf *why);
