#include "cmd/line.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/file.h"
#include "base/mem.h"
#include "cmd/term.h"

enum { HISTORY_LINES = 1000 };

struct line {
    EditLine *edit;
    History *history;
    char history_path[TERM_MAX_PATH]; /* "": none is kept */
    const struct interrupt *interrupt;
    bool interrupted, had_text;
};

static char *prompt(EditLine *edit)
{
    static char text[] = "> ";
    (void)edit;
    return text;
}

/* Waits for a byte of input or a signal; false on a signal or at the end. */
static bool wait_input(struct line *l)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = l->interrupt->fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    if (interrupt_take(l->interrupt)) {
        l->interrupted = true;
        return false;
    }
    return fds[0].revents != 0;
}

/* libedit's way to get a character: 1, or 0 at the end. */
static int read_char(EditLine *edit, wchar_t *out)
{
    struct line *l = NULL;
    mbstate_t state = {0};
    el_get(edit, EL_CLIENTDATA, &l);
    const LineInfo *info = el_line(edit);
    l->had_text = info->lastchar > info->buffer;
    for (;;) {
        char byte;
        if (!wait_input(l) || read(STDIN_FILENO, &byte, 1) != 1)
            return 0;
        size_t n = mbrtowc(out, &byte, 1, &state);
        if (n == 1 || n == 0)
            return 1;
        if (n == (size_t)-1) /* no UTF-8: drop it and start again */
            state = (mbstate_t){0};
    }
}

struct line *line_open(const struct interrupt *interrupt)
{
    HistEvent ev;
    struct line *l = mem_new(1, sizeof *l);
    l->interrupt = interrupt;
    if (term_user_file("XDG_STATE_HOME", ".local/state", "history", l->history_path))
        file_make_folders(l->history_path);
    l->history = history_init();
    history(l->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(l->history, &ev, H_SETUNIQUE, 1);
    if (*l->history_path)
        history(l->history, &ev, H_LOAD, l->history_path);
    l->edit = el_init("tawny", stdin, stderr, stderr);
    el_set(l->edit, EL_CLIENTDATA, l);
    el_set(l->edit, EL_PROMPT, prompt);
    el_set(l->edit, EL_EDITOR, "emacs");
    el_set(l->edit, EL_HIST, history, l->history);
    el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(l->edit, EL_GETCFN, read_char);
    return l;
}

enum line_result line_read(struct line *l, struct buf *out)
{
    int n = 0;
    l->interrupted = l->had_text = false;
    buf_clear(out);
    const char *text = el_gets(l->edit, &n);
    if (l->interrupted) {
        fputc('\n', stderr);
        return l->had_text ? LINE_INTERRUPTED : LINE_EMPTY_INTERRUPTED;
    }
    if (!text || n <= 0) {
        fputc('\n', stderr);
        return LINE_END;
    }
    str line = str_trim((str){text, (size_t)n});
    buf_str(out, line);
    if (line.n) {
        HistEvent ev;
        history(l->history, &ev, H_ENTER, out->p);
    }
    return LINE_OK;
}

void line_close(struct line *l)
{
    HistEvent ev;
    if (!l)
        return;
    if (*l->history_path)
        history(l->history, &ev, H_SAVE, l->history_path);
    el_end(l->edit);
    history_end(l->history);
    free(l);
}
