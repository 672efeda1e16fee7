/* Exchanges sent again: in order, with the server's own replies in their places, and counted as
 * each protocol counts. */
#include "test.h"

#include <unistd.h>

#include "base/file.h"
#include "cmd/rerun.h"
#include "kit/server_kit.h"

static void write_exchange(const char *folder, const char *name, const char *members)
{
    struct buf path = {0}, text = {0};
    struct file_out f = {0};
    struct err e;
    buf_fmt(&path, "%s/%s.json", folder, name);
    buf_fmt(&text, "{\"tawny_exchange\":1,\"id\":\"%s\",%s}", name, members);
    CHECK_OK(file_create(&f, path.p, &e) && file_write_at(&f, 0, text.p, text.n, &e) &&
             file_commit(&f, &e));
    file_abandon(&f);
    buf_free(&path);
    buf_free(&text);
}

static void remove_exchange(const char *folder, const char *name)
{
    struct buf path = {0};
    buf_fmt(&path, "%s/%s.json", folder, name);
    CHECK_INT(unlink(path.p), 0);
    buf_free(&path);
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"read\",\"description\":\"reads a " \
    "file, from one line to another\",\"parameters\":{\"type\":\"object\",\"properties\":{"        \
    "\"path\":{\"enum\":[\"a.c\",\"b.c\"]},\"from\":{\"enum\":[1,20]}},"                           \
    "\"required\":[\"path\",\"from\"],\"additionalProperties\":false}}}],\"tool_choice\":"         \
    "\"required\","
#define USER "{\"role\":\"user\",\"content\":\"What is in a.c? Read it from line 20 on.\"}"
#define CHAT(after, messages)                                                                      \
    "\"path\":\"/v1/chat/completions\",\"after\":[" after "],\"request\":{" TOOLS                  \
    "\"temperature\":0,\"max_tokens\":100,\"stream\":true,\"messages\":[" messages "]}"
#define RESULT(reply)                                                                              \
    "{\"role\":\"tool\",\"tool_call_id\":{\"$call\":\"" reply "\"},\"content\":\"int main;\"}"

/* The smallest of the replays of docs/agents.md: a tool's call goes back in another order and
 * spacing, beside a title request. Nothing that is known is read again. */
TEST(rerun_reads_no_more_than_the_minimum)
{
    char folder[] = "/tmp/tawny-rerun-XXXXXX";
    struct rerun_list l;
    struct rerun_params p = {.n_at_once = 2};
    struct err e;
    CHECK(mkdtemp(folder));
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    write_exchange(folder, "1", CHAT("", USER));
    write_exchange(folder, "2",
                   "\"path\":\"/v1/chat/completions\",\"after\":[],\"request\":{\"max_tokens\":4,"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"A title for: read a.c\"}]}");
    write_exchange(folder, "3",
                   CHAT("\"1\"", USER ",{\"$reply\":\"1\",\"reordered\":true}," RESULT("1")));
    write_exchange(folder, "4",
                   CHAT("\"3\",\"2\"", USER ",{\"$reply\":\"1\",\"reordered\":true}," RESULT(
                                           "1") ",{\"$reply\":\"3\"}," RESULT("3")));
    snprintf(p.server.host, sizeof p.server.host, "127.0.0.1");
    snprintf(p.server.port, sizeof p.server.port, "%u", kit_port(s));
    CHECK_OK(rerun_load(folder, &l, &e));
    CHECK_INT(l.n, 4);
    rerun_run(&l, &p, NULL, NULL);
    for (size_t i = 0; i < l.n; i++)
        if (!l.at[i].ok)
            test_fail(__FILE__, __LINE__, "%s: %s", l.at[i].id.p, l.at[i].error.msg);
    CHECK_OK(rerun_minimum(&l, &p.server, &e));
    int64_t n_read = 0, minimum = 0;
    for (size_t i = 0; i < l.n; i++) {
        const struct rerun_exchange *x = &l.at[i];
        CHECK_INT(x->reply.n_prompt, x->n_counted);
        CHECK_INT(x->n_valid, i == 1 ? 0 : 1);
        CHECK(x->reply.first_ns > x->begin_ns && x->reply.first_ns <= x->end_ns);
        n_read += x->reply.n_prompt - x->reply.n_cached;
        minimum += x->minimum;
    }
    printf("    read %lld, minimum %lld\n", (long long)n_read, (long long)minimum);
    CHECK(l.at[2].begin_ns >= l.at[0].end_ns && l.at[3].begin_ns >= l.at[1].end_ns);
    CHECK(l.at[1].begin_ns < l.at[0].end_ns);
    CHECK(100 * n_read <= 103 * minimum);
    rerun_free(&l);
    kit_server_close(s);
    for (char name[] = "1"; name[0] <= '4'; name[0]++)
        remove_exchange(folder, name);
    CHECK_INT(rmdir(folder), 0);
}

struct loads {
    struct kit_server *server;
    size_t n;
};

/* Twice it hears that the server loads: nothing of it, and a quarter. */
static void take_loading(void *ctx, struct health h)
{
    struct loads *l = ctx;
    CHECK(h.loading && h.done == 25 * l->n && h.total == 100 * l->n);
    if (l->n++ == 0)
        kit_server_progress(l->server, 25, 100);
    else
        kit_server_load(l->server);
}

TEST(rerun_waits_for_a_server_that_loads)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.loading = true});
    struct rerun_server to = {.host = "127.0.0.1"};
    struct loads loads = {.server = s};
    struct err e;
    snprintf(to.port, sizeof to.port, "%u", kit_port(s));
    CHECK_OK(rerun_wait(&to, take_loading, &loads, &e));
    CHECK_INT(loads.n, 2);
    CHECK_OK(rerun_wait(&to, take_loading, &loads, &e)); /* ready: nothing is told */
    CHECK_INT(loads.n, 2);
    kit_server_close(s);
    CHECK(!rerun_wait(&to, take_loading, &loads, &e) && strstr(e.msg, "no server answers"));
}

