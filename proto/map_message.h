/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Page-mode messages, both ways (RFC 7572). Pure: text in, text out; the owner of `memory`
 * owns the result. Any thread.
 */
#ifndef PASSERELLE_PROTO_MAP_MESSAGE_H
#define PASSERELLE_PROTO_MAP_MESSAGE_H

#include "proto/address_map.h"
#include "proto/error_map.h"
#include "proto/xml_node.h"

/* A SIP MESSAGE before the egress thread gives it transport, tags and a branch. Every span lies
   in the memory given or is static: the draft outlives the stanza. */
struct sip_draft {
    struct span request_uri; /* also the To URI; bare, without gr */
    struct span from_uri;    /* with ;gr= when the sender has a resource */
    struct span call_id;     /* the thread when it is usable as one, else empty: the egress
                                derives or makes one from `thread` */
    struct span thread;      /* the thread's first 512 bytes; empty for none */
    struct span subject;     /* one line */
    struct span language;    /* Content-Language; empty for none */
    struct span content_type;
    struct span body;        /* CRLF line ends */
    struct span date;        /* RFC 1123 date from XEP-0203; empty for none */
};

enum map_result {
    MAP_OK,
    MAP_IGNORE, /* nothing to relay and nothing to answer (no body, type error); counted */
    MAP_FAULT   /* answer `fault` to the sender */
};

/* `stanza` is a <message/> of the content namespace with prepared `from` and `to`.
   `stream_lang` is the xml:lang of the stream header. On MAP_FAULT fills *fault. */
enum map_result map_message_to_sip(const struct xml_node *stanza, const struct jid *from,
                                   const struct jid *to, struct span stream_lang,
                                   struct writer *memory, struct sip_draft *draft,
                                   struct stanza_fault *fault) MUST_USE;

/* An XMPP message before a link sends it. */
struct xmpp_draft {
    struct jid from, to;
    struct span stanza; /* the whole <message …>…</message>, in jabber:server as default */
};

/* `request` is a MESSAGE that passed policy; `from` and `to` are its mapped addresses; `id` is
   the stanza id to use. MAP_IGNORE is for types that are accepted and carry no text
   (isComposing): the caller answers 200 and counts it. On MAP_FAULT fills *fault (415 with
   Accept, 400 …). `scratch` holds the text between body and stanza and is free afterwards; only
   the stanza and what is in the fault is in `memory`. */
enum map_result map_message_to_xmpp(const struct sip_message *request, const struct jid *from,
                                    const struct jid *to, struct span id,
                                    struct writer *scratch, struct writer *memory,
                                    struct xmpp_draft *draft, struct sip_fault *fault) MUST_USE;

#endif
