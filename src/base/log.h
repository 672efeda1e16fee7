/* log: where messages for the operator go. Rooms below cmd never print: they are handed a sink.
 * progress: how far a long step has come; cmd draws it as a bar. */
#pragma once
#include <stdint.h>

enum log_level { LOG_INFO, LOG_WARN };

/* A zeroed sink drops everything. write may be called from any thread, one line without newline
 * and other control bytes. */
struct log {
    void (*write)(void *ctx, enum log_level level, const char *line);
    void *ctx;
};

void log_info(const struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A zeroed progress drops everything. step may be called from any thread, often: done of total
 * units (bytes, rows); the receiver decides how often to draw. */
struct progress {
    void (*step)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

void progress_step(const struct progress *p, uint64_t done, uint64_t total);
