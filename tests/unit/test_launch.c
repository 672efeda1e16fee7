/* What agents are told about a server. */
#include "test.h"

#include "base/json.h"
#include "cmd/launch.h"
#include "kit/server_kit.h"

static const struct launch_server server = {
    .port = 8383, .model = {"owl-30b", 7}, .n_ctx = 65536, .key = NULL};

static bool has(const char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], text))
            return true;
    return false;
}

TEST(launch_tells_claude_code_the_true_limits)
{
    struct arena a = {0};
    struct launch_plan p;
    struct err e;
    CHECK_OK(launch_plan("claude", &server, "/tmp/owl", &a, &p, &e));
    CHECK(has(p.env, p.n_env, "ANTHROPIC_BASE_URL=http://127.0.0.1:8383"));
    CHECK(has(p.env, p.n_env, "ANTHROPIC_DEFAULT_HAIKU_MODEL=owl-30b"));
    CHECK(has(p.env, p.n_env, "CLAUDE_CODE_MAX_CONTEXT_TOKENS=65536"));
    CHECK(has(p.env, p.n_env, "CLAUDE_CODE_MAX_OUTPUT_TOKENS=16384"));
    CHECK(has(p.env, p.n_env, "ANTHROPIC_API_KEY="));
    CHECK(p.n_env < LAUNCH_MAX_ENV);
    CHECK(!p.warning);
    const struct launch_server renamed = {.port = 1, .model = STR("claude-owl"), .n_ctx = 512};
    CHECK_OK(launch_plan("claude", &renamed, "/tmp/owl", &a, &p, &e));
    CHECK(p.warning && strstr(p.warning, "--alias"));
    CHECK_OK(launch_plan("pi", &renamed, "/tmp/owl", &a, &p, &e));
    CHECK(!p.warning);
    arena_free(&a);
}

/* Is the text in what the agent is given? */
static bool tells(const struct launch_plan *p, const char *text)
{
    for (size_t i = 0; i < p->n_env; i++)
        if (strstr(p->env[i], text))
            return true;
    for (size_t i = 0; i < p->n_files; i++)
        if (str_find(p->files[i].text, str_of(text), 0) != SIZE_MAX)
            return true;
    return false;
}

