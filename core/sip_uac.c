/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_uac_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/consent.h"
#include "core/log.h"
#include "proto/sip_line.h"

static void next_for(struct sip_uac *uac, struct recipient *recipient);

int sip_uac_open(struct sip_uac **uac, struct thread *thread, struct sip_wire *wire,
                 struct trunk_table *trunks)
{
    assert(wire != NULL);
    assert(trunks != NULL);
    struct sip_uac *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    made->wire = wire;
    made->trunks = trunks;
    made->timers = sip_timers_default;
    if (thread->config->sip_t1_ms != 0)
        made->timers.t1_ms = thread->config->sip_t1_ms;
    table_init(&made->requests);
    table_init(&made->recipients);
    STAILQ_INIT(&made->ready);
    *uac = made;
    return 0;
}

size_t sip_uac_pending(const struct sip_uac *uac)
{
    return uac->pending;
}

void sip_uac_count_queued(const struct sip_uac *uac)
{
    trunk_reset_queued(uac->trunks);
    for (size_t i = 0; i < uac->requests.size; i++) {
        const struct table_node *node = uac->requests.chains[i];
        for (; node != NULL; node = node->next) {
            const struct request *request = node->owner;
            struct trunk *trunk = request->trunk;
            if (request->recipient == NULL)
                continue;
            if (trunk == NULL && request->tenant == NULL)
                continue;
            if (trunk == NULL) /* waits for its address */
                trunk = trunk_find(uac->trunks, request->tenant->trunks[0].index);
            trunk->queued += request->recipient->waiting + (request->waits ? 1u : 0u);
        }
    }
}

/* ---- outcomes ---- */

static void send_home(struct sip_uac *uac, struct parcel **parcel)
{
    struct thread *thread = uac->thread;
    assert((*parcel)->outcome.kind != OUTCOME_PENDING);
    assert(uac->pending > 0);
    uac->pending--;
    mesh_return(thread->mesh, thread->self, parcel);
}

static void fail_with(struct sip_uac *uac, struct parcel **parcel, struct stanza_fault fault)
{
    (*parcel)->outcome = (struct outcome){.kind = OUTCOME_FAILED, .fault = fault};
    send_home(uac, parcel);
}

static void finish(struct sip_uac *uac, struct request *request, int status, struct span reason,
                   struct span contact)
{
    struct parcel *parcel = request->parcel;
    struct recipient *recipient = request->recipient;
    request->parcel = NULL;
    request->recipient = NULL;
    if (parcel == NULL)
        return;
    parcel->outcome.sip_status = status;
    if (status >= 200 && status < 300) {
        parcel->outcome.kind = OUTCOME_DELIVERED;
    } else {
        struct writer memory = parcel_writer(parcel);
        struct span uri = sip_compose_redirect(contact, &memory);
        parcel->outcome.fault = error_map_to_xmpp(status, reason, uri, &memory);
        if (!request->answered)
            parcel->outcome.fault.text = reason;
        parcel->outcome.kind = OUTCOME_FAILED;
        parcel_keep(parcel, &memory);
    }
    log_event(LOG_LEVEL_DEBUG, "sip.outcome", parcel->trace, log_number("status", status),
              log_text("to", parcel->draft.request_uri));
    send_home(uac, &parcel);
    next_for(uac, recipient);
}

static void request_free(struct sip_uac *uac, struct request *request)
{
    assert(request->magic == REQUEST_MAGIC);
    assert(request->parcel == NULL);
    sip_attempt_end(request);
    table_remove(&uac->requests, &request->node);
    timer_disarm(&uac->thread->timers, &request->timer);
    request->magic = 0;
    free(request);
}

/* Ends a request for which nothing was tried. */
static void give_up(struct sip_uac *uac, struct request *request, struct stanza_fault fault)
{
    struct parcel *parcel = request->parcel;
    struct recipient *recipient = request->recipient;
    request->parcel = NULL;
    request_free(uac, request);
    fail_with(uac, &parcel, fault);
    next_for(uac, recipient);
}

static const struct stanza_fault too_long = {
    .error = STANZA_ERROR_POLICY_VIOLATION,
    .type = SPAN("modify"),
    .text = SPAN("The message is too long for UDP, the only way to there")};

static const struct stanza_fault no_tenant = {
    .error = STANZA_ERROR_GONE, .text = SPAN("This domain is no longer served here")};

/* Goes on with what is left to try; `status` and `reason` are the answer when that is nothing.
 */
