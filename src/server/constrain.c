#include "server/constrain.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "text/gbnf.h"
#include "text/schema.h"
#include "text/toolcall.h"

enum { MAX_KEPT = 8 };

/* A constraint and everything that went into it, as text. */
struct kept {
    struct buf key;
    struct constraint *constraint; /* NULL: an empty place */
    uint64_t used;                 /* when, in requests */
};

struct constrain_cache {
    struct mask_vocab *vocab;
    pthread_mutex_t lock;
    /* ---- under lock ---- */
    struct kept kept[MAX_KEPT];
    uint64_t n_requests;
};

struct constrain_cache *constrain_open(const struct tok *t, uint32_t n_vocab)
{
    struct constrain_cache *k = mem_new(1, sizeof *k);
    k->vocab = mask_vocab_open(t, n_vocab);
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void constrain_close(struct constrain_cache *k)
{
    if (!k)
        return;
    for (int i = 0; i < MAX_KEPT; i++) {
        constraint_unref(k->kept[i].constraint);
        buf_free(&k->kept[i].key);
    }
    mask_vocab_close(k->vocab);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* ---- kept constraints ---- */

static struct constraint *find(struct constrain_cache *k, str key)
{
    struct constraint *found = NULL;
    pthread_mutex_lock(&k->lock);
    k->n_requests++;
    for (int i = 0; i < MAX_KEPT && !found; i++)
        if (k->kept[i].constraint && str_eq(buf_view(&k->kept[i].key), key)) {
            k->kept[i].used = k->n_requests;
            found = constraint_ref(k->kept[i].constraint);
        }
    pthread_mutex_unlock(&k->lock);
    return found;
}

/* In place of the one that was not used for longest. */
static void keep(struct constrain_cache *k, str key, struct constraint *c)
{
    pthread_mutex_lock(&k->lock);
    struct kept *place = &k->kept[0];
    for (int i = 1; i < MAX_KEPT; i++)
        if (k->kept[i].used < place->used)
            place = &k->kept[i];
    struct constraint *old = place->constraint;
    place->constraint = constraint_ref(c);
    place->used = k->n_requests;
    buf_clear(&place->key);
    buf_str(&place->key, key);
    pthread_mutex_unlock(&k->lock);
    constraint_unref(old);
}

/* ---- making one ---- */

static void put_key(const struct server *s, const struct openai_request *q, bool in_reasoning,
                    struct buf *key)
{
    buf_fmt(key, "%d %d %d %d %d %d\n", (int)s->format, q->chat, (int)q->content, (int)q->calls,
            q->one_call, in_reasoning);
    json_print(q->schema, JSON_COMPACT, key);
    buf_str(key, q->grammar);
    for (size_t i = 0; i < q->conversation.n_tools; i++) {
        const struct chat_tool *tool = &q->conversation.tools[i];
        if (q->only_tool && tool != q->only_tool)
            continue;
        buf_fmt(key, "\n%zu ", tool->name.n);
        buf_str(key, tool->name);
        json_print(tool->parameters, JSON_COMPACT, key);
        buf_fmt(key, " %zu ", tool->lark.n);
        buf_str(key, tool->lark);
    }
}

/* The node for the content; GRAMMAR_NEVER: it is free. */
static bool content_node(struct grammar *g, const struct openai_request *q,
                         const struct json *any_object, uint32_t *node, struct buf *notes,
                         struct err *e)
{
    const struct json *schema = q->content == OPENAI_OBJECT ? any_object : q->schema;
    *node = GRAMMAR_NEVER;
    if (q->content == OPENAI_FREE)
        return true;
    if (q->content == OPENAI_GRAMMAR)
        return gbnf_node(g, q->grammar, node, e);
    struct schema_builder *b = schema_builder_open(g, NULL, 0);
    *node = schema_builder_value(b, schema, schema, "schema");
    buf_str(notes, schema_builder_notes(b));
    schema_builder_close(b);
    return true;
}

static bool reply_rule(const struct server *s, const struct openai_request *q, bool in_reasoning,
                       struct grammar *g, uint32_t *rule, struct buf *notes, struct err *e)
{
    uint32_t content;
    struct json *any_object = json_parse(STR("{\"type\":\"object\"}"), e);
    bool ok = content_node(g, q, any_object, &content, notes, e);
    json_free(any_object);
    if (ok && q->chat)
        return toolcall_rule(g,
                             &(struct toolcall_params){
                                 .format = s->format,
                                 .tok = s->tok,
                                 .tools = q->only_tool ? q->only_tool : q->conversation.tools,
                                 .n_tools = q->only_tool ? 1 : q->conversation.n_tools,
                                 .required = q->calls == OPENAI_MUST_CALL,
                                 .one_call = q->one_call || q->only_tool,
                                 .in_reasoning = in_reasoning,
                                 .may_reason = s->may_reason,
                                 .content = content,
                             },
                             rule, notes, e);
    if (ok) {
        *rule = grammar_rule(g);
        grammar_define(g, *rule, content);
    }
    return ok;
}

static struct constraint *make(const struct server *s, const struct openai_request *q,
                               bool in_reasoning, struct err *e)
{
    struct grammar *g = grammar_new();
    struct buf notes = {0};
    uint32_t rule;
    bool ok = reply_rule(s, q, in_reasoning, g, &rule, &notes, e) && grammar_compile(g, rule, e);
    if (ok && notes.n)
        log_info(&s->params.log, "in schemas of a request, not held while the model writes: %.*s",
                 STRF(buf_view(&notes)));
    buf_free(&notes);
    bool free_text = q->content == OPENAI_FREE && q->calls != OPENAI_MUST_CALL;
    if (ok)
        return constraint_new(g, s->constrain->vocab, free_text && s->format != CHAT_HARMONY);
    grammar_free(g);
    return NULL;
}

bool constrain_request(const struct server *s, const struct openai_request *q, bool in_reasoning,
                       struct constraint **out, struct openai_error *e)
{
    struct buf key = {0};
    struct err why = {0};
    *out = NULL;
    if (q->content == OPENAI_FREE && q->conversation.n_tools == 0)
        return true;
    put_key(s, q, in_reasoning, &key);
    *out = find(s->constrain, buf_view(&key));
    if (!*out) {
        *out = make(s, q, in_reasoning, &why);
        if (*out)
            keep(s->constrain, buf_view(&key), *out);
    }
    buf_free(&key);
    if (*out)
        return true;
    if (q->content != OPENAI_FREE)
        return openai_refuse(e, q->content == OPENAI_GRAMMAR ? "grammar" : q->schema_at,
                             "The reply cannot be given this shape: %s", why.msg);
    /* Tools come from clients that cannot change them: better an answer without a guarantee. */
    log_warn(&s->params.log, "tool calls are not constrained: %s", why.msg);
    return true;
}

bool constrain_check(const struct json *root, const struct json *schema, str value, struct buf *why)
{
    struct err e = {0};
    struct json *v = json_parse(value, &e);
    bool is_null = str_eq(str_trim(value), STR("null"));
    bool ok = v || is_null;
    if (!ok)
        buf_fmt(why, "no complete JSON: %s", e.msg);
    ok = ok && schema_check(root, schema, v, why);
    json_free(v);
    return ok;
}
