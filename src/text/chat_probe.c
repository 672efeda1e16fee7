/* chat: trying a template out. Each question is a small conversation of words that stand nowhere
 * else; what the template makes of it is the answer. */
#include <stdlib.h>
#include <string.h>

#include "text/chat_layout.h"

#define SYSTEM(text)                                                                               \
    {                                                                                              \
        .role = CHAT_SYSTEM, .content = STR(text)                                                  \
    }
#define USER(text)                                                                                 \
    {                                                                                              \
        .role = CHAT_USER, .content = STR(text)                                                    \
    }
#define ASSISTANT(text)                                                                            \
    {                                                                                              \
        .role = CHAT_ASSISTANT, .content = STR(text)                                               \
    }
#define RESULT(of, text)                                                                           \
    {                                                                                              \
        .role = CHAT_TOOL, .content = STR(text), .call_id = STR(of)                                \
    }
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Nine letters and digits: what the strictest templates take as an id. */
#define ID_ONE  "probe0001"
#define ID_TWO  "probe0002"
#define ID_LONG "call_0123456789abcdefghijklmn"

/* Do the words stand in the text in this order? */
static bool has_words(str text, const char *const *words)
{
    size_t at = 0;
    for (; *words; words++) {
        at = str_find(text, str_of(*words), at);
        if (at == SIZE_MAX)
            return false;
        at += strlen(*words);
    }
    return true;
}

