/* chat: which template a model's conversations are written with. */
#include "text/chat_template.h"

#include <stdlib.h>

#include "text/chat_layout.h"
#include "text/chat_splice.h"

struct chat_template {
    struct chat_layout plain;      /* for conversations without tools, calls and results */
    struct chat_layout with_tools; /* for the others; its program may be plain's */
    const struct tok *tok;
};

/* ---- opening ---- */

static bool mentions(str source, const char *word)
{
    return str_find(source, str_of(word), 0) != SIZE_MAX;
}

static void close_layout(struct chat_layout *l)
{
    jinja_close(l->program);
    l->program = NULL;
    buf_free(&l->header);
}

static bool open_layout(struct chat_layout *l, const struct chat_template *t, str source,
                        struct err *e)
{
    *l = (struct chat_layout){.format = chat_format_of(source),
                              .reasoning_content = mentions(source, "reasoning_content"),
                              .thinking = mentions(source, "thinking"),
                              .reasoning = mentions(source, "'reasoning'") ||
                                           mentions(source, "\"reasoning\"") ||
                                           mentions(source, ".reasoning ")};
    if (t->tok) {
        l->bos = tok_bytes(t->tok, tok_bos(t->tok));
        l->eos = tok_bytes(t->tok, tok_eos(t->tok));
    }
    l->program = jinja_parse(source, e);
    if (l->program && chat_probe(l, e))
        return true;
    close_layout(l);
    return false;
}

/* Is the token that begins the turns of a layout of ours known here? Without a vocabulary the
 * template's text tells. */
static bool has_turns(const struct chat_template_params *p, enum chat_format f)
{
    static const char *const marks[CHAT_N_FORMATS] = {[CHAT_QWEN_XML] = "<|im_start|>",
                                                      [CHAT_HERMES_JSON] = "<|im_start|>",
                                                      [CHAT_HARMONY] = "<|channel|>",
                                                      [CHAT_GLM] = "<|observation|>",
                                                      [CHAT_LLAMA_JSON] = "<|start_header_id|>"};
    if (!marks[f])
        return false;
    return p->tok ? tok_special(p->tok, str_of(marks[f])) >= 0 : mentions(p->source, marks[f]);
}

/* The format whose template of ours fits; CHAT_PLAIN: none. */
static enum chat_format family_of(const struct chat_template_params *p)
{
    static const enum chat_format by_turns[] = {CHAT_HARMONY, CHAT_GLM, CHAT_LLAMA_JSON,
                                                CHAT_HERMES_JSON};
    enum chat_format f = p->source.n ? chat_format_of(p->source) : CHAT_PLAIN;
    for (size_t i = 0; !has_turns(p, f) && i < sizeof by_turns / sizeof *by_turns; i++)
        f = by_turns[i];
    return has_turns(p, f) ? f : CHAT_PLAIN;
}

/* Opens the first layout; ours where the file's fails. */
static bool open_plain(struct chat_template *t, const struct chat_template_params *p, struct err *e)
{
    enum chat_format family = family_of(p);
    struct err ignored;
    if (p->source.n && open_layout(&t->plain, t, p->source, e))
        return true;
    if (family == CHAT_PLAIN) {
        if (p->source.n)
            return err_within(e, "the file's chat template fails and tawny has none for it");
        return err_set(e, ERR_UNSUPPORTED,
                       "the file has no chat template and its vocabulary fits none of tawny's "
                       "(ChatML, harmony, GLM, Llama 3): only raw prompts work (/v1/completions, "
                       "tawny run --raw)");
    }
    log_warn(p->log, "%s%s; conversations are written with tawny's own template '%s'",
             p->source.n ? "the file's chat template fails: " : "the file has no chat template",
             p->source.n ? e->msg : "", chat_format_name(family));
    return open_layout(&t->plain, t, chat_builtin(family), p->source.n ? &ignored : e);
}

