/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_own.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/port.h"

#define OWN_LISTENER_MAX 16u
#define OWN_NAME_MAX     64u  /* local addresses times ports */
#define OWN_NAME_SIZE    264u /* a host name, a colon and a port */
#define OWN_FRESH_MS     60000u

struct own_listener {
    enum sip_transport transport;
    union net_address address;
};

struct own_name {
    size_t size;
    char text[OWN_NAME_SIZE];
};

/* What one trunk's requests say. */
struct own_choice {
    struct sip_target target;
    uint64_t fresh_until_ms; /* 0: not chosen yet */
    unsigned name;           /* index + 1; 0: nothing leads there */
};

struct sip_own {
    char *host;
    struct own_listener listeners[OWN_LISTENER_MAX];
    unsigned listener_count, name_count;
    struct own_name names[OWN_NAME_MAX];
    struct own_choice *choices; /* by trunk */
};

int sip_own_open(struct sip_own **own, const struct config *config)
{
    struct sip_own *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->choices = calloc(config->trunk_slots + 1, sizeof(*made->choices));
    if (config->sip_host != NULL)
        made->host = strdup(config->sip_host);
    if (made->choices == NULL || (config->sip_host != NULL && made->host == NULL)) {
        sip_own_close(&made);
        return -ENOMEM;
    }
    *own = made;
    return 0;
}

void sip_own_reload(struct sip_own *own, const struct config *config)
{
    free(own->choices);
    own->choices = calloc(config->trunk_slots + 1, sizeof(*own->choices));
    if (own->choices == NULL)
        abort(); /* half a configuration is none */
}

void sip_own_close(struct sip_own **own)
{
    if (*own != NULL) {
        free((*own)->choices);
        free((*own)->host);
    }
    free(*own);
    *own = NULL;
}

static bool is_wildcard(const union net_address *address)
{
    static const struct in6_addr none = IN6ADDR_ANY_INIT;
    return address->any.sa_family == AF_INET
               ? address->v4.sin_addr.s_addr == INADDR_ANY
               : memcmp(&address->v6.sin6_addr, &none, sizeof(none)) == 0;
}

/* The index + 1 of the name for `address`. When there are too many, the last place changes. */
static unsigned name_of(struct sip_own *own, const union net_address *address)
{
    struct own_name name;
    if (own->host != NULL)
        snprintf(name.text, sizeof(name.text), "%s:%u", own->host, net_address_port(address));
    else
        net_address_format(address, name.text);
    name.size = strlen(name.text);
    for (unsigned i = 0; i < own->name_count; i++)
        if (strcmp(own->names[i].text, name.text) == 0)
            return i + 1;
    if (own->name_count < OWN_NAME_MAX)
        own->name_count++;
    own->names[own->name_count - 1] = name;
    return own->name_count;
}

void sip_own_add(struct sip_own *own, enum sip_transport transport,
                 const union net_address *address)
{
    assert(own->listener_count < OWN_LISTENER_MAX);
    own->listeners[own->listener_count++] = (struct own_listener){transport, *address};
    if (own->host != NULL || !is_wildcard(address))
        (void)name_of(own, address);
}

/* The listener where answers can come in, if need be one of another transport: its port is the
   best guess there is. */
static const struct own_listener *find_listener(const struct sip_own *own,
                                                enum sip_transport transport, int family)
{
    const struct own_listener *other = NULL;
    for (unsigned i = 0; i < own->listener_count; i++) {
        const struct own_listener *listener = &own->listeners[i];
        if (listener->address.any.sa_family != family)
            continue;
        if (listener->transport == transport)
            return listener;
        if (other == NULL)
            other = listener;
    }
    return other;
}

static unsigned choose(struct sip_own *own, const struct sip_target *target)
{
    const struct own_listener *listener =
        find_listener(own, target->transport, target->address.any.sa_family);
    union net_address source;
    if (listener != NULL && (own->host != NULL || !is_wildcard(&listener->address)))
        return name_of(own, &listener->address);
    if (net_port_source(&target->address, &source) < 0)
        return 0;
    unsigned port = target->transport == SIP_TRANSPORT_TLS ? 5061 : 5060;
    net_address_set_port(&source, listener != NULL ? net_address_port(&listener->address)
                                                   : (uint16_t)port);
    return name_of(own, &source);
}

struct span sip_own_sent_by(struct sip_own *own, const struct config_trunk *trunk,
                            const struct sip_target *target, uint64_t now_ms)
{
    struct own_choice *choice = &own->choices[trunk->index];
    if (now_ms >= choice->fresh_until_ms || !sip_target_equal(&choice->target, target)) {
        choice->name = choose(own, target);
        choice->target = *target;
        choice->fresh_until_ms = now_ms + OWN_FRESH_MS;
    }
    if (choice->name == 0)
        return SPAN("");
    const struct own_name *name = &own->names[choice->name - 1];
    return span_make(name->text, name->size);
}

bool sip_own_is(const struct sip_own *own, struct span sent_by)
{
    for (unsigned i = 0; i < own->name_count; i++)
        if (span_equal_nocase(sent_by, span_make(own->names[i].text, own->names[i].size)))
            return true;
    return false;
}