static void try_next(struct sip_uac *uac, struct request *request, int status,
                     struct span reason)
{
    if (request->tenant == NULL) {
        give_up(uac, request, no_tenant);
        return;
    }
    switch (sip_attempt_next(uac, request, &status, &reason)) {
    case SIP_ATTEMPT_RUNS: return;
    case SIP_ATTEMPT_TOO_LONG: give_up(uac, request, too_long); return;
    case SIP_ATTEMPT_NONE_LEFT: break;
    }
    finish(uac, request, status, reason, SPAN_NONE);
    request_free(uac, request);
}

static struct request *request_make(struct sip_uac *uac, struct parcel *parcel,
                                    const struct config_tenant *tenant)
{
    struct request *request = malloc(sizeof(*request));
    if (request == NULL)
        return NULL;
    /* Its text is most of it, and is written before it is read. */
    memset(request, 0, offsetof(struct request, bytes));
    request->magic = REQUEST_MAGIC;
    request->parcel = parcel;
    request->tenant = tenant;
    request->timer.kind = EGRESS_TIMER_CLIENT;
    request->timer.owner = request;
    request->wait_until_ms = uac->thread->now_ms + 10000;
    sip_compose_call(uac, request);
    sip_compose_branch(uac, request);
    return request;
}

/* ---- recipients ---- */

static struct recipient *recipient_find(struct sip_uac *uac, struct span uri)
{
    uint64_t hash = thread_hash(0, uri);
    struct table_node *node = table_find(&uac->recipients, hash);
    for (; node != NULL; node = table_next(node)) {
        struct recipient *found = node->owner;
        if (span_equal(uri, span_make(found->uri, found->uri_size)))
            return found;
    }
    struct recipient *made = calloc(1, sizeof(*made) + uri.size);
    if (made == NULL)
        return NULL;
    made->last = &made->first;
    made->uri_size = uri.size;
    memcpy(made->uri, uri.data, uri.size);
    table_add(&uac->recipients, &made->node, hash, made);
    return made;
}

static const struct stanza_fault busy_fault = {
    .error = STANZA_ERROR_RESOURCE_CONSTRAINT,
    .type = SPAN("wait"),
    .text = SPAN("Too many messages wait for this recipient")};

static void next_for(struct sip_uac *uac, struct recipient *recipient)
{
    if (recipient == NULL)
        return;
    recipient->busy = false;
    struct parcel *parcel = recipient->first;
    if (parcel == NULL) {
        table_remove(&uac->recipients, &recipient->node);
        free(recipient);
        return;
    }
    recipient->first = parcel->next;
    if (recipient->first == NULL)
        recipient->last = &recipient->first;
    parcel->next = NULL;
    recipient->waiting--;
    recipient->busy = true;
    struct request *request =
        request_make(uac, parcel, thread_tenant(uac->thread, parcel, parcel->to.domain));
    if (request == NULL)
        abort(); /* jemalloc refuses a kilobyte: nothing sensible is left to do */
    request->recipient = recipient;
    /* Not at once: a list of failures would recurse. */
    request->waits = true;
    STAILQ_INSERT_TAIL(&uac->ready, request, turn);
}

/* Those that become ready meanwhile have the next turn: a trunk that fails everything at once
   does not hold the thread. */
void sip_uac_pump(struct sip_uac *uac)
{
    STAILQ_HEAD(, request) ready = STAILQ_HEAD_INITIALIZER(ready);
    STAILQ_CONCAT(&ready, &uac->ready);
    while (!STAILQ_EMPTY(&ready)) {
        struct request *request = STAILQ_FIRST(&ready);
        STAILQ_REMOVE_HEAD(&ready, turn);
        request->waits = false;
        try_next(uac, request, 503, SPAN("No SIP trunk of the domain is up"));
    }
}

bool sip_uac_is_ready(const struct sip_uac *uac)
{
    return !STAILQ_EMPTY(&uac->ready);
}

