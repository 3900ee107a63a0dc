/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/log.h"

#include <assert.h>
#include <stdatomic.h>
#include <systemd/sd-journal.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "net/clock.h"
#include "proto/utf8.h"
#include "proto/writer.h"

#define LOG_LINE_SIZE  8192
#define LOG_FIELD_MAX  12
#define LOG_VALUE_SIZE 512 /* of one value: a peer does not choose the length of our lines */

/* The log sink is one of the two mutable globals the house allows; set once before threads. */
static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_format_now = LOG_FORMAT_LOGFMT;

static const char *const log_level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&log_level_now, (int)level);
    atomic_store(&log_format_now, (int)format);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* JSON string content; logfmt uses the same escapes inside its quotes. Control characters of
   both sets and what turns the writing direction are escaped, for whoever reads on a terminal;
   bytes that are no UTF-8 as well, for whoever parses. */
static void log_put_escaped(struct writer *writer, struct span text)
{
    text = span_to(text, LOG_VALUE_SIZE);
    while (text.size > 0) {
        unsigned char byte = (unsigned char)text.data[0];
        uint32_t c = byte;
        size_t size = byte < 0x80 ? 1 : utf8_decode(text, &c);
        bool broken = size == 0;
        size = broken ? 1 : size;
        if (byte == '"' || byte == '\\') {
            writer_put_char(writer, '\\');
            writer_put_char(writer, (char)byte);
        } else if (broken || c < 0x20 || (c >= 0x7f && c <= 0x9f)) {
            byte = (unsigned char)c;
            writer_put_literal(writer, "\\u00");
            writer_put_hex(writer, &byte, 1);
        } else if (c >= 0x2028 && c <= 0x202e) {
            byte = (unsigned char)c;
            writer_put_literal(writer, "\\u20");
            writer_put_hex(writer, &byte, 1);
        } else {
            writer_put(writer, span_to(text, size));
        }
        text = span_from(text, size);
    }
}

static bool log_needs_quotes(struct span text)
{
    if (text.size == 0)
        return true;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte <= ' ' || byte == '"' || byte == '\\' || byte == '=' || byte == 0x7f)
            return true;
    }
    return false;
}

static void log_put_number(struct writer *writer, int64_t number)
{
    if (number < 0)
        writer_put_char(writer, '-');
    writer_put_uint(writer, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

static void log_put_time(struct writer *writer)
{
    uint64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    char text[32];
    if (gmtime_r(&seconds, &utc) == NULL)
        return;
    size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.", &utc);
    writer_put(writer, span_make(text, size));
    char digits[4] = {(char)('0' + now_ms / 100 % 10), (char)('0' + now_ms / 10 % 10),
                      (char)('0' + now_ms % 10), 'Z'};
    writer_put(writer, span_make(digits, sizeof(digits)));
}

static void log_put_trace(struct writer *writer, uint64_t trace)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(trace >> (56 - 8 * i));
    writer_put_hex(writer, bytes, sizeof(bytes));
}

static void log_put_logfmt(struct writer *writer, enum log_level level, const char *event,
                           uint64_t trace, const struct log_field *fields, size_t count)
{
    writer_put_literal(writer, "time=");
    log_put_time(writer);
    writer_put_literal(writer, " level=");
    writer_put(writer, span_of(log_level_names[level]));
    writer_put_literal(writer, " event=");
    writer_put(writer, span_of(event));
    if (trace != 0) {
        writer_put_literal(writer, " trace=");
        log_put_trace(writer, trace);
    }
    for (size_t i = 0; i < count; i++) {
        writer_put_char(writer, ' ');
        writer_put(writer, span_of(fields[i].key));
        writer_put_char(writer, '=');
        if (fields[i].text.data == NULL) {
            log_put_number(writer, fields[i].number);
            continue;
        }
        bool quotes = log_needs_quotes(fields[i].text);
        if (quotes)
            writer_put_char(writer, '"');
        log_put_escaped(writer, fields[i].text);
        if (quotes)
            writer_put_char(writer, '"');
    }
}

static void log_put_json(struct writer *writer, enum log_level level, const char *event,
                         uint64_t trace, const struct log_field *fields, size_t count)
{
    writer_put_literal(writer, "{\"time\":\"");
    log_put_time(writer);
    writer_put_literal(writer, "\",\"level\":\"");
    writer_put(writer, span_of(log_level_names[level]));
    writer_put_literal(writer, "\",\"event\":\"");
    writer_put(writer, span_of(event));
    writer_put_char(writer, '"');
    if (trace != 0) {
        writer_put_literal(writer, ",\"trace\":\"");
        log_put_trace(writer, trace);
        writer_put_char(writer, '"');
    }
    for (size_t i = 0; i < count; i++) {
        writer_put_literal(writer, ",\"");
        writer_put(writer, span_of(fields[i].key));
        writer_put_literal(writer, "\":");
        if (fields[i].text.data == NULL) {
            log_put_number(writer, fields[i].number);
            continue;
        }
        writer_put_char(writer, '"');
        log_put_escaped(writer, fields[i].text);
        writer_put_char(writer, '"');
    }
    writer_put_char(writer, '}');
}

void log_write(enum log_level level, const char *event, uint64_t trace,
               const struct log_field *fields, size_t count)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    char line[LOG_LINE_SIZE];
    assert(count <= LOG_FIELD_MAX);
    /* One byte is kept for the line end, so that a cut line still ends as one. */
    struct writer writer = writer_make(line, sizeof(line) - 1);
    int format = atomic_load_explicit(&log_format_now, memory_order_relaxed);
    if (format == LOG_FORMAT_JSON)
        log_put_json(&writer, level, event, trace, fields, count);
    else
        log_put_logfmt(&writer, level, event, trace, fields, count);
    line[writer.used] = '\n';
    if (format == LOG_FORMAT_JOURNALD) {
        (void)sd_journal_send("MESSAGE=%.*s", (int)writer.used, line, "PRIORITY=%i",
                              priorities[level], "SYSLOG_IDENTIFIER=passerelle",
                              "PASSERELLE_EVENT=%s", event, NULL);
        return;
    }
    /* A log that cannot be written is not worth an answer: nobody could read it. */
    ssize_t written = write(STDERR_FILENO, line, writer.used + 1);
    (void)written;
}
