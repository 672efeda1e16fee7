#include "cmd/launch_start.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/interrupt.h"
#include "cmd/state.h"
#include "cmd/term.h"

enum { LOOK_MS = 100, MAX_LOG = 1 << 20, MAX_SERVE_ARGS = 16 };

struct start {
    const struct start_opts *o;
    char log[TERM_MAX_PATH], state[TERM_MAX_PATH];
    pid_t child; /* 0: somebody else's server */
    struct interrupt interrupt;
};

static bool places(struct start *s, struct arena *a, struct err *e)
{
    str log = arena_fmt(a, "serve-%u.log", s->o->port);
    str state = arena_fmt(a, "serve-%u.state", s->o->port);
    return (term_user_file("XDG_STATE_HOME", ".local/state", log.p, s->log) &&
            term_user_file("XDG_STATE_HOME", ".local/state", state.p, s->state)) ||
           err_set(e, ERR_USAGE,
                   "launch: neither XDG_STATE_HOME nor HOME is set: no place for the "
                   "server's log; start it with 'tawny serve'");
}

/* The key goes over in memory: others see what a command line says. */
static bool hand_key(const char *key, int *fd, struct err *e)
{
    size_t n = strlen(key);
    *fd = memfd_create("api-key", 0);
    return (*fd >= 0 && write(*fd, key, n) == (ssize_t)n) || err_sys(e, "launch: --api-key");
}

/* "tawny serve" with what was asked for; the model's path for the root folder. */
static bool command(const struct start_opts *o, struct arena *a, const char *state, int key_fd,
                    const char *argv[MAX_SERVE_ARGS], struct err *e)
{
    size_t n = 0;
    char *model = o->model && strcmp(o->model, "demo") != 0 ? realpath(o->model, NULL) : NULL;
    if (!model && o->model && strcmp(o->model, "demo") != 0)
        return err_sys(e, "%s", o->model);
    const char *const pairs[][2] = {
        {"--model", model ? arena_str(a, str_of(model)).p : "demo"},
        {"--port", arena_fmt(a, "%u", o->port).p},
        {"--state", state},
        {"--ctx-size", o->n_ctx ? arena_fmt(a, "%u", o->n_ctx).p : NULL},
        {"--backend", o->backend},
        {"--device", o->device},
        {"--api-key-file", key_fd >= 0 ? arena_fmt(a, "/proc/self/fd/%d", key_fd).p : NULL},
    };
    argv[n++] = "tawny";
    argv[n++] = "serve";
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][1]) {
            /* "=", so that a value may begin with a dash */
            argv[n++] = arena_fmt(a, "%s=%s", pairs[i][0], pairs[i][1]).p;
        }
    argv[n] = NULL;
    free(model);
    return true;
}

/* In the child: a session of its own, nothing of the terminal's, and it holds no folder busy. */
static void become_server(const char *log, const char *const *argv)
{
    sigset_t none;
    char *copy[MAX_SERVE_ARGS] = {NULL};
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    for (size_t i = 0; argv[i]; i++)
        copy[i] = strdup(argv[i]);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (in >= 0 && out >= 0 && setsid() > 0 && chdir("/") == 0 && dup2(in, 0) == 0 &&
        dup2(out, 1) == 1 && dup2(out, 2) == 2)
        execv("/proc/self/exe", copy);
    _exit(127);
}

static bool spawn(struct start *s, struct arena *a, struct err *e)
{
    const char *argv[MAX_SERVE_ARGS];
    int key_fd = -1;
    bool ok = (!s->o->key || hand_key(s->o->key, &key_fd, e)) &&
              command(s->o, a, s->state, key_fd, argv, e);
    if (ok) {
        file_make_folders(s->log);
        s->child = fork();
        if (s->child == 0)
            become_server(s->log, argv);
        ok = s->child > 0 || err_sys(e, "launch: fork");
    }
    if (key_fd >= 0)
        close(key_fd);
    return ok;
}

