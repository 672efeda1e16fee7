/* chat: the templates that tawny brings, from src/text/builtin. */
#include "text/chat_layout.h"

/* The bytes of one or two files, one after the other. */
#define EMBED(name, files)                                                                         \
    __asm__(".section .rodata\n" #name "_begin:\n" files #name "_end:\n.previous\n");              \
    extern const char name##_begin[], name##_end[]
#define FILE_IN(name) ".incbin \"src/text/builtin/" name ".jinja\"\n"

EMBED(chat_builtin_qwen_xml, FILE_IN("qwen_xml"));
EMBED(chat_builtin_hermes, FILE_IN("tool_section") FILE_IN("hermes"));
EMBED(chat_builtin_harmony, FILE_IN("harmony"));
EMBED(chat_builtin_glm, FILE_IN("glm"));
EMBED(chat_builtin_llama, FILE_IN("llama"));
EMBED(chat_builtin_tool_text, FILE_IN("tool_section") ".ascii \"{{- tool_section() }}\"\n");

#define SOURCE(name) ((str){name##_begin, (size_t)(name##_end - name##_begin)})

str chat_builtin(enum chat_format f)
{
    switch (f) {
    case CHAT_QWEN_XML: return SOURCE(chat_builtin_qwen_xml);
    case CHAT_HERMES_JSON: return SOURCE(chat_builtin_hermes);
    case CHAT_HARMONY: return SOURCE(chat_builtin_harmony);
    case CHAT_GLM: return SOURCE(chat_builtin_glm);
    case CHAT_LLAMA_JSON: return SOURCE(chat_builtin_llama);
    case CHAT_PLAIN: break;
    }
    return (str){NULL, 0};
}

str chat_builtin_tools(void)
{
    return SOURCE(chat_builtin_tool_text);
}
