/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What control.c (clients and their commands) and control_wait.c (what takes longer than a
 * turn) share.
 */
#ifndef PASSERELLE_CORE_CONTROL_PRIV_H
#define PASSERELLE_CORE_CONTROL_PRIV_H

#include "core/control.h"
#include "core/inquiry.h"
#include "core/reload.h"
#include "core/report.h"
#include "core/watch.h"

enum client_state {
    CLIENT_READING,
    CLIENT_ASKED,     /* wants a round of questions */
    CLIENT_WAITING,   /* for the end of it */
    CLIENT_RELOAD,    /* wants the configuration read again */
    CLIENT_RELOADING, /* until all threads have it */
    CLIENT_WRITING
};

struct client {
    int fd; /* -1: free */
    enum client_state state;
    enum report_kind kind; /* ASKED, WAITING */
    bool as_json;
    bool is_ended; /* closed its direction */
    char line[CONTROL_LINE_MAX];
    size_t used;
    char *answer;
    size_t answer_size, answer_sent;
    uint64_t deadline_ns; /* unless READING */
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
    char *rows;
    size_t rows_size;
    struct watch watch;
    bool wants_reload;   /* by signal, or as a file has changed */
    char *reload_answer; /* of the one that is running or has just ended */
    size_t reload_answer_size;
};

void control_client_drop(struct client *client);
/* A state that ends in CONTROL_DEADLINE_MS at the latest. */
void control_client_wait(struct client *client, enum client_state state);
/* Answers with a text that is there. */
void control_client_say(struct client *client, const char *text);
/* Answers with the rows of client->kind. */
void control_client_show(struct control *control, struct client *client, struct span rows);

/* ---- control_wait.c ---- */

/* Takes what came home, goes on with what clients wait for. */
void control_wait_turn(struct control *control);
/* Is a parcel out? It comes home without waking anybody. */
bool control_wait_is_busy(const struct control *control);

#endif