/* The last line of the log says why. */
static bool failed(const struct start *s, struct err *e)
{
    struct buf text = {0};
    struct err inner;
    str line = {0};
    if (file_read_all(s->log, MAX_LOG, &text, &inner))
        for (str rest = str_trim(buf_view(&text)); rest.n;)
            line = str_cut(rest, '\n', &rest);
    err_set(e, ERR_IO, "launch: the server ended while it loaded: %.*s (its log: %s)", STRF(line),
            s->log);
    buf_free(&text);
    return false;
}

static void stop_child(struct start *s)
{
    if (!s->child)
        return;
    kill(s->child, SIGTERM);
    waitpid(s->child, NULL, 0);
}

/* Until the state says ready. */
static bool wait_ready(struct start *s, struct err *e)
{
    struct pollfd quit = {.fd = s->interrupt.fd, .events = POLLIN};
    struct state_seen seen;
    struct bar bar;
    bool ok = true;
    bar_open(&bar, "Loading", BAR_BYTES);
    for (;;) {
        bool ended = s->child && waitpid(s->child, NULL, WNOHANG) == s->child;
        state_see(s->state, &seen);
        if (seen.pid && seen.url[0])
            break;
        if (ended)
            s->child = 0; /* another launch may have been faster: its server is waited for */
        if (!seen.pid && !s->child) {
            ok = failed(s, e);
            break;
        }
        bar_step(&bar, seen.done, seen.total);
        if (poll(&quit, 1, LOOK_MS) > 0 && interrupt_take(&s->interrupt)) {
            stop_child(s);
            ok = err_set(e, ERR_CANCELLED, "launch: cancelled");
            break;
        }
    }
    bar_close(&bar);
    return ok;
}

static bool start(struct start *s, struct arena *a, struct err *e)
{
    struct state_seen seen;
    state_see(s->state, &seen);
    if (!seen.pid)
        fprintf(stderr, "tawny: starting a server on port %u; its log: %s\n", s->o->port, s->log);
    else
        fprintf(stderr, "tawny: process %ld is loading; its log: %s\n", (long)seen.pid, s->log);
    if ((!seen.pid && !spawn(s, a, e)) || !wait_ready(s, e))
        return false;
    state_see(s->state, &seen);
    fprintf(stderr, "tawny: the server goes on until 'kill %ld'\n", (long)seen.pid);
    return true;
}

/* One that was started by hand has no state: it is asked until it has its model. */
static bool wait_loaded(struct start *s, struct arena *a, struct launch_server *out, struct err *e)
{
    struct pollfd quit = {.fd = s->interrupt.fd, .events = POLLIN};
    struct bar bar;
    bool ok = false;
    fprintf(stderr, "tawny: the server on port %u is loading\n", s->o->port);
    bar_open(&bar, "Loading", BAR_BYTES);
    do {
        if (out->health.total)
            bar_step(&bar, out->health.done, out->health.total);
        if (poll(&quit, 1, LOOK_MS) > 0 && interrupt_take(&s->interrupt)) {
            err_set(e, ERR_CANCELLED, "launch: cancelled");
            break;
        }
        ok = launch_probe((uint16_t)s->o->port, s->o->key, a, out, e);
    } while (out->health.loading);
    bar_close(&bar);
    return ok;
}

/* Waits for the server that loads on the port, or starts one. */
static bool find(struct start *s, struct arena *a, struct launch_server *out, struct err *e)
{
    struct state_seen seen;
    state_see(s->state, &seen);
    if (out->health.loading && !seen.pid)
        return wait_loaded(s, a, out, e);
    return start(s, a, e) && launch_probe((uint16_t)s->o->port, s->o->key, a, out, e);
}

bool launch_start(const struct start_opts *o, struct arena *a, struct launch_server *out,
                  struct err *e)
{
    struct start s = {.o = o, .interrupt = {.fd = -1}};
    if (launch_probe((uint16_t)o->port, o->key, a, out, e)) {
        if (o->model)
            fprintf(stderr,
                    "tawny: warning: port %u has a server with %.*s: --model is not looked at\n",
                    o->port, STRF(out->model));
        return true;
    }
    if (e->code != ERR_IO) /* something else answers there */
        return false;
    bool ok = places(&s, a, e) && interrupt_open(&s.interrupt, e) && find(&s, a, out, e);
    interrupt_close(&s.interrupt);
    return ok;
}
