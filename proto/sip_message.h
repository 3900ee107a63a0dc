/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A parsed SIP message, as views; it went through sip_guard before. Responses to our own
 * requests take a fast path that reads only what a client transaction needs. Any thread, one
 * message at a time per struct sip_parser. tests/unit/test_sip_oracle.c holds it against
 * sofia-sip.
 */
#ifndef PASSERELLE_PROTO_SIP_MESSAGE_H
#define PASSERELLE_PROTO_SIP_MESSAGE_H

#include "proto/limits.h"
#include "proto/memory.h"
#include "proto/span.h"
#include "proto/writer.h"

enum sip_method {
    SIP_METHOD_UNKNOWN,
    SIP_METHOD_INVITE,
    SIP_METHOD_ACK,
    SIP_METHOD_CANCEL,
    SIP_METHOD_BYE,
    SIP_METHOD_OPTIONS,
    SIP_METHOD_MESSAGE,
    SIP_METHOD_SUBSCRIBE,
    SIP_METHOD_NOTIFY,
    SIP_METHOD_REGISTER,
    SIP_METHOD_PUBLISH,
    SIP_METHOD_INFO,
    SIP_METHOD_REFER,
    SIP_METHOD_UPDATE,
    SIP_METHOD_PRACK
};

struct span sip_method_text(enum sip_method method);
enum sip_method sip_method_find(struct span name); /* case-sensitive, RFC 3261 §7.1 */

enum sip_transport { SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP, SIP_TRANSPORT_TLS };
/* "UDP", "TCP", "TLS": the Via token. */
struct span sip_transport_name(enum sip_transport transport);

enum sip_scheme { SIP_SCHEME_SIP, SIP_SCHEME_SIPS, SIP_SCHEME_TEL, SIP_SCHEME_IM,
                  SIP_SCHEME_PRES, SIP_SCHEME_OTHER };

/* RFC 3261 §19.1. Raw text: nothing is percent-decoded. */
struct sip_uri {
    struct span text; /* the whole URI */
    enum sip_scheme scheme;
    struct span user;       /* before ':' and '@'; empty when there is none */
    struct span host;       /* IPv6 keeps its brackets */
    uint16_t port;          /* 0 when absent */
    struct span parameters; /* behind the first ';' after the host, without it */
    struct span headers;    /* behind '?', without it */
};

/* False when malformed. */
bool sip_uri_parse(struct span text, struct sip_uri *uri) MUST_USE;
/* Value of a URI parameter. True when it is present; *value is empty for a valueless one. */
bool sip_uri_parameter(const struct sip_uri *uri, struct span name, struct span *value);

struct sip_via {
    struct span text;    /* the whole Via value, as it must be copied into a response */
    struct span sent_by; /* host[:port] */
    struct span host;
    uint16_t port; /* 0 when absent */
    struct span transport;
    struct span branch;   /* empty when absent */
    struct span received; /* empty when absent */
    bool rport_present;   /* RFC 3581, with or without value */
    bool alias;           /* RFC 5923 */
    struct span parameters; /* all of them, from the first `;` */
};

struct sip_message {
    bool is_request;
    enum sip_method method;  /* of the request line, or of CSeq for a response */
    struct span method_name;
    int status;              /* response */
    struct span reason;      /* response; may be empty */
    struct sip_uri request_uri;
    struct sip_via via;      /* the top one */
    size_t via_count;
    struct span from_text, to_text; /* whole header values */
    struct sip_uri from, to;
    struct span from_tag, to_tag; /* empty when absent */
    struct span call_id;
    uint32_t cseq;
    struct span cseq_method;
    int max_forwards;     /* -1 when absent */
    struct span content_type;     /* media type without parameters; empty when absent */
    struct span charset;          /* its charset parameter, unquoted; empty when absent */
    struct span content_language; /* the first tag; empty when absent */
    struct span content_encoding;
    struct span content_disposition;
    struct span subject;          /* folds are still inside */
    struct span date, expires;    /* raw; empty when absent */
    struct span require;          /* all option tags joined by ", "; empty when absent */
    struct span contact;          /* the first Contact's URI; for redirects */
    struct span user_agent;
    long retry_after;             /* seconds; -1 when absent */
    struct span body;
    struct span raw;              /* the message as received */
};

