/* chat: Hermes calls. The whole object is read before anything is delivered, because only a
 * complete one is known to be a call; a broken one is content. */
#include "text/chat_int.h"

#include "base/err.h"

/* The text of a call's arguments within the text of a valid JSON object; empty when there are none.
 * Models sometimes call them parameters. */
static str find_arguments(str object)
{
    str found = STR("");
    str rest = str_sub(object, 1, SIZE_MAX);
    size_t n;
    while ((n = json_scan(rest)) != 0) { /* 0: '}' */
        str key = str_trim(str_sub(rest, 0, n));
        rest = str_sub(rest, n, SIZE_MAX);
        rest = str_sub(rest, chat_blank(rest) + 1, SIZE_MAX); /* ':' */
        n = json_scan(rest);
        if (str_eq(key, STR("\"arguments\"")) || str_eq(key, STR("\"parameters\"")))
            found = str_trim(str_sub(rest, 0, n));
        rest = str_sub(rest, n, SIZE_MAX);
        rest = str_sub(rest, chat_blank(rest) + 1, SIZE_MAX); /* ',' or '}' */
    }
    return found;
}

/* Delivers the call that an object describes; false when it describes none. Arguments keep their
 * text: rendered again they give the tokens that the model wrote. */
static bool put_call(struct chat_parser *p, str object)
{
    struct err ignored;
    struct json *call = json_parse(object, &ignored);
    struct json *quoted = NULL; /* arguments as a string that holds JSON */
    struct json *inner = NULL;
    str name = json_str(json_get(call, "name"));
    bool ok = name.n > 0;
    if (ok) {
        str arguments = find_arguments(object);
        if (arguments.n == 0 || str_eq(arguments, STR("null")))
            arguments = STR("{}");
        if (arguments.p[0] == '"') {
            quoted = json_parse(arguments, &ignored);
            arguments = str_trim(json_str(quoted));
        }
        inner = json_parse(arguments, &ignored);
        ok = json_type(inner) == JSON_OBJECT;
        if (ok) {
            chat_begin_call(p, name);
            chat_end_call(p, arguments);
        }
    }
    json_free(inner);
    json_free(quoted);
    json_free(call);
    return ok;
}

static bool give_up(struct chat_parser *p)
{
    if (p->has_content)
        chat_emit(p, CHAT_CONTENT, STR("\n"));
    p->after_call = false;
    chat_go(p, CHAT_IN_BROKEN, p->done);
    return true;
}

/* Moves over one byte of the object; false when no JSON has it there. */
static bool object_byte(struct chat_parser *p, char c)
{
    if (p->in_string) {
        if ((unsigned char)c < 0x20)
            return false;
        if (p->escaped)
            p->escaped = false;
        else if (c == '\\')
            p->escaped = true;
        else
            p->in_string = c != '"';
        return true;
    }
    if (c == '"')
        p->in_string = true;
    else if (c == '{' || c == '[')
        p->depth++;
    else if (c == '}' || c == ']')
        p->depth--;
    return c != '<';
}

bool chat_step_json(struct chat_parser *p)
{
    str s = chat_rest(p, p->scan);
    for (size_t i = 0; i < s.n; i++) {
        if (!object_byte(p, s.p[i]))
            return give_up(p);
        if (p->depth == 0) {
            size_t n = p->scan + i + 1 - p->done;
            if (!put_call(p, str_sub(chat_rest(p, p->done), 0, n)))
                return give_up(p);
            chat_go(p, CHAT_AFTER_CALL, p->done + n);
            return true;
        }
    }
    p->scan += s.n;
    return p->final && give_up(p);
}

bool chat_step_broken(struct chat_parser *p)
{
    str close = STR("</tool_call>");
    str open = STR("<tool_call>");
    for (;;) {
        str s = chat_rest(p, p->scan);
        if (s.n == 0)
            break;
        enum chat_match closes = chat_match(p, s, close);
        enum chat_match opens = chat_match(p, s, open);
        if (closes == CHAT_YES || opens == CHAT_YES) {
            chat_put_content(p, false);
            chat_go(p, CHAT_AFTER_CALL, p->scan + (closes == CHAT_YES ? close.n : 0));
            return true;
        }
        if (closes == CHAT_MAYBE || opens == CHAT_MAYBE)
            break;
        p->scan++;
        if (chat_blank(str_sub(s, 0, 1)) == 0)
            p->text_end = p->scan;
    }
    chat_put_content(p, !p->final);
    return false;
}