/* The layout for conversations with tools. */
static void open_with_tools(struct chat_template *t, const struct chat_template_params *p)
{
    struct err e = {0};
    enum chat_format family = family_of(p);
    if (p->tool_source.n && open_layout(&t->with_tools, t, p->tool_source, &e)) {
        if (t->with_tools.traits.tools)
            return;
        close_layout(&t->with_tools);
    }
    t->with_tools = t->plain;
    if (t->plain.traits.tools)
        return;
    if (family != CHAT_PLAIN && open_layout(&t->with_tools, t, chat_builtin(family), &e)) {
        log_warn(p->log,
                 "the file's chat template does not show tools, calls and results; with tools, "
                 "conversations are written with tawny's own template '%s'",
                 chat_format_name(family));
        return;
    }
    log_warn(p->log, "the file's chat template does not show tools, calls and results: tawny "
                     "writes them into the messages as text");
    t->with_tools = t->plain;
    t->with_tools.format = CHAT_HERMES_JSON;
}

struct chat_template *chat_template_open(const struct chat_template_params *p, struct err *e)
{
    struct chat_template *t = mem_new(1, sizeof *t);
    t->tok = p->tok;
    if (!open_plain(t, p, e)) {
        chat_template_close(t);
        return NULL;
    }
    open_with_tools(t, p);
    return t;
}

struct chat_template *chat_template_load(const struct gguf *g, str source, const struct tok *tok,
                                         const struct log *log, struct err *e)
{
    struct chat_template_params p = {.source = source, .tok = tok, .log = log};
    if (!source.n && (!gguf_str(g, "tokenizer.chat_template", false, &p.source, e) ||
                      !gguf_str(g, "tokenizer.chat_template.tool_use", false, &p.tool_source, e)))
        return NULL;
    return chat_template_open(&p, e);
}

void chat_template_close(struct chat_template *t)
{
    if (!t)
        return;
    if (t->with_tools.program != t->plain.program)
        close_layout(&t->with_tools);
    close_layout(&t->plain);
    free(t);
}

enum chat_format chat_template_format(const struct chat_template *t)
{
    return t->with_tools.format;
}

/* ---- rendering ---- */

uint8_t chat_mark(const struct chat_request *adapted, size_t i)
{
    return adapted->messages[i].sampled ? (uint8_t)(2 + 2 * (i % 126)) : 1;
}

/* Roles and the texts of tokens are the template's own, the rest came from outside. */
static uint8_t mark_of(void *ctx, str variable, size_t i, str member)
{
    const struct chat_request *adapted = ctx;
    if (str_eq(variable, STR("bos_token")) || str_eq(variable, STR("eos_token")))
        return 0;
    if (!str_eq(variable, STR("messages")) || i == SIZE_MAX)
        return 1;
    if (str_eq(member, STR("role")))
        return 0;
    bool reasons = str_starts(member, STR("reasoning")) || str_eq(member, STR("thinking"));
    uint8_t mark = chat_mark(adapted, i);
    return reasons && mark > 1 ? mark + 1 : mark;
}

static bool render_adapted(const struct chat_layout *l, struct chat_request *adapted,
                           bool open_reply, struct buf *out, struct jinja_spans *spans,
                           struct err *e)
{
    struct buf vars = {0};
    const struct jinja_params p = {
        .now_unix = adapted->now_unix, .mark = mark_of, .mark_ctx = adapted};
    chat_vars_put(l, adapted, open_reply, &vars);
    struct json *v = json_parse(buf_view(&vars), e);
    bool ok = v && jinja_render(l->program, v, &p, out, spans, e);
    buf_free(&vars);
    json_free(v);
    return ok;
}

bool chat_layout_render(const struct chat_layout *l, const struct chat_request *r, bool open_reply,
                        struct buf *out, struct jinja_spans *spans, struct err *e)
{
    struct arena arena = {0};
    struct chat_request adapted;
    bool ok = chat_adapt(l, r, &arena, &adapted, e) &&
              render_adapted(l, &adapted, open_reply, out, spans, e);
    arena_free(&arena);
    return ok;
}

