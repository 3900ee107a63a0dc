/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/probe_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "core/session_priv.h"
#include "proto/utf8.h"

#define ROWS_MAX 262144 /* 32 addresses with a dozen rows each */
#define ROW_SIZE (2 * PROBE_TEXT_SIZE)
#define BEAT_MS  1000

static const char *const step_names[] = {[PROBE_POLICY] = "policy",
                                         [PROBE_DNS] = "dns",
                                         [PROBE_TCP] = "tcp",
                                         [PROBE_TLS] = "tls",
                                         [PROBE_CERTIFICATE] = "certificate",
                                         [PROBE_CHAIN] = "chain",
                                         [PROBE_IDENTITY] = "identity",
                                         [PROBE_DANE] = "dane",
                                         [PROBE_FEATURES] = "features",
                                         [PROBE_AUTH] = "auth"};

/* What a peer wrote must not make rows of its own, or reach a terminal with control characters
   or what turns the writing direction; nor may it be no UTF-8. Never longer than it was. */
static size_t put_clean(struct span text, char *out)
{
    size_t used = 0;
    while (text.size > 0) {
        uint32_t c;
        size_t size = utf8_decode(text, &c);
        bool is_clean = size > 0 && c >= 0x20 && (c < 0x7f || c > 0x9f) &&
                        (c < 0x2028 || c > 0x202e) && (c < 0x2066 || c > 0x2069);
        size = size > 0 ? size : 1;
        if (is_clean)
            memcpy(out + used, text.data, size);
        else
            out[used] = '?';
        used += is_clean ? size : 1;
        text = span_from(text, size);
    }
    return used;
}

size_t probe_row_write(const struct probe_row *row, char *out, size_t size)
{
    static const char *const results[] = {"ok", "note", "partly", "failed"};
    char ms[24] = "-";
    if (row->ms >= 0)
        (void)snprintf(ms, sizeof(ms), "%" PRId64, row->ms);
    int head = snprintf(out, size, "%s\t%s\t%s\t%s\t", row->step, results[row->result], ms,
                        row->target[0] != '\0' ? row->target : "-");
    size_t used = (size_t)head;
    assert(head > 0 && used + 1 < size);
    used += put_clean(utf8_cut(span_of(row->text), size - used - 1), out + used);
    out[used++] = '\n';
    return used;
}

/* Gives the parcel back, with what there is to tell. */
static void answer(struct probe *probe)
{
    struct thread *thread = probe->worker->thread;
    size_t size = net_buffer_used(&probe->rows);
    if (probe->parcel == NULL)
        return;
    if (size > 0)
        (void)fwrite(net_buffer_front(&probe->rows), 1, size, probe->talk->out);
    net_buffer_consume(&probe->rows, size);
    probe->talk = NULL;
    mesh_return(thread->mesh, thread->self, &probe->parcel);
}

/* The row of a step; its text stays in `text`. */
static void tell(struct probe *probe, enum probe_step step, enum probe_result result,
                 char text[PROBE_TEXT_SIZE], const char *format, va_list arguments)
{
    char row[ROW_SIZE];
    uint64_t now_ms = probe->worker->thread->now_ms;
    bool is_timed = result != PROBE_NOTE && step != PROBE_POLICY;
    (void)vsnprintf(text, PROBE_TEXT_SIZE, format, arguments);
    if (probe->is_over)
        return;
    size_t size = probe_row_write(
        &(struct probe_row){.step = step_names[step],
                            .result = result,
                            .ms = is_timed ? (int64_t)(now_ms - probe->step_ms) : -1,
                            .target = probe->target,
                            .text = text},
        row, sizeof(row));
    if (is_timed)
        probe->step_ms = now_ms;
    /* A full buffer loses the row: more than that is no explanation. */
    if (net_buffer_add(&probe->rows, row, size) == 0)
        answer(probe);
}

