/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/floor.h"

#include <assert.h>
#include <errno.h>
#include <expat.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/sip_peer.h"

#define FLOOR_BATCH         32
#define FLOOR_SMALL         1000 /* bytes; of larger ones fewer fit into a socket's buffer */
#define FLOOR_BATCH_LARGE   8
#define FLOOR_BATCHES       1000 /* of one round */
#define FLOOR_BATCHES_SHORT 200
#define FLOOR_ROUNDS        5 /* the median counts */
#define FLOOR_ROUNDS_SHORT  3
#define FLOOR_ROOM          10240 /* the largest --size, and what stands around it */
#define FLOOR_CIPHER        (FLOOR_BATCH * 16384)
#define FLOOR_FRAME         100 /* of a stanza: what is not its body, about */

enum floor_part {
    FLOOR_DECRYPT,
    FLOOR_PARSE,
    FLOOR_WRITE,
    FLOOR_SEND,
    FLOOR_RECEIVE,
    FLOOR_PARTS
};

static const char *const floor_names[FLOOR_PARTS] = {"decrypt", "expat", "write", "udp_send",
                                                     "udp_receive"};

struct floor {
    struct tls_context *context;
    struct tls_session *client, *server;
    struct net_buffer to_server, to_client;
    XML_Parser parser;
    unsigned elements; /* that expat told of: the pass cannot be optimised away */
    int relay, sink;   /* UDP sockets */
    char plain[FLOOR_BATCH][FLOOR_ROOM], packets[FLOOR_BATCH][FLOOR_ROOM];
    size_t plain_size[FLOOR_BATCH];
    struct iovec parts[FLOOR_BATCH];
    struct mmsghdr messages[FLOOR_BATCH];
    unsigned batches, batch;
    double us[FLOOR_ROUNDS][FLOOR_PARTS];
};

static double floor_cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void floor_on_start(void *context, const char *name, const char **attributes)
{
    struct floor *floor = context;
    (void)name;
    (void)attributes;
    floor->elements++;
}

static void floor_on_end(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void floor_on_text(void *context, const char *text, int size)
{
    (void)context;
    (void)text;
    (void)size;
}

/* ---- opening ---- */

static int floor_open_tls(struct floor *floor, const struct load_options *load)
{
    char error[300] = "";
    struct tls_context_options options = {
        .certificate_file = load->certificate, .key_file = load->key, .ca_file = load->ca};
    net_buffer_init(&floor->to_server, FLOOR_CIPHER);
    net_buffer_init(&floor->to_client, FLOOR_CIPHER);
    int status = tls_context_open(&floor->context, &options, error, sizeof(error));
    if (status != 0) {
        fprintf(stderr, "passerelle-bench: %s\n", error);
        return status;
    }
    status = tls_accept(&floor->server, floor->context, NULL, NULL, TLS_ALPN_NONE);
    if (status == 0)
        status = tls_connect(&floor->client, floor->context, "s0.bench", TLS_ALPN_NONE);
    if (status != 0)
        return status;
    enum tls_result client = TLS_MORE, server = TLS_MORE;
    for (int i = 0; i < 10 && (client == TLS_MORE || server == TLS_MORE); i++) {
        struct net_buffer *in = &floor->to_client, *out = &floor->to_server;
        tls_set_input(floor->client, net_buffer_front(in), net_buffer_used(in));
        client = tls_handshake(floor->client, out);
        net_buffer_consume(in, net_buffer_used(in));
        tls_set_input(floor->server, net_buffer_front(out), net_buffer_used(out));
        server = tls_handshake(floor->server, in);
        net_buffer_consume(out, net_buffer_used(out));
    }
    return client == TLS_DONE && server == TLS_DONE ? 0 : -EPROTO;
}

static int floor_open_socket(const int other, int *fd)
{
    union net_address address = {0};
    socklen_t size = sizeof(address);
    int status = net_address_parse(&address, "127.0.0.1:0", 0);
    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || status != 0 || bind(*fd, &address.any, net_address_size(&address)) != 0)
        return -errno;
    if (other < 0)
        return 0;
    /* Both ends know each other. */
    if (getsockname(other, &address.any, &size) != 0 || connect(*fd, &address.any, size) != 0)
        return -errno;
    size = sizeof(address);
    if (getsockname(*fd, &address.any, &size) != 0 || connect(other, &address.any, size) != 0)
        return -errno;
    return 0;
}

