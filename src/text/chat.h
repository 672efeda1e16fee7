/* chat: the message model, and model output back to events. chat_template.h renders. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "text/tok.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

struct chat_call {
    str id;
    str name;
    str arguments; /* JSON text of an object, as the client or the model gave it */
};

/* What the model itself wrote as a message. */
struct chat_sample {
    const int32_t *ids; /* without the token that ended it */
    size_t n_ids;
    str opening; /* what the prompt had written of it: chat_prompt.opening */
};

struct chat_message {
    enum chat_role role;
    str content;      /* empty when there is none */
    const str *parts; /* with n_parts > 0: the content in parts, instead of .content */
    size_t n_parts;
    str reasoning; /* kept apart from the answer */
    const struct chat_call *calls;
    size_t n_calls;
    str call_id;                       /* CHAT_TOOL: which call this answers */
    bool failed;                       /* CHAT_TOOL: the result is an error */
    const struct chat_sample *sampled; /* CHAT_ASSISTANT: its own tokens; NULL: unknown */
};

/* Sets the content to n parts, which m refers to. One part stands as the content itself; of
 * several, the template says what goes between them. */
static inline void chat_set_parts(struct chat_message *m, const str *parts, size_t n)
{
    if (n == 1) {
        m->content = parts[0];
    } else {
        m->parts = parts;
        m->n_parts = n;
    }
}

struct chat_tool {
    str name;
    const struct json *spec;       /* the function object: name, description, parameters, ... */
    const struct json *parameters; /* JSON schema, or NULL */
    str lark; /* what its one parameter, a text, follows besides: a grammar (lark.h); empty: none */
};

/* Roles may come in any order. All views point into memory of the caller (request arena, JSON
 * tree). */
struct chat_request {
    const struct chat_message *messages;
    size_t n_messages;
    const struct chat_tool *tools;
    size_t n_tools;
    const struct json *settings; /* an object: more variables for the template; or NULL */
    str effort;                  /* of reasoning: "low", "none", ...; empty: the model's default */
    bool think;                  /* reasoning is asked for, also where it is not the default */
    int64_t now_unix;            /* for templates that print a date */
};

/* How a model family writes calls and reasoning: decided once, when a model is loaded, and shared
 * by rendering and parsing. */
enum chat_format {
    CHAT_QWEN_XML,    /* Qwen3-Coder, Qwen3.5: <function=NAME><parameter=P>... */
    CHAT_HERMES_JSON, /* Qwen3 2507, Next, 2.5: {"name": ..., "arguments": {...}} in <tool_call> */
    CHAT_HARMONY,     /* gpt-oss: messages with channels and recipients */
    CHAT_GLM,        /* GLM 4.5 to 5: <tool_call>NAME<arg_key>K</arg_key><arg_value>V</arg_value> */
    CHAT_LLAMA_JSON, /* Llama 3.1 and later: {"name": ..., "parameters": {...}} as the reply */
    CHAT_PLAIN,      /* no calls; reasoning in <think> */
};
enum { CHAT_N_FORMATS = CHAT_PLAIN + 1 };
/* From the text of tokenizer.chat_template (empty: ChatML with Hermes calls). */
enum chat_format chat_format_of(str template_text);
/* "qwen-xml", "hermes", "harmony", "glm", "llama", "none". */
const char *chat_format_name(enum chat_format f);
/* False: no format has that name. */
bool chat_format_find(str name, enum chat_format *out);

/* What the model wrote, as it comes. Calls come as BEGIN (id, name), ARGUMENTS (JSON fragments that
 * join to one object) and END. Views live until the sink returns. */
enum chat_event_kind {
    CHAT_CONTENT,
    CHAT_REASONING,
    CHAT_CALL_BEGIN,
    CHAT_CALL_ARGUMENTS,
    CHAT_CALL_END
};
enum chat_flaw {
    CHAT_SOUND,
    CHAT_MENDED, /* the arguments were not quite JSON: what had one reading was put right */
    CHAT_CUT,    /* the reply ended inside, or the arguments were beyond repair: no complete JSON */
};
struct chat_event {
    enum chat_event_kind kind;
    str text;            /* CONTENT, REASONING, ARGUMENTS */
    size_t i_call;       /* 0, 1, ... within the reply */
    str id;              /* BEGIN: "call_" and 24 letters */
    str name;            /* BEGIN */
    enum chat_flaw flaw; /* END */
};
typedef void chat_sink(void *ctx, const struct chat_event *event);

struct chat_parser_params {
    enum chat_format format;
    const struct chat_tool *tools; /* of the request, outlive the parser; none: nothing is a call */
    size_t n_tools;
    bool in_reasoning; /* the prompt opened it */
    uint64_t id_seed;  /* makes the ids of calls */
    chat_sink *sink;
    void *ctx;
};
struct chat_parser;
/* Content and reasoning are not cut inside a UTF-8 sequence. */
struct chat_parser *chat_parser_open(const struct chat_parser_params *params);
/* Any split of the text into pieces gives the same events after joining fragments of a kind. */
void chat_parser_put(struct chat_parser *p, str text);
/* Is this token, sampled as such, a mark of the format? Then it goes to chat_parser_mark instead of
 * its text to chat_parser_put. The same characters in other tokens are text where the format is one
 * of marks (harmony); elsewhere they mean the same. */
bool chat_is_mark(enum chat_format f, const struct tok *t, int32_t id);
void chat_parser_mark(struct chat_parser *p, str token);
/* Text in which all marks are written out, such as a saved reply. */
void chat_parser_put_marked(struct chat_parser *p, str text);
/* Does text that comes next belong to the answer, as far as is known: not to reasoning, a call or a
 * header? */
bool chat_parser_in_answer(const struct chat_parser *p);
/* End of generation: what was held back comes out, and an open call ends. by_model: it ended by
 * itself; false: a limit or the client ended it, and an open call is cut off. */
void chat_parser_end(struct chat_parser *p, bool by_model);
/* Complete calls so far, and those that were cut off. The finish reason is "tool_calls" when there
 * are complete ones. */
size_t chat_parser_n_calls(const struct chat_parser *p);
size_t chat_parser_n_cut(const struct chat_parser *p);
void chat_parser_close(struct chat_parser *p);
