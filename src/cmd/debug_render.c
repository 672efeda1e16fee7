/* `tawny debug render`: the exact prompt that a conversation becomes. Reads the model file's
 * metadata alone. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "cmd/cmd.h"
#include "cmd/cmd_model.h"
#include "cmd/debug.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "server/openai.h"
#include "text/chat_template.h"

enum { MAX_BODY = 64 << 20 };

struct render_opts {
    const char *messages, *template;
    bool tokens;
};

#define AT(field) offsetof(struct render_opts, field)
static const struct opt table[] = {
    {"--messages", "FILE", "body of a chat request, or its list of messages, as JSON", NULL,
     OPT_TEXT, AT(messages), 0, 0},
    {"--chat-template-file", "FILE", "Jinja template to use", "the model file's", OPT_TEXT,
     AT(template), 0, 0},
    {"--tokens", NULL, "the tokens instead, one a line: id and text", NULL, OPT_FLAG, AT(tokens), 0,
     0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny debug render model.gguf --messages body.json", "what the model reads"},
    {"tawny debug render model.gguf --messages body.json --tokens", "how it is cut into tokens"},
    {"tawny debug render --messages body.json", "with the demo model's template"},
    {NULL, NULL},
};

/* A request from the file: a body as it is, a list of messages as the body that has only that. */
static bool read_request(const char *path, struct openai_request *out, struct err *e)
{
    const struct sampling defaults = {.temperature = 1};
    struct openai_error why;
    struct buf text = {0}, body = {0};
    bool ok = file_read_all(path, MAX_BODY, &text, e);
    bool is_list = ok && str_starts(str_trim(buf_view(&text)), STR("["));
    buf_str(&body, is_list ? STR("{\"messages\":") : STR(""));
    buf_str(&body, buf_view(&text));
    buf_str(&body, is_list ? STR("}") : STR(""));
    if (ok && !openai_parse(buf_view(&body), true, &defaults, out, &why))
        ok = err_set(e, ERR_FORMAT, "%s: %s", path, why.message);
    buf_free(&text);
    buf_free(&body);
    return ok;
}

/* A control token's text as it is; line ends and quotes of the others escaped. */
static void put_tokens(const struct tok *tok, const struct tok_ids *ids, struct buf *out)
{
    for (size_t i = 0; i < ids->n; i++) {
        buf_fmt(out, "%d\t", ids->ids[i]);
        json_quote(tok_bytes(tok, ids->ids[i]), out);
        buf_byte(out, '\n');
    }
}

static bool render(const struct gguf *file, const struct render_opts *o, struct buf *out,
                   struct err *e)
{
    const struct log log = term_log(false);
    struct openai_request request = {0};
    struct chat_prompt prompt = {0};
    struct chat_template *t = NULL;
    struct tok_ids ids = {0};
    struct buf source = {0};
    struct tok *tok = tok_open(file, &log, e);
    bool ok = tok && (!o->template || model_template(o->template, &source, e)) &&
              (t = chat_template_load(file, buf_view(&source), tok, &log, e)) &&
              read_request(o->messages, &request, e);
    if (ok) {
        request.conversation.now_unix = clock_unix();
        ok = chat_render(t, &request.conversation, &prompt, e);
    }
    if (ok && o->tokens) {
        chat_prompt_encode(&prompt, tok, &ids);
        put_tokens(tok, &ids, out);
    } else if (ok) {
        buf_str(out, buf_view(&prompt.text));
    }
    free(ids.ids);
    chat_prompt_free(&prompt);
    openai_request_free(&request);
    chat_template_close(t);
    buf_free(&source);
    tok_close(tok);
    return ok;
}

int debug_render(int argc, char **argv)
{
    struct render_opts o = {0};
    struct opt_group groups[] = {OPT_GROUP("Options", table, &o)};
    const struct opt_command c = {.name = "debug render",
                                  .args = "[MODEL]",
                                  .summary = "the prompt that a conversation becomes",
                                  .examples = examples,
                                  .groups = groups,
                                  .n_groups = 1,
                                  .max_words = 1};
    const struct log log = term_log(false);
    struct opt_words words;
    struct err e = {0};
    struct buf out = {0};
    struct gguf *file = NULL;
    char *path = NULL;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    bool ok = o.messages || err_set(&e, ERR_USAGE, "debug render: --messages FILE is missing");
    ok = ok && (path = model_path(words.n ? words.at[0] : NULL, &e)) &&
         (file = gguf_open(path, &log, &e)) && render(file, &o, &out, &e) && term_put(&out, &e);
    status = ok ? EXIT_OK : term_fail(&e);
    gguf_close(file);
    buf_free(&out);
    free(path);
    return status;
}
