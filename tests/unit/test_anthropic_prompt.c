/* What a model reads of a /v1/messages body: the places where other servers change it (the order in
 * a turn, errors and pictures of results, the borders of system blocks, system messages in the
 * middle of a template that wants them in front). */
#include "test.h"

#include "server/anthropic.h"
#include "text/chat_layout.h"
#include "text/chat_template.h"

/* As Qwen's newer templates: a system message anywhere else is an error. */
static const char strict[] =
    "{%- if tools %}{{ '<|im_start|>system\\n' + (messages[0].content if messages[0].role == "
    "'system' else '') + '\\n# Tools\\n<tools>' + (tools | tojson) + '</tools>\\n<tool_call>\\n{"
    "\"name\": <function-name>, \"arguments\": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}"
    "{%- endif %}{%- for m in messages %}{%- if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{%- endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content }}"
    "{%- for c in m.tool_calls %}{{ '<tool_call>' + (c.function | tojson) + '</tool_call>' }}"
    "{%- endfor %}{{ '<|im_end|>\\n' }}{%- endfor %}{{ '<|im_start|>assistant\\n' }}";

static const char body[] =
    "{\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cch=1;\"},"
    "{\"type\":\"text\",\"text\":\"You fly.\"},{\"type\":\"text\",\"text\":\"You hoot.\"}],"
    "\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":["
    "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"ls\",\"input\":{\"b\":1,\"a\":2}}]},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
    "\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"no such folder\"},"
    "{\"type\":\"image\",\"source\":{}}]},{\"type\":\"text\",\"text\":\"try again\"}]},"
    "{\"role\":\"system\",\"content\":\"900 tokens left\"}]}";

/* Renders the body, and checks that it has these texts in this order. */
static void check_reads(str source, const char *const *texts)
{
    static const struct sampling defaults = {.temperature = 1};
    struct anthropic_request r;
    struct openai_error e;
    struct err why = {0};
    struct chat_prompt prompt = {0};
    if (!anthropic_parse(str_of(body), &defaults, &r, &e))
        test_fail(__FILE__, __LINE__, "%s", e.message);
    struct chat_template *t =
        chat_template_open(&(struct chat_template_params){.source = source}, &why);
    if (!t || !chat_render(t, &r.base.conversation, &prompt, &why))
        test_fail(__FILE__, __LINE__, "%s", why.msg);
    const char *at = prompt.text.p;
    for (; *texts; texts++) {
        const char *found = strstr(at, *texts);
        if (!found)
            test_fail(__FILE__, __LINE__, "no '%s' from there on: %s", *texts, at);
        at = found + strlen(*texts);
    }
    CHECK(!strstr(prompt.text.p, "billing"));
    chat_prompt_free(&prompt);
    chat_template_close(t);
    anthropic_request_free(&r);
}

TEST(anthropic_prompt_keeps_order_errors_and_borders)
{
    static const char *const texts[] = {"system\nYou fly.\nYou hoot.<|im_end|>",
                                        "user\ngo",
                                        "\"b\":",
                                        "\"a\":",
                                        "rror",
                                        "no such folder",
                                        "image: not shown",
                                        "try again",
                                        "900 tokens left",
                                        "<|im_start|>assistant\n",
                                        NULL};
    check_reads(chat_builtin(CHAT_HERMES_JSON), texts);
    check_reads(str_of(strict), texts);
}