/* Does the conversation render, with the words in this order? */
static bool shows(const struct chat_layout *l, const struct chat_request *r,
                  const char *const *words, struct err *e)
{
    struct buf text = {0};
    bool ok = chat_layout_render(l, r, true, &text, NULL, e);
    if (ok && !has_words(buf_view(&text), words))
        ok = err_set(e, ERR_FORMAT, "the template drops what it must show");
    buf_free(&text);
    return ok;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHOWS(l, list, ...)                                                                        \
    shows(l, &(struct chat_request){.messages = (list), .n_messages = COUNT(list)},                \
          WORDS(__VA_ARGS__), &(struct err){0})

/* ---- turns ---- */

static const struct chat_message plain[] = {USER("Uone")};

static void probe_system(struct chat_layout *l)
{
    static const struct chat_message anywhere[] = {SYSTEM("Sone"), USER("Uone"), ASSISTANT("Aone"),
                                                   SYSTEM("Stwo"), USER("Utwo")};
    static const struct chat_message first[] = {SYSTEM("Sone"), USER("Uone"), ASSISTANT("Aone"),
                                                USER("Utwo")};
    struct chat_traits *t = &l->traits;
    t->system = CHAT_SYSTEM_ANYWHERE;
    if (SHOWS(l, anywhere, "Sone", "Uone", "Aone", "Stwo", "Utwo"))
        return;
    t->system = CHAT_SYSTEM_FIRST;
    if (SHOWS(l, first, "Uone", "Aone", "Utwo") && SHOWS(l, first, "Sone"))
        return;
    t->system = CHAT_SYSTEM_NOWHERE;
}

static void probe_turns(struct chat_layout *l)
{
    static const struct chat_message same[] = {USER("Uone"), USER("Utwo"), ASSISTANT("Aone"),
                                               USER("Uthree")};
    static const struct chat_message nobody[] = {ASSISTANT("Aone"), ASSISTANT("Atwo")};
    struct chat_traits *t = &l->traits;
    t->alternate = !SHOWS(l, same, "Uone", "Utwo", "Aone", "Uthree");
    if (!t->alternate)
        t->needs_user = !SHOWS(l, nobody, "Aone", "Atwo");
}

/* How an assistant's turn begins: what the header of a reply and a finished turn have in common,
 * less the opening of the reasoning. */
static void probe_header(struct chat_layout *l)
{
    static const struct chat_message turns[] = {USER("Uone"), ASSISTANT("Aone"), USER("Utwo")};
    const struct chat_request one = {.messages = turns, .n_messages = 1};
    const struct chat_request all = {.messages = turns, .n_messages = COUNT(turns)};
    struct buf closed = {0}, open = {0}, history = {0};
    struct err e;
    if (chat_layout_render(l, &one, false, &closed, NULL, &e) &&
        chat_layout_render(l, &one, true, &open, NULL, &e) &&
        chat_layout_render(l, &all, true, &history, NULL, &e) &&
        str_starts(buf_view(&open), buf_view(&closed)) &&
        str_starts(buf_view(&history), buf_view(&closed))) {
        str header = str_sub(buf_view(&open), closed.n, SIZE_MAX);
        str turn = str_sub(buf_view(&history), closed.n, SIZE_MAX);
        size_t n = 0;
        while (n < header.n && n < turn.n && header.p[n] == turn.p[n])
            n++;
        header = str_sub(header, 0, str_find(header, STR("<think>"), 0));
        header = str_sub(header, 0, n);
        while (n > 0 && header.p[n - 1] != '<' && header.p[n - 1] != '>')
            n--;
        /* Not half a tag. */
        bool open_tag = n > 0 && header.p[n - 1] == '<';
        buf_str(&l->header, open_tag ? str_sub(header, 0, n - 1) : header);
    }
    buf_free(&closed);
    buf_free(&open);
    buf_free(&history);
}

/* What the template puts between the parts of a content, where it takes a list of them. */
static void probe_parts(struct chat_layout *l)
{
    static const char vars[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Pone\"},{"
        "\"type\":\"text\",\"text\":\"Ptwo\"}]}],\"add_generation_prompt\":true,\"bos_token\":\"\","
        "\"eos_token\":\"\"}";
    enum { LONGEST = 2 };
    struct err e;
    struct buf text = {0};
    struct json *v = json_parse(str_of(vars), &e);
    l->traits.separator = STR("\n");
    if (jinja_render(l->program, v, &(struct jinja_params){0}, &text, NULL, &e)) {
        str s = buf_view(&text);
        size_t from = str_find(s, STR("Pone"), 0);
        size_t to = from == SIZE_MAX ? SIZE_MAX : str_find(s, STR("Ptwo"), from);
        if (to != SIZE_MAX && to == from + 4)
            l->traits.separator = STR("");
        else if (to == from + 6 && str_eq(str_sub(s, from + 4, to), STR("\n\n")))
            l->traits.separator = STR("\n\n");
    }
    buf_free(&text);
    json_free(v);
}

/* ---- tools ---- */

/* The tools of a probe, parsed: one with everything, two that lack descriptions. */
struct probe_tools {
    struct json *full, *bare, *silent;
    struct chat_tool tools[1], bare_tools[2];
};

static void open_tools(struct probe_tools *p)
{
    struct err e;
    p->full = json_parse(
        STR("{\"name\":\"Tname\",\"description\":\"Tabout\",\"parameters\":{\"type\":\"object\","
            "\"properties\":{\"Targ\":{\"type\":\"string\",\"description\":\"Targabout\"}},"
            "\"required\":[\"Targ\"]}}"),
        &e);
    p->bare = json_parse(STR("{\"name\":\"Tname\"}"), &e);
    p->silent = json_parse(
        STR("{\"name\":\"Ttwo\",\"description\":\"Tabout\",\"parameters\":{\"type\":\"object\","
            "\"properties\":{\"Targ\":{\"type\":\"string\"}}}}"),
        &e);
    p->tools[0] = (struct chat_tool){
        .name = STR("Tname"), .spec = p->full, .parameters = json_get(p->full, "parameters")};
    p->bare_tools[0] = (struct chat_tool){.name = STR("Tname"), .spec = p->bare};
    p->bare_tools[1] = (struct chat_tool){
        .name = STR("Ttwo"), .spec = p->silent, .parameters = json_get(p->silent, "parameters")};
}

static void close_tools(struct probe_tools *p)
{
    json_free(p->full);
    json_free(p->bare);
    json_free(p->silent);
}

#define CALL(as, value)                                                                            \
    {                                                                                              \
        .id = STR(as), .name = STR("Tname"), .arguments = STR("{\"Targ\":\"" value "\"}")          \
    }

/* One call and its result, arguments as text or object: are the tool, both and the arguments shown?
 */
static bool probe_call(struct chat_layout *l, const struct probe_tools *p, bool text, str id)
{
    const struct chat_call call = {id, STR("Tname"), STR("{\"Targ\":\"Vone\"}")};
    const struct chat_message list[] = {
        USER("Uone"),
        {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1},
        {.role = CHAT_TOOL, .content = STR("Rone"), .call_id = id},
    };
    const struct chat_request r = {
        .messages = list, .n_messages = COUNT(list), .tools = p->tools, .n_tools = 1};
    const struct chat_request asked = {
        .messages = plain, .n_messages = 1, .tools = p->tools, .n_tools = 1};
    struct err e;
    l->traits.arguments_text = text;
    if (!shows(l, &asked, WORDS("Tname"), &e) || !shows(l, &asked, WORDS("Tabout"), &e) ||
        !shows(l, &asked, WORDS("Targabout"), &e) || !shows(l, &asked, WORDS("Uone"), &e))
        return false;
    if (text)
        return shows(l, &r, WORDS("Tname", "{\"Targ\":\"Vone\"}", "Rone"), &e);
    return shows(l, &r, WORDS("Tname", "Targ", "Vone", "Rone"), &e);
}

static void probe_calls(struct chat_layout *l, const struct probe_tools *p)
{
    static const struct chat_call calls[] = {CALL(ID_ONE, "Vone"), CALL(ID_TWO, "Vtwo")};
    static const struct chat_message two[] = {
        USER("Uone"),
        {.role = CHAT_ASSISTANT, .calls = calls, .n_calls = 2},
        RESULT(ID_ONE, "Rone"),
        RESULT(ID_TWO, "Rtwo"),
    };
    static const struct chat_message orphan[] = {USER("Uone"), RESULT(ID_ONE, "Rone")};
    const struct chat_request pair = {
        .messages = two, .n_messages = COUNT(two), .tools = p->tools, .n_tools = 1};
    const struct chat_request alone = {
        .messages = orphan, .n_messages = COUNT(orphan), .tools = p->tools, .n_tools = 1};
    const struct chat_request bare = {
        .messages = plain, .n_messages = 1, .tools = &p->bare_tools[0], .n_tools = 1};
    const struct chat_request silent = {
        .messages = plain, .n_messages = 1, .tools = &p->bare_tools[1], .n_tools = 1};
    struct chat_traits *t = &l->traits;
    struct err e;
    t->one_call = !shows(l, &pair, WORDS("Vone", "Vtwo", "Rone", "Rtwo"), &e);
    t->needs_call = !shows(l, &alone, WORDS("Uone", "Rone"), &e);
    t->full_tools = !shows(l, &bare, WORDS("Tname"), &e);
    t->described = !shows(l, &silent, WORDS("Ttwo"), &e);
}

/* All of it in one conversation, the system messages where agents put them. */
static bool shows_all(const struct chat_layout *l, const struct probe_tools *p, struct err *e)
{
    static const struct chat_call calls[] = {CALL(ID_LONG, "Vone"), CALL(ID_TWO, "Vtwo")};
    static const struct chat_message list[] = {
        SYSTEM("Sone"),
        USER("Uone"),
        {.role = CHAT_ASSISTANT, .content = STR("Aone"), .calls = calls, .n_calls = 2},
        RESULT(ID_LONG, "Rone"),
        RESULT(ID_TWO, "Rtwo"),
        SYSTEM("Stwo"),
        ASSISTANT("Atwo"),
        USER("Utwo"),
    };
    const struct chat_request r = {
        .messages = list, .n_messages = COUNT(list), .tools = p->tools, .n_tools = 1};
    return shows(l, &r, WORDS("Uone", "Vone", "Rone", "Rtwo", "Stwo", "Atwo", "Utwo"), e);
}

static void probe_tools(struct chat_layout *l)
{
    struct probe_tools p;
    struct chat_traits *t = &l->traits;
    struct err e;
    bool found = false;
    open_tools(&p);
    t->tools = true;
    for (int i = 0; i < 4 && !found; i++) {
        t->short_ids = i & 2;
        found = probe_call(l, &p, !(i & 1), i & 2 ? STR(ID_ONE) : STR(ID_LONG));
    }
    if (found) {
        probe_calls(l, &p);
        found = shows_all(l, &p, &e);
    }
    close_tools(&p);
    if (!found) {
        t->tools = t->short_ids = false;
        t->arguments_text = true;
    }
}

bool chat_probe(struct chat_layout *l, struct err *e)
{
    static const struct chat_message turns[] = {SYSTEM("Sone"), USER("Uone"), ASSISTANT("Aone"),
                                                SYSTEM("Stwo"), USER("Utwo")};
    const struct chat_request hello = {.messages = plain, .n_messages = 1};
    const struct chat_request many = {.messages = turns, .n_messages = COUNT(turns)};
    l->traits = (struct chat_traits){.tools = true, .separator = STR("\n")};
    if (!shows(l, &hello, WORDS("Uone"), e))
        return false;
    probe_system(l);
    probe_turns(l);
    if (!shows(l, &many, WORDS("Uone", "Aone", "Stwo", "Utwo"), e))
        return false;
    probe_header(l);
    probe_parts(l);
    probe_tools(l);
    return true;
}
