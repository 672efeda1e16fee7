/* Generated replies in every format: what is written as the model's turn, the parser reads back,
 * and written again it is the same text; and no cut of any text, sound or damaged, changes the
 * events. */
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
    "a `</think>` b", "\n```c\nint main(void) { return 0; }\n```\n",
    "\n```\n<tool_call>\n<function=all>\n</function>\n```\n",
    "\n~~~xml\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n~~~\n"};
/* Inside values: nothing that would truly end one. */
static const char *const inside[] = {
    "</parameter> x",   "<parameter=zz>",       "</function> y", "</tool_call> z",
    "<function=f>",     "<tool_call>q",         "</param",       "<",
    "</arg_value> <b>", "<arg_key>zz</arg_key>"};
/* What damages a reply: whole markers and marks, beside the above. */
static const char *const markers[] = {"<think>",
                                      "</think>",
                                      "<tool_call>",
                                      "</tool_call>",
                                      "<|channel|>",
                                      "<|message|>",
                                      "<|start|>",
                                      "<|end|>",
                                      "<|call|>",
                                      "<|constrain|>",
                                      "final",
                                      " to=functions.all ",
                                      "</parameter>",
                                      "</function>",
                                      "</arg_value>",
                                      "<|python_tag|>",
                                      "{",
                                      "}",
                                      "\\",
                                      "\"",
                                      "'",
                                      "```"};

static str random_text(struct rng *r, bool with_blocks, struct arena *a)
{
    struct buf text = {0};
    for (uint64_t n = rng_below(r, MAX_TEXT_PARTS); n > 0; n--)
        buf_str(&text, str_of(!with_blocks || rng_below(r, 6) ? PICK(r, words) : PICK(r, blocks)));
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

/* What the model of the format can say: Llama writes text or calls, plain ones only text; only some
 * reason here, since chat_render drops the reasoning of Qwen's turns. */
static struct chat_message random_reply(enum chat_format f, struct rng *r, struct arena *a)
{
    struct chat_call *calls = arena_new(a, MAX_CALLS, sizeof *calls);
    struct chat_message m = {.role = CHAT_ASSISTANT, .calls = calls};
    bool reasons = f == CHAT_HARMONY || f == CHAT_GLM || f == CHAT_PLAIN;
    if (reasons && rng_below(r, 2))
        m.reasoning = random_text(r, false, a);
    m.content = random_text(r, true, a);
    m.n_calls = f == CHAT_PLAIN ? 0 : rng_below(r, MAX_CALLS + 1);
    if (f == CHAT_LLAMA_JSON && m.n_calls)
        m.content = STR("");
    for (size_t i = 0; i < m.n_calls; i++)
        calls[i] = (struct chat_call){STR("id"), STR("all"), random_arguments(r, a)};
    return m;
}

/* ---- a reply as text and back ---- */

/* The text of the assistant's turn as chat_render writes it. */
static void render_turn(const struct chat_template *t, const struct chat_record_tools *k,
                        struct chat_message m, struct buf *out)
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
    buf_str(out, str_sub(buf_view(&p.text), from, p.text.n - after.n));
    chat_prompt_free(&p);
}

/* gpt-oss: one message for each part. */
static void put_harmony(const struct chat_message *m, struct buf *out)
{
    const char *start = "";
    if (m->reasoning.n) {
        buf_fmt(out, "<|channel|>analysis<|message|>%.*s<|end|>", STRF(m->reasoning));
        start = "<|start|>assistant";
    }
    if (m->content.n) {
        buf_fmt(out, "%s<|channel|>%s<|message|>%.*s<|end|>", start,
                m->n_calls ? "commentary" : "final", STRF(m->content));
        start = "<|start|>assistant";
    }
    for (size_t i = 0; i < m->n_calls; i++) {
        str name = m->calls[i].name;
        buf_str(out, str_of(start));
        if (i % 2)
            buf_fmt(out, " to=functions.%.*s<|channel|>commentary json", STRF(name));
        else
            buf_fmt(out, "<|channel|>commentary to=functions.%.*s <|constrain|>json", STRF(name));
        buf_fmt(out, "<|message|>%.*s<|call|>", STRF(m->calls[i].arguments));
        start = "<|start|>assistant";
    }
}

