/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How to mend what a probe has found: for each fault a sentence, to whoever can do it. */
#include "core/probe_priv.h"

const char *probe_dns_remedy(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_FOUND: break;
    case RESOLVER_NOT_FOUND:
        return "The partner must publish an SRV record whose host has an A or AAAA record; see "
               "whether the domain is spelt right.";
    case RESOLVER_NO_SERVICE:
        return "The domain declares that it has no XMPP service for other servers; only its "
               "owner can change that.";
    case RESOLVER_REFUSED:
        return "A private address in public DNS is a mistake of the partner; in a network of "
               "your own set dns.allow_special: true or the partner's host.";
    case RESOLVER_TIMEOUT:
    case RESOLVER_FAILED:
        return "See whether the name server of this relay (dns.server, else /etc/resolv.conf) "
               "answers for other domains; if it does, the partner's name servers fail.";
    case RESOLVER_BOGUS:
        return "The partner's DNSSEC signatures are wrong or expired: its name server must be "
               "mended.";
    case RESOLVER_NO_NAME:
        return "The name does not exist: see whether the domain is spelt right, and what the "
               "partner publishes.";
    }
    return "Try again later.";
}

/* Where the connection was to go tells who can mend that it does not come. */
static const char *connection_remedy(const struct probe *probe)
{
    const struct link *link = probe->link;
    bool is_found = link->answer != NULL;
    if (link->elsewhere)
        return "The partner's server has sent us to a host that does not answer: it must mend that.";
    if (link->service_count == 0)
        return "Refused: nobody listens there. No answer or no route: a firewall, here or "
               "there. See whether host and port of the partner in the configuration (partners) "
               "are right.";
    if (is_found && link_target(link)->service == link->service_count)
        return "The partner publishes no SRV record, so its domain itself was tried, port 5269: it "
               "must publish one, or have its server listen there.";
    if (probe->target[0] == '[') /* an IPv6 address */
        return "See whether this machine reaches others over IPv6; if not, give it a route or take "
               "its IPv6 address away; if so, the partner must mend its server or its AAAA "
               "record. Messages take IPv4 meanwhile, where the server has it.";
    return "Refused: nobody listens there. No answer or no route: a firewall, here or "
           "there. See whether the partner's SRV records name the right host and port.";
}

const char *probe_lost_remedy(const struct probe *probe)
{
    switch (probe->step) {
    case PROBE_TCP: return connection_remedy(probe);
    case PROBE_TLS:
        return "The server must speak TLS 1.2 with ECDHE and AEAD suites, or TLS 1.3, on this "
               "port: an SRV record of _xmpps-server is for direct TLS, one of _xmpp-server "
               "for STARTTLS.";
    case PROBE_FEATURES:
        return "Something answers on this port that does not greet as an XMPP server for other "
               "servers: see whether the SRV record names the port for servers (5269), not "
               "that for clients.";
    case PROBE_AUTH:
        return "The server does not accept us: it wants a certificate that names our domain "
               "and that an authority it knows has signed, or dialback, for which it must find "
               "and reach this relay by our domain's SRV record.";
    case PROBE_POLICY:
    case PROBE_DNS:
    case PROBE_CERTIFICATE:
    case PROBE_CHAIN:
    case PROBE_IDENTITY:
    case PROBE_DANE: break;
    }
    return "Try again later.";
}
