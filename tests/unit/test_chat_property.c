/* Generated conversations: what chat_render writes as the model's turn, the parser reads back, and
 * rendered again it is the same text; and no cut of any text, sound or damaged, changes the events.
 */
#include "base/mem.h"
#include "kit/chat_layouts.h"
#include "kit/chat_record.h"
#include "test.h"

enum { N_TRANSCRIPTS = 1500, MAX_CALLS = 3, MAX_TEXT_PARTS = 8 };

static const char *pick(struct rng *r, const char *const *list, size_t n)
{
    return list[rng_below(r, n)];
}
#define PICK(r, list) pick(r, list, sizeof list / sizeof *list)

/* ---- random parts ---- */

static const char *const words[] = {"I",
                                    "will look",
                                    ".",
                                    " ",
                                    "\n",
                                    "\n\n",
                                    "a < b",
                                    "caf\xc3\xa9",
                                    "\xf0\x9f\x9a\x80",
                                    "<b>",
                                    "</think>",
                                    "{\"name\": 1}",
                                    "`x`",
                                    "#include <stdio.h>",
                                    "\t",
                                    "<tool>",
                                    "1. ",
                                    "\\n",
                                    "\"",
                                    "$HOME",
                                    "\r\n"};
/* Content only. */
static const char *const blocks[] = {
    "</parameter>", "\n```c\nint main(void) { return 0; }\n```\n",
    "\n```\n<tool_call>\n<function=all>\n</function>\n```\n",
    "\n~~~xml\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n~~~\n"};
/* Inside values: nothing that would truly end one. */
static const char *const inside[] = {
    "</parameter> x", "<parameter=zz>", "</function> y", "</tool_call> z",
    "<function=f>",   "<tool_call>q",   "</param",       "<"};

static str random_content(struct rng *r, struct arena *a)
{
    struct buf text = {0};
    for (uint64_t n = rng_below(r, MAX_TEXT_PARTS); n > 0; n--)
        buf_str(&text, str_of(rng_below(r, 6) ? PICK(r, words) : PICK(r, blocks)));
    str s = arena_str(a, str_trim(buf_view(&text)));
    buf_free(&text);
    return s;
}

static void random_string(struct rng *r, struct buf *out)
{
    for (uint64_t n = rng_below(r, MAX_TEXT_PARTS); n > 0; n--)
        buf_str(out, str_of(rng_below(r, 3) ? PICK(r, words) : PICK(r, inside)));
}

/* Appends the canonical JSON of a value for parameter s, i, n, b, o or a of the tool `all`. */
static void random_value(struct rng *r, char parameter, struct buf *out)
{
    static const char *const floats[] = {"1.0", "-2.5", "1e+20", "1e-05", "3", "0.1"};
    static const char *const objects[] = {"{}", "{\"k\": [1, \"</parameter>\\n<x>\"]}",
                                          "{\"t\": null, \"u\": {\"\": false}}"};
    static const char *const arrays[] = {"[]", "[1, 2.5, \"a\"]", "[[\"\xc3\xa9\\\"\"], {}]"};
    struct buf text = {0};
    switch (parameter) {
    case 's':
        random_string(r, &text);
        json_quote(buf_view(&text), out);
        break;
    case 'i': buf_fmt(out, "%lld", (long long)rng_u64(r) >> rng_below(r, 64)); break;
    case 'n': buf_str(out, str_of(PICK(r, floats))); break;
    case 'b': buf_str(out, rng_below(r, 2) ? STR("true") : STR("false")); break;
    case 'o': buf_str(out, str_of(PICK(r, objects))); break;
    default: buf_str(out, str_of(PICK(r, arrays))); break;
    }
    buf_free(&text);
}

static str random_arguments(struct rng *r, struct arena *a)
{
    struct buf text = {0};
    buf_byte(&text, '{');
    for (const char *c = "sinboa"; *c; c++) {
        if (rng_below(r, 2))
            continue;
        buf_fmt(&text, "%s\"%c\": ", text.n > 1 ? ", " : "", *c);
        random_value(r, *c, &text);
    }
    buf_byte(&text, '}');
    str s = arena_str(a, buf_view(&text));
    buf_free(&text);
    return s;
}

static struct chat_message random_reply(struct rng *r, struct arena *a)
{
    struct chat_call *calls = arena_new(a, MAX_CALLS, sizeof *calls);
    struct chat_message m = {.role = CHAT_ASSISTANT, .calls = calls};
    m.content = random_content(r, a);
    m.n_calls = rng_below(r, MAX_CALLS + 1);
    for (size_t i = 0; i < m.n_calls; i++)
        calls[i] = (struct chat_call){STR("id"), STR("all"), random_arguments(r, a)};
    return m;
}

/* ---- a reply as text and back ---- */