/* GLM 4.7, or with line ends between the tags 4.5. */
static void put_glm(const struct chat_message *m, const char *line, struct buf *out)
{
    if (m->reasoning.n)
        buf_fmt(out, "<think>%.*s</think>%s", STRF(m->reasoning), line);
    buf_str(out, m->content);
    for (size_t i = 0; i < m->n_calls; i++) {
        struct err e;
        struct json *arguments = json_parse(m->calls[i].arguments, &e);
        struct json_iter it = {0};
        struct json *value;
        str key;
        buf_fmt(out, "%s<tool_call>%.*s%s", line, STRF(m->calls[i].name), line);
        while (json_next(arguments, &it, &key, &value)) {
            buf_fmt(out, "<arg_key>%.*s</arg_key>%s<arg_value>", STRF(key), line);
            if (json_type(value) == JSON_STRING)
                buf_str(out, json_str(value));
            else
                json_print(value, JSON_PYTHON, out);
            buf_fmt(out, "</arg_value>%s", line);
        }
        buf_str(out, STR("</tool_call>"));
        json_free(arguments);
    }
}

static void put_llama(const struct chat_message *m, struct buf *out)
{
    buf_str(out, m->content);
    for (size_t i = 0; i < m->n_calls; i++)
        buf_fmt(out, "%s{\"name\": \"%.*s\", \"parameters\": %.*s}", i ? "; " : "",
                STRF(m->calls[i].name), STRF(m->calls[i].arguments));
}

/* t: for the formats that are rendered here. */
static str turn_text(enum chat_format f, const struct chat_template *t,
                     const struct chat_record_tools *k, const struct chat_message *m,
                     struct arena *a)
{
    struct buf out = {0};
    switch (f) {
    case CHAT_QWEN_XML:
    case CHAT_HERMES_JSON: render_turn(t, k, *m, &out); break;
    case CHAT_HARMONY: put_harmony(m, &out); break;
    case CHAT_GLM: put_glm(m, m->content.n % 2 ? "\n" : "", &out); break;
    case CHAT_LLAMA_JSON: put_llama(m, &out); break;
    case CHAT_PLAIN:
        if (m->reasoning.n)
            buf_fmt(&out, "<think>\n%.*s\n</think>\n\n", STRF(m->reasoning));
        buf_str(&out, m->content);
        break;
    }
    str text = arena_str(a, buf_view(&out));
    buf_free(&out);
    return text;
}

struct reply {
    struct buf content, reasoning;
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
    case CHAT_REASONING: buf_str(&r->reasoning, e->text); break;
    case CHAT_CALL_BEGIN:
        CHECK(r->n_calls < MAX_CALLS);
        r->calls[r->n_calls].name = arena_str(&r->arena, e->name);
        break;
    case CHAT_CALL_ARGUMENTS: buf_str(&r->arguments[r->n_calls], e->text); break;
    case CHAT_CALL_END:
        CHECK_INT(e->flaw, CHAT_SOUND);
        r->calls[r->n_calls].arguments = buf_view(&r->arguments[r->n_calls]);
        r->n_calls++;
        break;
    }
}

