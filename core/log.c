/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/log.h"

#include <assert.h>
#include <pthread.h>
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

#define LOG_JOURNAL      "/run/systemd/journal/socket"
#define LOG_BUCKET_COUNT 64u /* more than there are events */

/* How much of one event this thread may still write. */
struct log_bucket {
    const char *event; /* NULL: free */
    uint64_t filled_ms;
    unsigned left, suppressed;
};

const char *const log_level_names[] = {"error", "warn", "info", "debug", NULL};
const char *const log_format_names[] = {"logfmt", "json", "journald", NULL};

/* The log sink is one of the two mutable globals the house allows. */
static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_format_now = LOG_FORMAT_LOGFMT;
static _Thread_local struct log_bucket log_buckets[LOG_BUCKET_COUNT];
static _Thread_local char
    log_thread[16]; /* the size of a thread's name (pthread_setname_np(3)) */

void log_setup(enum log_level level, enum log_format format)
{
    /* sd_journal_send(3) is content where there is no journal; who reads the log is not. */
    bool is_lost = format == LOG_FORMAT_JOURNALD && access(LOG_JOURNAL, W_OK) != 0;
    atomic_store(&log_level_now, (int)level);
    atomic_store(&log_format_now, (int)(is_lost ? LOG_FORMAT_LOGFMT : format));
    if (is_lost)
        log_event(LOG_LEVEL_WARN, "start.journal", 0,
                  log_text("problem", SPAN("there is no " LOG_JOURNAL)),
                  log_text("remedy", SPAN("the log goes to standard error")));
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
    return level <= log_level();
}

/* The bucket of an event; NULL when there are more events than buckets. */
static struct log_bucket *log_bucket_of(const char *event, uint64_t now_ms)
{
    for (unsigned i = 0; i < LOG_BUCKET_COUNT; i++) {
        struct log_bucket *bucket = &log_buckets[i];
        if (bucket->event == NULL)
            *bucket =
                (struct log_bucket){.event = event, .filled_ms = now_ms, .left = LOG_BURST};
        if (bucket->event == event || strcmp(bucket->event, event) == 0)
            return bucket;
    }
    return NULL;
}

/* May this line be written? Then *suppressed says how many before it were not. */
static bool log_admit(const char *event, unsigned *suppressed)
{
    uint64_t now_ms = clock_now_ns() / 1000000;
    struct log_bucket *bucket = log_bucket_of(event, now_ms);
    *suppressed = 0;
    if (bucket == NULL)
        return true;
    uint64_t fresh = (now_ms - bucket->filled_ms) * LOG_RATE / 1000;
    if (fresh > 0) {
        bucket->left =
            fresh < LOG_BURST - bucket->left ? bucket->left + (unsigned)fresh : LOG_BURST;
        bucket->filled_ms = now_ms;
    }
    if (bucket->left == 0) {
        bucket->suppressed++;
        return false;
    }
    bucket->left--;
    *suppressed = bucket->suppressed;
    bucket->suppressed = 0;
    return true;
}

static struct span log_thread_name(void)
{
    if (log_thread[0] == '\0' &&
        pthread_getname_np(pthread_self(), log_thread, sizeof(log_thread)) != 0)
        return SPAN("?");
    return span_of(log_thread);
}

/* JSON string content; logfmt uses the same escapes inside its quotes. Control characters of
   both sets and what turns the writing direction are escaped, for whoever reads on a terminal;
   bytes that are no UTF-8 as well, for whoever parses. */
