/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/control_priv.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/control_socket.h"
#include "core/log.h"
#include "core/reload.h"
#include "net/clock.h"

#define ACCEPT_PAUSE_MS 100 /* without a descriptor the listener would be ready all the time */
#define INQUIRY_POLL_MS 5 /* how often control looks for a parcel while one is out */

static const char control_help[] =
    "show info|stat|sess|links|tenants|trunks|errors [json]\n"
    "    info     version, configuration, size\n"
    "    stat     counters of all threads together\n"
    "    sess     XMPP streams: domains, authentication, TLS, traffic\n"
    "    links    pairs of domains without a stream, what waits for it, and why there is none\n"
    "    tenants  tenants and their messages\n"
    "    trunks   SIP trunks and their state, for each egress thread\n"
    "    errors   what went wrong lately, repeats in one row, the newest last\n"
    "show policy TENANT DOMAIN [json]\n"
    "             what is in force between them, and where it is given\n"
    "show certificates [TENANT] [json]\n"
    "             the relay's or a tenant's, the OCSP responses stapled to them, the CRLs\n"
    "show consent TENANT [USER] [json]\n"
    "             who of public_unverified partners may write, as users have written to them\n"
    "consent remove TENANT USER [ADDRESS] [json]\n"
    "             they, or this one, may no more until the user writes again\n"
    "metrics      everything that can be counted, as Prometheus text\n"
    "set log-level error|warn|info|debug\n"
    "             from now on, until the relay ends\n"
    "explain DOMAIN [tenant NAME] [json]\n"
    "             step by step, how DOMAIN is reached from the tenant, and what is wrong\n"
    "ping TENANT ADDRESS [from USER] [json] [message TEXT]\n"
    "             pings the address (XEP-0199), or sends it a message\n"
    "reload       reads the configuration again; when it is bad the old one stays\n"
    "help         this text\n"
    "quit         close the connection\n";

void control_client_drop(struct client *client)
{
    assert(client->fd >= 0);
    control_probe_leave(client);
    (void)close(client->fd);
    free(client->answer);
    *client = (struct client){.fd = -1};
}

void control_client_wait(struct client *client, enum client_state state)
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

static void client_write_out(struct client *client, FILE *out)
{
    if (fclose(out) != 0) {
        control_client_drop(client);
        return;
    }
    control_client_wait(client, CLIENT_WRITING);
}

/* Ends the answer with an empty line and starts writing it. */
static void client_finish(struct client *client, FILE *out)
{
    fputc('\n', out);
    client_write_out(client, out);
}

void control_client_part(struct client *client, struct span text, bool is_last)
{
    FILE *out = client_begin(client);
    if (out == NULL) {
        control_client_drop(client);
        return;
    }
    (void)fwrite(text.data, 1, text.size, out);
    if (is_last)
        client_finish(client, out);
    else
        client_write_out(client, out);
}

void control_client_show(struct control *control, struct client *client, struct span rows)
{
    FILE *out = client_begin(client);
    if (out == NULL) {
        control_client_drop(client);
        return;
    }
    if (client->kind == REPORT_METRICS)
        report_metrics(&control->source, rows, out);
    else
        report_show(client->kind, rows, client->as_json, out);
    if (client->kind == REPORT_CONSENTS && !client->as_json && control->consents.left_out > 0)
        fprintf(out, "and %u more\n", control->consents.left_out);
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
    control_client_show(control, client, span_make(rows, rows != NULL ? rows_size : 0));
    free(rows);
}

struct span control_word(struct span *command)
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
                 {{"trunks", 6}, REPORT_TRUNKS}, {{"errors", 6}, REPORT_ERRORS},
                 {{"links", 5}, REPORT_LINKS}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!span_equal(kinds[i].name, word))
            continue;
        *kind = kinds[i].kind;
        return true;
    }
    return false;
}

