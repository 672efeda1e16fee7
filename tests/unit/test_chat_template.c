/* Which template is used, and what it is handed: system messages, turns, parts, settings. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kit/chat_layouts.h"
#include "kit/tok_fixture.h"
#include "test.h"

/* ---- choosing ---- */

struct said {
    struct buf lines;
};

static void on_log(void *ctx, enum log_level level, const char *line)
{
    struct said *s = ctx;
    (void)level;
    buf_fmt(&s->lines, "%s\n", line);
}

static const struct fixture_added chatml[] = {
    {"<|im_start|>", TOK_CONTROL}, {"<|im_end|>", TOK_CONTROL}, {0}};
static const struct fixture_added harmony[] = {
    {"<|start|>", TOK_CONTROL}, {"<|channel|>", TOK_CONTROL}, {0}};
static const struct fixture_added glm[] = {{"<|observation|>", TOK_CONTROL}, {0}};
static const struct fixture_added llama[] = {{"<|start_header_id|>", TOK_CONTROL}, {0}};
static const struct fixture_added nothing[] = {{0}};

static struct chat_template *open_with(const char *source, const struct fixture_added *added,
                                       struct tok **tok, struct said *said, struct err *e)
{
    const struct log log = {on_log, said};
    *tok = tok_fixture_open(&(struct tok_fixture){.added = added}, e);
    CHECK(*tok);
    return chat_template_open(
        &(struct chat_template_params){.source = str_of(source), .tok = *tok, .log = &log}, e);
}

