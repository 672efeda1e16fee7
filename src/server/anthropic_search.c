/* anthropic: requests for nothing but a web search. Claude Code makes one for each search that its
 * model wants, with Anthropic's own tool as the only one, and takes what comes back for what the
 * web says. Nobody here can search, and a model that is asked to would make the results up. */
#include "server/anthropic.h"

/* How Claude Code asks; its tool_choice may be auto. */
static const str opening = STR("Perform a web search for the query: ");

static bool only_searches(const struct json *tools)
{
    for (size_t i = 0; i < json_count(tools); i++)
        if (!str_starts(json_str(json_get(json_at(tools, i), "type")), STR("web_search_")))
            return false;
    return json_count(tools) > 0;
}

static str last_text(const struct chat_request *c)
{
    const struct chat_message *m = &c->messages[c->n_messages - 1];
    return m->n_parts ? m->parts[m->n_parts - 1] : m->content;
}

void anthropic_find_search(struct anthropic_request *r)
{
    const struct json *body = r->base.body;
    str choice = json_str(json_get(json_get(body, "tool_choice"), "type"));
    str text = last_text(&r->base.conversation);
    const bool asks = str_starts(text, opening);
    const bool must = str_eq(choice, STR("tool")) || str_eq(choice, STR("any"));
    if (!only_searches(json_get(body, "tools")) || str_eq(choice, STR("none")) || !(asks || must))
        return;
    r->search = asks ? str_sub(text, opening.n, text.n) : text;
}