void sip_uac_message(struct sip_uac *uac, struct parcel **parcel)
{
    struct parcel *taken = *parcel;
    *parcel = NULL;
    assert(taken->kind == PARCEL_MESSAGE_TO_SIP);
    const struct config_tenant *tenant = thread_tenant(uac->thread, taken, taken->to.domain);
    uac->pending++;
    /* Without its tenant none of his rules is known, and he may be back before its turn. */
    if (tenant == NULL || !consent_allows(uac->thread, tenant, &taken->to, &taken->from)) {
        fail_with(uac, &taken, tenant != NULL ? consent_fault : no_tenant);
        return;
    }
    struct recipient *recipient = recipient_find(uac, taken->draft.request_uri);
    if (recipient == NULL ||
        (recipient->busy && recipient->waiting >= uac->thread->config->recipient_queue_max)) {
        fail_with(uac, &taken, busy_fault);
        return;
    }
    if (recipient->busy) {
        taken->next = NULL;
        *recipient->last = taken;
        recipient->last = &taken->next;
        recipient->waiting++;
        return;
    }
    struct request *request = request_make(uac, taken, tenant);
    if (request == NULL) {
        fail_with(uac, &taken, busy_fault);
        next_for(uac, recipient);
        return;
    }
    recipient->busy = true;
    request->recipient = recipient;
    try_next(uac, request, 503, SPAN("No SIP trunk of the domain is up"));
}

void sip_uac_options(struct sip_uac *uac, struct trunk *trunk)
{
    struct request *request =
        request_make(uac, NULL, config_tenant_at(uac->thread->config, trunk->config->tenant));
    if (request == NULL)
        return;
    if (!sip_attempt_once(uac, request, trunk))
        request_free(uac, request);
}

/* What the tenant may still try: the trunks behind the one in hand, or all of them. */
static void reload_request(struct sip_uac *uac, struct request *request)
{
    const struct config_tenant *tenant = NULL;
    struct trunk *trunk = request->trunk;
    bool is_retired = trunk != NULL && trunk->config == NULL;
    if (request->parcel != NULL)
        tenant = thread_tenant(uac->thread, request->parcel, request->parcel->to.domain);
    else if (trunk != NULL && !is_retired)
        tenant = config_tenant_at(uac->thread->config, trunk->config->tenant);
    request->tenant = tenant;
    if (request->parcel == NULL)
        return;
    request->trunk_next = 0;
    for (size_t i = 0; tenant != NULL && trunk != NULL && i < tenant->trunk_count; i++)
        if (&tenant->trunks[i] == trunk->config)
            request->trunk_next = i + 1;
    if (is_retired)
        request->targets_left = 0;
    if (is_retired && !request->in_flight)
        request->trunk = NULL;
}

void sip_uac_reload(struct sip_uac *uac)
{
    for (size_t i = 0; i < uac->requests.size; i++) {
        const struct table_node *node = uac->requests.chains[i];
        for (; node != NULL; node = node->next)
            reload_request(uac, node->owner);
    }
}

/* ---- events ---- */

/* The final word of one transaction: the request is over or goes to the next trunk. */
static void conclude(struct sip_uac *uac, struct request *request,
                     const struct sip_message *response)
{
    int status = response->status;
    sip_attempt_end(request);
    bool retry =
        request->parcel != NULL && request->tenant != NULL &&
        (status == 503 || status == 408) &&
        (request->targets_left > 0 || request->trunk_next < request->tenant->trunk_count);
    if (retry) {
        try_next(uac, request, status, response->reason);
        return;
    }
    finish(uac, request, status, response->reason, response->contact);
    request_free(uac, request);
}

static struct request *find_request(struct sip_uac *uac, const struct sip_message *response)
{
    unsigned owner = 0;
    uint64_t random = 0;
    if (!sip_compose_read_branch(response->via.branch, &owner, &random) ||
        owner != uac->thread->self)
        return NULL;
    struct table_node *node = table_find(&uac->requests, random);
    if (node == NULL)
        return NULL;
    struct request *request = node->owner;
    /* RFC 3261 §17.1.3, and the Call-ID, which the RFC leaves to the branch. */
    bool matches =
        span_equal(response->call_id, span_make(request->call_id, request->call_id_size)) &&
        response->cseq == 1;
    return matches ? request : NULL;
}

/* The egress thread that the first Via names; self when it names none. */
static unsigned owner_of(const struct sip_uac *uac, struct span bytes)
{
    const struct config *config = uac->thread->config;
    struct span rest = span_from(bytes, span_find(bytes, '\n') + 1), others;
    struct sip_line line = {0};
    struct sip_via via;
    unsigned owner = 0;
    uint64_t random;
    if (config->egress_count == 1)
        return uac->thread->self;
    while (line.header != SIP_HEADER_VIA && sip_line_next(&rest, &line))
        continue;
    bool is_egress = line.header == SIP_HEADER_VIA && sip_line_via(line.value, &via, &others) &&
                     sip_compose_read_branch(via.branch, &owner, &random) &&
                     owner > config->worker_count &&
                     owner <= config->worker_count + config->egress_count;
    return is_egress ? owner : uac->thread->self;
}

