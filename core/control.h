/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stats socket: text commands over a UNIX socket, one a line (`help` lists them). An answer
 * ends with an empty line; a client that has closed its direction is closed after the last one.
 * At most CONTROL_CLIENT_MAX clients; a line has at most CONTROL_LINE_MAX bytes; who does not
 * read an answer in CONTROL_DEADLINE_MS is dropped. Control thread only; it never waits for
 * another thread: what workers and egress threads must tell is asked by an inquiry parcel.
 */
#ifndef PASSERELLE_CORE_CONTROL_H
#define PASSERELLE_CORE_CONTROL_H

#include "core/config.h"
#include "core/mesh.h"
#include "core/stats.h"

#define CONTROL_CLIENT_MAX  64
#define CONTROL_LINE_MAX    1024
#define CONTROL_DEADLINE_MS 5000
#define CONTROL_PROBE_MAX   4 /* partners explained, and pings, at a time */

struct reload;

struct control_options {
    const struct config *config; /* stats_socket is the path */
    struct stats *const *stats;  /* by mesh index; entries may be NULL */
    size_t stats_count;
    struct mesh *mesh; /* NULL: no thread to ask (tests) */
    unsigned self;     /* mesh index of the calling thread */
    struct reload *reload; /* NULL: the configuration cannot be read again (tests) */
};

struct control;

/* Takes the place of a stale socket file; -EADDRINUSE when somebody answers there. `error`
   names the path and the cause. */
int control_open(struct control **control, const struct control_options *options, char *error,
                 size_t error_size) MUST_USE;
/* One turn: waits at most `wait_ms` for something to do. */
void control_turn(struct control *control, unsigned wait_ms);
/* Has the configuration read again, as the command does; what comes of it is logged. */
void control_reload(struct control *control);
/* After the other threads have ended, as they may hold an inquiry. Removes the socket file. */
void control_close(struct control **control);

#endif
