/* chat_int: the parser's inside, shared by the files chat_*.c.
 *
 * Text that is not delivered yet waits in `in`. A state's step looks at it and either deals with
 * some bytes for good, in a way that no later byte could change, or waits for more. That is what
 * makes the events independent of how the text was cut into pieces. At the end `final` is set: what
 * was a possible beginning of a marker is text then.
 * Positions count bytes from the start of the reply, without markers that were dropped.
 * Harmony has marks in place of markers and a machine of its own (chat_harmony.c). */
#pragma once
#include "base/buf.h"
#include "base/rng.h"
#include "text/chat.h"
#include "text/mend.h"
#include "text/params.h"

enum chat_state {
    CHAT_AT_START,    /* white space, perhaps <think> */
    CHAT_IN_THINK,    /* up to </think> */
    CHAT_AFTER_THINK, /* line ends that are not content */
    CHAT_IN_CONTENT,
    CHAT_IN_JSON,    /* the object of a JSON call */
    CHAT_IN_BROKEN,  /* what looked like such an object: content up to </tool_call> */
    CHAT_IN_LOST,    /* the rest of a call whose arguments broke: dropped up to </tool_call> */
    CHAT_IN_TAGS,    /* between the parameters of a call made of tags */
    CHAT_IN_VALUE,   /* inside a parameter's value */
    CHAT_AFTER_CALL, /* white space and closing tags */
    CHAT_CUT_OFF,    /* the reply ended inside a call: nothing more can follow */
};

/* Where a line of content stands with respect to code. */
struct chat_lines {
    bool in_fence;    /* since an earlier line */
    char fence_char;  /* '`' or '~' */
    size_t fence_run; /* how many opened it */
    bool has_text;    /* this line: something other than blanks */
    char run_char;    /* this line: the fence characters it starts with */
    size_t run;
    bool run_over; /* something else followed the run */
    bool plain;    /* after the run: nothing but blanks */
    bool ticks;    /* after the run: a backtick, so the line opens no fence */
    bool odd;      /* this line: an odd number of backticks so far */
};

/* A JSON call: its members, read from strict JSON byte by byte. */
struct chat_members {
    uint32_t depth;
    bool in_string, escaped;
    bool in_value;              /* after the colon of a member of the outermost object */
    bool is_name, is_arguments; /* what that member is */
    bool in_arguments;          /* inside the object that they are */
    bool has_arguments;         /* such an object came */
    bool has_quoted;            /* they came as a string */
    bool is_wrong;              /* they are neither object, string nor null */
    struct buf token;           /* a string of the outermost object, with its quotes */
    struct buf name;            /* empty: not known yet */
    struct buf quoted;          /* that string, unescaped */
    struct buf arguments;       /* not delivered yet */
};

/* Harmony: the message that is being read. */
struct chat_harmony {
    bool in_body;
    bool any_mark;     /* one came in this reply */
    bool after_start;  /* the header follows <|start|> */
    size_t channel_at; /* where the channel stands in the header; SIZE_MAX: no mark came */
    enum { HARMONY_CONTENT, HARMONY_REASONING, HARMONY_CALL, HARMONY_NOTHING } kind;
    bool is_new; /* nothing of this body was delivered yet */
};

struct chat_parser {
    struct chat_parser_params params;
    struct rng ids;

    struct buf in;
    size_t base; /* position of in's first byte */
    size_t done; /* everything before is dealt with */
    size_t scan; /* everything before was looked at; >= done */
    bool final;
    bool by_model; /* with .final */
    enum chat_state state;

    struct chat_lines lines;
    size_t text_end;  /* end of the last byte of content that is no white space */
    bool has_content; /* some was delivered */
    bool after_call;  /* white space at .done follows a call */
    bool has_thought; /* some reasoning was delivered */
    size_t call_at;   /* in reasoning: where a call seems to start; SIZE_MAX: nowhere */

    size_t n_begun;
    size_t n_calls;
    size_t n_cut;

    /* The current call. */
    bool is_bare;     /* JSON without <tool_call> */
    bool no_bare;     /* what looked like that was content: nothing after it is a bare call */
    bool broken;      /* its arguments are beyond repair: nothing more of them is delivered */
    bool mended;      /* they were put right somewhere */
    struct mend mend; /* JSON calls: the whole; others: the value, when it is an object or array */
    struct chat_members members;

