/* Replay: a conversation that comes back in other words has the tokens that the model wrote. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "kit/chat_layouts.h"
#include "kit/heap.h"
#include "kit/server_kit.h"
#include "kit/tok_fixture.h"
#include "server/replay.h"
#include "test.h"
#include "text/chat_layout.h"
#include "text/chat_splice.h"

/* ---- prompts ---- */

static const struct fixture_added chatml[] = {{"<|im_start|>", TOK_CONTROL},
                                              {"<|im_end|>", TOK_CONTROL},
                                              {"<tool_call>", TOK_USER_DEFINED},
                                              {"</tool_call>", TOK_USER_DEFINED},
                                              {"<think>", TOK_USER_DEFINED},
                                              {"</think>", TOK_USER_DEFINED},
                                              {0}};
static const struct fixture_added harmony[] = {
    {"<|start|>", TOK_CONTROL},     {"<|message|>", TOK_CONTROL},
    {"<|end|>", TOK_CONTROL},       {"<|channel|>", TOK_CONTROL},
    {"<|call|>", TOK_CONTROL},      {"<|return|>", TOK_CONTROL},
    {"<|constrain|>", TOK_CONTROL}, {0}};
static const struct fixture_added glm[] = {{"[gMASK]", TOK_CONTROL},
                                           {"<sop>", TOK_CONTROL},
                                           {"<|system|>", TOK_CONTROL},
                                           {"<|user|>", TOK_CONTROL},
                                           {"<|assistant|>", TOK_CONTROL},
                                           {"<|observation|>", TOK_CONTROL},
                                           {"<think>", TOK_USER_DEFINED},
                                           {"</think>", TOK_USER_DEFINED},
                                           {"<tool_call>", TOK_USER_DEFINED},
                                           {"</tool_call>", TOK_USER_DEFINED},
                                           {0}};
static const struct fixture_added llama[] = {{"<|start_header_id|>", TOK_CONTROL},
                                             {"<|end_header_id|>", TOK_CONTROL},
                                             {"<|eot_id|>", TOK_CONTROL},
                                             {0}};

/* What a model samples for the call f({"b": 2, "a": "x"}), spaced and ordered in its own way. */
static const struct layout_case {
    const char *name; /* NULL: tawny's own template of the format */
    enum chat_format format;
    const struct fixture_added *added;
    const char *reply, *end;
    const char *answer; /* the reply without its reasoning, where it has some */
} cases[] = {
    {"Qwen3-Coder.jinja", CHAT_QWEN_XML, chatml,
     "Look.\n\n\n<tool_call>\n<function=f>\n<parameter=b>\n2\n</parameter>\n<parameter=a>\nx\n"
     "</parameter></function>\n</tool_call>",
     "<|im_end|>", NULL},
    {"Qwen3-Coder.launch-2025-07.jinja", CHAT_QWEN_XML, chatml,
     "<tool_call><function=f>\n<parameter=b>2</parameter>\n<parameter=a>\nx\n</parameter>\n"
     "</function>\n</tool_call>",
     "<|im_end|>", NULL},
    {"Qwen3-Next-Instruct.jinja", CHAT_HERMES_JSON, chatml,
     "<tool_call>\n{\"arguments\":{\"b\":2, \"a\" :\"x\"},\"name\":\"f\"}\n</tool_call>",
     "<|im_end|>", NULL},
    {"Qwen-Qwen3-0.6B.jinja", CHAT_HERMES_JSON, chatml,
     "<think>\nWhy  not?\n</think>\n\n<tool_call>\n{\"name\":\"f\",\"arguments\":{\"b\":2, \"a\" "
     ":\"x\"}}\n</tool_call>",
     "<|im_end|>",
     "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"b\":2, \"a\" :\"x\"}}\n</tool_call>"},
    {"Qwen3.6.jinja", CHAT_QWEN_XML, chatml,
     "Why  not?\n</think>\n\n<tool_call>\n<function=f>\n<parameter=b>\n2\n</parameter>\n"
     "<parameter=a>\nx\n</parameter>\n</function></tool_call>",
     "<|im_end|>",
     "<tool_call>\n<function=f>\n<parameter=b>\n2\n</parameter>\n<parameter=a>\nx\n</parameter>\n"
     "</function></tool_call>"},
    {"openai-gpt-oss-120b.jinja", CHAT_HARMONY, harmony,
     "<|channel|>analysis<|message|>Why  not?<|end|><|start|>assistant<|channel|>commentary "
     "to=functions.f <|constrain|>json<|message|>{\"b\":2,\"a\":\"x\"}",
     "<|call|>",
     "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"b\":2,\"a\":\"x\"}"},
    {"GLM-4.7-Flash.jinja", CHAT_GLM, glm,
     "Why  not?</think><tool_call>f<arg_key>b</arg_key><arg_value>2</arg_value>\n<arg_key>a</"
     "arg_key><arg_value>x</arg_value></tool_call>",
     "<|observation|>",
     "<tool_call>f<arg_key>b</arg_key><arg_value>2</arg_value>\n<arg_key>a</arg_key><arg_value>x</"
     "arg_value></tool_call>"},
    {NULL, CHAT_GLM, glm,
     "Why  not?</think>\n<tool_call>f\n<arg_key>b</arg_key><arg_value>2</arg_value><arg_key>a</"
     "arg_key><arg_value>x</arg_value></tool_call>",
     "<|observation|>",
     "<tool_call>f\n<arg_key>b</arg_key><arg_value>2</arg_value><arg_key>a</arg_key><arg_value>x</"
     "arg_value></tool_call>"},
    {NULL, CHAT_HARMONY, harmony,
     "<|channel|>commentary to=functions.f<|message|>{ \"b\" :2,\"a\":\"x\"}", "<|call|>", NULL},
    {NULL, CHAT_LLAMA_JSON, llama, "{\"name\":\"f\",\"parameters\":{\"b\":2,\"a\":\"x\"}}",
     "<|eot_id|>", NULL},
};