static bool uses_tools(const struct chat_request *r)
{
    if (r->n_tools)
        return true;
    for (size_t i = 0; i < r->n_messages; i++) {
        if (r->messages[i].n_calls || r->messages[i].role == CHAT_TOOL)
            return true;
    }
    return false;
}

/* What stands behind the last header. */
static str opening_of(const struct chat_layout *l, str text)
{
    str header = buf_view(&l->header);
    for (size_t at = text.n; header.n && at >= header.n; at--) {
        if (str_eq(str_sub(text, at - header.n, at), header))
            return str_sub(text, at, SIZE_MAX);
    }
    return (str){NULL, 0};
}

bool chat_render(const struct chat_template *t, const struct chat_request *r,
                 struct chat_prompt *out, struct err *e)
{
    struct arena arena = {0};
    struct chat_request adapted;
    struct jinja_spans spans = {0};
    struct buf text = {0};
    if (r->n_messages == 0)
        return err_set(e, ERR_USAGE, "messages: the list is empty, at least one is needed");
    const struct chat_layout *l = uses_tools(r) ? &t->with_tools : &t->plain;
    bool ok = chat_adapt(l, r, &arena, &adapted, e) &&
              render_adapted(l, &adapted, true, &text, &spans, e);
    if (ok) {
        chat_splice(l, t->tok, &adapted, &text, &spans, out);
        out->opening = opening_of(l, buf_view(&out->text));
        out->in_reasoning = str_ends(str_trim(buf_view(&out->text)), STR("<think>"));
    }
    free(spans.at);
    arena_free(&arena);
    return ok;
}

/* Encodes bytes [from, to) of the prompt. */
static void encode_piece(const struct chat_prompt *p, const struct tok *tok, size_t from, size_t to,
                         size_t *i_span, struct tok_ids *out)
{
    size_t first = *i_span;
    while (*i_span < p->n_spans && p->spans[*i_span].from < to)
        ++*i_span;
    size_t n = *i_span - first;
    struct tok_span *spans = mem_new(n + 1, sizeof *spans);
    for (size_t i = 0; i < n; i++) /* no span reaches over a run */
        spans[i] =
            (struct tok_span){p->spans[first + i].from - from, p->spans[first + i].to - from};
    tok_encode(tok, str_sub(buf_view(&p->text), from, to),
               &(struct tok_params){.special = true, .literal = spans, .n_literal = n}, out);
    free(spans);
}

void chat_prompt_encode(const struct chat_prompt *p, const struct tok *tok, struct tok_ids *out)
{
    size_t start = out->n, at = 0, i_span = 0;
    int32_t bos = tok_bos(tok);
    bool wants_bos = tok_add_bos(tok) && bos >= 0;
    if (wants_bos)
        tok_ids_put(out, bos);
    for (size_t i = 0; i < p->n_runs; i++) {
        encode_piece(p, tok, at, p->runs[i].from, &i_span, out);
        for (size_t k = 0; k < p->runs[i].n_ids; k++)
            tok_ids_put(out, p->runs[i].ids[k]);
        at = p->runs[i].to;
    }
    encode_piece(p, tok, at, p->text.n, &i_span, out);
    /* The template may have written it. */
    if (wants_bos && out->n > start + 1 && out->ids[start + 1] == bos) {
        for (size_t i = start + 1; i < out->n; i++)
            out->ids[i - 1] = out->ids[i];
        out->n--;
    }
}

void chat_prompt_free(struct chat_prompt *p)
{
    for (size_t i = 0; i < p->n_runs; i++)
        free(p->runs[i].ids);
    free(p->runs);
    buf_free(&p->text);
    free(p->spans);
    *p = (struct chat_prompt){0};
}
