#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

bool err_set(struct err *e, enum err_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    e->code = code;
    str_blank_control(e->msg);
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
    str_blank_control(e->msg);
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
    str_blank_control(e->msg);
    return false;
}