/* The reply gives the message, and the message again the reply. */
static void check_round_trip(enum chat_format f, const struct chat_template *t,
                             const struct chat_record_tools *k, const struct chat_message *m,
                             str text)
{
    struct reply r = {0};
    struct chat_parser *p = chat_parser_open(
        &(struct chat_parser_params){f, k->tools, CHAT_RECORD_TOOLS, false, 1, put_event, &r});
    chat_parser_put_marked(p, text);
    chat_parser_end(p, true);
    chat_parser_close(p);
    CHECK_STR(buf_view(&r.reasoning), m->reasoning);
    CHECK_STR(buf_view(&r.content), m->content);
    CHECK_INT(r.n_calls, m->n_calls);
    for (size_t i = 0; i < r.n_calls; i++)
        CHECK_STR(r.calls[i].arguments, m->calls[i].arguments);
    struct chat_message again = {.role = CHAT_ASSISTANT,
                                 .content = buf_view(&r.content),
                                 .reasoning = buf_view(&r.reasoning),
                                 .calls = r.calls,
                                 .n_calls = r.n_calls};
    CHECK_STR(turn_text(f, t, k, &again, &r.arena), text);
    buf_free(&r.content);
    buf_free(&r.reasoning);
    for (size_t i = 0; i < MAX_CALLS; i++)
        buf_free(&r.arguments[i]);
    arena_free(&r.arena);
}

/* Every promise of chat_record holds, and the events are the same for all cuts. */
static void check_cuts(enum chat_format f, const struct chat_record_tools *k, str text,
                       struct rng *rng)
{
    struct chat_record_cut cuts[] = {{0, NULL}, {1, NULL}, {5, rng}, {60, rng}};
    struct chat_parser_params params = {.format = f,
                                        .tools = k->tools,
                                        .n_tools = rng_below(rng, 5) ? CHAT_RECORD_TOOLS : 0,
                                        .in_reasoning = rng_below(rng, 3) == 0};
    bool by_model = rng_below(rng, 3) > 0;
    struct buf first = {0};
    for (int i = 0; i < 4; i++) {
        struct buf got = chat_record_run(&params, text, cuts[i], by_model);
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

/* Removes or doubles a random part, or puts something in. */
static str damaged(struct rng *r, str text, struct arena *a)
{
    size_t from = rng_below(r, text.n + 1);
    size_t to = from + rng_below(r, 20);
    size_t at = rng_below(r, text.n + 1);
    struct buf b = {0};
    uint64_t kind = rng_below(r, 3);
    buf_str(&b, str_sub(text, 0, kind == 0 ? from : at));
    if (kind != 0)
        buf_str(&b, kind == 1         ? str_sub(text, from, to)
                    : rng_below(r, 3) ? str_of(PICK(r, markers))
                                      : str_of(PICK(r, inside)));
    buf_str(&b, str_sub(text, kind == 0 ? to : at, SIZE_MAX));
    str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static void check_transcripts(enum chat_format f)
{
    struct rng rng = {test_seed() + f};
    struct chat_record_tools k = chat_record_open_tools();
    struct chat_template *t =
        f == CHAT_QWEN_XML || f == CHAT_HERMES_JSON ? kit_builtin_template(f) : NULL;
    for (int i = 0; i < N_TRANSCRIPTS; i++) {
        struct arena a = {0};
        struct chat_message m = random_reply(f, &rng, &a);
        str text = turn_text(f, t, &k, &m, &a);
        check_round_trip(f, t, &k, &m, text);
        check_cuts(f, &k, text, &rng);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            text = damaged(&rng, text, &a);
        check_cuts(f, &k, text, &rng);
        arena_free(&a);
    }
    chat_template_close(t);
    json_free(k.root);
    printf("    %s: %d transcripts, sound and damaged\n", chat_format_name(f), N_TRANSCRIPTS);
}

TEST(chat_xml_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_QWEN_XML);
}

TEST(chat_hermes_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_HERMES_JSON);
}

TEST(chat_harmony_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_HARMONY);
}

TEST(chat_glm_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_GLM);
}

TEST(chat_llama_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_LLAMA_JSON);
}

TEST(chat_plain_transcripts_survive_any_cut_and_the_way_back)
{
    check_transcripts(CHAT_PLAIN);
}
