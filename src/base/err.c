#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* File names and keys come from outside: an escape sequence in a message would reach a terminal. */
static void blank_control_bytes(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

bool err_set(struct err *e, enum err_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    e->code = code;
    blank_control_bytes(e->msg);
    return false;
}

bool err_sys(struct err *e, const char *format, ...)
{
    const char *reason = strerror(errno);
    va_list args;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", reason);
    e->code = ERR_IO;
    blank_control_bytes(e->msg);
    return false;
}

bool err_within(struct err *e, const char *format, ...)
{
    char inner[sizeof e->msg];
    memcpy(inner, e->msg, sizeof inner);
    va_list args;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", inner);
    blank_control_bytes(e->msg);
    return false;
}