/* The text of the assistant's turn as chat_render writes it. */
static str turn_text(const struct chat_template *t, const struct chat_record_tools *k,
                     struct chat_message m, struct arena *a)
{
    struct err e = {0};
    struct chat_prompt p = {0};
    struct chat_message messages[] = {{.role = CHAT_USER, .content = STR("?")}, m};
    struct chat_request r = {
        .messages = messages, .n_messages = 2, .tools = k->tools, .n_tools = CHAT_RECORD_TOOLS};
    str before = STR("<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n");
    str after = STR("<|im_end|>\n<|im_start|>assistant\n");
    CHECK_OK(chat_render(t, &r, &p, &e));
    size_t from = str_find(buf_view(&p.text), before, 0) + before.n;
    CHECK(str_ends(buf_view(&p.text), after));
    str text = arena_str(a, str_sub(buf_view(&p.text), from, p.text.n - after.n));
    chat_prompt_free(&p);
    return text;
}

struct reply {
    struct buf content;
    struct buf arguments[MAX_CALLS];
    struct chat_call calls[MAX_CALLS];
    size_t n_calls;
    struct arena arena;
};

static void put_event(void *ctx, const struct chat_event *e)
{
    struct reply *r = ctx;
    switch (e->kind) {
    case CHAT_CONTENT: buf_str(&r->content, e->text); break;
    case CHAT_REASONING: test_fail(__FILE__, __LINE__, "reasoning from nowhere"); break;
    case CHAT_CALL_BEGIN:
        CHECK(r->n_calls < MAX_CALLS);
        r->calls[r->n_calls].name = arena_str(&r->arena, e->name);
        break;
    case CHAT_CALL_ARGUMENTS: buf_str(&r->arguments[r->n_calls], e->text); break;
    case CHAT_CALL_END:
        r->calls[r->n_calls].arguments = buf_view(&r->arguments[r->n_calls]);
        r->n_calls++;
        break;
    }
}

static void check_round_trip(const struct chat_template *t, const struct chat_record_tools *k,
                             const struct chat_message *m, str text)
{
    struct reply r = {0};
    struct chat_parser *p = chat_parser_open(&(struct chat_parser_params){
        chat_template_format(t), k->tools, CHAT_RECORD_TOOLS, false, 1, put_event, &r});
    chat_parser_put(p, text);
    chat_parser_end(p);
    chat_parser_close(p);
    CHECK_STR(buf_view(&r.content), m->content);
    CHECK_INT(r.n_calls, m->n_calls);
    for (size_t i = 0; i < r.n_calls; i++)
        CHECK_STR(r.calls[i].arguments, m->calls[i].arguments);
    struct chat_message again = {.role = CHAT_ASSISTANT,
                                 .content = buf_view(&r.content),
                                 .calls = r.calls,
                                 .n_calls = r.n_calls};
    CHECK_STR(turn_text(t, k, again, &r.arena), text);
    buf_free(&r.content);
    for (size_t i = 0; i < MAX_CALLS; i++)
        buf_free(&r.arguments[i]);
    arena_free(&r.arena);
}

static void check_cuts(enum chat_format f, const struct chat_record_tools *k, str text,
                       struct rng *rng)
{
    struct chat_record_cut cuts[] = {{0, NULL}, {1, NULL}, {5, rng}, {60, rng}};
    struct buf first = {0};
    for (int i = 0; i < 4; i++) {
        struct buf got = chat_record_parse(f, k->tools, CHAT_RECORD_TOOLS, text, cuts[i]);
        if (i == 0) {
            first = got;
            continue;
        }
        if (!str_eq(buf_view(&got), buf_view(&first)))
            test_fail(__FILE__, __LINE__, "cut %d:\n--- text\n%.*s\n--- got\n%.*s\n--- want\n%.*s",
                      i, STRF(text), STRF(buf_view(&got)), STRF(buf_view(&first)));
        buf_free(&got);
    }
    buf_free(&first);
}

/* Removes, doubles or moves a random part. */
static str damaged(struct rng *r, str text, struct arena *a)
{
    size_t from = rng_below(r, text.n + 1);
    size_t to = from + rng_below(r, 20);
    size_t at = rng_below(r, text.n + 1);
    struct buf b = {0};
    uint64_t kind = rng_below(r, 3);
    buf_str(&b, str_sub(text, 0, kind == 0 ? from : at));
    if (kind != 0)
        buf_str(&b, kind == 1 ? str_sub(text, from, to) : str_of(PICK(r, inside)));
    buf_str(&b, str_sub(text, kind == 0 ? to : at, SIZE_MAX));
    str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static void check_transcripts(enum chat_format f, uint64_t seed)
{
    struct rng rng = {seed};
    struct chat_record_tools k = chat_record_open_tools();
    struct chat_template *t = kit_builtin_template(f);
    for (int i = 0; i < N_TRANSCRIPTS; i++) {
        struct arena a = {0};
        struct chat_message m = random_reply(&rng, &a);
        str text = turn_text(t, &k, m, &a);
        check_round_trip(t, &k, &m, text);
        check_cuts(f, &k, text, &rng);
        check_cuts(f, &k, damaged(&rng, damaged(&rng, text, &a), &a), &rng);
        arena_free(&a);
    }
    chat_template_close(t);
    json_free(k.root);
}

TEST(chat_xml_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_QWEN_XML, test_seed());
}

TEST(chat_hermes_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_HERMES_JSON, test_seed() + 1);
}
