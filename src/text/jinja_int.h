/* jinja_int: the interpreter's inside, shared by the files jinja_*.c. A template becomes tokens
 * (jinja_lex), the tokens a tree (jinja_parse, jinja_expr), and a render walks the tree
 * (jinja_exec, jinja_eval) with the built-in functions of jinja_filter, jinja_test, jinja_method
 * and jinja_global. A render's values live in one arena that dies with it. */
#pragma once
#include "base/mem.h"
#include "text/jinja.h"

enum { JINJA_MAX_RECURSION = 1500 };

/* ---- values ---- */

enum jinja_kind {
    JINJA_ABSENT, /* no value at all: an argument that was not given */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_BIG, /* an integer of the variables that has more than 64 bits */
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_STREAM, /* what map, select and the like give: may be walked, has no length */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_LOOP,
    JINJA_FUNCTION,
};

/* Values are passed by copy and never change; only namespaces do. */
struct jinja_value {
    enum jinja_kind kind;
    uint8_t whole; /* STRING without mark: the mark of all its bytes */
    bool safe;     /* STRING: came through `safe`; + escapes for HTML what it is joined with */
    size_t n;      /* STRING, UNDEFINED: bytes; LIST, TUPLE, STREAM: items */
    union {
        bool truth;
        int64_t i;
        double f;
        const struct json *big;
        const char *p; /* STRING; UNDEFINED: the name that nothing was found under */
        const struct jinja_value *items;
        struct jinja_dict *dict; /* DICT, NAMESPACE */
        const struct jinja_macro *macro;
        struct jinja_loop *loop;
        const struct jinja_bound *function;
    };
    /* STRING: NULL, or for every byte its mark (jinja_params.mark; 0: the template's own). */
    const char *mark;
    struct jinja_tail *tail; /* STRING: where a concatenation may grow in place, or NULL */
};

struct jinja_entry {
    struct jinja_value key;
    struct jinja_value value;
};

struct jinja_dict {
    struct jinja_entry *entries; /* in order of insertion */
    size_t n;
    size_t room;
};

/* ---- programs ---- */

enum jinja_op {
    /* expressions */
    JINJA_X_LITERAL, /* value */
    JINJA_X_NAME,    /* text */
    JINJA_X_LIST,    /* a...: items */
    JINJA_X_TUPLE,
    JINJA_X_DICT,   /* a...: pairs */
    JINJA_X_PAIR,   /* a: b */
    JINJA_X_ATTR,   /* a.text */
    JINJA_X_ITEM,   /* a[b] */
    JINJA_X_SLICE,  /* a[b:c:d] */
    JINJA_X_CALL,   /* a(b...) */
    JINJA_X_ARG,    /* a, or text=a */
    JINJA_X_FILTER, /* a|text(b...); a is NULL in a filter block */
    JINJA_X_TEST,   /* a is text(b...) */
    JINJA_X_NOT,
    JINJA_X_NEG,
    JINJA_X_POS,
    JINJA_X_ADD,
    JINJA_X_SUB,
    JINJA_X_MUL,
    JINJA_X_DIV,
    JINJA_X_FLOORDIV,
    JINJA_X_MOD,
    JINJA_X_POW,
    JINJA_X_CONCAT,
    JINJA_X_COMPARE, /* a, then b...: operands of the chain */
    JINJA_X_OPERAND, /* compare with a */
    JINJA_X_AND,
    JINJA_X_OR,
    JINJA_X_TERNARY, /* b if a else c */
    /* statements */
    JINJA_X_TEXT,         /* text */
    JINJA_X_PRINT,        /* a */
    JINJA_X_IF,           /* a, then b..., else c... */
    JINJA_X_FOR,          /* target a in b if d: c...; otherwise: else */
    JINJA_X_SET,          /* target a = b */
    JINJA_X_SET_BLOCK,    /* target a = output of c..., through the filters b */
    JINJA_X_MACRO,        /* text, parameters a..., body c... */
    JINJA_X_PARAM,        /* text = a */
    JINJA_X_CALL_BLOCK,   /* call a, with caller = the macro b */
    JINJA_X_FILTER_BLOCK, /* filters b over c... */
    JINJA_X_GROUP,        /* c... */
    JINJA_X_BREAK,
    JINJA_X_CONTINUE,
};

enum jinja_compare {
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOT_IN,
};