enum sip_parse_result {
    SIP_PARSE_OK,
    SIP_PARSE_REJECT, /* a request that gets `status`; what was understood is in the message */
    SIP_PARSE_DROP
};

struct sip_parser;
/* One per thread. NULL when memory is refused. */
struct sip_parser *sip_parser_open(const struct memory *memory) MUST_USE;
void sip_parser_close(struct sip_parser **parser);
/* Parses one guarded message (start line to end of body). The views point into `raw` or the
   parser's memory and live until the next call on this parser; `raw` must outlive them.
   On REJECT *status and *reason say what to answer (400, 416, 505 …). */
enum sip_parse_result sip_message_parse(struct sip_parser *parser, struct span raw,
                                        struct sip_message *message, int *status,
                                        struct span *reason);
/* The fast path for responses: fills status, reason, via (top), via_count, cseq, cseq_method,
   method, to_tag, call_id, retry_after and contact; everything else is empty. DROP when it is
   malformed or carries more than one Via (RFC 3261 §8.1.3.3). */
enum sip_parse_result sip_message_parse_response(struct span raw, struct sip_message *message);

/* ---- building ---- */

/* Everything a request out of a dialog needs. Values are written as they are: callers pass
   text that went through address_map or sip_header_text. */
struct sip_request_parts {
    enum sip_method method;
    struct span request_uri;
    struct span route; /* ready Route value, empty for none */
    enum sip_transport transport;
    struct span sent_by;  /* host:port for Via */
    struct span branch;
    bool alias;           /* RFC 5923, TLS */
    struct span from_uri, from_tag;
    struct span to_uri;
    struct span call_id;
    uint32_t cseq;
    int max_forwards;
    struct span subject;          /* empty for none; already one line */
    struct span content_language; /* empty for none */
    struct span content_type;     /* empty: no body */
    struct span date;             /* empty for none */
    struct span extra;            /* ready header lines with CRLF, empty for none */
    struct span user_agent;
    struct span body;
    size_t step; /* with a user_agent: the size is brought to a multiple of it; 0: as it
                    comes */
};
void sip_write_request(struct writer *writer, const struct sip_request_parts *parts);

struct sip_response_parts {
    int status;
    struct span reason;   /* empty: the standard phrase */
    struct span to_tag;   /* added when the request's To has none and status > 100 */
    struct span received; /* IP without brackets to add to the top Via; empty for none */
    uint16_t rport;       /* written when the top Via asks for it */
    struct span server;   /* Server header; empty for none */
    struct span extra;    /* ready header lines with CRLF (Allow, Accept, Retry-After …) */
    size_t step; /* with a server: the size is brought to a multiple of it; 0: as it comes */
};
/* A response to `request` (all Vias, From, To, Call-ID and CSeq copied byte for byte, RFC 3261
   §8.2.6.2), Content-Length 0. Of `request` only raw is read, so that one that the guard or the
   parser refused can be answered too: set raw to the bytes the guard measured. What such a
   request lacks is left out. */
void sip_write_response(struct writer *writer, const struct sip_message *request,
                        const struct sip_response_parts *parts);
/* The two halves of sip_write_response, for an answer that comes later than its request can be
   kept: first what is copied from `raw` (Via to CSeq; of `parts` to_tag, received and rport
   count; a 100 may have the tag too, RFC 3261 §8.2.6.2), then the whole response around it
   (status, reason, server and extra count). */
void sip_write_copied(struct writer *writer, struct span raw,
                      const struct sip_response_parts *parts);
void sip_write_answer(struct writer *writer, struct span copied,
                      const struct sip_response_parts *parts);
/* The standard reason phrase; "Unknown" for a code without one. */
struct span sip_reason_phrase(int status);
/* `text` made safe for a header value or reason phrase: control characters and line ends become
   single spaces, cut at `size` on a character boundary, invalid UTF-8 dropped. */
void sip_header_text(struct writer *writer, struct span text, size_t size);

#endif
