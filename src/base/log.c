#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"

__attribute__((format(printf, 3, 0))) static void
write_line(const struct log *log, enum log_level level, const char *format, va_list args)
{
    char line[2048];
    if (!log || !log->write)
        return;
    vsnprintf(line, sizeof line, format, args);
    str_blank_control(line);
    log->write(log->ctx, level, line);
}

void log_info(const struct log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(log, LOG_INFO, format, args);
    va_end(args);
}

void log_warn(const struct log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(log, LOG_WARN, format, args);
    va_end(args);
}

void progress_step(const struct progress *p, uint64_t done, uint64_t total)
{
    if (p && p->step)
        p->step(p->ctx, done, total);
}
