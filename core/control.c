/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/control_socket.h"
#include "core/inquiry.h"
#include "core/log.h"
#include "core/report.h"
#include "net/clock.h"

#define ACCEPT_PAUSE_MS 100 /* without a descriptor the listener would be ready all the time */
#define INQUIRY_POLL_MS 5 /* how often control looks for a parcel while one is out */

enum client_state { CLIENT_READING, CLIENT_ASKED, CLIENT_WAITING, CLIENT_WRITING };

struct client {
    int fd; /* -1: free */
    enum client_state state;
    enum report_kind kind; /* ASKED, WAITING */
    bool as_json;
    bool is_ended; /* closed its direction */
    char line[CONTROL_LINE_MAX];
    size_t used;
    char *answer;
    size_t answer_size, answer_sent;
    uint64_t deadline_ns; /* unless READING */
};

struct control {
    struct control_options options;
    struct report_source source;
    int fd;
    uint64_t accept_after_ns;
    struct client clients[CONTROL_CLIENT_MAX];
    /* The one round of questions to the other threads, asked one after the other. */
    bool is_asking, is_out;
    enum report_kind asked_kind;
    unsigned asked_thread;
    struct inquiry inquiry;
    char *rows;
    size_t rows_size;
};

static const char control_help[] =
    "show info|stat|sess|tenants|trunks|errors [json]\n"
    "    info     version, configuration, size\n"
    "    stat     counters of all threads together\n"
    "    sess     XMPP streams: domains, authentication, TLS, traffic\n"
    "    tenants  tenants and their messages\n"
    "    trunks   SIP trunks and their state, for each egress thread\n"
    "    errors   what went wrong lately, repeats in one row, the newest last\n"
    "metrics      everything that can be counted, as Prometheus text\n"
    "set log-level error|warn|info|debug\n"
    "             from now on, until the relay ends\n"
    "help         this text\n"
    "quit         close the connection\n";

static void client_drop(struct client *client)
{
    assert(client->fd >= 0);
    (void)close(client->fd);
    free(client->answer);
    *client = (struct client){.fd = -1};
}

static void client_wait(struct client *client, enum client_state state)
{
    client->state = state;
    client->deadline_ns = clock_now_ns() + (uint64_t)CONTROL_DEADLINE_MS * 1000000u;
}

static FILE *client_begin(struct client *client)
{
    assert(client->answer == NULL);
    client->answer_sent = 0;
    return open_memstream(&client->answer, &client->answer_size);
}

/* Ends the answer with an empty line and starts writing it. */
static void client_finish(struct client *client, FILE *out)
{
    fputc('\n', out);
    if (fclose(out) != 0) {
        client_drop(client);
        return;
    }
    client_wait(client, CLIENT_WRITING);
}

static void client_show(struct control *control, struct client *client, struct span rows)
{
    FILE *out = client_begin(client);
    if (out == NULL) {
        client_drop(client);
        return;
    }
    if (client->kind == REPORT_METRICS)
        report_metrics(&control->source, rows, out);
    else
        report_show(client->kind, rows, client->as_json, out);
    client_finish(client, out);
}

static void client_show_local(struct control *control, struct client *client)
{
    char *rows = NULL;
    size_t rows_size = 0;
    FILE *out = open_memstream(&rows, &rows_size);
    if (out != NULL) {
        report_rows(&control->source, client->kind, out);
        (void)fclose(out);
    }
    client_show(control, client, span_make(rows, rows != NULL ? rows_size : 0));
    free(rows);
}

/* Takes the next word off the command. */
static struct span command_word(struct span *command)
{
    *command = span_trim(*command);
    struct span word = span_to(*command, span_find(*command, ' '));
    *command = span_from(*command, word.size);
    return word;
}

static bool command_kind(struct span word, enum report_kind *kind)
{
    static const struct {
        struct span name;
        enum report_kind kind;
    } kinds[] = {{{"info", 4}, REPORT_INFO},     {{"stat", 4}, REPORT_STAT},
                 {{"sess", 4}, REPORT_SESSIONS}, {{"tenants", 7}, REPORT_TENANTS},
                 {{"trunks", 6}, REPORT_TRUNKS}, {{"errors", 6}, REPORT_ERRORS}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!span_equal(kinds[i].name, word))
            continue;
        *kind = kinds[i].kind;
        return true;
    }
    return false;
}

/* Answers with a text that is there. */
static void client_say(struct client *client, const char *text)
{
    FILE *out = client_begin(client);
    if (out == NULL) {
        client_drop(client);
        return;
    }
    fputs(text, out);
    client_finish(client, out);
}

