/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The negotiation machines of a stream, fed through the real parser with what a peer says. */
#ifndef PASSERELLE_TESTS_S2S_BENCH_H
#define PASSERELLE_TESTS_S2S_BENCH_H

#include <stdlib.h>
#include <string.h>

#include "core/heap.h"
#include "proto/s2s_in.h"
#include "proto/s2s_out.h"

struct facts {
    unsigned proofs;
    bool certified;
    bool both_ways; /* the rule lets streams that come in go both ways */
};

static inline bool hosts(void *context, struct span local)
{
    (void)context;
    return span_equal(local, SPAN("sip.example")) || span_equal(local, SPAN("two.example"));
}
static inline unsigned proofs(void *context, struct span local, struct span remote)
{
    (void)local;
    if (span_equal(remote, SPAN("banned.example")))
        return S2S_PROOF_NONE;
    return ((struct facts *)context)->proofs;
}
static inline bool certified(void *context, struct span remote)
{
    return ((struct facts *)context)->certified && span_equal(remote, SPAN("xmpp.example"));
}

static inline bool both_ways(void *context)
{
    return ((struct facts *)context)->both_ways;
}

struct bench {
    struct facts facts;
    struct s2s_policy policy;
    struct xml_stream *xml;
    struct s2s_in in;
    struct s2s_out out;
    char written[8192];
    struct s2s_action action;
};

static inline void bench_init(struct bench *bench, unsigned allowed, bool certificate,
                              bool secure)
{
    memset(bench, 0, sizeof(*bench));
    bench->facts = (struct facts){allowed, certificate, false};
    bench->policy = (struct s2s_policy){.context = &bench->facts,
                                        .hosts = hosts,
                                        .proofs = proofs,
                                        .certified = certified,
                                        .both_ways = both_ways};
    bench->xml = xml_stream_open(&heap_memory, NULL);
    assert_non_null(bench->xml);
    s2s_in_init(&bench->in, &heap_memory, &bench->policy, secure);
    struct s2s_domain local, remote;
    assert_true(s2s_domain_read(&local, SPAN("sip.example")));
    assert_true(s2s_domain_read(&remote, SPAN("xmpp.example")));
    s2s_out_init(&bench->out, &local, &remote, allowed, true);
}

static inline void bench_fini(struct bench *bench)
{
    xml_stream_close(&bench->xml);
    s2s_in_fini(&bench->in);
}

static inline enum s2s_action_kind feed(struct bench *bench, const char *text, bool inbound)
{
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    struct xml_event event;
    if (!xml_stream_idle(bench->xml))
        assert_int_equal(xml_stream_next(bench->xml, &event), XML_EVENT_NONE);
    void *room = xml_stream_room(bench->xml, strlen(text));
    assert_non_null(room);
    memcpy(room, text, strlen(text));
    xml_stream_commit(bench->xml, strlen(text));
    assert_int_not_equal(xml_stream_next(bench->xml, &event), XML_EVENT_NONE);
    if (inbound) {
        if (event.kind == XML_EVENT_OPEN)
            s2s_in_set_id(&bench->in, SPAN("id1"));
        s2s_in_event(&bench->in, &event, &writer, &bench->action);
    } else {
        s2s_out_event(&bench->out, &event, &writer, &bench->action);
    }
    bench->written[writer.used] = '\0';
    return bench->action.kind;
}

static inline void fresh(struct bench *bench)
{
    xml_stream_restart(bench->xml);
}

static inline void wrote(const struct bench *bench, const char *part)
{
    if (strstr(bench->written, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, bench->written);
}

static inline void wrote_not(const struct bench *bench, const char *part)
{
    if (strstr(bench->written, part) != NULL)
        fail_msg("\"%s\" is in \"%s\"", part, bench->written);
}

#define HEADER_OF(from, to)                                                                    \
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "    \
    "xmlns:db='jabber:server:dialback' from='" from "' to='" to "' version='1.0'>"
#define HEADER HEADER_OF("xmpp.example", "sip.example")
#define OUR_HEADER                                                                             \
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "    \
    "xmlns:db='jabber:server:dialback' id='r1' from='xmpp.example' to='sip.example' "          \
    "version='1.0'>"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define AUTH(text)                                                                             \
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>" text "</auth>"
#define MESSAGE "<message from='a@xmpp.example' to='b@sip.example'><body>x</body></message>"

#define FEATURES(inside) "<stream:features>" inside "</stream:features>"
#define EXTERNAL                                                                               \
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>"     \
    "</mechanisms>"

#endif
