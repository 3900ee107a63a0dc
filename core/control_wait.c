/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What clients of the stats socket wait for: answers of the other threads, and a reload. */
#include "core/control_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "net/clock.h"

/* Ends the round: everybody who waited for it gets the rows. */
static void asking_finish(struct control *control)
{
    (void)fclose(control->inquiry.out);
    control->is_asking = false;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0 && client->state == CLIENT_WAITING)
            control_client_show(control, client, span_make(control->rows, control->rows_size));
    }
    free(control->rows);
    control->rows = NULL;
}

static enum inquiry_kind asked_inquiry(enum report_kind kind)
{
    return kind == REPORT_SESSIONS   ? INQUIRY_SESSIONS
           : kind == REPORT_LINKS    ? INQUIRY_LINKS
           : kind == REPORT_CONSENTS ? INQUIRY_CONSENTS
                                     : INQUIRY_TRUNKS;
}

/* Starts a round for the first client that wants one; others with the same wish join. */
static void asking_start(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd < 0 || client->state != CLIENT_ASKED)
            continue;
        bool joins = client->kind == control->asked_kind && client->kind != REPORT_CONSENTS;
        if (control->is_asking && !joins)
            continue;
        control->is_asking = true;
        control->asked_kind = client->kind;
        control->consents = client->consents;
        client->state = CLIENT_WAITING;
    }
    if (!control->is_asking)
        return;
    control->asked_thread = 0;
    control->inquiry = (struct inquiry){.kind = asked_inquiry(control->asked_kind),
                                        .consents = &control->consents};
    control->inquiry.out = open_memstream(&control->rows, &control->rows_size);
    control->is_asking = control->inquiry.out != NULL;
}

/* Asks the next thread whose kind has such rows; false when all have been asked. */
static bool asking_post(struct control *control)
{
    struct mesh *mesh = control->options.mesh;
    const struct config *config = control->options.config;
    unsigned count = mesh != NULL ? mesh_thread_count(mesh) : 0;
    for (unsigned i = control->asked_thread + 1; i < count; i++) {
        bool is_worker = i <= config->worker_count;
        bool is_workers = control->asked_kind == REPORT_SESSIONS ||
                          control->asked_kind == REPORT_LINKS;
        if (is_worker != is_workers)
            continue;
        struct parcel *parcel = mesh_take(mesh, control->options.self, MESH_CONTROL);
        if (parcel == NULL)
            return true; /* tried again at the next turn */
        parcel->kind = PARCEL_INQUIRY;
        parcel->inquiry = &control->inquiry;
        control->asked_thread = i;
        control->is_out = true;
        mesh_post(mesh, control->options.self, i, &parcel);
        mesh_flush(mesh, control->options.self);
        return true;
    }
    return false;
}

static void control_ask(struct control *control)
{
    struct mesh *mesh = control->options.mesh;
    struct parcel *parcel;
    while (mesh != NULL && (parcel = mesh_next(mesh, control->options.self)) != NULL) {
        assert(parcel->is_return);
        if (parcel->kind == PARCEL_RELOAD) {
            reload_taken(control->options.reload, &parcel);
            continue;
        }
        if (!control_probe_home(control, parcel))
            control->is_out = false;
        mesh_give(mesh, control->options.self, &parcel);
    }
    if (!control->is_asking)
        asking_start(control);
    if (control->is_asking && !control->is_out && !asking_post(control))
        asking_finish(control);
}

/* All in `from` go to `to`; true when there was one. With an answer they get it instead. */
static bool clients_move(struct control *control, enum client_state from, enum client_state to,
                         const char *answer)
{
    bool any = false;
    for (size_t i = 0; i < CONTROL_CLIENT_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd < 0 || client->state != from)
            continue;
        any = true;
        if (answer != NULL)
            control_client_say(client, answer);
        else
            control_client_wait(client, to);
    }
    return any;
}

/* One reload at a time; who asks while one runs wants another one behind it. */
static void reload_turn(struct control *control, struct reload *reload)
{
    if (!reload_is_running(reload) && control->reload_answer == NULL) {
        bool wanted = clients_move(control, CLIENT_RELOAD, CLIENT_RELOADING, NULL);
        FILE *answer =
            wanted || control->wants_reload
                ? open_memstream(&control->reload_answer, &control->reload_answer_size)
                : NULL;
        if (answer == NULL)
            return;
        control->wants_reload = false;
        if (reload_start(reload, answer))
            control->options.config = reload_config(reload);
        (void)fclose(answer);
        watch_arm(&control->watch, control->options.config, clock_now_ns());
        /* Their time begins now: reading has taken some. */
        (void)clients_move(control, CLIENT_RELOADING, CLIENT_RELOADING, NULL);
    }
    if (reload_is_running(reload))
        return;
    if (control->reload_answer != NULL)
        (void)clients_move(control, CLIENT_RELOADING, CLIENT_WRITING, control->reload_answer);
    free(control->reload_answer);
    control->reload_answer = NULL;
}

void control_wait_turn(struct control *control)
{
    struct reload *reload = control->options.reload;
    control_ask(control);
    if (watch_turn(&control->watch, control->options.config, clock_now_ns()))
        control->wants_reload = true;
    control_probe_turn(control);
    if (reload != NULL)
        reload_turn(control, reload);
    else
        (void)clients_move(control, CLIENT_RELOAD, CLIENT_WRITING,
                           "error: there is no configuration to read again\n");
}

bool control_wait_is_busy(const struct control *control)
{
    const struct reload *reload = control->options.reload;
    return control->is_asking || control_probe_is_busy(control) ||
           (reload != NULL && reload_is_running(reload));
}

void control_reload(struct control *control)
{
    control->wants_reload = true;
}
