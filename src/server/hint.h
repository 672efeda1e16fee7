/* hint: the name that a client gives its conversation, as a number for the engine
 * (job_params.hint). It decides between sessions that are equally good, and how long one is kept;
 * what is read and what the reply is do not depend on it. */
#pragma once
#include <stdint.h>

#include "server/http.h"
#include "server/openai.h"

/* 0: the request has no name. In this order, the first that is there:
 *   x-claude-code-session-id, with x-claude-code-agent-id where a sub-agent speaks: Claude Code
 *   x-session-id; thread-id, session-id: Codex 0.169; session_id: Codex before it
 *   "prompt_cache_key": OpenAI's protocols; Codex, OpenCode
 *   "metadata.user_id": Anthropic's; older Claude Code
 *   "user": OpenAI's
 *   "id_slot", from 0: llama-server's */
uint64_t hint_of(const struct http_request *http, const struct json *body);
/* The same of the headers alone, which name one conversation of one agent; 0: none is there. */
uint64_t hint_session(const struct http_request *http);
