/* err: the one way a failure travels. Functions that can fail return bool (or a pointer) and take a
 * `struct err *e` last; on failure e holds one line that names what, where, value and limit, and
 * what to do. e is never NULL. Only cmd prints it and only cmd turns it into an exit status. */
#pragma once
#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
    ERR_USAGE,       /* the caller's arguments are wrong: exit status 2, HTTP 400 */
    ERR_IO,          /* the system refused: open, read, write, socket */
    ERR_FORMAT,      /* a file or message breaks its format */
    ERR_UNSUPPORTED, /* well formed, but not something tawny can do */
    ERR_LIMIT,       /* over a limit that the message names */
    ERR_MEMORY,      /* does not fit into memory */
    ERR_DEVICE,      /* the accelerator was lost, hung or failed: a new one has to be opened */
    ERR_CANCELLED,   /* somebody asked to stop */
};

struct err {
    enum err_code code;
    char msg[1024];
};

/* Stores the message and returns false, so that a function can `return err_set(...)`. Control bytes
 * in the result (names from hostile files) are replaced by '?'. */
bool err_set(struct err *e, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* err_set with strerror(errno) appended as ": reason". */
bool err_sys(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before a message that is already there. Returns false. */
bool err_within(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