static int floor_open(struct floor *floor, const struct load_options *load)
{
    static const char header[] = "<stream:stream xmlns='jabber:server' "
                                 "xmlns:stream='http://etherx.jabber.org/streams'>";
    floor->relay = floor->sink = -1;
    int status = floor_open_tls(floor, load);
    if (status == 0)
        status = floor_open_socket(-1, &floor->relay);
    if (status == 0)
        status = floor_open_socket(floor->relay, &floor->sink);
    if (status != 0)
        return status;
    floor->parser = XML_ParserCreateNS(NULL, '\n');
    if (floor->parser == NULL)
        return -ENOMEM;
    XML_SetUserData(floor->parser, floor);
    XML_SetElementHandler(floor->parser, floor_on_start, floor_on_end);
    XML_SetCharacterDataHandler(floor->parser, floor_on_text);
    return XML_Parse(floor->parser, header, sizeof(header) - 1, 0) == XML_STATUS_OK ? 0
                                                                                    : -EPROTO;
}

static void floor_close(struct floor *floor)
{
    if (floor->client != NULL)
        tls_close(&floor->client);
    if (floor->server != NULL)
        tls_close(&floor->server);
    if (floor->context != NULL)
        tls_context_close(&floor->context);
    net_buffer_fini(&floor->to_server);
    net_buffer_fini(&floor->to_client);
    if (floor->parser != NULL)
        XML_ParserFree(floor->parser);
    if (floor->relay >= 0)
        close(floor->relay);
    if (floor->sink >= 0)
        close(floor->sink);
}

/* ---- the parts ---- */

/* Not counted: the peer's side of a batch. One record for each stanza. */
static bool floor_encrypt(struct floor *floor, unsigned size)
{
    for (unsigned i = 0; i < floor->batch; i++) {
        char stanza[FLOOR_ROOM];
        struct writer writer = writer_make(stanza, sizeof(stanza));
        writer_put_literal(&writer, "<message type='chat' id='m1234' from='u12@x0.bench/bench' "
                                    "to='u12@s0.bench'><body>");
        while (writer.used + 17 < size && !writer.overflow)
            writer_put_char(&writer, 'x');
        writer_put_literal(&writer, "</body></message>");
        if (writer.overflow ||
            tls_write(floor->client, writer.data, writer.used, &floor->to_server) != TLS_DONE)
            return false;
    }
    return true;
}

static bool floor_decrypt(struct floor *floor)
{
    struct net_buffer *input = &floor->to_server;
    tls_set_input(floor->server, net_buffer_front(input), net_buffer_used(input));
    for (unsigned i = 0; i < floor->batch; i++) {
        if (tls_read(floor->server, floor->plain[i], FLOOR_ROOM, &floor->plain_size[i],
                     &floor->to_client) != TLS_DONE)
            return false;
    }
    net_buffer_consume(input, net_buffer_used(input));
    return true;
}

static bool floor_parse(struct floor *floor)
{
    for (unsigned i = 0; i < floor->batch; i++) {
        if (XML_Parse(floor->parser, floor->plain[i], (int)floor->plain_size[i], 0) !=
            XML_STATUS_OK)
            return false;
    }
    return true;
}

static bool floor_write(struct floor *floor)
{
    for (unsigned i = 0; i < floor->batch; i++) {
        struct writer writer = writer_make(floor->packets[i], FLOOR_ROOM);
        size_t size = floor->plain_size[i];
        size_t body = size > FLOOR_FRAME ? size - FLOOR_FRAME : 0;
        struct sip_peer_message message = {.run = 1,
                                           .number = i,
                                           .user = 12,
                                           .transport = SPAN("UDP"),
                                           .from_domain = SPAN("x0.bench"),
                                           .to_domain = SPAN("s0.bench"),
                                           .sent_by = SPAN("127.0.0.1:5060"),
                                           .body = span_make(floor->plain[i], body)};
        sip_peer_message(&writer, &message);
        if (writer.overflow)
            return false;
        floor->parts[i] = (struct iovec){writer.data, writer.used};
    }
    return true;
}

static bool floor_send(struct floor *floor, int fd)
{
    return sendmmsg(fd, floor->messages, floor->batch, 0) == (int)floor->batch;
}

static bool floor_receive(struct floor *floor, int fd)
{
    for (unsigned i = 0; i < floor->batch; i++)
        floor->parts[i] = (struct iovec){floor->packets[i], FLOOR_ROOM};
    return recvmmsg(fd, floor->messages, floor->batch, MSG_DONTWAIT, NULL) == (int)floor->batch;
}

/* Not counted: the sink takes the batch and answers it. */
static bool floor_answer(struct floor *floor)
{
    static const char answer[400] = "SIP/2.0 200 OK\r\n";
    if (!floor_receive(floor, floor->sink))
        return false;
    for (unsigned i = 0; i < floor->batch; i++)
        floor->parts[i] = (struct iovec){(void *)(uintptr_t)answer, sizeof(answer)};
    return floor_send(floor, floor->sink);
}