void probe_tell(struct probe *probe, enum probe_step step, enum probe_result result,
                const char *format, ...)
{
    char text[PROBE_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    tell(probe, step, result, text, format, arguments);
    va_end(arguments);
}

void probe_tell_fault(struct probe *probe, enum probe_step step, const char *remedy,
                      const char *format, ...)
{
    char text[PROBE_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    tell(probe, step, PROBE_FAILED, text, format, arguments);
    va_end(arguments);
    if (probe->faults++ > 0)
        return;
    (void)snprintf(probe->first_fault, sizeof(probe->first_fault), "%s%s%s: %.400s",
                   step_names[step], probe->target[0] != '\0' ? " " : "", probe->target, text);
    (void)snprintf(probe->first_remedy, sizeof(probe->first_remedy), "%s", remedy);
}

static void judge(const struct probe *probe, struct probe_talk *talk)
{
    const char *local = talk->local.text, *remote = talk->remote.text;
    if (probe->ready == 0) {
        talk->verdict = PROBE_FAILED;
        (void)snprintf(talk->text, sizeof(talk->text), "%s cannot reach %s. %s. %s", local,
                       remote, probe->first_fault, probe->first_remedy);
    } else if (probe->faults > 0) {
        talk->verdict = PROBE_PARTLY;
        (void)snprintf(talk->text, sizeof(talk->text),
                       "%s reaches %s, but not everything is right. %s. %s", local, remote,
                       probe->first_fault, probe->first_remedy);
    } else {
        talk->verdict = PROBE_OK;
        (void)snprintf(talk->text, sizeof(talk->text), "%s reaches %s at each of %u address%s",
                       local, remote, probe->ready, probe->ready == 1 ? "" : "es");
    }
}

/* Nothing more is tried, and what the link still tells is of no interest. */
static void stop(struct probe *probe)
{
    struct link *link = probe->link;
    probe->is_over = true;
    if (link == NULL)
        return;
    if (link->state == LINK_RESOLVING)
        resolver_forget(probe->worker->resolver, link);
    const struct span unasked = SPAN("nobody asks any more");
    link_race_stop(link, unasked);
    link->left = 0;
    link->other_host[0] = '\0';
    if (link->session != NULL)
        session_fail(link->session, unasked);
}

/* Never from within its link. */
static void probe_free(struct probe *probe)
{
    struct worker *worker = probe->worker;
    stop(probe);
    if (probe->link != NULL)
        link_close(probe->link);
    timer_disarm(&worker->thread->timers, &probe->timer);
    TAILQ_REMOVE(&worker->probes, probe, all);
    net_buffer_fini(&probe->rows);
    free(probe);
}

void probe_over(struct probe *probe, struct span reason)
{
    if (probe->is_over)
        return;
    if (probe->ready == 0 && probe->faults == 0)
        probe_tell_fault(probe, probe->step, "Try again later.", "%.*s", (int)reason.size,
                         reason.data);
    probe->is_over = true;
    answer(probe);
}

/* The parcel goes home now and then without a row, too: control may know that nobody listens
   any more. */
static void beat(struct probe *probe)
{
    struct thread *thread = probe->worker->thread;
    timer_arm(&thread->timers, &probe->timer, thread->now_ms + BEAT_MS);
    answer(probe);
}

void probe_timer(struct probe *probe)
{
    if (probe->worker->thread->now_ms < probe->begin_ms + PROBE_DEADLINE_MS) {
        beat(probe);
        return;
    }
    probe_tell_fault(probe, probe->step,
                     "Look at the addresses that were told of: each should answer at once.",
                     "the whole took longer than %u s: what is left is not tried",
                     PROBE_DEADLINE_MS / 1000);
    stop(probe);
    answer(probe);
}

static struct probe *make(struct worker *worker, struct probe_talk *talk)
{
    struct probe *probe = calloc(1, sizeof(*probe));
    if (probe == NULL)
        return NULL;
    probe->worker = worker;
    probe->talk = talk;
    probe->step = PROBE_DNS;
    probe->begin_ms = probe->step_ms = worker->thread->now_ms;
    probe->timer.kind = WORKER_TIMER_PROBE;
    probe->timer.owner = probe;
    net_buffer_init(&probe->rows, ROWS_MAX);
    TAILQ_INSERT_TAIL(&worker->probes, probe, all);
    return probe;
}

static void begin(struct worker *worker, struct parcel *parcel)
{
    struct thread *thread = worker->thread;
    struct probe_talk *talk = parcel->inquiry;
    struct probe *probe = worker->draining ? NULL : make(worker, talk);
    if (probe == NULL) {
        talk->is_over = true;
        talk->verdict = PROBE_FAILED;
        (void)snprintf(talk->text, sizeof(talk->text), "%s",
                       worker->draining ? "The relay is stopping." : "There is no memory.");
        mesh_return(thread->mesh, thread->self, &parcel);
        return;
    }
    talk->probe = probe;
    if (!probe_check_policy(probe)) {
        probe->is_over = true;
    } else if ((probe->link = link_open_probe(worker, &talk->local, &talk->remote, probe)) ==
               NULL) {
        probe_over(probe, SPAN("the domain cannot be looked up"));
    } else {
        beat(probe);
        link_start(probe->link);
    }
    probe->parcel = parcel;
    answer(probe);
}

void probe_take(struct worker *worker, struct parcel **taken)
{
    struct thread *thread = worker->thread;
    struct parcel *parcel = *taken;
    *taken = NULL;
    struct probe_talk *talk = parcel->inquiry;
    struct probe *probe = talk->probe;
    if (probe == NULL) {
        begin(worker, parcel);
        return;
    }
    assert(probe->parcel == NULL);
    probe->parcel = parcel;
    probe->talk = talk;
    if (net_buffer_used(&probe->rows) > 0 && !talk->is_cancelled) {
        answer(probe);
    } else if (probe->is_over || talk->is_cancelled) {
        if (!talk->is_cancelled)
            judge(probe, talk);
        talk->is_over = true;
        talk->probe = NULL;
        probe_free(probe);
        mesh_return(thread->mesh, thread->self, &parcel);
    }
}

void probe_close_all(struct worker *worker)
{
    struct probe *probe;
    while ((probe = TAILQ_FIRST(&worker->probes)) != NULL)
        probe_free(probe);
}