/* One case, opened. */
struct setting {
    struct tok *tok;
    struct chat_template *t;
    struct json *spec;
    struct chat_tool tool;
    struct tok_ids first, sampled; /* the prompt of the first request, and its reply */
    str opening;                   /* of that prompt */
    struct chat_prompt prompt;
};

static const struct chat_message question[] = {{.role = CHAT_USER, .content = STR("Do it.")}};

static void encode(struct setting *s, const struct chat_message *messages, size_t n,
                   struct chat_prompt *p, struct tok_ids *out)
{
    struct err e = {0};
    const struct chat_request r = {
        .messages = messages, .n_messages = n, .tools = &s->tool, .n_tools = 1};
    *p = (struct chat_prompt){0};
    CHECK_OK(chat_render(s->t, &r, p, &e));
    chat_prompt_encode(p, s->tok, out);
}

static struct setting open_case(const struct layout_case *c)
{
    struct setting s = {0};
    struct err e = {0};
    struct buf source = {0};
    s.tok = tok_fixture_open(&(struct tok_fixture){.added = c->added}, &e);
    CHECK_OK(s.tok);
    if (c->name)
        source = kit_template_source(c->name);
    else
        buf_str(&source, chat_builtin(c->format));
    s.t = chat_template_open(
        &(struct chat_template_params){.source = buf_view(&source), .tok = s.tok}, &e);
    CHECK_OK(s.t);
    buf_free(&source);
    s.spec =
        json_parse(STR("{\"name\":\"f\",\"description\":\"\",\"parameters\":{\"type\":"
                       "\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":"
                       "\"integer\"}}}}"),
                   &e);
    s.tool = (struct chat_tool){
        .name = STR("f"), .spec = s.spec, .parameters = json_get(s.spec, "parameters")};
    encode(&s, question, 1, &s.prompt, &s.first);
    s.opening = s.prompt.opening;
    tok_encode(s.tok, str_of(c->reply), &(struct tok_params){.special = true}, &s.sampled);
    return s;
}

static void close_case(struct setting *s)
{
    chat_prompt_free(&s->prompt);
    free(s->first.ids);
    free(s->sampled.ids);
    json_free(s->spec);
    chat_template_close(s->t);
    tok_close(s->tok);
}

static void check_starts(const struct tok_ids *all, const struct tok_ids *a,
                         const struct tok_ids *b, const char *what)
{
    bool same = all->n > a->n + b->n && !memcmp(all->ids, a->ids, a->n * sizeof *a->ids) &&
                !memcmp(all->ids + a->n, b->ids, b->n * sizeof *b->ids);
    if (!same)
        test_fail(__FILE__, __LINE__, "%s: the prompt does not go on from the reply", what);
}

/* The reply as clients send it back: parsed, printed again, with or without the reasoning. */
static const struct chat_call back[] = {{STR("call_1"), STR("f"), STR("{\"a\": \"x\", \"b\": 2}")}};

static struct chat_message reply_of(const struct chat_sample *sample, const char *reasoning)
{
    return (struct chat_message){.role = CHAT_ASSISTANT,
                                 .reasoning = str_of(reasoning),
                                 .calls = back,
                                 .n_calls = 1,
                                 .sampled = sample};
}