static bool floor_part(struct floor *floor, enum floor_part part)
{
    switch (part) {
    case FLOOR_DECRYPT: return floor_decrypt(floor);
    case FLOOR_PARSE: return floor_parse(floor);
    case FLOOR_WRITE: return floor_write(floor);
    case FLOOR_SEND: return floor_send(floor, floor->relay);
    case FLOOR_RECEIVE: return floor_receive(floor, floor->relay);
    case FLOOR_PARTS: break;
    }
    return false;
}

static bool floor_round(struct floor *floor, double *us, unsigned size)
{
    for (unsigned batch = 0; batch < floor->batches; batch++) {
        if (!floor_encrypt(floor, size))
            return false;
        for (unsigned part = 0; part < FLOOR_PARTS; part++) {
            if (part == FLOOR_RECEIVE && !floor_answer(floor))
                return false;
            double start = floor_cpu_us();
            if (!floor_part(floor, (enum floor_part)part))
                return false;
            us[part] += (floor_cpu_us() - start) / floor->batch / floor->batches;
        }
    }
    return true;
}

/* ---- report ---- */

static int floor_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The medians of the parts over the rounds; returns their sum. */
static double floor_medians(const struct floor *floor, double *median)
{
    double sum = 0;
    for (unsigned part = 0; part < FLOOR_PARTS; part++) {
        double values[FLOOR_ROUNDS];
        for (unsigned i = 0; i < FLOOR_ROUNDS; i++)
            values[i] = floor->us[i][part];
        qsort(values, FLOOR_ROUNDS, sizeof(values[0]), floor_compare);
        median[part] = values[FLOOR_ROUNDS / 2];
        sum += median[part];
    }
    return sum;
}

static void floor_report(const struct floor *floor, bool json)
{
    double median[FLOOR_PARTS];
    double sum = floor_medians(floor, median);
    printf(json ? "{\"kind\":\"floor\",\"floor_us\":%.3f"
                : "unavoidable work of one message: %.2f µs of CPU\n",
           sum);
    for (unsigned part = 0; part < FLOOR_PARTS; part++)
        printf(json ? ",\"%s_us\":%.3f" : "  %-12s %.2f\n", floor_names[part], median[part]);
    if (json)
        puts("}");
}

/* Opens and measures; floor_close is due either way. -errno. */
static int floor_rounds(struct floor *floor, const struct load_options *load, bool brief)
{
    floor->batches = brief ? FLOOR_BATCHES_SHORT : FLOOR_BATCHES;
    floor->batch = load->size > FLOOR_SMALL ? FLOOR_BATCH_LARGE : FLOOR_BATCH;
    for (unsigned i = 0; i < floor->batch; i++)
        floor->messages[i].msg_hdr =
            (struct msghdr){.msg_iov = &floor->parts[i], .msg_iovlen = 1};
    int status = floor_open(floor, load);
    for (unsigned i = 0; i < FLOOR_ROUNDS && status == 0; i++)
        status = floor_round(floor, floor->us[i], load->size) ? 0 : -EIO;
    if (status == 0 && floor->elements != 1 + 2 * floor->batch * floor->batches * FLOOR_ROUNDS)
        status = -EBADMSG;
    return status;
}

int floor_run(const struct bench_options *options)
{
    struct floor *floor = calloc(1, sizeof(*floor));
    if (floor == NULL)
        return -ENOMEM;
    int status = floor_rounds(floor, &options->load, false);
    if (status == 0)
        floor_report(floor, options->json);
    else
        fprintf(stderr, "passerelle-bench: floor: %s\n", strerror(-status));
    floor_close(floor);
    free(floor);
    return status;
}

void floor_measure(struct floor_figure *figure, const struct load_options *load, int core)
{
    cpu_set_t before, one;
    double median[FLOOR_PARTS];
    *figure = (struct floor_figure){.core = -1};
    if (load->certificate == NULL || load->key == NULL || load->ca == NULL) {
        figure->skipped = "it needs --certificate, --key and --ca";
        return;
    }
    struct floor *floor = calloc(1, sizeof(*floor));
    if (floor == NULL || sched_getaffinity(0, sizeof(before), &before) != 0) {
        free(floor);
        figure->skipped = "there is no memory for it";
        return;
    }
    CPU_ZERO(&one);
    if (core >= 0 && core < CPU_SETSIZE)
        CPU_SET((size_t)core, &one);
    if (CPU_COUNT(&one) == 1 && sched_setaffinity(0, sizeof(one), &one) == 0)
        figure->core = core;
    int status = floor_rounds(floor, load, true);
    (void)sched_setaffinity(0, sizeof(before), &before);
    figure->measured = status == 0;
    if (figure->measured)
        figure->us = floor_medians(floor, median);
    else
        figure->skipped = strerror(-status);
    floor_close(floor);
    free(floor);
}
