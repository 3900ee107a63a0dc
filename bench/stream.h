/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One S2S stream as the load generator plays it: STARTTLS, SASL EXTERNAL, then stanzas. It is
 * scripted rather than negotiated: it plays a partner that is always right. One thread.
 *
 * A managed stream (XEP-0198) asks and answers as Prosody's mod_smacks does: <r/> behind what
 * is flushed, one at a time and not twice for the same stanzas; <a/> at once for each <r/>.
 */
#ifndef PASSERELLE_BENCH_STREAM_H
#define PASSERELLE_BENCH_STREAM_H

#include "bench/owner.h"
#include "net/tls.h"
#include "proto/sm.h"
#include "proto/xml_stream.h"

enum bench_stream_state {
    BENCH_STREAM_CONNECTING,
    BENCH_STREAM_HEADER, /* waiting for a stream header or features before TLS */
    BENCH_STREAM_TLS,
    BENCH_STREAM_SECURE, /* after TLS, before SASL success */
    BENCH_STREAM_READY,
    BENCH_STREAM_DEAD
};

struct bench_stream {
    enum bench_owner owner; /* first: what ring events name */
    enum bench_stream_state state;
    bool inbound;
    struct ring *ring;
    ring_handle handle;
    struct tls_session *tls;
    struct xml_stream *xml;
    struct net_buffer output[2]; /* [0] fills while [1] is in flight */
    bool sending;
    bool authenticated;
    bool ending; /* we have closed the stream and wait for the peer to do the same */
    bool paced;  /* nothing leaves but by bench_stream_trickle */
    bool gone;   /* the last event of the socket has come: it may be opened again */
    char from[256], to[256]; /* A-labels; inbound: learned from the header */
    unsigned ids;
    char error[64];             /* the stream error condition that was received */
    const char *problem;        /* why it died; NULL: after bench_stream_end, as it should */
    void *context;              /* of the caller */
    bool managed;               /* of the caller, before it is ready: XEP-0198 is wanted */
    struct {                    /* while stanzas are counted */
        bool is_on, is_asked;   /* asked: an <r/> of ours is out */
        struct sm_sender sender;
        uint32_t asked_at; /* what was sent by the last <r/> */
        uint32_t received;
    } sm;
    struct bench_stream *reply; /* of the caller: where answers to this one go */
    bool dirty;                 /* of the caller: waits to be flushed */
};

/* A stanza arrived on an authenticated stream. */
typedef void (*bench_stanza_fn)(struct bench_stream *stream, const struct xml_node *stanza);

/* Starts an outbound stream. -errno. */
int bench_stream_connect(struct bench_stream *stream, struct ring *ring,
                         const union net_address *target, const char *from, const char *to);
/* Takes over an accepted socket; `from` and `to` become known with the peer's header. */
void bench_stream_accept(struct bench_stream *stream, struct ring *ring, ring_handle handle);
/* Feeds one ring event of this stream. `tls` serves both roles. */
void bench_stream_event(struct bench_stream *stream, const struct ring_event *event,
                        struct tls_context *tls, bench_stanza_fn stanza);
/* Encrypts one stanza as one TLS record; sent by bench_stream_flush. False when the output is
   full (the relay pushes back). */
bool bench_stream_write(struct bench_stream *stream, struct span stanza);
void bench_stream_flush(struct bench_stream *stream);
/* Sends at most `size` bytes of what was written, paced or not. */
void bench_stream_trickle(struct bench_stream *stream, size_t size);
/* Closes a ready stream behind what was written; it is dead once the relay has done the same.
 */
void bench_stream_end(struct bench_stream *stream);
/* Ends the connection without a word: the stream is dead. RING_GONE follows. */
void bench_stream_drop(struct bench_stream *stream);
/* Frees what the stream holds; its socket must be dropped by the caller first. */
void bench_stream_close(struct bench_stream *stream);

#endif