struct jinja_node {
    enum jinja_op op;
    enum jinja_compare compare;
    uint32_t line;
    uint16_t depth; /* of the tree below, at most JINJA_MAX_DEPTH */
    bool recursive; /* FOR */
    str text;
    struct jinja_node *a, *b, *c, *d;
    struct jinja_node *otherwise;
    struct jinja_node *next;             /* in a list */
    const struct jinja_value *value;     /* LITERAL */
    const struct jinja_builtin *builtin; /* FILTER, TEST: NULL when the name is unknown */
};

struct jinja {
    struct arena mem;
    struct jinja_node *body; /* a list, NULL when empty */
};

/* ---- jinja_lex.c ---- */

enum jinja_token_kind {
    JINJA_T_TEXT,
    JINJA_T_STATEMENT, /* {% */
    JINJA_T_OUTPUT,    /* {{ */
    JINJA_T_CLOSE,     /* %} or }} */
    JINJA_T_NAME,
    JINJA_T_STRING, /* without quotes, escapes as written */
    JINJA_T_INT,
    JINJA_T_FLOAT,
    JINJA_T_OPERATOR,
    JINJA_T_END,
};

struct jinja_token {
    enum jinja_token_kind kind;
    uint32_t line;
    str text; /* a view of the source */
};

/* Cuts source into tokens, the last one END; *tokens is to be freed with free(). */
bool jinja_lex(str source, struct jinja_token **tokens, struct err *e);

/* ---- parsing ---- */

struct jinja_parser {
    struct arena *mem;
    const struct jinja_token *at;
    uint32_t nesting;
    uint32_t n_loops; /* open around the statement that is read */
    struct err *e;
};

/* jinja_expr.c. NULL and an error on failure. */
struct jinja_node *jinja_parse_expr(struct jinja_parser *p);
/* Items with commas make a tuple. Without `ternary` a trailing "if" is left alone. */
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool ternary);
struct jinja_node *jinja_parse_target(struct jinja_parser *p);
/* name(args)|name...: filters over `input`. */
struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *input);
struct jinja_node *jinja_parse_primary(struct jinja_parser *p);
struct jinja_node *jinja_parse_postfix(struct jinja_parser *p, struct jinja_node *n);

/* A node over a and b; NULL and an error when the tree is too deep. */
struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_op op, uint32_t line,
                              struct jinja_node *a, struct jinja_node *b);
/* Takes the depth of n's children into account, once they are all there. */
struct jinja_node *jinja_node_done(struct jinja_parser *p, struct jinja_node *n);
/* The error "line L: expected WHAT, found ...". Returns NULL. */
void *jinja_expected(struct jinja_parser *p, const char *what);
bool jinja_is_op(const struct jinja_parser *p, const char *op);
bool jinja_is_name(const struct jinja_parser *p, const char *name);
bool jinja_accept_op(struct jinja_parser *p, const char *op);
bool jinja_accept_name(struct jinja_parser *p, const char *name);
bool jinja_expect_op(struct jinja_parser *p, const char *op);
/* Counts one more level of recursion; an error beyond the limit. The caller counts down. */
bool jinja_deeper(struct jinja_parser *p);

/* ---- a render ---- */

struct jinja_var {
    str name;
    struct jinja_value value; /* ABSENT: not set in this pass of the loop */
    struct jinja_var *next;
};

struct jinja_scope {
    struct jinja_scope *up;
    struct jinja_var *vars;
};

struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* where it was defined */
};

struct jinja_loop {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* around the loop */
    struct jinja_value items;
    size_t i;
    int64_t depth;                  /* of recursion, from 0 */
    struct jinja_value last_change; /* what loop.changed saw */
};

struct jinja_tail {
    size_t used;
    size_t room;
    char *bytes;
    char *marks;
};

/* JSON that a template parsed; freed with the render. */
struct jinja_tree {
    struct json *root;
    struct jinja_tree *next;
};

struct jinja_run {
    struct arena mem;
    struct jinja_tree *trees;
    const struct jinja_params *params;
    struct buf out;   /* the output, and above it strings that are being made */
    struct buf marks; /* one byte for each of out */
    uint64_t steps;
    uint64_t max_steps;
    size_t max_memory;
    uint32_t line; /* that is being worked on, for messages */
    uint32_t depth;
    uint32_t n_calls;
    struct err *e;
};

