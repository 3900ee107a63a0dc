/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/dns.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

struct dns dns;

struct resolver {
    unsigned timeout_ms;
};

struct question {
    struct question *next;
    struct resolver_port *port; /* NULL: nobody waits any more */
    struct resolver_question asked;
    struct resolver_answer *answer; /* it has come */
};

struct resolver_port {
    struct ring *ring;
    uint64_t timeout_ns;
    struct question *questions; /* in the order asked */
};

void dns_open(unsigned fail, uint64_t latency_ns)
{
    dns = (struct dns){.fail = fail, .latency_ns = latency_ns};
}

void dns_add(const char *domain, const char *prefix, const union net_address *address)
{
    assert(dns.count < DNS_NAME_MAX);
    struct dns_name *name = &dns.names[dns.count++];
    snprintf(name->domain, sizeof(name->domain), "%s", domain);
    name->prefix = prefix;
    name->address = *address;
}

int resolver_open(struct resolver **resolver, const struct resolver_options *options)
{
    *resolver = calloc(1, sizeof(**resolver));
    if (*resolver == NULL)
        return -ENOMEM;
    (*resolver)->timeout_ms = options->timeout_ms;
    return 0;
}

void resolver_close(struct resolver **resolver)
{
    free(*resolver);
    *resolver = NULL;
}

int resolver_port_open(struct resolver_port **port, struct resolver *resolver,
                       struct ring *ring)
{
    *port = calloc(1, sizeof(**port));
    if (*port == NULL)
        return -ENOMEM;
    (*port)->ring = ring;
    (*port)->timeout_ns = resolver->timeout_ms * SIM_MS;
    return 0;
}

/* A question whose answer is still on its way is freed when that comes. */
static void forget(struct resolver_port *port, const void *owner, bool every)
{
    struct question **place = &port->questions;
    while (*place != NULL) {
        struct question *question = *place;
        if (!every && question->asked.owner != owner) {
            place = &question->next;
            continue;
        }
        *place = question->next;
        question->port = NULL;
        if (question->answer != NULL) {
            free(question->answer);
            free(question);
        }
    }
}

void resolver_port_close(struct resolver_port **port)
{
    if (*port != NULL)
        forget(*port, NULL, true);
    free(*port);
    *port = NULL;
}

void resolver_forget(struct resolver_port *port, const void *owner)
{
    forget(port, owner, false);
}

static void take(struct resolver_answer *answer, const struct dns_name *name, unsigned service,
                 const struct resolver_question *asked)
{
    if (answer->target_count == RESOLVER_TARGET_MAX)
        return;
    struct resolver_target *target = &answer->targets[answer->target_count++];
    if (service < asked->service_count)
        answer->services[service] = RESOLVER_FOUND;
    target->address = name->address;
    target->service = service;
    if (service == asked->service_count)
        net_address_set_port(&target->address, asked->fallback_port);
    target->port = net_address_port(&target->address);
    snprintf(target->host, sizeof(target->host), "%s", name->domain);
}

static bool is_service(const struct dns_name *name, const struct resolver_question *asked,
                       unsigned service)
{
    return name->prefix != NULL && strcmp(name->domain, asked->domain) == 0 &&
           strcmp(name->prefix, asked->services[service].prefix) == 0;
}

static void look_up(const struct resolver_question *asked, struct resolver_answer *answer)
{
    for (unsigned service = 0; service < asked->service_count; service++)
        answer->services[service] = RESOLVER_NOT_FOUND;
    for (unsigned i = 0; i < dns.count; i++)
        for (unsigned service = 0; service < asked->service_count; service++)
            if (is_service(&dns.names[i], asked, service))
                take(answer, &dns.names[i], service, asked);
    bool falls_back = answer->target_count == 0 && asked->fallback_port != 0;
    for (unsigned i = 0; i < dns.count && falls_back; i++)
        if (dns.names[i].prefix == NULL && strcmp(dns.names[i].domain, asked->domain) == 0)
            take(answer, &dns.names[i], asked->service_count, asked);
    answer->status = answer->target_count > 0 ? RESOLVER_FOUND : RESOLVER_NOT_FOUND;
}

/* Who does not wait for all may have a part of it (net/resolver.h, family_delay_ms). */
static void lose_late(struct resolver_answer *answer)
{
    unsigned count = 0;
    for (unsigned i = 0; i < answer->target_count; i++)
        if (sim_chance(500))
            answer->targets[count++] = answer->targets[i];
    if (count == 0 && answer->target_count > 0)
        count = 1;
    answer->is_partial = count < answer->target_count;
    answer->target_count = count;
}

static void on_answer(void *context, uint64_t status)
{
    struct question *question = context;
    if (question->port == NULL) {
        free(question);
        return;
    }
    question->answer = calloc(1, sizeof(*question->answer));
    if (question->answer == NULL)
        abort();
    question->answer->owner = question->asked.owner;
    question->answer->status = (enum resolver_status)status;
    question->answer->ttl_s = 60;
    if (status == RESOLVER_FOUND)
        look_up(&question->asked, question->answer);
    if (question->asked.family_delay_ms > 0 && sim_chance(200))
        lose_late(question->answer);
    sim_trace("dns: %s: %s", question->asked.domain,
              resolver_status_text(question->answer->status));
    ring_wake(question->port->ring);
}

int resolver_ask(struct resolver_port *port, const struct resolver_question *asked)
{
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL)
        return -ENOMEM;
    question->port = port;
    question->asked = *asked;
    struct question **place = &port->questions;
    while (*place != NULL)
        place = &(*place)->next;
    *place = question;
    uint64_t delay_ns = sim_below(dns.latency_ns + 1);
    enum resolver_status status = RESOLVER_FOUND;
    if (sim_chance(dns.fail)) {
        status = sim_chance(500) ? RESOLVER_FAILED : RESOLVER_TIMEOUT;
        delay_ns = status == RESOLVER_TIMEOUT ? port->timeout_ns : delay_ns;
    }
    sim_after(delay_ns, on_answer, question, status);
    return 0;
}

bool resolver_next(struct resolver_port *port, struct resolver_answer **answer)
{
    *answer = NULL;
    for (struct question **place = &port->questions; *place != NULL; place = &(*place)->next) {
        struct question *question = *place;
        if (question->answer == NULL)
            continue;
        *answer = question->answer;
        *place = question->next;
        free(question);
        return true;
    }
    return false;
}

const char *resolver_status_text(enum resolver_status status)
{
    static const char *const texts[] = {"found",   "not found", "no service", "refused",
                                        "timeout", "failed",    "bogus",   "no name"};
    return texts[status];
}