TEST(health_knows_a_server_that_loads)
{
    struct health h = health_of(503, STR("{\"error\":{\"code\":503,\"message\":\"Loading model\","
                                         "\"type\":\"unavailable_error\"}}"));
    CHECK(h.loading && h.done == 0 && h.total == 0);
    h = health_of(503, STR("{\"error\":{\"message\":\"Loading model\",\"loaded_bytes\":3,"
                           "\"total_bytes\":7}}"));
    CHECK(h.loading && h.done == 3 && h.total == 7);
    CHECK(!health_of(503, STR("{\"error\":{\"message\":\"overloaded\"}}")).loading);
    CHECK(!health_of(503, STR("<html>Loading model")).loading);
    CHECK(!health_of(404, STR("{\"error\":{\"message\":\"Loading model\"}}")).loading);
    CHECK(!health_of(200, STR("{\"status\":\"ok\"}")).loading);
}

static void check_reply(const char *path, bool streamed, const char *text, const char *content,
                        const char *arguments, int64_t n_prompt, int64_t n_cached)
{
    /* In pieces of every size, as a socket hands them over. */
    for (size_t piece = 1; piece < 40; piece += 13) {
        struct rerun_reply r;
        str rest = str_of(text);
        rerun_reply_open(&r, str_of(path), streamed);
        for (; rest.n; rest = str_sub(rest, piece, rest.n))
            rerun_reply_put(&r, str_sub(rest, 0, piece));
        rerun_reply_end(&r);
        CHECK_STR(buf_view(&r.content), str_of(content));
        CHECK_INT(r.n_prompt, n_prompt);
        CHECK_INT(r.n_cached, n_cached);
        CHECK_INT(r.n_generated, 5);
        CHECK_INT(r.n_calls, arguments ? 1 : 0);
        if (arguments) {
            CHECK_STR(buf_view(&r.calls[0].name), STR("f"));
            CHECK_STR(buf_view(&r.calls[0].arguments), str_of(arguments));
        }
        CHECK(r.first_ns > 0);
        rerun_reply_free(&r);
    }
}