/* Answers with a text that is there. */
void control_client_say(struct client *client, const char *text)
{
    FILE *out = client_begin(client);
    if (out == NULL) {
        control_client_drop(client);
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
        control_client_say(client,
                           "error: show what? info, stat, sess, links, tenants, trunks or errors\n");
    else if (form.size > 0 && !span_equal(form, SPAN("json")))
        control_client_say(client, "error: behind the name only json may stand\n");
    else if (client->kind == REPORT_SESSIONS || client->kind == REPORT_LINKS ||
             client->kind == REPORT_TRUNKS)
        control_client_wait(client, CLIENT_ASKED);
    else
        client_show_local(control, client);
}

/* A report about a tenant, by its name, and something else: rows, or what is wrong. */
static void command_named(struct control *control, struct client *client,
                          enum report_kind kind, const struct span names[2], bool as_json)
{
    const struct config *config = control->options.config;
    char *rows = NULL;
    size_t rows_size = 0;
    const char *error = "error: no memory\n";
    FILE *out = open_memstream(&rows, &rows_size);
    client->kind = kind;
    client->as_json = as_json;
    bool done = out != NULL && (kind == REPORT_POLICY
                                    ? report_policy(config, names[0], names[1], out, &error)
                                    : report_certificates(config, names[0], out, &error));
    if (out != NULL)
        (void)fclose(out);
    if (done)
        control_client_show(control, client, span_make(rows, rows_size));
    else
        control_client_say(client, error);
    free(rows);
}

/* Show policy and show certificates; false when it is another command. */
static bool command_show_named(struct control *control, struct client *client,
                               struct span command)
{
    struct span show = control_word(&command), what = control_word(&command);
    bool is_policy = span_equal(what, SPAN("policy"));
    if (!span_equal(show, SPAN("show")) || (!is_policy && !span_equal(what, SPAN("certificates"))))
        return false;
    struct span names[2] = {control_word(&command), SPAN("")};
    if (is_policy)
        names[1] = control_word(&command);
    struct span form = control_word(&command);
    if (!is_policy && form.size == 0 && span_equal(names[0], SPAN("json"))) {
        form = names[0];
        names[0] = SPAN("");
    }
    if ((form.size > 0 && !span_equal(form, SPAN("json"))) || span_trim(command).size > 0)
        control_client_say(client, is_policy ? "error: show policy TENANT DOMAIN [json]\n"
                                             : "error: show certificates [TENANT] [json]\n");
    else
        command_named(control, client, is_policy ? REPORT_POLICY : REPORT_CERTIFICATES, names,
                      form.size > 0);
    return true;
}

static void command_log_level(struct client *client, struct span name)
{
    for (int i = 0; log_level_names[i] != NULL; i++) {
        if (!span_equal(name, span_of(log_level_names[i])))
            continue;
        log_set_level((enum log_level)i);
        log_event(LOG_LEVEL_INFO, "log.level", 0, log_text("to", name));
        control_client_say(client, "done\n");
        return;
    }
    control_client_say(client, "error: a log level is error, warn, info or debug\n");
}

static void command_run(struct control *control, struct client *client, struct span command)
{
    struct span words[3];
    if (control_probe_command(control, client, command) ||
        control_consent_command(control, client, command) ||
        command_show_named(control, client, command))
        return;
    for (size_t i = 0; i < 3; i++)
        words[i] = control_word(&command);
    bool is_alone = words[1].size == 0;
    if (words[0].size == 0)
        return;
    if (span_trim(command).size > 0) {
        control_client_say(client, "error: too many words; try help\n");
    } else if (span_equal(words[0], SPAN("show"))) {
        command_show(control, client, words[1], words[2]);
    } else if (span_equal(words[0], SPAN("set")) && span_equal(words[1], SPAN("log-level"))) {
        command_log_level(client, words[2]);
    } else if (span_equal(words[0], SPAN("metrics")) && is_alone) {
        client->kind = REPORT_METRICS;
        control_client_wait(client, CLIENT_ASKED);
    } else if (span_equal(words[0], SPAN("reload")) && is_alone) {
        control_client_wait(client, CLIENT_RELOAD);
    } else if (span_equal(words[0], SPAN("help")) && is_alone) {
        control_client_say(client, control_help);
    } else if (span_equal(words[0], SPAN("quit")) && is_alone) {
        control_client_drop(client);
    } else {
        control_client_say(client, "error: unknown command; try help\n");
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
        control_client_drop(client);
}

static void client_read(struct control *control, struct client *client)
{
    ssize_t got = recv(client->fd, client->line + client->used,
                       sizeof(client->line) - client->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        control_client_drop(client);
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
        control_client_drop(client);
        return;
    }
    client->answer_sent += (size_t)sent;
    if (client->answer_sent < client->answer_size)
        return;
    free(client->answer);
    client->answer = NULL;
    client->state = CLIENT_READING;
    if (client->probe != NULL)
        control_probe_wait(client);
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

static void client_turn(struct control *control, struct client *client, short events)
{
    bool is_reading = client->state == CLIENT_READING;
    if ((events & POLLIN) != 0 && is_reading)
        client_read(control, client);
    else if ((events & POLLOUT) != 0 && client->state == CLIENT_WRITING)
        client_write(control, client);
    else if ((events & (POLLHUP | POLLERR)) != 0)
        control_client_drop(client);
    else if (!is_reading && clock_now_ns() > client->deadline_ns)
        control_client_drop(client);
}

/* A CRL or an OCSP response that has just come to its end: what has at a load is told there. */
static void tell_ends(struct control *control)
{
    const struct config *config = control->options.config;
    int64_t before_s = control->seen_s;
    int64_t now_s = control->seen_s = (int64_t)(clock_wall_ms() / 1000);
    bool crl_ends = config->crl_next_end_s > before_s && config->crl_next_end_s <= now_s;
    bool staple_ends = config->staple_end_s > before_s && config->staple_end_s <= now_s;
    if (crl_ends)
        log_event(LOG_LEVEL_WARN, "tls.stale", 0,
                  log_text("reason", SPAN("a CRL should have been renewed by now: what was "
                                          "revoked since is not known")));
    if (staple_ends)
        log_event(LOG_LEVEL_WARN, "tls.stale", 0,
                  log_text("reason", SPAN("the OCSP response beside the certificate has expired "
                                          "and is not stapled any more")));
}

void control_turn(struct control *control, unsigned wait_ms)
{
    assert(control != NULL);
    bool is_open = clock_now_ns() >= control->accept_after_ns;
    struct pollfd fds[CONTROL_CLIENT_MAX + 2] = {
        {.fd = is_open ? control->fd : -1, .events = POLLIN},
        [CONTROL_CLIENT_MAX + 1] = {.fd = control->watch.fd, .events = POLLIN}};
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        const struct client *client = &control->clients[i];
        fds[i + 1].fd = client->fd;
        if (client->fd >= 0 && client->state == CLIENT_READING)
            fds[i + 1].events = POLLIN;
        else if (client->fd >= 0 && client->state == CLIENT_WRITING)
            fds[i + 1].events = POLLOUT;
    }
    unsigned limit_ms =
        control_wait_is_busy(control) && wait_ms > INQUIRY_POLL_MS ? INQUIRY_POLL_MS : wait_ms;
    if (!is_open && limit_ms > ACCEPT_PAUSE_MS)
        limit_ms = ACCEPT_PAUSE_MS;
    (void)poll(fds, CONTROL_CLIENT_MAX + 2, (int)limit_ms);
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++)
        if (control->clients[i].fd >= 0)
            client_turn(control, &control->clients[i], fds[i + 1].revents);
    if ((fds[0].revents & POLLIN) != 0)
        control_accept(control);
    control_wait_turn(control);
    tell_ends(control);
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
    made->seen_s = (int64_t)(clock_wall_ms() / 1000);
    made->fd = -1;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++)
        made->clients[i].fd = -1;
    int rc = control_socket_open(options->config->stats_socket, CONTROL_CLIENT_MAX, &made->fd);
    if (rc == 0) {
        watch_init(&made->watch);
        watch_arm(&made->watch, options->config, clock_now_ns());
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
            control_client_drop(&closed->clients[i]);
    control_probe_close(closed);
    if (closed->is_asking)
        (void)fclose(closed->inquiry.out);
    watch_fini(&closed->watch);
    free(closed->rows);
    free(closed->reload_answer);
    (void)close(closed->fd);
    (void)unlink(closed->options.config->stats_socket);
    free(closed);
    *control = NULL;
}