static void command_show(struct control *control, struct client *client, struct span what,
                         struct span form)
{
    client->as_json = form.size > 0;
    if (!command_kind(what, &client->kind))
        client_say(client, "error: show what? info, stat, sess, tenants, trunks or errors\n");
    else if (form.size > 0 && !span_equal(form, SPAN("json")))
        client_say(client, "error: behind the name only json may stand\n");
    else if (client->kind == REPORT_SESSIONS || client->kind == REPORT_TRUNKS)
        client_wait(client, CLIENT_ASKED);
    else
        client_show_local(control, client);
}

static void command_log_level(struct client *client, struct span name)
{
    for (int i = 0; log_level_names[i] != NULL; i++) {
        if (!span_equal(name, span_of(log_level_names[i])))
            continue;
        log_set_level((enum log_level)i);
        log_event(LOG_LEVEL_INFO, "log.level", 0, log_text("to", name));
        client_say(client, "done\n");
        return;
    }
    client_say(client, "error: a log level is error, warn, info or debug\n");
}

static void command_run(struct control *control, struct client *client, struct span command)
{
    struct span words[3];
    for (size_t i = 0; i < 3; i++)
        words[i] = command_word(&command);
    bool is_alone = words[1].size == 0;
    if (words[0].size == 0)
        return;
    if (span_trim(command).size > 0) {
        client_say(client, "error: too many words; try help\n");
    } else if (span_equal(words[0], SPAN("show"))) {
        command_show(control, client, words[1], words[2]);
    } else if (span_equal(words[0], SPAN("set")) && span_equal(words[1], SPAN("log-level"))) {
        command_log_level(client, words[2]);
    } else if (span_equal(words[0], SPAN("metrics")) && is_alone) {
        client->kind = REPORT_METRICS;
        client_wait(client, CLIENT_ASKED);
    } else if (span_equal(words[0], SPAN("help")) && is_alone) {
        client_say(client, control_help);
    } else if (span_equal(words[0], SPAN("quit")) && is_alone) {
        client_drop(client);
    } else {
        client_say(client, "error: unknown command; try help\n");
    }
}

/* Runs the commands that are there, until one has to be answered. */
static void client_run(struct control *control, struct client *client)
{
    while (client->fd >= 0 && client->state == CLIENT_READING) {
        struct span text = span_make(client->line, client->used);
        size_t size = span_find(text, '\n');
        /* The last line needs no end when the client has closed its direction. */
        if (size == text.size && !(client->is_ended && size > 0))
            break;
        char line[CONTROL_LINE_MAX];
        memcpy(line, client->line, size);
        size_t consumed = size < client->used ? size + 1 : size;
        client->used -= consumed;
        memmove(client->line, client->line + consumed, client->used);
        command_run(control, client, span_make(line, size));
    }
    if (client->fd >= 0 && client->state == CLIENT_READING &&
        (client->is_ended || client->used == sizeof(client->line)))
        client_drop(client);
}

static void client_read(struct control *control, struct client *client)
{
    ssize_t got = recv(client->fd, client->line + client->used,
                       sizeof(client->line) - client->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        client_drop(client);
        return;
    }
    client->is_ended = got == 0;
    client->used += (size_t)got;
    client_run(control, client);
}

static void client_write(struct control *control, struct client *client)
{
    ssize_t sent = send(client->fd, client->answer + client->answer_sent,
                        client->answer_size - client->answer_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent < 0) {
        client_drop(client);
        return;
    }
    client->answer_sent += (size_t)sent;
    if (client->answer_sent < client->answer_size)
        return;
    free(client->answer);
    client->answer = NULL;
    client->state = CLIENT_READING;
    client_run(control, client);
}

static void control_accept(struct control *control)
{
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (size_t i = 0; fd >= 0 && i < CONTROL_CLIENT_MAX; i++) {
        if (control->clients[i].fd >= 0)
            continue;
        control->clients[i] = (struct client){.fd = fd};
        return;
    }
    if (fd >= 0)
        (void)close(fd);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        control->accept_after_ns = clock_now_ns() + ACCEPT_PAUSE_MS * 1000000ull;
}

/* Ends the round: everybody who waited for it gets the rows. */
static void asking_finish(struct control *control)
{
    (void)fclose(control->inquiry.out);
    control->is_asking = false;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0 && client->state == CLIENT_WAITING)
            client_show(control, client, span_make(control->rows, control->rows_size));
    }
    free(control->rows);
    control->rows = NULL;
}

/* Starts a round for the first client that wants one; others with the same wish join. */
static void asking_start(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd < 0 || client->state != CLIENT_ASKED)
            continue;
        if (control->is_asking && client->kind != control->asked_kind)
            continue;
        control->is_asking = true;
        control->asked_kind = client->kind;
        client->state = CLIENT_WAITING;
    }
    if (!control->is_asking)
        return;
    control->asked_thread = 0;
    control->inquiry.kind =
        control->asked_kind == REPORT_SESSIONS ? INQUIRY_SESSIONS : INQUIRY_TRUNKS;
    control->inquiry.out = open_memstream(&control->rows, &control->rows_size);
    control->is_asking = control->inquiry.out != NULL;
}