    /* Calls made of tags. */
    const struct chat_tags *tags;
    const struct chat_tool *tool; /* NULL: not one of the request's */
    struct params takes;          /* what the tool takes */
    struct buf given;             /* names of the parameters so far, each followed by NUL */
    size_t name_at;               /* where the current one starts in given */
    unsigned types;               /* of the current parameter: chat_type bits, 0 unknown */
    bool value_open;              /* the line end after its tag is dealt with */
    bool is_json;                 /* the value is streamed as JSON */
    size_t value_at;              /* where its text starts */
    size_t close_at; /* first closing tag that does not end the value; SIZE_MAX: none */
    size_t other_at; /* the same for tags that would end it if no closing tag came */

    struct chat_harmony harmony; /* its header is in .given */
};

enum chat_match { CHAT_NO, CHAT_MAYBE, CHAT_YES };

/* ---- chat_parse.c ---- */

/* Undelivered text from a position on. */
str chat_rest(const struct chat_parser *p, size_t from);
/* Does s start with marker, or could it when more text comes? */
enum chat_match chat_match(const struct chat_parser *p, str s, str marker);
/* Bytes of white space at the start of s. */
size_t chat_blank(str s);
/* Length of s without a UTF-8 sequence at its end that more bytes may finish. */
size_t chat_whole(str s);
/* Delivers nothing when text is empty, nor arguments of a broken call. */
void chat_emit(struct chat_parser *p, enum chat_event_kind kind, str text);
/* The tool of the request with that name; NULL: none. */
const struct chat_tool *chat_tool_of(const struct chat_parser *p, str name);
void chat_begin_call(struct chat_parser *p, str name);
/* Sends END; the flaw follows from .broken and .mended. */
void chat_end_call(struct chat_parser *p);
/* The same for a call that stays incomplete. */
void chat_cut_call(struct chat_parser *p);
/* Delivers content up to .text_end; with `hold`, less an unfinished UTF-8 sequence. */
void chat_put_content(struct chat_parser *p, bool hold);
/* Continues in a state with the text from position on. */
void chat_go(struct chat_parser *p, enum chat_state state, size_t position);

/* ---- chat_head.c ---- */

/* What opens a call. */
struct chat_head {
    bool is_json;
    bool cut_off;                 /* the reply ends inside the opening tags */
    str name;                     /* tags */
    const struct chat_tags *tags; /* NULL for JSON */
    size_t n_bytes; /* JSON: before the object; tags: up to the first parameter, blanks aside */
};
/* A tag with a name, such as open "<function=" and "NAME>", at the start of s: the name and the
 * tag's length. */
enum chat_match chat_match_tag(const struct chat_parser *p, str s, str open, str *name, size_t *n);
/* Does a call start at s, which starts with '<'? */
enum chat_match chat_match_head(const struct chat_parser *p, str s, bool at_line_start,
                                struct chat_head *out);
void chat_lines_put(struct chat_lines *l, char c);
/* Is the next byte inside code? */
bool chat_lines_code(const struct chat_lines *l);

/* ---- steps: true when another step may follow, false when more text is needed ---- */

bool chat_step_json(struct chat_parser *p);
bool chat_step_broken(struct chat_parser *p);
bool chat_step_lost(struct chat_parser *p);
bool chat_step_tags(struct chat_parser *p);
bool chat_step_value(struct chat_parser *p);
/* A JSON call's object starts at position. */
void chat_enter_json(struct chat_parser *p, size_t position);
void chat_enter_tags(struct chat_parser *p, const struct chat_head *head, size_t inside);
void chat_members_free(struct chat_members *m);

/* ---- chat_tags.c ---- */

extern const struct chat_tags chat_tags_xml, chat_tags_glm;
/* Does a parameter's tag (GLM: with its key) stand at the start of s? Its name and length. */
enum chat_match chat_match_parameter(const struct chat_parser *p, str s, str *name, size_t *n);

/* ---- chat_harmony.c ---- */

bool chat_harmony_is_mark(str token);
void chat_harmony_put(struct chat_parser *p, str text);
void chat_harmony_mark(struct chat_parser *p, str token);
void chat_harmony_end(struct chat_parser *p);

/* ---- chat_value.c: a parameter's text as the JSON value that its schema asks for ---- */

enum chat_type {
    CHAT_STRING = 1,
    CHAT_NUMBER = 2,
    CHAT_BOOL = 4,
    CHAT_OBJECT = 8,
    CHAT_ARRAY = 16,
    CHAT_NULL = 32,
};
/* The types that a tool's schema allows for a parameter, in any of the ways to call it; 0 when it
 * does not say. params: of the tool. */
unsigned chat_types_of(const struct chat_tool *tool, const struct params *params,
                       const char *parameter);
/* Appends value as JSON text. */
void chat_value_put(str value, unsigned types, struct buf *out);
