#include "base/json.h"
#include "cmd/launch_plan.h"

/* Shorter than the 10,000 tokens that Codex sends to models it does not know. */
static const char instructions[] =
    "You are Codex, a coding agent in the user's terminal. Work on the files of the current "
    "directory with the tools: read before you change, change only what the task needs, and check "
    "the result. Edit files with apply_patch; run commands with the shell tool. Keep going until "
    "the task is done, then say briefly what you did.";

/* The entry of a model in the catalog: by it Codex knows the context and offers apply_patch. */
static void catalog(const struct launch_server *s, struct buf *out)
{
    struct jout j = {.out = out};
    jout_begin(&j, NULL, '{');
    jout_begin(&j, "models", '[');
    jout_begin(&j, NULL, '{');
    jout_str(&j, "slug", s->model);
    jout_str(&j, "display_name", s->model);
    jout_str(&j, "description", STR("local"));
    jout_str(&j, "base_instructions", str_of(instructions));
    jout_u64(&j, "context_window", s->n_ctx);
    jout_begin(&j, "truncation_policy", '{');
    jout_str(&j, "mode", STR("tokens"));
    jout_i64(&j, "limit", 10000);
    jout_end(&j, '}');
    jout_str(&j, "shell_type", STR("shell_command"));
    jout_str(&j, "apply_patch_tool_type", STR("freeform"));
    jout_begin(&j, "input_modalities", '[');
    jout_str(&j, NULL, STR("text"));
    jout_end(&j, ']');
    jout_bool(&j, "supports_parallel_tool_calls", true);
    jout_bool(&j, "supports_reasoning_summaries", s->thinks);
    jout_begin(&j, "supported_reasoning_levels", '[');
    jout_end(&j, ']');
    jout_bool(&j, "support_verbosity", false);
    jout_begin(&j, "experimental_supported_tools", '[');
    jout_end(&j, ']');
    jout_str(&j, "visibility", STR("list"));
    jout_bool(&j, "supported_in_api", true);
    jout_i64(&j, "priority", 1);
    jout_end(&j, '}');
    jout_end(&j, ']');
    jout_end(&j, '}');
}

/* A TOML string: what JSON escapes, TOML reads. */
static const char *quoted(const struct plan_in *in, str s)
{
    struct buf text = {0};
    json_quote(s, &text);
    str kept = arena_str(in->arena, buf_view(&text));
    buf_free(&text);
    return kept.p;
}

enum { N_SETTINGS = 12 };
struct setting {
    const char *key, *value; /* TOML */
};

/* Sub-agents are off: they share one machine, and their tools are 3,300 tokens of every prompt. The
 * provider is not named "OpenAI": Codex would expect more of OpenAI's endpoints. */
static size_t settings(const struct plan_in *in, const char *catalog_path,
                       struct setting out[N_SETTINGS])
{
    const struct launch_server *s = in->server;
    const struct setting all[N_SETTINGS] = {
        {"model", quoted(in, s->model)},
        {"model_provider", "\"tawny\""},
        {"model_context_window", arena_fmt(in->arena, "%u", s->n_ctx).p},
        {"model_catalog_json", quoted(in, str_of(catalog_path))},
        {"web_search", "\"disabled\""},
        {"features.view_image", "false"},
        {"agents.enabled", "false"},
        {"model_providers.tawny.name", "\"tawny\""},
        {"model_providers.tawny.base_url", quoted(in, plan_url(in))},
        {"model_providers.tawny.wire_api", "\"responses\""},
        {"model_providers.tawny.stream_idle_timeout_ms",
         arena_fmt(in->arena, "%d", PLAN_TOTAL_MS).p},
        {"model_providers.tawny.env_key", "\"TAWNY_API_KEY\""},
    };
    for (size_t i = 0; i < N_SETTINGS; i++)
        out[i] = all[i];
    return s->key ? N_SETTINGS : N_SETTINGS - 1;
}

/* Codex takes its configuration's keys with -c. --install makes a profile, a file of its own that
 * Codex lays over the user's config.toml. */
void plan_codex(const struct plan_in *in)
{
    static const struct launch_home home = {"CODEX_HOME", NULL, ".codex"};
    static const char list[] = "tawny-models.json";
    struct setting all[N_SETTINGS];
    struct buf models = {0}, profile = {0};
    catalog(in->server, &models);
    const char *path = plan_file(in, "codex-models.json", &models, &home, list, false);
    size_t n = settings(in, path, all);
    for (size_t i = 0; i < n; i++)
        plan_args(in, "-c", arena_fmt(in->arena, "%s=%s", all[i].key, all[i].value).p);
    if (in->server->key)
        plan_env(in, arena_fmt(in->arena, "TAWNY_API_KEY=%s", in->server->key));
    const char *installed = launch_home_path(&home, list, in->arena);
    n = settings(in, installed ? installed : list, all);
    for (size_t i = 0; i < n; i++)
        buf_fmt(&profile, "%s = %s\n", all[i].key, all[i].value);
    plan_file(in, NULL, &profile, &home, "tawny.config.toml", false);
    in->plan->program = "codex";
    in->plan->then = "codex --profile tawny";
    in->plan->get = "npm install -g @openai/codex";
}