/* Asks the next thread whose kind has such rows; false when all have been asked. */
static bool asking_post(struct control *control)
{
    struct mesh *mesh = control->options.mesh;
    const struct config *config = control->options.config;
    unsigned count = mesh != NULL ? mesh_thread_count(mesh) : 0;
    for (unsigned i = control->asked_thread + 1; i < count; i++) {
        bool is_worker = i <= config->worker_count;
        if (is_worker != (control->asked_kind == REPORT_SESSIONS))
            continue;
        struct parcel *parcel = mesh_take(mesh, control->options.self, MESH_CONTROL);
        if (parcel == NULL)
            return true; /* tried again at the next turn */
        parcel->kind = PARCEL_INQUIRY;
        parcel->inquiry = &control->inquiry;
        control->asked_thread = i;
        control->is_out = true;
        mesh_post(mesh, control->options.self, i, &parcel);
        mesh_flush(mesh, control->options.self);
        return true;
    }
    return false;
}

static void control_ask(struct control *control)
{
    struct mesh *mesh = control->options.mesh;
    struct parcel *parcel;
    while (mesh != NULL && (parcel = mesh_next(mesh, control->options.self)) != NULL) {
        assert(parcel->is_return);
        mesh_give(mesh, control->options.self, &parcel);
        control->is_out = false;
    }
    if (!control->is_asking)
        asking_start(control);
    if (control->is_asking && !control->is_out && !asking_post(control))
        asking_finish(control);
}

static void client_turn(struct control *control, struct client *client, short events)
{
    bool is_reading = client->state == CLIENT_READING;
    if ((events & POLLIN) != 0 && is_reading)
        client_read(control, client);
    else if ((events & POLLOUT) != 0 && client->state == CLIENT_WRITING)
        client_write(control, client);
    else if ((events & (POLLHUP | POLLERR)) != 0)
        client_drop(client);
    else if (!is_reading && clock_now_ns() > client->deadline_ns)
        client_drop(client);
}

void control_turn(struct control *control, unsigned wait_ms)
{
    assert(control != NULL);
    bool is_open = clock_now_ns() >= control->accept_after_ns;
    struct pollfd fds[CONTROL_CLIENT_MAX + 1] = {
        {.fd = is_open ? control->fd : -1, .events = POLLIN}};
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        const struct client *client = &control->clients[i];
        fds[i + 1].fd = client->fd;
        if (client->fd >= 0 && client->state == CLIENT_READING)
            fds[i + 1].events = POLLIN;
        else if (client->fd >= 0 && client->state == CLIENT_WRITING)
            fds[i + 1].events = POLLOUT;
    }
    bool is_busy = control->is_asking && wait_ms > INQUIRY_POLL_MS;
    unsigned limit_ms = is_busy ? INQUIRY_POLL_MS : wait_ms;
    if (!is_open && limit_ms > ACCEPT_PAUSE_MS)
        limit_ms = ACCEPT_PAUSE_MS;
    (void)poll(fds, CONTROL_CLIENT_MAX + 1, (int)limit_ms);
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++)
        if (control->clients[i].fd >= 0)
            client_turn(control, &control->clients[i], fds[i + 1].revents);
    if ((fds[0].revents & POLLIN) != 0)
        control_accept(control);
    control_ask(control);
}

int control_open(struct control **control, const struct control_options *options, char *error,
                 size_t error_size)
{
    assert(options->config != NULL);
    *control = NULL;
    struct control *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->options = *options;
    made->source = (struct report_source){&made->options, clock_now_ns()};
    made->fd = -1;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++)
        made->clients[i].fd = -1;
    int rc = control_socket_open(options->config->stats_socket, CONTROL_CLIENT_MAX, &made->fd);
    if (rc == 0) {
        *control = made;
        return 0;
    }
    (void)snprintf(error, error_size, "stats socket %s: %s%s", options->config->stats_socket,
                   strerror(-rc), rc == -EADDRINUSE ? "; is another relay running?" : "");
    free(made);
    return rc;
}

void control_close(struct control **control)
{
    struct control *closed = *control;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++)
        if (closed->clients[i].fd >= 0)
            client_drop(&closed->clients[i]);
    if (closed->is_asking)
        (void)fclose(closed->inquiry.out);
    free(closed->rows);
    (void)close(closed->fd);
    (void)unlink(closed->options.config->stats_socket);
    free(closed);
    *control = NULL;
}
