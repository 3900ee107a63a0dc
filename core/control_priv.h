/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What control.c (clients and their commands) and control_wait.c (what takes longer than a
 * turn) share.
 */
#ifndef PASSERELLE_CORE_CONTROL_PRIV_H
#define PASSERELLE_CORE_CONTROL_PRIV_H

#include "core/consent.h"
#include "core/control.h"
#include "core/inquiry.h"
#include "core/probe.h"
#include "core/reload.h"
#include "core/report.h"
#include "core/watch.h"

enum client_state {
    CLIENT_READING,
    CLIENT_ASKED,     /* wants a round of questions */
    CLIENT_WAITING,   /* for the end of it */
    CLIENT_RELOAD,    /* wants the configuration read again */
    CLIENT_RELOADING, /* until all threads have it */
    CLIENT_PROBING,   /* for the next rows of its probe */
    CLIENT_WRITING
};

enum control_probe_state {
    PROBE_FREE,
    PROBE_EXPLAINS,     /* the probe runs */
    PROBE_ASKS_INBOUND, /* it is over: what of the other direction? */
    PROBE_PINGS
};

/* A partner that is explained, or a ping: on the way at the wish of one client. */
struct control_probe {
    enum control_probe_state state;
    struct client *client; /* NULL: it has left */
    bool is_out;           /* the parcel */
    bool has_rows;         /* something was shown already */
    struct probe_talk talk;
    struct inquiry inbound; /* its streams, asked worker by worker */
    unsigned worker;        /* the one asked last */
    char *rows;             /* what the one asked appends to */
    size_t rows_size;
    char target[JID_SIZE_MAX + 1]; /* PINGS: whom … */
    uint64_t begin_ms;             /* … and since when */
};

struct client {
    int fd; /* -1: free */
    enum client_state state;
    enum report_kind kind; /* ASKED, WAITING */
    struct consent_query consents; /* when it is REPORT_CONSENTS */
    bool as_json;
    bool is_ended; /* closed its direction */
    char line[CONTROL_LINE_MAX];
    size_t used;
    char *answer;
    size_t answer_size, answer_sent;
    uint64_t deadline_ns; /* unless READING */
    struct control_probe *probe; /* that it waits for; NULL: none */
};

struct control {
    struct control_options options;
    struct report_source source;
    int fd;
    uint64_t accept_after_ns;
    struct client clients[CONTROL_CLIENT_MAX];
    /* The one round of questions to the other threads, asked one after the other. */
    bool is_asking, is_out;
    enum report_kind asked_kind;
    unsigned asked_thread;
    struct inquiry inquiry;
    struct consent_query consents; /* that it is about */
    char *rows;
    size_t rows_size;
    struct watch watch;
    int64_t seen_s; /* wall clock of the last turn */
    bool wants_reload;   /* by signal, or as a file has changed */
    char *reload_answer; /* of the one that is running or has just ended */
    size_t reload_answer_size;
    struct control_probe probes[CONTROL_PROBE_MAX];
};

void control_client_drop(struct client *client);
/* A state that ends in CONTROL_DEADLINE_MS at the latest. */
void control_client_wait(struct client *client, enum client_state state);
/* Answers with a text that is there. */
void control_client_say(struct client *client, const char *text);
/* Answers with the rows of client->kind. */
void control_client_show(struct control *control, struct client *client, struct span rows);

/* A part of an answer; the last one ends it. May drop the client. */
void control_client_part(struct client *client, struct span text, bool is_last);
/* Takes the next word off the command. */
struct span control_word(struct span *command);

/* ---- control_probe.c, control_ping.c ---- */

/* Runs a command of theirs; false when it is another one's. */
bool control_probe_command(struct control *control, struct client *client, struct span command);
/* Goes on with what is at home. */
void control_probe_turn(struct control *control);
/* True when the parcel that came home was of a probe or a ping; it stays the caller's. */
bool control_probe_home(struct control *control, const struct parcel *parcel);
/* The client waits on, or leaves. */
void control_probe_wait(struct client *client);
void control_probe_leave(struct client *client);
bool control_probe_is_busy(const struct control *control);
void control_probe_close(struct control *control);
/* A free place for the client, in a state; NULL, and the client is told, when there is none. */
struct control_probe *control_probe_take(struct control *control, struct client *client);
/* Shows the only row; then the place is free. */
void control_probe_show(struct control_probe *probe, const struct probe_row *row);
/* The tenant of this name or domain, and which of its domains; without a word the only one.
   False when the client was told what is missing. */
bool control_probe_tenant(struct control *control, struct client *client, struct span word,
                          struct s2s_domain *local);
void control_ping_command(struct control *control, struct client *client, struct span command);
void control_ping_home(struct control_probe *probe, const struct parcel *parcel);

/* ---- control_consent.c ---- */

/* Runs a command of its own; false when it is another one's. */
bool control_consent_command(struct control *control, struct client *client,
                             struct span command);

/* ---- control_wait.c ---- */

/* Takes what came home, goes on with what clients wait for. */
void control_wait_turn(struct control *control);
/* Is a parcel out? It comes home without waking anybody. */
bool control_wait_is_busy(const struct control *control);

#endif