TEST(replay_puts_the_sampled_tokens_into_the_prompt)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct setting s = open_case(&cases[i]);
        const char *name = cases[i].name ? cases[i].name : chat_format_name(cases[i].format);
        const struct chat_sample sample = {s.sampled.ids, s.sampled.n, s.opening};
        struct chat_message list[] = {
            question[0],
            reply_of(&sample, cases[i].answer ? "Why  not?" : ""),
            {.role = CHAT_TOOL, .content = STR("done <|im_end|>"), .call_id = STR("call_1")}};
        struct chat_prompt p;
        struct tok_ids ids = {0};
        encode(&s, list, 3, &p, &ids);
        check_starts(&ids, &s.first, &s.sampled, name);
        CHECK_STR(tok_bytes(s.tok, ids.ids[s.first.n + s.sampled.n]), str_of(cases[i].end));
        CHECK_INT(p.n_runs, 1);
        chat_prompt_free(&p);
        free(ids.ids);
        close_case(&s);
    }
}

/* A later question: templates drop the reasoning then, and the answer keeps its tokens. */
TEST(replay_leaves_reasoning_out_where_the_template_does)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct setting s = open_case(&cases[i]);
        const struct chat_sample sample = {s.sampled.ids, s.sampled.n, s.opening};
        const struct chat_message list[] = {
            question[0],
            reply_of(&sample, "Why  not?"),
            {.role = CHAT_TOOL, .content = STR("done"), .call_id = STR("call_1")},
            {.role = CHAT_ASSISTANT, .content = STR("Done.")},
            {.role = CHAT_USER, .content = STR("Again?")}};
        struct chat_prompt p;
        struct tok_ids ids = {0};
        encode(&s, list, 5, &p, &ids);
        str text = buf_view(&p.text);
        const char *answer = cases[i].answer ? cases[i].answer : cases[i].reply;
        if (str_find(text, STR("Why"), 0) != SIZE_MAX ||
            str_find(text, str_of(answer), 0) == SIZE_MAX)
            test_fail(__FILE__, __LINE__, "case %zu:\n%.*s", i, STRF(text));
        chat_prompt_free(&p);
        free(ids.ids);
        close_case(&s);
    }
}

TEST(replay_keeps_neighbours_and_spans_as_they_are)
{
    struct setting s = open_case(&cases[0]);
    const struct chat_sample sample = {s.sampled.ids, s.sampled.n, s.opening};
    struct chat_message list[400];
    struct chat_prompt p, plain;
    struct tok_ids ids = {0}, without = {0};
    for (size_t i = 0; i < 400; i += 4) {
        list[i] = (struct chat_message){.role = CHAT_USER, .content = STR("a <|im_end|> b")};
        list[i + 1] = reply_of(&sample, "");
        list[i + 2] = (struct chat_message){
            .role = CHAT_TOOL, .content = STR("<|im_start|>"), .call_id = STR("call_1")};
        list[i + 3] = (struct chat_message){.role = CHAT_ASSISTANT, .content = STR("Done.")};
    }
    encode(&s, list, 400, &p, &ids);
    CHECK_INT(p.n_runs, 100);
    for (size_t i = 0; i < 400; i++)
        list[i].sampled = NULL;
    encode(&s, list, 400, &plain, &without);
    CHECK_INT(plain.n_runs, 0);
    CHECK_INT(p.n_spans, plain.n_spans - 100 * 4); /* names and a value; 2 is none */
    size_t n_turns[2] = {0};
    for (size_t i = 0; i < ids.n; i++)
        n_turns[0] += ids.ids[i] == tok_special(s.tok, STR("<|im_end|>"));
    for (size_t i = 0; i < without.n; i++)
        n_turns[1] += without.ids[i] == tok_special(s.tok, STR("<|im_end|>"));
    CHECK_INT(n_turns[0], n_turns[1]);
    chat_prompt_free(&p);
    chat_prompt_free(&plain);
    free(ids.ids);
    free(without.ids);
    close_case(&s);
}

/* ---- the store ---- */

static void record(struct replay *p, const char *id, const char *arguments, const char *content,
                   const char *reasoning, size_t n_ids)
{
    struct replay_reply r = {0};
    for (size_t i = 0; i < n_ids; i++)
        replay_token(&r, (int32_t)i);
    replay_event(&r, &(struct chat_event){.kind = CHAT_REASONING, .text = str_of(reasoning)});
    replay_event(&r, &(struct chat_event){.kind = CHAT_CONTENT, .text = str_of(content)});
    if (id) {
        replay_event(
            &r, &(struct chat_event){.kind = CHAT_CALL_BEGIN, .id = str_of(id), .name = STR("f")});
        replay_event(&r,
                     &(struct chat_event){.kind = CHAT_CALL_ARGUMENTS, .text = str_of(arguments)});
        replay_event(&r, &(struct chat_event){.kind = CHAT_CALL_END});
    }
    replay_put(p, &r, STR("<think>\n"));
    replay_reply_free(&r);
}

