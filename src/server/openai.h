/* openai: the request bodies of /v1/chat/completions and /v1/completions, and errors, in OpenAI's
 * shape. Pure functions: no sockets, no engine. Unknown fields are ignored; null counts as absent;
 * a known field of the wrong type or out of range is an error that names it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/sampler.h"
#include "text/chat.h"

/* Where a field is: "messages[2].content". Longer ones are cut. */
struct openai_path {
    char text[96];
};
struct openai_path openai_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What an error body says. type and code are static; code may be NULL. */
struct openai_error {
    int status;
    const char *type;
    const char *code;
    struct openai_path param; /* empty: none */
    char message[1100];
    size_t n_prompt, n_ctx; /* with code "context_length_exceeded" */
};

/* Status 400, "invalid_request_error", about the field at `param` (NULL: none). Returns false. */
bool openai_refuse(struct openai_error *e, const char *param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Any status; type follows from it. Returns false. */
bool openai_fail(struct openai_error *e, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A prompt that does not fit, in the one wording that clients' matchers know. Returns false. */
bool openai_overflow(struct openai_error *e, const char *param, size_t n_prompt, size_t n_ctx);
/* The longest prompt that would have fitted, as the wording has it. A prompt that fills the context
 * leaves no room for a reply. */
size_t openai_max_prompt(size_t n_prompt, size_t n_ctx);
/* {"error": {...}}, without a newline. */
void openai_error_body(const struct openai_error *e, struct buf *out);

/* One known field of an object. */
enum openai_store {
    STORE_NOTHING,
    STORE_BOOL,
    STORE_I32,
    STORE_U32,
    STORE_U64,
    STORE_F32,
    STORE_STR
};
enum {
    TYPE_BOOL = 1 << JSON_BOOL,
    TYPE_INT = 1 << JSON_INT,
    TYPE_NUMBER = 1 << JSON_INT | 1 << JSON_FLOAT,
    TYPE_STRING = 1 << JSON_STRING,
    TYPE_ARRAY = 1 << JSON_ARRAY,
    TYPE_OBJECT = 1 << JSON_OBJECT,
};
struct openai_field {
    const char *name;
    unsigned types; /* TYPE_... that are right, or'ed */
    bool required;
    double min, max; /* numbers; both 0: any */
    enum openai_store store;
    size_t offset; /* of the member in the caller's struct */
};
#define FIELD_CHECKED(key, kinds)                                                                  \
    {                                                                                              \
        .name = (key), .types = (kinds)                                                            \
    }
#define FIELD_NEEDED(key, kinds, how, where)                                                       \
    {                                                                                              \
        .name = (key), .types = (kinds), .required = true, .store = (how), .offset = (where)       \
    }
#define FIELD_STORED(key, kinds, how, where)                                                       \
    {                                                                                              \
        .name = (key), .types = (kinds), .store = (how), .offset = (where)                         \
    }
#define FIELD_RANGED(key, kinds, low, high, how, where)                                            \
    {                                                                                              \
        .name = (key), .types = (kinds), .min = (low), .max = (high), .store = (how),              \
        .offset = (where)                                                                          \
    }
#define FIELD_COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Checks the fields of object (NULL: an empty one) against the table and stores those that are
 * there into base. where: path of the object, empty for the body. Strings are views into the tree.
 */
bool openai_fields(const struct json *object, const char *where, const struct openai_field *table,
                   size_t n_table, void *base, struct openai_error *e);

/* What the content of a reply must be. */
enum openai_content { OPENAI_FREE, OPENAI_OBJECT, OPENAI_SCHEMA, OPENAI_GRAMMAR };
enum openai_calls { OPENAI_MAY_CALL, OPENAI_MUST_CALL };

enum { OPENAI_MAX_STOPS = 16, OPENAI_MAX_STOP_BYTES = 256, OPENAI_MAX_TOP_LOGPROBS = 20 };

/* A request, checked. Everything lives until openai_request_free. */
struct openai_request {
    struct arena arena;
    struct json *body;
    bool chat;
    bool stream;
    bool include_usage;
    bool want_logprobs;
    bool want_progress;      /* "return_progress": how much of the prompt was read, in chunks */
    bool want_timings;       /* "timings_per_token" or the above: how long it took, at the end */
    bool twice_reasoning;    /* "include_reasoning": "reasoning" beside "reasoning_content" */
    bool ignore_stop;        /* "ignore_eos" */
    bool one_call;           /* parallel_tool_calls is false */
    bool random_seed;        /* no seed was given */
    int32_t max_tokens;      /* <= 0: no limit */
    uint32_t n_top_logprobs; /* at most OPENAI_MAX_TOP_LOGPROBS */
    struct sampling sampling;
    const str *stops;
    size_t n_stops;
    const char *prompt_at;            /* the field that the prompt is in */
    struct chat_request conversation; /* chat; no tools when tool_choice is "none" */
    size_t n_loaded;                  /* its last tools: what they are stands in messages */
    enum openai_content content;
    const struct json *schema; /* OPENAI_SCHEMA */
    const char *schema_at;     /* the field that holds it */
    str grammar;               /* OPENAI_GRAMMAR: GBNF that compiles */
    enum openai_calls calls;
    size_t n_strict;                   /* tools with "strict": true */
    const struct chat_tool *only_tool; /* OPENAI_MUST_CALL: this one; NULL: any */
    str prompt;                        /* completions, when prompt_ids is NULL */
    const int32_t *prompt_ids;
    size_t n_prompt_ids;
    char notice[160]; /* what was accepted but is not done, for the log; empty: nothing */
};

/* defaults: the sampling that fields of the request replace. On failure e is set and out needs no
 * freeing. */
bool openai_parse(str body, bool chat, const struct sampling *defaults, struct openai_request *out,
                  struct openai_error *e);
void openai_request_free(struct openai_request *r);

/* Parts of openai_parse, in openai_messages.c: "messages" and "tools" into r->conversation. */
bool openai_parse_messages(struct openai_request *r, struct openai_error *e);
bool openai_parse_tools(struct openai_request *r, struct openai_error *e);
/* In openai_shape.c: the shape of the content, and "tool_choice" when the tools are known. */
bool openai_parse_stops(struct openai_request *r, struct openai_error *e);
/* Stop strings from elsewhere: `stop`, a string, a list of them or NULL, is the field `where`. */
bool openai_take_stops(struct openai_request *r, const struct json *stop, const char *where,
                       struct openai_error *e);
bool openai_parse_shape(struct openai_request *r, struct openai_error *e);
bool openai_parse_tool_choice(struct openai_request *r, struct openai_error *e);