static void take_response(struct sip_uac *uac, struct span bytes)
{
    struct stats *stats = uac->thread->stats;
    struct sip_message response;
    if (sip_message_parse_response(bytes, &response) != SIP_PARSE_OK) {
        stats_count(stats, STAT_SIP_GUARD_REJECTED);
        return;
    }
    struct request *request = find_request(uac, &response);
    stats_count(stats, STAT_SIP_RESPONSES_IN);
    if (request == NULL) {
        stats_count(stats, STAT_SIP_RESPONSES_STRAY);
        return;
    }
    if (sip_client_response(&request->client, response.status) & SIP_CLIENT_FINAL) {
        /* Whoever says 408 is there: only our own Timer F counts against the trunk. */
        sip_attempt_note(request, response.status == 408 ? 480 : response.status,
                         response.retry_after);
        request->answered = true;
        conclude(uac, request, &response);
    } else {
        sip_attempt_arm(uac, request);
    }
}

unsigned sip_uac_response(struct sip_uac *uac, const struct sip_input *input)
{
    unsigned self = uac->thread->self;
    unsigned owner = input->carrier != NULL ? self : owner_of(uac, input->bytes);
    if (owner == self)
        take_response(uac, input->bytes);
    return owner;
}

void sip_uac_lost(struct sip_uac *uac, uint64_t connection)
{
    STAILQ_HEAD(, request) lost = STAILQ_HEAD_INITIALIZER(lost);
    /* First all, then each: what is concluded may start again elsewhere. */
    for (size_t i = 0; i < uac->requests.size; i++) {
        struct table_node *node = uac->requests.chains[i];
        for (; node != NULL; node = node->next) {
            struct request *request = node->owner;
            if (request->in_flight && request->connection == connection)
                STAILQ_INSERT_TAIL(&lost, request, turn);
        }
    }
    while (!STAILQ_EMPTY(&lost)) {
        struct request *request = STAILQ_FIRST(&lost);
        STAILQ_REMOVE_HEAD(&lost, turn);
        struct sip_message response = {.status = 503,
                                       .reason = SPAN("The connection to the SIP side was lost"),
                                       .retry_after = -1};
        request->answered = false;
        (void)sip_client_transport_error(&request->client);
        sip_attempt_note(request, 0, -1);
        conclude(uac, request, &response);
    }
}

void sip_uac_tick(struct sip_uac *uac, struct timer *timer)
{
    struct request *request = timer->owner;
    assert(request->magic == REQUEST_MAGIC);
    if (request->waits) {
        request->waits = false;
        try_next(uac, request, 503, SPAN("No SIP trunk of the domain is up"));
        return;
    }
    unsigned action = sip_client_tick(&request->client, uac->thread->now_ms);
    if (action & SIP_CLIENT_TIMEOUT) {
        struct sip_message timeout = {.status = 408,
                                      .reason = SPAN("The SIP side did not answer in time"),
                                      .retry_after = -1};
        request->answered = false;
        sip_attempt_note(request, 408, -1);
        conclude(uac, request, &timeout);
        return;
    }
    if (action & SIP_CLIENT_SEND)
        sip_attempt_repeat(uac, request);
    sip_attempt_arm(uac, request);
}

static void drop_request(struct sip_uac *uac, struct request *request)
{
    struct recipient *recipient = request->recipient;
    struct parcel *parcel = request->parcel;
    request->parcel = NULL;
    request_free(uac, request);
    struct stanza_fault fault = {.error = STANZA_ERROR_SERVICE_UNAVAILABLE,
                                 .type = SPAN("wait"),
                                 .text = SPAN("The gateway is stopping")};
    while (parcel != NULL) {
        struct parcel *following = NULL;
        if (recipient != NULL && recipient->first != NULL) {
            following = recipient->first;
            recipient->first = following->next;
        }
        fail_with(uac, &parcel, fault);
        parcel = following;
    }
    if (recipient != NULL) {
        table_remove(&uac->recipients, &recipient->node);
        free(recipient);
    }
}

void sip_uac_close(struct sip_uac **uac)
{
    struct sip_uac *closed = *uac;
    if (closed == NULL)
        return;
    struct table_node *node;
    STAILQ_INIT(&closed->ready);
    while ((node = table_any(&closed->requests)) != NULL)
        drop_request(closed, node->owner);
    assert(closed->recipients.count == 0);
    table_fini(&closed->requests);
    table_fini(&closed->recipients);
    free(closed);
    *uac = NULL;
}