/* How many tokens are remembered for a message; reasoning: what it is filled with. */
static size_t known(struct replay *p, struct chat_message m, const char *reasoning)
{
    struct arena a = {0};
    const struct chat_message *got = replay_messages(p, &m, 1, &a);
    size_t n = got->sampled ? got->sampled->n_ids : 0;
    if (reasoning)
        CHECK_STR(got->reasoning, str_of(reasoning));
    if (got->sampled)
        CHECK_STR(got->sampled->opening, STR("<think>\n"));
    arena_free(&a);
    return n;
}

static struct chat_message call_of(struct chat_call *c)
{
    return (struct chat_message){.role = CHAT_ASSISTANT, .calls = c, .n_calls = 1};
}

TEST(replay_knows_a_call_by_its_id_however_it_is_written)
{
    struct replay *p = replay_open(1 << 20);
    static const char arguments[] = "{\"a\":{\"x\":1,\"y\":[1,2.0]},\"b\":null}";
    record(p, "call_1", arguments, "Text.\n", " why ", 5);
    struct chat_call c = {STR("call_1"), STR("f"), str_of(arguments)};
    CHECK_INT(known(p, call_of(&c), "why"), 5);
    c.arguments = STR("{ \"b\": null, \"a\": {\"y\": [1, 2], \"x\": 1.0} }");
    CHECK_INT(known(p, call_of(&c), "why"), 5);
    struct chat_message with_text = call_of(&c);
    with_text.content = STR("Text.");
    CHECK_INT(known(p, with_text, NULL), 5);
    /* Changed in meaning: left alone. */
    static const str others[] = {
        STR("{\"a\":{\"x\":1,\"y\":[2,1]},\"b\":null}"), STR("{\"a\":{\"x\":1,\"y\":[1,2.0]}}"),
        STR("{\"a\":{\"x\":\"1\",\"y\":[1,2.0]},\"b\":null}"), STR("{"), STR("")};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c.arguments = others[i];
        CHECK_INT(known(p, call_of(&c), ""), 0);
    }
    c.arguments = str_of(arguments);
    with_text.content = STR("Other text.");
    CHECK_INT(known(p, with_text, ""), 0);
    c.name = STR("g");
    CHECK_INT(known(p, call_of(&c), ""), 0);
    c.name = STR("f");
    c.id = STR("call_2");
    CHECK_INT(known(p, call_of(&c), ""), 0);
    replay_close(p);
}

TEST(replay_knows_an_answer_by_its_text_but_not_whose_reasoning_it_was)
{
    struct replay *p = replay_open(1 << 20);
    record(p, NULL, NULL, "The answer.\n", "hm", 7);
    CHECK_INT(
        known(p, (struct chat_message){.role = CHAT_ASSISTANT, .content = STR("The answer.")}, ""),
        7);
    CHECK_INT(known(p,
                    (struct chat_message){.role = CHAT_ASSISTANT,
                                          .content = STR("The answer."),
                                          .reasoning = STR("other")},
                    "other"),
              0);
    CHECK_INT(known(p, (struct chat_message){.role = CHAT_USER, .content = STR("The answer.")}, ""),
              0);
    replay_close(p);
}

TEST(replay_forgets_what_was_used_least_recently)
{
    struct replay *p = replay_open(64 << 10);
    struct chat_call c = {STR("call_0"), STR("f"), STR("{}")};
    record(p, "call_0", "{}", "", "", 1000);
    for (int i = 1; i < 200; i++) {
        char id[32];
        snprintf(id, sizeof id, "call_%d", i);
        CHECK_INT(known(p, call_of(&c), NULL), 1000);
        record(p, id, "{}", "", "", 1000);
    }
    CHECK_INT(known(p, call_of(&c), NULL), 1000);
    c.id = STR("call_1");
    CHECK_INT(known(p, call_of(&c), NULL), 0);
    c.id = STR("call_199");
    CHECK_INT(known(p, call_of(&c), NULL), 1000);
    record(p, "call_199", "{}", "", "", 3); /* the same id again: the newer counts */
    CHECK_INT(known(p, call_of(&c), NULL), 3);
    record(p, "call_big", "{}", "", "", 1 << 20);
    c.id = STR("call_big");
    CHECK_INT(known(p, call_of(&c), NULL), 0);
    replay_close(p);
}

