/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/relay_stats.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define RELAY_ANSWER_MAX 65536

static const struct {
    const char *name;
    size_t offset;
} relay_rows[] = {
#define FLOW(direction, field) offsetof(struct relay_stats, flows[direction].field)
    {"xmpp_messages_accepted_total", FLOW(RELAY_TO_SIP, accepted)},
    {"xmpp_messages_delivered_total", FLOW(RELAY_TO_SIP, delivered)},
    {"xmpp_messages_failed_total", FLOW(RELAY_TO_SIP, failed)},
    {"xmpp_messages_dropped_total", FLOW(RELAY_TO_SIP, dropped)},
    {"sip_messages_accepted_total", FLOW(RELAY_TO_XMPP, accepted)},
    {"sip_messages_delivered_total", FLOW(RELAY_TO_XMPP, delivered)},
    {"sip_messages_handed_over_total", FLOW(RELAY_TO_XMPP, handed_over)},
    {"sip_messages_failed_total", FLOW(RELAY_TO_XMPP, failed)},
    {"sip_messages_dropped_total", FLOW(RELAY_TO_XMPP, dropped)},
#undef FLOW
    {"config_reloads_total", offsetof(struct relay_stats, reloads)},
    {"xmpp_answers_lost_total", offsetof(struct relay_stats, answers_lost)},
    {"ring_enters_total", offsetof(struct relay_stats, ring_enters)},
    {"ring_submissions_total", offsetof(struct relay_stats, ring_submissions)},
    {"ring_completions_total", offsetof(struct relay_stats, ring_completions)},
    {"datagrams_sent_total", offsetof(struct relay_stats, datagrams)},
    {"datagram_batches_total", offsetof(struct relay_stats, batches)},
    {"datagrams_batched_total", offsetof(struct relay_stats, batched)},
};
#define RELAY_ROWS (sizeof(relay_rows) / sizeof(relay_rows[0]))

static uint64_t *relay_field(struct relay_stats *stats, size_t row)
{
    return (uint64_t *)(void *)((char *)stats + relay_rows[row].offset);
}

bool relay_stats_parse(struct relay_stats *stats, const char *json)
{
    json_t *root = json_loads(json, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *opened = json_object_get(root, "xmpp_sessions_opened_total");
    const json_t *closed = json_object_get(root, "xmpp_sessions_closed_total");
    bool good = json_is_integer(opened) && json_is_integer(closed);
    *stats = (struct relay_stats){0};
    for (size_t i = 0; i < RELAY_ROWS && good; i++) {
        const json_t *value = json_object_get(root, relay_rows[i].name);
        good = json_is_integer(value);
        *relay_field(stats, i) = (uint64_t)json_integer_value(value);
    }
    stats->sessions = (uint64_t)(json_integer_value(opened) - json_integer_value(closed));
    json_decref(root);
    return good;
}

/* The whole answer to the one command of a connection, NUL-terminated. -errno. */
static int relay_ask(int fd, const char *command, char *answer, size_t size)
{
    size_t used = 0;
    ssize_t n = send(fd, command, strlen(command), MSG_NOSIGNAL);
    if (n < 0 || shutdown(fd, SHUT_WR) != 0)
        return -errno;
    while ((n = recv(fd, answer + used, size - 1 - used, 0)) > 0)
        used += (size_t)n;
    answer[used] = '\0';
    return n < 0 ? -errno : 0;
}

int relay_stats_read(struct relay_stats *stats, const char *path)
{
    static char answer[RELAY_ANSWER_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval second = {.tv_sec = 1};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
    int status = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0
                     ? relay_ask(fd, "show stat json\n", answer, sizeof(answer))
                     : -errno;
    close(fd);
    if (status == 0 && !relay_stats_parse(stats, answer))
        status = -EPROTO;
    return status;
}

void relay_stats_since(const struct relay_stats *start, struct relay_stats *end)
{
    struct relay_stats before = *start;
    for (size_t i = 0; i < RELAY_ROWS; i++)
        *relay_field(end, i) -= *relay_field(&before, i);
}

uint64_t relay_flow_in_flight(const struct relay_flow *flow)
{
    return flow->accepted - flow->delivered - flow->handed_over - flow->failed - flow->dropped;
}