static void log_put_escaped(struct writer *writer, struct span text)
{
    text = utf8_cut(text, LOG_VALUE_SIZE);
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

void log_format_trace(uint64_t trace, char text[17])
{
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[trace >> (60 - 4 * i) & 15];
    text[16] = '\0';
}

struct log_line {
    enum log_level level;
    const char *event;
    char trace[17]; /* hexadecimal; empty: none */
    const struct log_field *fields;
    size_t count;
};

static void log_put_logfmt(struct writer *writer, const struct log_field *field)
{
    writer_put_char(writer, ' ');
    writer_put(writer, span_of(field->key));
    writer_put_char(writer, '=');
    if (field->text.data == NULL) {
        log_put_number(writer, field->number);
        return;
    }
    bool quotes = log_needs_quotes(field->text);
    if (quotes)
        writer_put_char(writer, '"');
    log_put_escaped(writer, field->text);
    if (quotes)
        writer_put_char(writer, '"');
}

static void log_put_json(struct writer *writer, const struct log_field *field)
{
    writer_put_literal(writer, ",\"");
    writer_put(writer, span_of(field->key));
    writer_put_literal(writer, "\":");
    if (field->text.data == NULL) {
        log_put_number(writer, field->number);
        return;
    }
    writer_put_char(writer, '"');
    log_put_escaped(writer, field->text);
    writer_put_char(writer, '"');
}

static void log_put_line(struct writer *writer, const struct log_line *line, bool is_json)
{
    const struct log_field head[] = {
        log_text("level", span_of(log_level_names[line->level])),
        log_text("thread", log_thread_name()),
        log_text("event", span_of(line->event)),
        log_text("trace", span_of(line->trace)),
    };
    size_t head_count = line->trace[0] != '\0' ? 4 : 3;
    writer_put(writer, is_json ? SPAN("{\"time\":\"") : SPAN("time="));
    log_put_time(writer);
    if (is_json)
        writer_put_char(writer, '"');
    for (size_t i = 0; i < head_count + line->count; i++) {
        const struct log_field *field =
            i < head_count ? &head[i] : &line->fields[i - head_count];
        if (is_json)
            log_put_json(writer, field);
        else
            log_put_logfmt(writer, field);
    }
    if (is_json)
        writer_put_char(writer, '}');
}

static void log_to_journal(const struct log_line *line, struct span text)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    (void)sd_journal_send("MESSAGE=%.*s", (int)text.size, text.data, "PRIORITY=%i",
                          priorities[line->level], "SYSLOG_IDENTIFIER=passerelle",
                          "PASSERELLE_EVENT=%s", line->event, "PASSERELLE_TRACE=%s",
                          line->trace, NULL);
}

void log_write(enum log_level level, const char *event, uint64_t trace,
               const struct log_field *fields, size_t count)
{
    char memory[LOG_LINE_SIZE];
    struct log_field all[LOG_FIELD_MAX + 1];
    unsigned suppressed = 0;
    assert(count <= LOG_FIELD_MAX);
    if (level != LOG_LEVEL_DEBUG && !log_admit(event, &suppressed))
        return;
    for (size_t i = 0; i < count; i++)
        all[i] = fields[i];
    if (suppressed > 0)
        all[count++] = log_number("suppressed", suppressed);
    struct log_line line = {.level = level, .event = event, .fields = all, .count = count};
    if (trace != 0)
        log_format_trace(trace, line.trace);
    /* One byte is kept for the line end, so that a cut line still ends as one. */
    struct writer writer = writer_make(memory, sizeof(memory) - 1);
    int format = atomic_load_explicit(&log_format_now, memory_order_relaxed);
    log_put_line(&writer, &line, format == LOG_FORMAT_JSON);
    if (writer.overflow) {
        /* Escapes may make it too long: half a line is no JSON. */
        line.fields = &(struct log_field){"cut", SPAN_NONE, (int64_t)count};
        line.count = 1;
        writer = writer_make(memory, sizeof(memory) - 1);
        log_put_line(&writer, &line, format == LOG_FORMAT_JSON);
    }
    if (format == LOG_FORMAT_JOURNALD) {
        log_to_journal(&line, writer_span(&writer));
        return;
    }
    memory[writer.used] = '\n';
    /* A log that cannot be written is not worth an answer: nobody could read it. */
    ssize_t written = write(STDERR_FILENO, memory, writer.used + 1);
    (void)written;
}