TEST(launch_says_whether_the_model_reasons)
{
    static const char *const rows[][2] = {{"opencode", "\"reasoning\": %s"},
                                          {"codex", "\"supports_reasoning_summaries\": %s"},
                                          {"pi", "\"reasoning\": %s"},
                                          {"crush", "\"can_reason\": %s"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int thinks = 0; thinks < 2; thinks++) {
            struct launch_server s = server;
            struct arena a = {0};
            struct launch_plan p;
            struct buf text = {0};
            struct err e;
            s.thinks = thinks;
            CHECK_OK(launch_plan(rows[i][0], &s, "/tmp/owl", &a, &p, &e));
            str before = str_cut(str_of(rows[i][1]), '%', &(str){0});
            buf_fmt(&text, "%.*s%s", STRF(before), thinks ? "true" : "false");
            if (!tells(&p, text.p))
                test_fail(__FILE__, __LINE__, "%s is not told %s", rows[i][0], text.p);
            buf_free(&text);
            arena_free(&a);
        }
}

TEST(launch_gives_opencode_its_configuration_as_json)
{
    struct arena a = {0};
    struct launch_plan p;
    struct err e;
    static const str name = STR("OPENCODE_CONFIG_CONTENT=");
    CHECK_OK(launch_plan("opencode", &server, "/tmp/owl", &a, &p, &e));
    str text = str_of(p.env[0]);
    CHECK(str_starts(text, name));
    struct json *v = json_parse(str_sub(text, name.n, text.n), &e);
    CHECK_OK(v);
    const struct json *provider = json_get(json_get(v, "provider"), "tawny");
    const struct json *limit = json_get(json_get(json_get(provider, "models"), "owl-30b"), "limit");
    CHECK_STR(json_str(json_get(v, "model")), STR("tawny/owl-30b"));
    CHECK_STR(json_str(json_get(json_get(provider, "options"), "baseURL")),
              STR("http://127.0.0.1:8383/v1"));
    CHECK_INT(json_int(json_get(limit, "context")), 65536);
    CHECK_INT(json_int(json_get(limit, "output")), 16384);
    json_free(v);
    arena_free(&a);
}

TEST(launch_gives_codex_and_qwen_code_the_server)
{
    struct arena a = {0};
    struct launch_plan p;
    struct err e;
    struct launch_server keyed = server;
    keyed.key = "hush";
    CHECK_OK(launch_plan("codex", &keyed, "/tmp/owl", &a, &p, &e));
    CHECK(has(p.args, p.n_args, "model=\"owl-30b\""));
    CHECK(has(p.args, p.n_args, "model_context_window=65536"));
    CHECK(has(p.args, p.n_args, "model_providers.tawny.env_key=\"TAWNY_API_KEY\""));
    CHECK(has(p.env, p.n_env, "TAWNY_API_KEY=hush"));
    CHECK(p.n_args < LAUNCH_MAX_ARGS);
    CHECK_OK(launch_plan("qwen", &keyed, "/tmp/owl", &a, &p, &e));
    CHECK(has(p.env, p.n_env, "QWEN_CODE_SYSTEM_SETTINGS_PATH=/tmp/owl/qwen.json"));
    CHECK(has(p.env, p.n_env, "TAWNY_API_KEY=hush"));
    CHECK(!launch_plan("owl", &server, "/tmp/owl", &a, &p, &e) && e.code == ERR_USAGE);
    arena_free(&a);
}

/* pi, Qwen Code and Crush would expand what looks like a variable, and pi run what a "!" begins. */
TEST(launch_keeps_keys_from_being_expanded)
{
    struct arena a = {0};
    struct launch_plan p;
    struct err e;
    struct launch_server keyed = server;
    keyed.key = "!a$HOME$";
    CHECK_OK(launch_plan("pi", &keyed, "/tmp/owl", &a, &p, &e));
    for (size_t i = 0; i < p.n_files; i++)
        CHECK(str_find(p.files[i].text, STR("\"$!a$$HOME$$\""), 0) != SIZE_MAX);
    static const char *const by_name[] = {"qwen", "crush"};
    for (int i = 0; i < 2; i++) {
        CHECK_OK(launch_plan(by_name[i], &keyed, "/tmp/owl", &a, &p, &e));
        CHECK(str_find(p.files[0].text, STR("\"$TAWNY_API_KEY\""), 0) != SIZE_MAX);
        CHECK(str_find(p.files[0].text, STR("HOME"), 0) == SIZE_MAX);
        CHECK(has(p.env, p.n_env, "TAWNY_API_KEY=!a$HOME$"));
        CHECK(str_starts(str_of(p.then), STR("TAWNY_API_KEY=KEY ")));
    }
    arena_free(&a);
}

/* User settings, ours, and what becomes of them ("": refused). */
TEST(launch_merges_what_is_asked_and_keeps_the_rest)
{
    static const struct {
        const char *user, *ours, *want;
    } cases[] = {
        {"", "{\"a\": 1}", "{\"a\":1}"},
        {"{\"b\": null, \"a\": 0}", "{\"a\": 1}", "{\"b\":null,\"a\":1}"},
        {"{\"a\": {\"b\": 1.50, \"c\": [2]}}", "{\"a\": {\"c\": [3], \"d\": {}}}",
         "{\"a\":{\"b\":1.50,\"c\":[3],\"d\":{}}}"},
        {"{\"m\": [{\"id\": \"x\"}, 7, {\"id\": \"y\", \"o\": 1}]}", "{\"m\": [{\"id\": \"y\"}]}",
         "{\"m\":[{\"id\":\"x\"},7,{\"id\":\"y\"}]}"},
        {"{\"m\": \"text\"}", "{\"m\": [{\"id\": \"y\"}]}", "{\"m\":[{\"id\":\"y\"}]}"},
        {"[]", "{\"a\": 1}", ""},
        {"{} // mine", "{\"a\": 1}", ""},
        {"{\"a\": 1", "{\"a\": 1}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf got = {0}, plain = {0};
        struct err e;
        bool ok = launch_merge(str_of(cases[i].user), str_of(cases[i].ours), &got, &e);
        CHECK_INT(ok, cases[i].want[0] != 0);
        struct json *v = ok ? json_parse(buf_view(&got), &e) : NULL;
        if (ok)
            json_print(v, JSON_COMPACT, &plain);
        CHECK_STR(buf_view(&plain), str_of(cases[i].want));
        json_free(v);
        buf_free(&got);
        buf_free(&plain);
    }
}

TEST(launch_asks_the_server_for_its_model)
{
    struct kit_server *s =
        kit_server_open(&(struct kit_server_params){.n_ctx = 512, .api_key = "hush"});
    struct arena a = {0};
    struct launch_server found;
    struct err e;
    CHECK_OK(launch_probe(kit_port(s), "hush", &a, &found, &e));
    CHECK_STR(found.model, STR("kit"));
    CHECK_INT(found.n_ctx, 512);
    CHECK(!found.thinks);
    CHECK(!launch_probe(kit_port(s), NULL, &a, &found, &e) && strstr(e.msg, "--api-key"));
    kit_server_close(s);
    s = kit_server_open(&(struct kit_server_params){.chat_template = "<think>"});
    CHECK_OK(launch_probe(kit_port(s), NULL, &a, &found, &e));
    CHECK(found.thinks);
    arena_free(&a);
    kit_server_close(s);
}

TEST(launch_knows_a_server_that_loads)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.loading = true});
    struct arena a = {0};
    struct launch_server found;
    struct err e;
    CHECK(!launch_probe(kit_port(s), NULL, &a, &found, &e));
    CHECK(found.health.loading && found.health.total == 0 && e.code == ERR_IO &&
          strstr(e.msg, "is loading"));
    kit_server_progress(s, 25, 100);
    CHECK(!launch_probe(kit_port(s), NULL, &a, &found, &e));
    CHECK(found.health.loading && found.health.done == 25 && found.health.total == 100);
    kit_server_load(s);
    CHECK_OK(launch_probe(kit_port(s), NULL, &a, &found, &e));
    CHECK(!found.health.loading);
    CHECK_STR(found.model, STR("kit"));
    arena_free(&a);
    kit_server_close(s);
}
