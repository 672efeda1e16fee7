#include "cmd/launch.h"

#include <string.h>

#include "base/json.h"

/* Long prompts take minutes on local machines: clients' timers are set to half an hour and more. */
#define IDLE_MS  "1800000"
#define TOTAL_MS "3600000"

uint32_t launch_output(const struct launch_server *s)
{
    enum { MOST = 16384 };
    return s->n_ctx / 4 < MOST ? s->n_ctx / 4 : MOST;
}

static void put_env(struct launch_plan *p, str line)
{
    p->env[p->n_env++] = line.p; /* made by arena_fmt: ends in a NUL byte */
}

static void put_args(struct launch_plan *p, const char *option, const char *value)
{
    p->args[p->n_args++] = option;
    p->args[p->n_args++] = value;
}

static const char *key_of(const struct launch_server *s)
{
    return s->key ? s->key : "none";
}

/* https://code.claude.com/docs/en/settings; no model name may begin with "claude". */
static void plan_claude(const struct launch_server *s, struct arena *a, struct launch_plan *p)
{
    static const char *const models[] = {
        "ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL"};
    static const char *const fixed[] = {"ANTHROPIC_API_KEY=",
                                        "CLAUDE_CODE_ATTRIBUTION_HEADER=0",
                                        "CLAUDE_CODE_TOTAL_TOKENS_REMINDER=off",
                                        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
                                        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1",
                                        "DISABLE_ERROR_REPORTING=1",
                                        "CLAUDE_STREAM_IDLE_TIMEOUT_MS=" IDLE_MS,
                                        "API_TIMEOUT_MS=" TOTAL_MS};
    p->program = "claude";
    p->get = "npm install -g @anthropic-ai/claude-code";
    put_env(p, arena_fmt(a, "ANTHROPIC_BASE_URL=http://127.0.0.1:%u", s->port));
    put_env(p, arena_fmt(a, "ANTHROPIC_AUTH_TOKEN=%s", key_of(s)));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        put_env(p, arena_fmt(a, "%s=%.*s", models[i], STRF(s->model)));
    put_env(p, arena_fmt(a, "CLAUDE_CODE_MAX_CONTEXT_TOKENS=%u", s->n_ctx));
    put_env(p, arena_fmt(a, "CLAUDE_CODE_MAX_OUTPUT_TOKENS=%u", launch_output(s)));
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        p->env[p->n_env++] = fixed[i];
}

/* https://opencode.ai/docs/config: OPENCODE_CONFIG_CONTENT is laid over the user's own files. */
static void plan_opencode(const struct launch_server *s, struct arena *a, struct launch_plan *p)
{
    struct buf key = {0}, name = {0};
    p->program = "opencode";
    p->get = "npm install -g opencode-ai";
    json_quote(str_of(key_of(s)), &key);
    json_quote(s->model, &name);
    str inner = str_sub(buf_view(&name), 1, name.n - 1);
    put_env(
        p,
        arena_fmt(
            a,
            "OPENCODE_CONFIG_CONTENT={\"model\":\"tawny/%.*s\",\"small_model\":\"tawny/%.*s\","
            "\"provider\":{\"tawny\":{\"npm\":\"@ai-sdk/openai-compatible\",\"name\":\"tawny\","
            "\"options\":{\"baseURL\":\"http://127.0.0.1:%u/v1\",\"apiKey\":%s,\"timeout\":false,"
            "\"setCacheKey\":true},\"models\":{\"%.*s\":{\"name\":\"%.*s\",\"limit\":{"
            "\"context\":%u,\"output\":%u},\"tool_call\":true,"
            "\"interleaved\":{\"field\":\"reasoning_content\"}}}}}}",
            STRF(inner), STRF(inner), s->port, key.p, STRF(inner), STRF(inner), s->n_ctx,
            launch_output(s)));
    buf_free(&key);
    buf_free(&name);
}

/* Codex takes its configuration's keys with -c; values are TOML. Compacting begins at 90 %. */
static void plan_codex(const struct launch_server *s, struct arena *a, struct launch_plan *p)
{
    p->program = "codex";
    p->get = "npm install -g @openai/codex";
    struct buf name = {0};
    json_quote(s->model, &name); /* a TOML string, too */
    put_args(p, "-c", arena_fmt(a, "model=%.*s", STRF(buf_view(&name))).p);
    buf_free(&name);
    put_args(p, "-c", "model_provider=\"tawny\"");
    put_args(p, "-c", arena_fmt(a, "model_context_window=%u", s->n_ctx).p);
    put_args(p, "-c", "model_providers.tawny.name=\"tawny\"");
    put_args(p, "-c",
             arena_fmt(a, "model_providers.tawny.base_url=\"http://127.0.0.1:%u/v1\"", s->port).p);
    put_args(p, "-c", "model_providers.tawny.wire_api=\"responses\"");
    put_args(p, "-c", "model_providers.tawny.stream_idle_timeout_ms=" TOTAL_MS);
    put_args(p, "-c", "web_search=\"disabled\"");
    put_args(p, "-c", "features.view_image=false");
    if (s->key) {
        put_args(p, "-c", "model_providers.tawny.env_key=\"TAWNY_API_KEY\"");
        put_env(p, arena_fmt(a, "TAWNY_API_KEY=%s", s->key));
    }
}

static void plan_qwen(const struct launch_server *s, struct arena *a, struct launch_plan *p)
{
    p->program = "qwen";
    p->get = "npm install -g @qwen-code/qwen-code";
    put_env(p, arena_fmt(a, "OPENAI_BASE_URL=http://127.0.0.1:%u/v1", s->port));
    put_env(p, arena_fmt(a, "OPENAI_API_KEY=%s", key_of(s)));
    put_env(p, arena_fmt(a, "OPENAI_MODEL=%.*s", STRF(s->model)));
    put_args(p, "--auth-type", "openai");
}

static const struct {
    void (*plan)(const struct launch_server *s, struct arena *a, struct launch_plan *p);
} agents[] = {{plan_claude}, {plan_opencode}, {plan_codex}, {plan_qwen}};
const char *const launch_names[] = {"claude", "opencode", "codex", "qwen", NULL};

bool launch_plan(const char *agent, const struct launch_server *s, struct arena *a,
                 struct launch_plan *out, struct err *e)
{
    *out = (struct launch_plan){0};
    for (size_t i = 0; launch_names[i]; i++)
        if (!strcmp(launch_names[i], agent)) {
            agents[i].plan(s, a, out);
            return true;
        }
    return err_set(e, ERR_USAGE, "launch: unknown agent '%s': claude, opencode, codex or qwen",
                   agent);
}
