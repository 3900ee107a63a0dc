/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/greedy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/greedy_tenant.h"
#include "net/clock.h"

#define GREEDY_OPEN_S  15
#define GREEDY_STEP_NS 20000000ull /* while we wait for it */

struct greedy {
    struct load *load;
    pid_t process;
    int socket;
    struct greedy_report report;
};

void greedy_beside(union net_address *address)
{
    uint16_t port = net_address_port(address);
    if (address->any.sa_family == AF_INET &&
        address->v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK))
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    else
        net_address_set_port(address, (uint16_t)(port + 1));
}

static struct load_options greedy_options(const struct load_options *load)
{
    struct load_options options = *load;
    options.prefix = GREEDY_PREFIX;
    options.xmpp_domains = options.sip_domains = options.streams = 1;
    options.greedy = load->greedy;
    options.managed = false;
    if (load->greedy_by == GREEDY_BY_SIP)
        options.drive = LOAD_SIP_TO_XMPP;
    else
        options.drive = LOAD_XMPP_TO_SIP;
    greedy_beside(&options.own_xmpp);
    greedy_beside(&options.own_sip);
    return options;
}

/* The load goes on meanwhile. False when the process has died or is too slow. */
static bool greedy_hear(struct greedy *greedy, unsigned patience_s)
{
    uint64_t end_ns = clock_now_ns() + patience_s * 1000000000ull;
    ssize_t size = -1;
    do {
        size = recv(greedy->socket, &greedy->report, sizeof(greedy->report), MSG_DONTWAIT);
        if (size < 0)
            load_rest(greedy->load, GREEDY_STEP_NS);
    } while (size < 0 && (errno == EAGAIN || errno == EINTR) && clock_now_ns() < end_ns);
    return size == (ssize_t)sizeof(greedy->report);
}

static int greedy_start(struct greedy *greedy)
{
    int sockets[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        return -errno;
    fflush(NULL);
    greedy->process = fork();
    if (greedy->process == 0) {
        (void)close(sockets[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            struct load_options options = greedy_options(&greedy->load->options);
            greedy_tenant_run(&options, sockets[1]);
        }
        _exit(EXIT_SUCCESS);
    }
    (void)close(sockets[1]);
    greedy->socket = sockets[0];
    return greedy->process < 0 ? -errno : 0;
}

int greedy_open(struct load *load)
{
    struct greedy *greedy = calloc(1, sizeof(*greedy));
    if (greedy == NULL)
        return -ENOMEM;
    greedy->load = load;
    greedy->socket = -1;
    load->greedy = greedy;
    int status = greedy_start(greedy);
    if (status == 0)
        status = greedy_hear(greedy, GREEDY_OPEN_S) ? greedy->report.status : -EPIPE;
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "the greedy tenant: %s",
                 greedy->report.problem[0] != '\0' ? greedy->report.problem
                                                   : strerror(-status));
    return status;
}

void greedy_set(struct greedy *greedy, enum greedy_pace pace)
{
    struct greedy_order order = {.pace = pace};
    (void)send(greedy->socket, &order, sizeof(order), MSG_NOSIGNAL);
}

bool greedy_settle(struct greedy *greedy)
{
    greedy_set(greedy, GREEDY_REST);
    return greedy_hear(greedy, 2 * greedy->load->options.timeout_s + GREEDY_OPEN_S);
}

struct greedy_count greedy_count(const struct greedy *greedy, enum greedy_pace pace)
{
    return greedy->report.counts[pace];
}

void greedy_close(struct greedy *greedy)
{
    if (greedy == NULL)
        return;
    if (greedy->socket >= 0)
        (void)close(greedy->socket);
    if (greedy->process > 0) {
        (void)kill(greedy->process, SIGKILL);
        (void)waitpid(greedy->process, NULL, 0);
    }
    free(greedy);
}