struct jinja_args {
    const struct jinja_value *at;
    size_t n;
    const str *names; /* of the last n_named arguments */
    size_t n_named;
};

/* jinja_exec.c: false on failure. */
bool jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                      const struct jinja_args *args, const struct jinja_value *caller,
                      struct jinja_value *out);
bool jinja_call_loop(struct jinja_run *r, const struct jinja_loop *l, const struct jinja_args *args,
                     struct jinja_value *out);
struct jinja_var *jinja_find(struct jinja_scope *s, str name);
void jinja_set(struct jinja_run *r, struct jinja_scope *s, str name, struct jinja_value v);

/* jinja_eval.c */
bool jinja_eval(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                struct jinja_value *out);
bool jinja_apply_filters(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                         struct jinja_value in, struct jinja_value *out);
bool jinja_eval_args(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *list,
                     struct jinja_args *out);
/* What a call's first part gives: methods of mappings come before their keys. */
bool jinja_eval_callee(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                       struct jinja_value *out);
/* caller: NULL, or the macro that a call block hands over. */
bool jinja_call(struct jinja_run *r, struct jinja_value f, const struct jinja_args *args,
                const struct jinja_value *caller, struct jinja_value *out);
bool jinja_attr(struct jinja_run *r, struct jinja_value v, str name, struct jinja_value *out);
bool jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key,
                struct jinja_value *out);

/* jinja_math.c: + - * / // % ** of two values. */
bool jinja_arith(struct jinja_run *r, enum jinja_op op, struct jinja_value a, struct jinja_value b,
                 struct jinja_value *out);
bool jinja_negate(struct jinja_run *r, struct jinja_value v, struct jinja_value *out);

/* ---- jinja_value.c ---- */

/* "line L: ..." with code ERR_FORMAT; false. */
bool jinja_fail(struct jinja_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool jinja_fail_limit(struct jinja_run *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Counts work, 1 for about as much as one operator takes; false over a limit. */
bool jinja_work(struct jinja_run *r, size_t n);
/* One more level of recursion in C, undone with r->depth--, after a failure too. */
bool jinja_enter(struct jinja_run *r);
/* Memory for n elements of a size that the template chose; NULL and an error over the limit. */
void *jinja_room(struct jinja_run *r, size_t n, size_t size);

struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_int(int64_t i);
struct jinja_value jinja_float(double f);
/* The template's own text; s must outlive the render. */
struct jinja_value jinja_text(str s);
struct jinja_value jinja_undefined(str name);
struct jinja_value jinja_list(enum jinja_kind kind, const struct jinja_value *items, size_t n);
str jinja_str(const struct jinja_value *v);
/* Bytes [from, to) of a string, with their marks. */
struct jinja_value jinja_sub(const struct jinja_value *s, size_t from, size_t to);

bool jinja_is_number(const struct jinja_value *v); /* booleans too */
double jinja_to_f64(const struct jinja_value *v);
bool jinja_is_list(const struct jinja_value *v); /* list, tuple, stream */
bool jinja_truth(const struct jinja_value *v);
/* Python's name of the type, for messages. */
const char *jinja_kind_name(const struct jinja_value *v);
/* a == b. False on failure only. */
bool jinja_equal(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                 bool *out);
/* *out < 0, 0, > 0. Fails for what has no order. */
bool jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                 int *out);
/* needle in hay */
bool jinja_contains(struct jinja_run *r, const struct jinja_value *hay,
                    const struct jinja_value *needle, bool *out);
/* What a loop over v walks: a list of its items, keys or characters. */
bool jinja_iterate(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out);
bool jinja_length(struct jinja_run *r, const struct jinja_value *v, size_t *out);

struct jinja_dict *jinja_dict_new(struct jinja_run *r);
/* *out is NULL when there is no such key. */
bool jinja_dict_find(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_value *key,
                     struct jinja_value **out);
bool jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value);

/* The pairs of d as tuples. */
bool jinja_dict_items(struct jinja_run *r, const struct jinja_dict *d, enum jinja_kind kind,
                      struct jinja_value *out);

/* jinja_json.c: the members of vars, whose strings stay views into it. */
bool jinja_from_json(struct jinja_run *r, const struct json *vars, struct jinja_dict *out);
/* The filter from_json. */
bool jinja_parse_json(struct jinja_run *r, const struct jinja_value *text, struct jinja_value *out);

/* ---- jinja_text.c: strings with marks, made on top of the output ---- */