TEST(rerun_counts_as_each_protocol_does)
{
    check_reply("/v1/chat/completions", true,
                "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n: idle\n\n"
                "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"i\","
                "\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n"
                "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
                "\"arguments\":\"}\"}}]}}]}\n\n"
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"
                "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\ndata: [DONE]\n\n",
                "a", "{}", 9, 4);
    check_reply("/v1/chat/completions", false,
                "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":9,"
                "\"completion_tokens\":5},\"timings\":{\"cache_n\":4,\"prompt_n\":5}}",
                "a", NULL, 9, 4);
    check_reply(
        "/v1/messages", true,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":"
        "[],\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":4}}}\n\n"
        "data: {\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
        "data: {\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"
        "data: {\"content_block\":{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\","
        "\"input\":{}}}\n\n"
        "data: {\"delta\":{\"partial_json\":\"{}\"}}\n\n"
        "data: {\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":5}}\n\n",
        "a", "{}", 9, 4);
    check_reply("/v1/messages", false,
                "{\"content\":[{\"type\":\"tool_use\",\"name\":\"f\",\"input\":{\"b\": 1}}],"
                "\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":4,\"output_tokens\":5}}",
                "", "{\"b\":1}", 9, 4);
    check_reply("/v1/responses", true,
                "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"
                "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":"
                "\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}}\n\n"
                "data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":"
                "\"function_call\",\"name\":\"f\"}],\"usage\":{\"input_tokens\":9,"
                "\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":5}}}\n\n",
                "a", "{}", 9, 4);
    check_reply("/api/chat", true,
                "{\"message\":{\"content\":\"a\"}}\n{\"message\":{\"tool_calls\":[{\"function\":{"
                "\"name\":\"f\",\"arguments\":{}}}]}}\n"
                "{\"done\":true,\"prompt_eval_count\":9,\"eval_count\":5}\n",
                "a", "{}", 9, -1);
}

TEST(rerun_judges_calls_by_the_tools_that_were_offered)
{
    static const struct {
        const char *call;
        size_t n_valid;
    } cases[] = {
        {"{\"function\":{\"name\":\"read\",\"arguments\":\"{\\\"path\\\":\\\"a.c\\\",\\\"from\\\":"
         "1}"
         "\"}}",
         1},
        {"{\"function\":{\"name\":\"read\",\"arguments\":\"{\\\"path\\\":\\\"a.c\\\"}\"}}", 0},
        {"{\"function\":{\"name\":\"read\",\"arguments\":\"{\\\"path\"}}", 0},
        {"{\"function\":{\"name\":\"write\",\"arguments\":\"{}\"}}", 0},
    };
    struct err e;
    struct json *request = json_parse(STR("{" TOOLS "\"messages\":[]}"), &e);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rerun_reply r;
        struct buf text = {0};
        buf_fmt(&text, "{\"choices\":[{\"message\":{\"tool_calls\":[%s]}}]}", cases[i].call);
        rerun_reply_open(&r, STR("/v1/chat/completions"), false);
        rerun_reply_put(&r, buf_view(&text));
        rerun_reply_end(&r);
        CHECK_INT(r.n_calls, 1);
        CHECK_INT(rerun_reply_valid(&r, request), cases[i].n_valid);
        rerun_reply_free(&r);
        buf_free(&text);
    }
    json_free(request);
}

/* Only what came before can be referred to. */
TEST(rerun_refuses_what_cannot_be_ordered)
{
    char folder[] = "/tmp/tawny-rerun-XXXXXX";
    struct rerun_list l;
    struct err e = {0};
    CHECK(mkdtemp(folder));
    CHECK(!rerun_load(folder, &l, &e));
    write_exchange(folder, "1", CHAT("\"2\"", USER));
    write_exchange(folder, "2", CHAT("", USER));
    CHECK(!rerun_load(folder, &l, &e));
    CHECK(str_find(str_of(e.msg), STR("/1.json: .after[0]: no exchange before it is '2'"), 0) !=
          SIZE_MAX);
    remove_exchange(folder, "1");
    remove_exchange(folder, "2");
    CHECK_INT(rmdir(folder), 0);
}
