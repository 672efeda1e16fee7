#include "cmd/launch_plan.h"

/* https://code.claude.com/docs/en/settings. The variables
 * stand in a file of settings, too: those of the user's own settings would come before the
 * environment. */
void plan_claude(const struct plan_in *in)
{
    static const struct launch_home home = {"CLAUDE_CONFIG_DIR", NULL, ".claude"};
    const struct launch_server *s = in->server;
    const struct {
        const char *name;
        str value;
    } env[] = {
        {"ANTHROPIC_BASE_URL", arena_fmt(in->arena, "http://127.0.0.1:%u", s->port)},
        {"ANTHROPIC_AUTH_TOKEN", str_of(plan_key(s))},
        {"ANTHROPIC_API_KEY", STR("")},
        {"ANTHROPIC_MODEL", s->model},
        {"ANTHROPIC_DEFAULT_OPUS_MODEL", s->model},
        {"ANTHROPIC_DEFAULT_SONNET_MODEL", s->model},
        {"ANTHROPIC_DEFAULT_HAIKU_MODEL", s->model},
        {"ANTHROPIC_DEFAULT_FABLE_MODEL", s->model},
        {"CLAUDE_CODE_SUBAGENT_MODEL", s->model},
        {"ANTHROPIC_CUSTOM_MODEL_OPTION", s->model},
        {"ANTHROPIC_CUSTOM_MODEL_OPTION_NAME", s->model},
        {"ANTHROPIC_CUSTOM_MODEL_OPTION_DESCRIPTION", STR("tawny, on this machine")},
        {"CLAUDE_CODE_MAX_CONTEXT_TOKENS", arena_fmt(in->arena, "%u", s->n_ctx)},
        {"CLAUDE_CODE_MAX_OUTPUT_TOKENS", arena_fmt(in->arena, "%u", launch_output(s))},
        {"CLAUDE_CODE_ATTRIBUTION_HEADER", STR("0")},
        {"CLAUDE_CODE_TOTAL_TOKENS_REMINDER", STR("off")},
        {"CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", STR("0")}, /* a request per turn less */
        {"CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS", STR("2")},
        {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", STR("1")},
        {"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK", STR("1")},
        {"CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY", STR("1")},
        {"DISABLE_FEEDBACK_COMMAND", STR("1")},
        {"DISABLE_ERROR_REPORTING", STR("1")},
        {"CLAUDE_STREAM_IDLE_TIMEOUT_MS", arena_fmt(in->arena, "%d", PLAN_IDLE_MS)},
        {"API_TIMEOUT_MS", arena_fmt(in->arena, "%d", PLAN_TOTAL_MS)},
    };
    struct buf text = {0};
    struct jout j = {.out = &text};
    jout_begin(&j, NULL, '{');
    jout_begin(&j, "env", '{');
    for (size_t i = 0; i < sizeof env / sizeof *env; i++) {
        jout_str(&j, env[i].name, env[i].value);
        plan_env(in, arena_fmt(in->arena, "%s=%.*s", env[i].name, STRF(env[i].value)));
    }
    jout_end(&j, '}');
    jout_end(&j, '}');
    in->plan->program = in->plan->then = "claude";
    in->plan->get = "npm install -g @anthropic-ai/claude-code";
    if (str_starts(s->model, STR("claude")))
        in->plan->warning = "Claude Code takes models whose names begin with 'claude' for "
                            "Anthropic's and does not ask for their context: give the server "
                            "another name with --alias";
    plan_args(in, "--settings", plan_file(in, "claude.json", &text, &home, "settings.json", true));
}

/* https://opencode.ai/docs/config: OPENCODE_CONFIG_CONTENT is laid over the user's own files. */
void plan_opencode(const struct plan_in *in)
{
    static const struct launch_home home = {"OPENCODE_CONFIG_DIR", "opencode", ".config/opencode"};
    const struct launch_server *s = in->server;
    str name = arena_fmt(in->arena, "tawny/%.*s", STRF(s->model));
    struct buf text = {0};
    struct jout j = {.out = &text};
    jout_begin(&j, NULL, '{');
    jout_str(&j, "$schema", STR("https://opencode.ai/config.json"));
    jout_str(&j, "model", name);
    jout_str(&j, "small_model", name);
    jout_begin(&j, "provider", '{');
    jout_begin(&j, "tawny", '{');
    jout_str(&j, "npm", STR("@ai-sdk/openai-compatible"));
    jout_str(&j, "name", STR("tawny"));
    jout_begin(&j, "options", '{');
    jout_str(&j, "baseURL", plan_url(in));
    jout_str(&j, "apiKey", str_of(plan_key(s)));
    jout_bool(&j, "timeout", false);
    jout_i64(&j, "headerTimeout", PLAN_TOTAL_MS);
    jout_i64(&j, "chunkTimeout", PLAN_TOTAL_MS);
    jout_bool(&j, "setCacheKey", true);
    jout_end(&j, '}');
    jout_begin(&j, "models", '{');
    jout_begin(&j, s->model.p, '{');
    jout_str(&j, "name", s->model);
    jout_begin(&j, "limit", '{');
    jout_u64(&j, "context", s->n_ctx);
    jout_u64(&j, "output", launch_output(s));
    jout_end(&j, '}');
    jout_bool(&j, "tool_call", true);
    jout_bool(&j, "reasoning", s->thinks);
    jout_begin(&j, "interleaved", '{');
    jout_str(&j, "field", STR("reasoning_content"));
    for (int i = 0; i < 6; i++)
        jout_end(&j, '}');
    plan_env(in, arena_fmt(in->arena, "OPENCODE_CONFIG_CONTENT=%.*s", STRF(buf_view(&text))));
    in->plan->program = in->plan->then = "opencode";
    in->plan->get = "npm install -g opencode-ai";
    plan_file(in, NULL, &text, &home, "opencode.json", true);
}

/* How a key stands in the files of agents that expand variables and know no escape: only by a
 * variable. What uses an installed file has to set that then. */
static str key_by_name(const struct plan_in *in)
{
    return plan_key_is_plain(in->server) ? str_of(plan_key(in->server)) : STR("$TAWNY_API_KEY");
}

static const char *then_with_key(const struct plan_in *in, const char *program)
{
    return plan_key_is_plain(in->server) ? program
                                         : arena_fmt(in->arena, "TAWNY_API_KEY=KEY %s", program).p;
}

/* Its documentation, configuration/settings.md and model-providers.md: the file that
 * QWEN_CODE_SYSTEM_SETTINGS_PATH names is laid over the user's own. */
void plan_qwen(const struct plan_in *in)
{
    static const struct launch_home home = {"QWEN_HOME", NULL, ".qwen"};
    const struct launch_server *s = in->server;
    struct buf text = {0};
    struct jout j = {.out = &text};
    jout_begin(&j, NULL, '{');
    jout_begin(&j, "env", '{');
    jout_str(&j, "TAWNY_API_KEY", key_by_name(in));
    jout_str(&j, "QWEN_STREAM_MAX_LIFETIME_MS", STR("0")); /* else a reply ends after 15 minutes */
    jout_end(&j, '}');
    jout_begin(&j, "security", '{');
    jout_begin(&j, "auth", '{');
    jout_str(&j, "selectedType", STR("openai"));
    jout_end(&j, '}');
    jout_end(&j, '}');
    jout_begin(&j, "model", '{');
    jout_str(&j, "name", s->model);
    jout_end(&j, '}');
    jout_begin(&j, "modelProviders", '{');
    jout_begin(&j, "openai", '[');
    jout_begin(&j, NULL, '{');
    jout_str(&j, "id", s->model);
    jout_str(&j, "name", s->model);
    jout_str(&j, "baseUrl", plan_url(in));
    jout_str(&j, "envKey", STR("TAWNY_API_KEY"));
    jout_begin(&j, "generationConfig", '{');
    jout_i64(&j, "timeout", PLAN_TOTAL_MS);
    jout_i64(&j, "streamIdleTimeoutMs", PLAN_IDLE_MS);
    jout_u64(&j, "contextWindowSize", s->n_ctx);
    jout_begin(&j, "samplingParams", '{');
    jout_u64(&j, "max_tokens", launch_output(s));
    for (int i = 0; i < 3; i++)
        jout_end(&j, '}');
    jout_end(&j, ']');
    jout_end(&j, '}');
    jout_end(&j, '}');
    const char *path = plan_file(in, "qwen.json", &text, &home, "settings.json", true);
    plan_env(in, arena_fmt(in->arena, "QWEN_CODE_SYSTEM_SETTINGS_PATH=%s", path));
    plan_env(in, arena_fmt(in->arena, "TAWNY_API_KEY=%s", plan_key(s)));
    plan_env(in, STR("QWEN_STREAM_MAX_LIFETIME_MS=0"));
    in->plan->program = "qwen";
    in->plan->then = then_with_key(in, "qwen");
    in->plan->get = "npm install -g @qwen-code/qwen-code";
}

/* As a literal: "$$" is a "$", "$!" a "!" that runs no command (custom-provider.md). */
static str pi_key(const struct plan_in *in)
{
    const char *key = plan_key(in->server);
    struct buf out = {0};
    for (const char *c = key; *c; c++)
        buf_fmt(&out, "%s%c", *c == '$' || (*c == '!' && c == key) ? "$" : "", *c);
    str escaped = arena_str(in->arena, buf_view(&out));
    buf_free(&out);
    return escaped;
}

/* The provider as pi's models.json and its registerProvider take it. */
static void pi_provider(const struct plan_in *in, const char *key, struct jout *j)
{
    const struct launch_server *s = in->server;
    static const char *const costs[] = {"input", "output", "cacheRead", "cacheWrite"};
    jout_begin(j, key, '{');
    jout_str(j, "baseUrl", plan_url(in));
    jout_str(j, "api", STR("openai-completions"));
    jout_str(j, "apiKey", pi_key(in));
    jout_begin(j, "models", '[');
    jout_begin(j, NULL, '{');
    jout_str(j, "id", s->model);
    jout_str(j, "name", s->model);
    jout_bool(j, "reasoning", s->thinks);
    jout_begin(j, "input", '[');
    jout_str(j, NULL, STR("text"));
    jout_end(j, ']');
    jout_begin(j, "cost", '{');
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        jout_i64(j, costs[i], 0);
    jout_end(j, '}');
    jout_u64(j, "contextWindow", s->n_ctx);
    jout_u64(j, "maxTokens", launch_output(s));
    jout_end(j, '}');
    jout_end(j, ']');
    jout_end(j, '}');
}

/* Its documentation, models.md and custom-provider.md. PI_CODING_AGENT_DIR would hide all that the
 * user has set up; an extension adds a provider to it. */
void plan_pi(const struct plan_in *in)
{
    static const struct launch_home home = {"PI_CODING_AGENT_DIR", NULL, ".pi/agent"};
    struct buf script = {0}, text = {0};
    struct jout object = {.out = &script}, j = {.out = &text};
    buf_str(&script, STR("export default (pi) => pi.registerProvider('tawny', "));
    pi_provider(in, NULL, &object);
    buf_str(&script, STR(");\n"));
    jout_begin(&j, NULL, '{');
    jout_begin(&j, "providers", '{');
    pi_provider(in, "tawny", &j);
    jout_end(&j, '}');
    jout_end(&j, '}');
    in->plan->program = "pi";
    in->plan->get = "npm install -g @earendil-works/pi-coding-agent";
    plan_args(in, "--extension", plan_file(in, "pi.mjs", &script, NULL, NULL, false));
    plan_args(in, "--provider", "tawny");
    plan_args(in, "--model", arena_fmt(in->arena, "%.*s", STRF(in->server->model)).p);
    in->plan->then =
        arena_fmt(in->arena, "pi --provider tawny --model %.*s", STRF(in->server->model)).p;
    plan_file(in, NULL, &text, &home, "models.json", true);
}

static void crush_choice(const struct launch_server *s, const char *size, struct jout *j)
{
    jout_begin(j, size, '{');
    jout_str(j, "provider", STR("tawny"));
    jout_str(j, "model", s->model);
    jout_u64(j, "max_tokens", launch_output(s));
    jout_end(j, '}');
}

/* https://charm.land/crush.json. The crush.json in CRUSH_GLOBAL_DATA, where it keeps the choice of
 * a model, is laid over the user's own. */
void plan_crush(const struct plan_in *in)
{
    static const struct launch_home home = {"CRUSH_GLOBAL_CONFIG", "crush", ".config/crush"};
    static const char *const costs[] = {"cost_per_1m_in", "cost_per_1m_out",
                                        "cost_per_1m_in_cached", "cost_per_1m_out_cached"};
    const struct launch_server *s = in->server;
    struct buf text = {0};
    struct jout j = {.out = &text};
    jout_begin(&j, NULL, '{');
    jout_str(&j, "$schema", STR("https://charm.land/crush.json"));
    jout_begin(&j, "providers", '{');
    jout_begin(&j, "tawny", '{');
    jout_str(&j, "name", STR("tawny"));
    jout_str(&j, "type", STR("openai-compat"));
    jout_str(&j, "base_url", plan_url(in));
    jout_str(&j, "api_key", key_by_name(in));
    jout_begin(&j, "models", '[');
    jout_begin(&j, NULL, '{');
    jout_str(&j, "id", s->model);
    jout_str(&j, "name", s->model);
    jout_u64(&j, "context_window", s->n_ctx);
    jout_u64(&j, "default_max_tokens", launch_output(s));
    jout_bool(&j, "can_reason", s->thinks);
    jout_bool(&j, "supports_attachments", false);
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        jout_i64(&j, costs[i], 0); /* its schema requires them */
    jout_end(&j, '}');
    jout_end(&j, ']');
    jout_end(&j, '}');
    jout_end(&j, '}');
    jout_begin(&j, "models", '{');
    crush_choice(s, "large", &j);
    crush_choice(s, "small", &j);
    jout_end(&j, '}');
    jout_end(&j, '}');
    plan_file(in, "crush/crush.json", &text, &home, "crush.json", true);
    plan_env(in, arena_fmt(in->arena, "CRUSH_GLOBAL_DATA=%s/crush", in->folder));
    if (!plan_key_is_plain(s))
        plan_env(in, arena_fmt(in->arena, "TAWNY_API_KEY=%s", plan_key(s)));
    in->plan->program = "crush";
    in->plan->then = then_with_key(in, "crush");
    in->plan->get = "npm install -g @charmland/crush";
}