/* Replies of a few words, as from titles and tool calls: the limit is one of memory. */
TEST(replay_takes_no_more_memory_than_it_may)
{
    const size_t limit = 1 << 20;
    struct replay *p = replay_open(limit);
    const size_t before = heap_in_use();
    for (int i = 0; i < 10000; i++) {
        char id[32];
        snprintf(id, sizeof id, "call_%d", i);
        record(p, id, "{\"path\":\"notes.txt\"}", "", "", 20);
        CHECK(replay_bytes(p) <= limit);
    }
    const size_t taken = heap_in_use() - before;
    printf("    %zu bytes of memory, %zu counted\n", taken, replay_bytes(p));
    CHECK(replay_bytes(p) > limit / 2);
    CHECK(taken <= limit + limit / 4); /* malloc's own heads */
    replay_close(p);
}

/* ---- through the server ---- */

#define ASK                                                                                        \
    "{\"temperature\":0,\"max_tokens\":200,\"tools\":[{\"type\":\"function\",\"function\":{"       \
    "\"name\":\"write_file\",\"description\":\"Create a file or replace its content.\","           \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\","           \
    "\"description\":\"Path of the file\"},\"content\":{\"type\":\"string\",\"description\":"      \
    "\"Text to write\"}},\"required\":[\"path\",\"content\"]}}}],\"messages\":[{\"role\":"         \
    "\"user\",\"content\":\"Create notes.txt containing: the owl flies\"}"

static struct json *ask(struct kit_server *s, const char *more)
{
    struct buf body = {0}, in = {0};
    struct err e = {0};
    buf_fmt(&body, "%s%s]}", ASK, more);
    int status = kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in);
    size_t head = str_find(buf_view(&in), STR("\r\n\r\n"), 0);
    if (status != 200 || head == SIZE_MAX)
        test_fail(__FILE__, __LINE__, "status %d: %.*s", status, STRF(buf_view(&in)));
    struct json *reply = json_parse(str_sub(buf_view(&in), head + 4, SIZE_MAX), &e);
    CHECK(reply);
    buf_free(&body);
    buf_free(&in);
    return reply;
}

/* Asks again with the call as a client would print it, and a result; the cached tokens. */
static int64_t cached_after(struct kit_server *s, str id, const struct json *arguments)
{
    struct buf more = {0}, text = {0};
    /* The members in another order, and spaces where the model has none. */
    buf_str(&text, STR("{ \"content\" : "));
    json_quote(json_str(json_get(arguments, "content")), &text);
    buf_str(&text, STR(" , \"path\" : "));
    json_quote(json_str(json_get(arguments, "path")), &text);
    buf_str(&text, STR(" }"));
    buf_fmt(&more,
            ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"%.*s\",\"type\":"
            "\"function\",\"function\":{\"name\":\"write_file\",\"arguments\":",
            STRF(id));
    json_quote(buf_view(&text), &more);
    buf_fmt(&more, "}}]},{\"role\":\"tool\",\"tool_call_id\":\"%.*s\",\"content\":\"done\"}",
            STRF(id));
    struct json *reply = ask(s, more.p);
    int64_t n = json_int(
        json_get(json_get(json_get(reply, "usage"), "prompt_tokens_details"), "cached_tokens"));
    json_free(reply);
    buf_free(&more);
    buf_free(&text);
    return n;
}

TEST(replay_a_client_that_prints_arguments_anew_loses_no_prefix)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    struct err e = {0};
    struct json *first = ask(s, "");
    const struct json *usage = json_get(first, "usage");
    const struct json *message = json_get(json_at(json_get(first, "choices"), 0), "message");
    const struct json *call = json_at(json_get(message, "tool_calls"), 0);
    const struct json *function = json_get(call, "function");
    CHECK_STR(json_str(json_get(function, "name")), STR("write_file"));
    struct json *arguments = json_parse(json_str(json_get(function, "arguments")), &e);
    int64_t n_known = json_int(json_get(usage, "prompt_tokens")) +
                      json_int(json_get(usage, "completion_tokens")) - 1;
    int64_t same = cached_after(s, json_str(json_get(call, "id")), arguments);
    int64_t other = cached_after(s, STR("call_of_another_server"), arguments);
    printf("    %lld tokens read and written; cached: %lld, with an unknown id %lld\n",
           (long long)n_known, (long long)same, (long long)other);
    CHECK(same >= n_known);
    CHECK(other < n_known);
    json_free(arguments);
    json_free(first);
    kit_server_close(s);
}