static void check_chosen(const char *source, const struct fixture_added *added,
                         enum chat_format want, const char *says)
{
    struct said said = {0};
    struct tok *tok;
    struct err e = {0};
    struct chat_template *t = open_with(source, added, &tok, &said, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s: %s", source, e.msg);
    CHECK_STR(str_of(chat_format_name(chat_template_format(t))), str_of(chat_format_name(want)));
    if (says ? !said.lines.p || !strstr(said.lines.p, says) : said.lines.n > 0)
        test_fail(__FILE__, __LINE__, "%s: said '%s', want '%s'", source,
                  said.lines.p ? said.lines.p : "", says ? says : "nothing");
    chat_template_close(t);
    tok_close(tok);
    buf_free(&said.lines);
}

TEST(chat_template_without_a_template_the_vocabulary_decides)
{
    check_chosen("", chatml, CHAT_HERMES_JSON, "no chat template");
    check_chosen("", harmony, CHAT_HARMONY, "own template 'harmony'");
    check_chosen("", glm, CHAT_GLM, "own template 'glm'");
    check_chosen("", llama, CHAT_LLAMA_JSON, "own template 'llama'");
}

TEST(chat_template_that_fails_is_replaced_and_the_line_is_named)
{
    check_chosen("a\n{{ messages | nothing }}<|im_start|>", chatml, CHAT_HERMES_JSON,
                 "template line 2: there is no filter named 'nothing'");
    check_chosen("<|im_start|>{% for m in messages %}", chatml, CHAT_HERMES_JSON,
                 "the file's chat template fails: template line 1: ");
    check_chosen("<|im_start|>{{ messages | length }}", chatml, CHAT_HERMES_JSON,
                 "drops what it must show");
}

TEST(chat_template_that_drops_tools_is_replaced_for_them)
{
    static const char source[] =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    check_chosen(source, chatml, CHAT_HERMES_JSON, "does not show tools, calls and results");
    check_chosen("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}", nothing,
                 CHAT_HERMES_JSON, "writes them into the messages as text");
}

TEST(chat_template_is_refused_where_none_fits)
{
    struct said said = {0};
    struct tok *tok;
    struct err e = {0};
    CHECK(!open_with("", nothing, &tok, &said, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "only raw prompts work"));
    tok_close(tok);
    CHECK(!open_with("{{ messages.nothing.at }}", nothing, &tok, &said, &e));
    CHECK(strstr(e.msg, "the file's chat template fails and tawny has none for it"));
    CHECK(strstr(e.msg, "template line 1: "));
    tok_close(tok);
    buf_free(&said.lines);
}

/* ---- what a template is handed ---- */

static void check_rendered(const char *source, const struct chat_request *r, const char *want)
{
    struct err e = {0};
    struct chat_prompt p = {0};
    struct chat_template *t =
        chat_template_open(&(struct chat_template_params){.source = str_of(source)}, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    CHECK_OK(chat_render(t, r, &p, &e));
    CHECK_STR(buf_view(&p.text), str_of(want));
    chat_prompt_free(&p);
    chat_template_close(t);
}

#define LIST(list) .messages = (list), .n_messages = sizeof(list) / sizeof *(list)

#define EACH "{% for m in messages %}"
#define SHOW "[{{ m.role }}:{{ m.content }}]"

static const struct chat_message agent[] = {
    {.role = CHAT_SYSTEM, .content = STR("S1")}, {.role = CHAT_SYSTEM, .content = STR("S2")},
    {.role = CHAT_USER, .content = STR("U1")},   {.role = CHAT_ASSISTANT, .content = STR("A1")},
    {.role = CHAT_SYSTEM, .content = STR("S3")}, {.role = CHAT_USER, .content = STR("U2")},
    {.role = CHAT_USER, .content = STR("U3")},
};

TEST(chat_system_messages_stay_where_they_are)
{
    check_rendered(EACH SHOW "{% endfor %}", &(struct chat_request){LIST(agent)},
                   "[system:S1][system:S2][user:U1][assistant:A1][system:S3][user:U2][user:U3]");
    /* One that raises on them, and one that moves them to the front. */
    static const char *const first_only[] = {
        EACH
        "{% if m.role == 'system' and not loop.first %}{{ raise_exception('no') }}{% endif %}" SHOW
        "{% endfor %}",
        "{% for m in messages if m.role == 'system' %}" SHOW "{% endfor %}"
        "{% for m in messages if m.role != 'system' %}" SHOW "{% endfor %}"};
    for (int i = 0; i < 2; i++)
        check_rendered(first_only[i], &(struct chat_request){LIST(agent)},
                       "[system:S1\n\nS2][user:U1][assistant:A1][user:<system-reminder>\nS3\n"
                       "</system-reminder>][user:U2][user:U3]");
}

TEST(chat_turns_are_merged_where_roles_must_alternate)
{
    static const char source[] =
        EACH "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}"
             "{% endif %}" SHOW "{% endfor %}";
    static const struct chat_message reply[] = {{.role = CHAT_ASSISTANT, .content = STR("A1")},
                                                {.role = CHAT_ASSISTANT, .content = STR("A2")}};
    check_rendered(source, &(struct chat_request){LIST(agent)},
                   "[user:S1\n\n<system-reminder>\nS2\n</system-reminder>\n\nU1][assistant:A1]"
                   "[user:<system-reminder>\nS3\n</system-reminder>\n\nU2\n\nU3]");
    check_rendered(source, &(struct chat_request){LIST(reply)}, "[user:][assistant:A1\n\nA2]");
}

TEST(chat_a_user_is_added_where_the_template_insists)
{
    static const char source[] =
        "{% set ns = namespace(found=false) %}" EACH
        "{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}" SHOW
        "{% endfor %}{% if not ns.found %}{{ raise_exception('no user') }}{% endif %}";
    static const struct chat_message none[] = {{.role = CHAT_SYSTEM, .content = STR("S")},
                                               {.role = CHAT_ASSISTANT, .content = STR("A")}};
    check_rendered(source, &(struct chat_request){LIST(none)}, "[system:S][user:][assistant:A]");
    check_rendered(source, &(struct chat_request){.messages = none, .n_messages = 1},
                   "[system:S][user:]");
}

TEST(chat_parts_are_joined_as_the_template_does)
{
    static const str parts[] = {STR("a"), STR("b")};
    static const struct chat_message list[] = {{.role = CHAT_USER, .parts = parts, .n_parts = 2}};
    const struct chat_request r = {LIST(list)};
    check_rendered(EACH SHOW "{% endfor %}", &r, "[user:a\nb]");
    check_rendered(EACH
                   "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content "
                   "%}{{ p.text }}{% endfor %}{% endif %}{% endfor %}",
                   &r, "ab");
}

TEST(chat_settings_reach_the_template_but_not_in_place_of_the_conversation)
{
    static const struct chat_message list[] = {{.role = CHAT_USER, .content = STR("U")}};
    struct err e;
    struct json *settings = json_parse(STR("{\"messages\":[],\"bos_token\":\"x\",\"tools\":[1],"
                                           "\"colour\":\"red\",\"enable_thinking\":true}"),
                                       &e);
    static const char source[] =
        EACH SHOW "{% endfor %}{{ bos_token }}{{ tools is defined }} {{ colour }} "
                  "{{ reasoning_effort }} {{ enable_thinking }} {{ strftime_now('%Y') }}";
    struct chat_request r = {LIST(list), .settings = settings, .effort = STR("none"),
                             .now_unix = 1795435200};
    check_rendered(source, &r, "[user:U]False red none True 2026");
    r.settings = NULL;
    r.effort = STR("high");
    check_rendered(source, &r, "[user:U]False  high  2026");
    r.effort = STR("none");
    check_rendered(source, &r, "[user:U]False  none False 2026");
    r.effort = STR("");
    r.think = true;
    check_rendered(source, &r, "[user:U]False   True 2026");
    json_free(settings);
}

TEST(chat_results_that_failed_say_so)
{
    static const struct chat_message list[] = {
        {.role = CHAT_USER, .content = STR("U")},
        {.role = CHAT_TOOL, .content = STR("no such file"), .failed = true},
        {.role = CHAT_TOOL, .content = STR("Error: x"), .failed = true}};
    check_rendered(EACH SHOW "{% endfor %}", &(struct chat_request){LIST(list)},
                   "[user:U][user:<tool_response>\nError: no such file\n</tool_response>\n"
                   "<tool_response>\nError: x\n</tool_response>]");
}

/* ---- any order of roles ---- */

enum { MAX_MESSAGES = 12, N_RANDOM = 60 };

/* A conversation in which every text is one word. */
struct random_talk {
    struct arena arena;
    struct chat_message list[MAX_MESSAGES];
    size_t n;
};

static void random_talk(struct rng *rng, struct random_talk *t)
{
    str ids[2 * MAX_MESSAGES] = {STR("unknown")};
    size_t n_ids = 1;
    t->n = 1 + rng_below(rng, MAX_MESSAGES);
    for (size_t i = 0; i < t->n; i++) {
        struct chat_message *m = &t->list[i];
        *m = (struct chat_message){.role = (enum chat_role)rng_below(rng, 4)};
        size_t n_calls = m->role == CHAT_ASSISTANT ? rng_below(rng, 3) : 0;
        struct chat_call *calls = arena_new(&t->arena, 2, sizeof *calls);
        /* What stands beside a call may be dropped later (gpt-oss). */
        if (!n_calls)
            m->content = arena_fmt(&t->arena, "w%zuw", i);
        for (size_t k = 0; k < n_calls; k++) {
            ids[n_ids] = arena_fmt(&t->arena, "call_%zu_%zu", i, k);
            calls[k] = (struct chat_call){ids[n_ids++], STR("search"),
                                          arena_fmt(&t->arena, "{\"query\": \"q%zuq%zuq\"}", i, k)};
        }
        m->calls = calls;
        m->n_calls = n_calls;
        if (m->role == CHAT_TOOL)
            m->call_id = ids[rng_below(rng, n_ids)];
    }
}

/* Every text is there once. User's, assistant's and system's stand in their order. */
static void check_texts(const struct random_talk *t, str prompt, const char *name)
{
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct chat_message *m = &t->list[i];
        size_t hit = m->content.n ? str_find(prompt, m->content, 0) : 0;
        if (hit == SIZE_MAX || (m->content.n && str_find(prompt, m->content, hit + 1) != SIZE_MAX))
            test_fail(__FILE__, __LINE__, "%s: '%.*s' is not there once:\n%.*s", name,
                      STRF(m->content), STRF(prompt));
        if (m->content.n && m->role != CHAT_TOOL && hit < at)
            test_fail(__FILE__, __LINE__, "%s: '%.*s' has moved:\n%.*s", name, STRF(m->content),
                      STRF(prompt));
        at = m->content.n && m->role != CHAT_TOOL ? hit : at;
        for (size_t k = 0; k < m->n_calls; k++) {
            str query = str_sub(m->calls[k].arguments, 11, m->calls[k].arguments.n - 2);
            if (str_find(prompt, query, 0) == SIZE_MAX)
                test_fail(__FILE__, __LINE__, "%s: call '%.*s' is not there:\n%.*s", name,
                          STRF(query), STRF(prompt));
        }
    }
}

static void check_random(const struct chat_template *t, const char *name, uint64_t seed)
{
    struct rng rng = {seed};
    for (int i = 0; i < N_RANDOM; i++) {
        struct random_talk talk = {0};
        struct chat_prompt p = {0};
        struct err e = {0};
        random_talk(&rng, &talk);
        if (!chat_render(t, &(struct chat_request){.messages = talk.list, .n_messages = talk.n}, &p,
                         &e))
            test_fail(__FILE__, __LINE__, "%s: %s", name, e.msg);
        check_texts(&talk, buf_view(&p.text), name);
        chat_prompt_free(&p);
        arena_free(&talk.arena);
    }
}

TEST(chat_roles_may_come_in_any_order)
{
    static const char *const names[] = {"Qwen3-Coder.jinja",
                                        "Qwen3-Coder.launch-2025-07.jinja",
                                        "Qwen3-Next-Instruct.jinja",
                                        "Qwen-Qwen3-0.6B.jinja",
                                        "Qwen3-2507-Thinking.jinja",
                                        "Qwen3.5-4B.jinja",
                                        "Qwen3.6.jinja",
                                        "openai-gpt-oss-120b.jinja",
                                        "GLM-4.5.jinja",
                                        "GLM-4.6.jinja",
                                        "GLM-4.7-Flash.jinja",
                                        "meta-llama-Llama-3.1-8B-Instruct.jinja"};
    for (int f = 0; f < CHAT_PLAIN; f++) {
        struct chat_template *t = kit_builtin_template((enum chat_format)f);
        check_random(t, chat_format_name((enum chat_format)f), test_seed() + (uint64_t)f);
        chat_template_close(t);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct chat_template *t = kit_template(names[i]);
        check_random(t, names[i], test_seed() + 100 + i);
        chat_template_close(t);
    }
}

/* What a conversation has become goes on when it grows: a prompt less the header of its reply is
 * the beginning of every later one. */
TEST(chat_prompts_of_a_growing_conversation_begin_alike)
{
    static const struct chat_call calls[] = {{STR("c1"), STR("f"), STR("{\"a\": 1}")},
                                             {STR("c2"), STR("g"), STR("{}")}};
    static const struct chat_message list[] = {
        {.role = CHAT_SYSTEM, .content = STR("S")},
        {.role = CHAT_USER, .content = STR("U1")},
        {.role = CHAT_ASSISTANT, .calls = &calls[0], .n_calls = 1},
        {.role = CHAT_TOOL, .content = STR("R1"), .call_id = STR("c1")},
        {.role = CHAT_SYSTEM, .content = STR("12 tokens left")},
        {.role = CHAT_ASSISTANT, .content = STR("A1")},
        {.role = CHAT_USER, .content = STR("U2")},
        {.role = CHAT_ASSISTANT, .calls = &calls[1], .n_calls = 1},
        {.role = CHAT_TOOL, .content = STR("R2"), .call_id = STR("c2")},
        {.role = CHAT_ASSISTANT, .content = STR("A2")},
        {.role = CHAT_SYSTEM, .content = STR("11 tokens left")},
        {.role = CHAT_USER, .content = STR("U3")}};
    for (int f = 0; f < CHAT_PLAIN; f++) {
        struct chat_template *t = kit_builtin_template((enum chat_format)f);
        str header = f == CHAT_HARMONY ? STR("<|start|>assistant")
                     : f == CHAT_GLM   ? STR("<|assistant|><think>")
                     : f == CHAT_LLAMA_JSON
                         ? STR("<|start_header_id|>assistant<|end_header_id|>\n\n")
                         : STR("<|im_start|>assistant\n");
        struct chat_prompt before = {0};
        for (size_t n = 2; n <= sizeof list / sizeof *list; n++) {
            struct chat_prompt p = {0};
            struct err e = {0};
            CHECK_OK(
                chat_render(t, &(struct chat_request){.messages = list, .n_messages = n}, &p, &e));
            CHECK(str_ends(buf_view(&p.text), header));
            if (!str_starts(buf_view(&p.text),
                            str_sub(buf_view(&before.text), 0,
                                    before.text.n ? before.text.n - header.n : 0)))
                test_fail(__FILE__, __LINE__, "%s, %zu messages:\n%.*s\n--- before\n%.*s",
                          chat_format_name((enum chat_format)f), n, STRF(buf_view(&p.text)),
                          STRF(buf_view(&before.text)));
            chat_prompt_free(&before);
            before = p;
        }
        chat_prompt_free(&before);
        chat_template_close(t);
    }
}

/* ---- the first token ---- */

enum { BOS = 256 };

static void bos_keys(struct gguf_writer *w)
{
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", BOS);
}

TEST(chat_prompt_begins_with_one_first_token)
{
    static const struct fixture_added added[] = {{"<s>", TOK_CONTROL}, {0}};
    static const char *const sources[] = {"{{ bos_token }}" EACH "{{ m.content }}{% endfor %}",
                                          EACH "{{ m.content }}{% endfor %}"};
    static const struct chat_message list[] = {{.role = CHAT_USER, .content = STR("<s>a")}};
    const struct chat_request r = {LIST(list)};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        struct chat_prompt p = {0};
        struct tok_ids ids = {0};
        struct tok *tok =
            tok_fixture_open(&(struct tok_fixture){.added = added, .more_keys = bos_keys}, &e);
        CHECK_OK(tok);
        const struct chat_template_params params = {.source = str_of(sources[i]), .tok = tok};
        struct chat_template *t = chat_template_open(&params, &e);
        CHECK_OK(t);
        CHECK_OK(chat_render(t, &r, &p, &e));
        chat_prompt_encode(&p, tok, &ids);
        CHECK_INT(ids.n, 5);
        CHECK_INT(ids.ids[0], BOS);
        CHECK_INT(ids.ids[1], '<'); /* the user's is text */
        CHECK_INT(ids.ids[4], 'a');
        free(ids.ids);
        chat_prompt_free(&p);
        chat_template_close(t);
        tok_close(tok);
    }
}
