/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every fixed limit of the relay, with its arithmetic. Limits that an operator may lower or
 * raise have the word DEFAULT in their name and a key in docs/configuration.md.
 */
#ifndef PASSERELLE_PROTO_LIMITS_H
#define PASSERELLE_PROTO_LIMITS_H

/* XML and streams (RFC 6120 §13.12: a stanza limit may not be below 10000 bytes). */
#define STANZA_SIZE_MIN         10000
#define STANZA_SIZE_DEFAULT     65536
#define STANZA_SIZE_MAX         262144
#define PREAUTH_STANZA_SIZE_MAX 10240 /* bytes since the last event before authentication */
#define XML_DEPTH_MAX           64    /* nesting below the stream element */
#define XML_ATTRIBUTES_MAX      64    /* of one element */
#define XML_NAMESPACES_MAX      64    /* declarations in force in one stanza */
/* Expat reads an unfinished token again with every piece that comes. The largest start tag in
   TCP segments of 1400 bytes costs 262144 / 1400 * 262144 / 2 = 25 MB; 16 KB sent byte by byte
   cost 134 MB. */
#define XML_RESCAN_MAX          67108864 /* bytes read again between two events */
#define XML_PARSER_MEMORY_MAX   (4 * STANZA_SIZE_MAX + 262144)

/* Addresses (RFC 7622 §3). */
#define JID_PART_SIZE_MAX 1023
#define JID_SIZE_MAX      (3 * JID_PART_SIZE_MAX + 2)
#define DOMAIN_SIZE_MAX   255 /* RFC 1035 §2.3.4; longer domainparts cannot be resolved */

/* SIP (sip_guard; RFC 3428 §8 for the page-mode size). */
#define SIP_DATAGRAM_SIZE_MAX     8192
#define SIP_MESSAGE_SIZE_MAX      65536
#define SIP_HEADER_COUNT_MAX      64
#define SIP_VIA_COUNT_MAX         32
#define SIP_UDP_REQUEST_SIZE_MAX  1300
/* Over UDP what we write is brought to a multiple of this by blanks before the value of
   User-Agent or Server (RFC 3261 §7.3.1 allows any number), so that many messages have one size
   and leave together (net/ring.h). It costs half of it on average; real texts need about ten
   sizes. */
#define SIP_DATAGRAM_STEP         64
#define SIP_CALL_ID_SIZE_MAX      128
#define SIP_BRANCH_SIZE_MAX       64
#define SIP_TAG_SIZE_MAX          64
#define SIP_URI_SIZE_MAX          2048
#define SIP_REASON_SIZE_MAX       100
#define SIP_SUBJECT_SIZE_MAX      256 /* a Subject of ours; longer ones are cut */
/* Answers over UDP are remembered for 64*T1 = 32 s: 8000 requests a second and thread for the
   whole of it, 50000 for 5 s, in which a client sends three times. 48 bytes each and 16 in the
   index: 16 MiB of a thread. */
#define SIP_ANSWERED_DEFAULT      262144
/* Consents that are remembered (core/consent.h), of all SIP threads together: some 150 bytes
   each with real addresses, 40 MiB when all are there. */
#define CONSENTS_DEFAULT          262144
#define CPIM_HEADER_COUNT_MAX     64  /* message headers, RFC 3862 §2.2 */
#define MIME_HEADER_COUNT_MAX     64  /* headers of one part, and lines of one header */
#define MIME_PART_COUNT_MAX       16  /* parts of one multipart body */
#define CPIM_PREFIX_COUNT_MAX     8   /* NS declarations, RFC 3862 §3.4 */

/* What one parcel can carry: a message text of about 12 KiB beside its addresses. */
#define PARCEL_SIZE      16384
#define TEXT_SIZE_MAX    12000
#define PAIRS_PER_STREAM 64

/* Stream management (XEP-0198). Stanzas of one stream whose outcome is open: one bit each, and
   more than any thread has parcels for by default. */
#define SM_WINDOW            1024
#define SM_ID_SIZE           256 /* of a peer's SM-ID, with the NUL; a longer one is not
                                    resumed */
/* Stanzas of ours that one stream may have unacknowledged and still be resumed. */
#define SM_RESEND_MAX        4096
#define SM_UNACKED_LOOSE_MAX 128 /* parcels kept for stanzas nobody waits for, by link */
#define SM_TRIES_MAX         4    /* <resume/> and <enable/> on one stream */
#define SM_WAITING_MAX       1024 /* broken streams a worker keeps for their peers to resume */

/* Dialback claims that one address (of IPv6: one /64) may have under verification at a time, on
   each worker: every one costs up to four DNS questions and a connection. */
#define DIALBACK_CHECKS_PER_ADDRESS_MAX 64

/* A MESSAGE that goes to another thread, whole: a text of TEXT_SIZE_MAX and 2 KB of header. */
#define SIP_HANDOVER_SIZE_MAX 14336

_Static_assert((SM_WINDOW & (SM_WINDOW - 1)) == 0,
               "numbers wrap at 2^32 in step with the window");
_Static_assert(SIP_HANDOVER_SIZE_MAX >= TEXT_SIZE_MAX + 2048, "the longest text can come in");
_Static_assert(STANZA_SIZE_DEFAULT >= STANZA_SIZE_MIN, "RFC 6120 §13.12");
_Static_assert(SIP_UDP_REQUEST_SIZE_MAX < SIP_DATAGRAM_SIZE_MAX, "requests fit a datagram");
_Static_assert(SIP_DATAGRAM_SIZE_MAX < PARCEL_SIZE, "a datagram fits a parcel");
_Static_assert(TEXT_SIZE_MAX + 4096 < PARCEL_SIZE + 1, "text and its addresses fit a parcel");

#endif
