/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>

#include "proto/sip_message.h"

static const struct span names[] = {
    [SIP_METHOD_UNKNOWN] = SPAN(""),
    [SIP_METHOD_INVITE] = SPAN("INVITE"),
    [SIP_METHOD_ACK] = SPAN("ACK"),
    [SIP_METHOD_CANCEL] = SPAN("CANCEL"),
    [SIP_METHOD_BYE] = SPAN("BYE"),
    [SIP_METHOD_OPTIONS] = SPAN("OPTIONS"),
    [SIP_METHOD_MESSAGE] = SPAN("MESSAGE"),
    [SIP_METHOD_SUBSCRIBE] = SPAN("SUBSCRIBE"),
    [SIP_METHOD_NOTIFY] = SPAN("NOTIFY"),
    [SIP_METHOD_REGISTER] = SPAN("REGISTER"),
    [SIP_METHOD_PUBLISH] = SPAN("PUBLISH"),
    [SIP_METHOD_INFO] = SPAN("INFO"),
    [SIP_METHOD_REFER] = SPAN("REFER"),
    [SIP_METHOD_UPDATE] = SPAN("UPDATE"),
    [SIP_METHOD_PRACK] = SPAN("PRACK"),
};

_Static_assert(sizeof(names) / sizeof(names[0]) == SIP_METHOD_PRACK + 1, "one name each");

struct span sip_method_text(enum sip_method method)
{
    assert(method <= SIP_METHOD_PRACK);
    return names[method];
}

enum sip_method sip_method_find(struct span name)
{
    for (size_t i = SIP_METHOD_INVITE; i <= SIP_METHOD_PRACK; i++)
        if (span_equal(name, names[i]))
            return (enum sip_method)i;
    return SIP_METHOD_UNKNOWN;
}

struct span sip_transport_name(enum sip_transport transport)
{
    switch (transport) {
    case SIP_TRANSPORT_UDP: return SPAN("UDP");
    case SIP_TRANSPORT_TCP: return SPAN("TCP");
    case SIP_TRANSPORT_TLS: return SPAN("TLS");
    }
    assert(false);
    return SPAN_NONE;
}
