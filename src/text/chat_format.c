/* chat: which layout a model was trained with. */
#include "text/chat.h"

static const char *const names[CHAT_N_FORMATS] = {
    [CHAT_QWEN_XML] = "qwen-xml", [CHAT_HERMES_JSON] = "hermes", [CHAT_HARMONY] = "harmony",
    [CHAT_GLM] = "glm",           [CHAT_LLAMA_JSON] = "llama",   [CHAT_PLAIN] = "none",
};

const char *chat_format_name(enum chat_format f)
{
    return names[f];
}

bool chat_format_find(str name, enum chat_format *out)
{
    for (int f = 0; f < CHAT_N_FORMATS; f++) {
        if (str_eq(name, str_of(names[f]))) {
            *out = (enum chat_format)f;
            return true;
        }
    }
    return false;
}

/* The first mark that the template holds decides: what it prints for calls, else the turn tokens.
 * ChatML without tools gets Hermes calls, which is what its models mostly know. */
enum chat_format chat_format_of(str template_text)
{
    static const struct {
        const char *text;
        enum chat_format format;
    } marks[] = {
        {"<|channel|>", CHAT_HARMONY},         {"<arg_key>", CHAT_GLM},
        {"<function=", CHAT_QWEN_XML},         {"<tool_call>", CHAT_HERMES_JSON},
        {"\"parameters\": ", CHAT_LLAMA_JSON}, {"<|im_start|>", CHAT_HERMES_JSON},
    };
    if (template_text.n == 0)
        return CHAT_HERMES_JSON;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (str_find(template_text, str_of(marks[i].text), 0) != SIZE_MAX)
            return marks[i].format;
    }
    return CHAT_PLAIN;
}