size_t jinja_begin(const struct jinja_run *r);
void jinja_put(struct jinja_run *r, const struct jinja_value *string);
/* Bytes [from, to) of a string. */
void jinja_put_sub(struct jinja_run *r, const struct jinja_value *string, size_t from, size_t to);
void jinja_put_text(struct jinja_run *r, str own);
/* Marks what was written to r->out since the last mark. */
void jinja_mark(struct jinja_run *r, uint8_t mark);
/* s with a mark for all of it. */
void jinja_put_as(struct jinja_run *r, str s, uint8_t mark);
/* Takes what was put since begin away as a string; false when it is over the limits. */
bool jinja_take(struct jinja_run *r, size_t begin, struct jinja_value *out);
/* a + b; appends in place where a is the end of an earlier concatenation. */
bool jinja_concat(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                  struct jinja_value *out);
/* s with & < > ' " as HTML writes them (markupsafe.escape). */
bool jinja_escape(struct jinja_run *r, const struct jinja_value *s, struct jinja_value *out);
/* Code points, and the byte position of the i-th one (n when there are fewer). */
size_t jinja_count_chars(str s);
size_t jinja_char_at(str s, size_t i);
/* s without what is in set (white space when set is NULL) at its ends. */
struct jinja_value jinja_strip(const struct jinja_value *s, const str *set, bool left, bool right);
bool jinja_replace(struct jinja_run *r, const struct jinja_value *s, const struct jinja_value *from,
                   const struct jinja_value *to, int64_t max, struct jinja_value *out);
/* TITLE is the method title, WORDS the filter title. */
enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_WORDS, JINJA_CAPITALIZE };
bool jinja_recase(struct jinja_run *r, const struct jinja_value *s, enum jinja_case to,
                  struct jinja_value *out);

/* ---- jinja_print.c ---- */

/* Puts str(v) or repr(v). */
bool jinja_put_str(struct jinja_run *r, const struct jinja_value *v);
bool jinja_put_repr(struct jinja_run *r, const struct jinja_value *v);
/* str(v) as a value; strings as they are. */
bool jinja_to_str(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out);

struct jinja_json_style {
    int64_t indent; /* -1: on one line */
    str item_separator;
    str key_separator;
    bool ascii;
    bool sort_keys;
};
bool jinja_put_json(struct jinja_run *r, const struct jinja_value *v,
                    const struct jinja_json_style *style);

/* ---- built-in functions ---- */

enum { JINJA_MAX_PARAMS = 4 };

/* What a built-in function gets. */
struct jinja_call {
    struct jinja_run *run;
    struct jinja_value in; /* the filter's input, the method's object */
    struct jinja_value
        arg[JINJA_MAX_PARAMS]; /* by the table's parameters; ABSENT where not given */
    struct jinja_args all;
};
typedef bool jinja_function(struct jinja_call *c, struct jinja_value *out);

struct jinja_builtin {
    const char *name;
    const char *params; /* names with spaces between; NULL: takes whatever comes, in .all */
    int n_required;
    jinja_function *run;
};

/* The named row of a table that ends with a row without a name; NULL when there is none. */
const struct jinja_builtin *jinja_lookup(const struct jinja_builtin *table, str name);
const struct jinja_builtin *jinja_find_filter(str name);
const struct jinja_builtin *jinja_find_list_filter(str name);
const struct jinja_builtin *jinja_find_test(str name);
const struct jinja_builtin *jinja_find_global(str name);
/* The method of a value; NULL when its type has none of that name. */
const struct jinja_builtin *jinja_find_method(const struct jinja_value *v, str name);

struct jinja_bound {
    const struct jinja_builtin *builtin;
    struct jinja_value self;
};
/* Binds the arguments to parameters by place and name and runs the function. */
bool jinja_call_builtin(struct jinja_run *r, const struct jinja_builtin *b, struct jinja_value in,
                        const struct jinja_args *args, struct jinja_value *out);
/* A test on a value, for select and the like. */
bool jinja_run_test(struct jinja_run *r, str name, struct jinja_value in,
                    const struct jinja_args *args, bool *out);

/* An argument as an integer, or `otherwise` when it was not given (or is None). */
bool jinja_arg_int(struct jinja_call *c, int i, int64_t otherwise, int64_t *out);
/* An argument that must be a string. */
bool jinja_arg_str(struct jinja_call *c, int i, const char *what);
