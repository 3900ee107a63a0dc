/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One line per event: logfmt or JSON, to stderr or journald. No message bodies. Values chosen
 * by peers are quoted and escaped. Any thread; a line is written with one system call and names
 * its thread. What repeats is limited: of each event a thread writes LOG_BURST lines at once
 * and LOG_RATE a second from then on, and the next line tells how many were left out
 * (suppressed=). Debug lines are not limited: who asks for them wants each.
 * log_event(LOG_LEVEL_INFO, "session.open", trace, log_text("peer", span),
 *           log_number("port", 1))
 */
#ifndef PASSERELLE_CORE_LOG_H
#define PASSERELLE_CORE_LOG_H

#include "proto/span.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNALD };

#define LOG_BURST 1000u
#define LOG_RATE  100u

/* Both by their values, NULL at the end: what the configuration and `set log-level` take. */
extern const char *const log_level_names[];
extern const char *const log_format_names[];

struct log_field {
    const char *key;
    struct span text; /* data NULL: number */
    int64_t number;
};

static inline struct log_field log_text(const char *key, struct span text)
{
    return (struct log_field){key, text.data != NULL ? text : SPAN(""), 0};
}
static inline struct log_field log_number(const char *key, int64_t number)
{
    return (struct log_field){key, SPAN_NONE, number};
}

/* Before the threads. Where there is no journal, journald becomes logfmt on standard error. */
void log_setup(enum log_level level, enum log_format format);
/* At run time, from any thread. */
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* The cheap check before costly arguments. */
bool log_wants(enum log_level level);
/* A trace id as every log line and `show errors` spell it. */
void log_format_trace(uint64_t trace, char text[17]);
/* `trace` 0: none. */
void log_write(enum log_level level, const char *event, uint64_t trace,
               const struct log_field *fields, size_t count);
#define log_event(level, event, trace, ...)                                                      \
    do {                                                                                         \
        if (log_wants(level)) {                                                                  \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                \
            log_write((level), (event), (trace), log_fields_,                                    \
                      sizeof(log_fields_) / sizeof(log_fields_[0]));                             \
        }                                                                                        \
    } while (0)

#endif
