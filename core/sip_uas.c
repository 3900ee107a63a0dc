/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_uas.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/table.h"
#include "net/digest.h"

#define TRANSACTION_MAGIC 0x55415352u
#define TRANSACTION_MAX   65536u
#define RESPONSE_SIZE_MAX 16384u
#define ADDRESS_MEMORY    (4 * JID_SIZE_MAX)

#define ALLOW_LINE  "Allow: MESSAGE, OPTIONS\r\n"
#define ACCEPT_LINE "Accept: text/plain\r\n"

struct transaction {
    uint32_t magic;
    struct table_node node;   /* by branch, sent-by and method (RFC 3261 §17.2.3) */
    struct table_node merged; /* by From tag, Call-ID and CSeq (§8.2.2.2) */
    uint8_t key[DIGEST_SIZE], merged_key[DIGEST_SIZE];
    struct sip_server server;
    struct timer timer;
    struct sip_flow flow;
    bool has_parcel; /* a parcel on its way names this transaction: it may not be freed */
    bool is_over;    /* to be freed when the parcel is home */
    bool to_full;    /* the stanza went to a full JID */
    uint64_t trace;
    char tag[19];
    char *response;
    size_t response_size;
    size_t raw_size;
    char raw[]; /* the request: the response copies its fields */
};

struct sip_uas {
    struct thread *thread;
    struct sip_wire *wire;
    struct sip_parser *parser;
    struct sip_timers timers;
    struct table transactions, merged;
    size_t pending;
    bool draining;
    char address_memory[ADDRESS_MEMORY];
    char scratch[RESPONSE_SIZE_MAX];
};

/* Who sends and to whom, as XMPP sees it. */
struct parties {
    struct jid from, to;
    enum address_result from_result, to_result;
    const struct config_tenant *tenant; /* of the From domain; NULL: none of ours */
};

static void *memory_alloc(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}
static void *memory_resize(void *context, void *block, size_t size)
{
    (void)context;
    return realloc(block, size);
}
static void memory_release(void *context, void *block)
{
    (void)context;
    free(block);
}
static const struct memory heap = {memory_alloc, memory_resize, memory_release, NULL};

int sip_uas_open(struct sip_uas **uas, struct thread *thread, struct sip_wire *wire)
{
    assert(wire != NULL);
    struct sip_uas *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    made->wire = wire;
    made->timers = sip_timers_default;
    if (thread->config->sip_t1_ms != 0)
        made->timers.t1_ms = thread->config->sip_t1_ms;
    made->parser = sip_parser_open(&heap);
    if (made->parser == NULL) {
        free(made);
        return -ENOMEM;
    }
    table_init(&made->transactions);
    table_init(&made->merged);
    *uas = made;
    return 0;
}

void sip_uas_drain(struct sip_uas *uas)
{
    uas->draining = true;
}

size_t sip_uas_pending(const struct sip_uas *uas)
{
    return uas->pending;
}

/* ---- responses ---- */

/* RFC 3261 §18.2.2 with RFC 3581: to the source when rport asks for it, else to the sent-by port
   at the address it came from. */
static struct span write_response(struct sip_uas *uas, const struct sip_message *request,
                                  struct sip_flow *flow, struct sip_response_parts *parts)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&flow->peer, host);
    if (request->via.rport_present || !span_equal(span_of(host), request->via.host)) {
        parts->received = span_of(host);
        parts->rport = net_address_port(&flow->peer);
    }
    parts->server = SPAN("Passerelle/" PASSERELLE_VERSION);
    struct writer writer = writer_make(uas->scratch, sizeof(uas->scratch));
    sip_write_response(&writer, request, parts);
    if (flow->transport == SIP_TRANSPORT_UDP && !request->via.rport_present)
        net_address_set_port(&flow->peer, request->via.port != 0 ? request->via.port : 5060);
    return writer.overflow ? SPAN_NONE : writer_span(&writer);
}

/* Without a transaction: the same request again gets the same answer by the same way. */
static void reply(struct sip_uas *uas, const struct sip_message *request,
                  const struct sip_flow *flow, struct sip_response_parts parts)
{
    struct sip_flow way = *flow;
    uint8_t digest[DIGEST_SIZE];
    char tag[17];
    /* A stateless tag must be the same each time (RFC 3261 §8.2.7). */
    digest_sha256(request->via.text.data, request->via.text.size, digest);
    struct writer writer = writer_make(tag, 16);
    writer_put_hex(&writer, digest, 8);
    parts.to_tag = writer_span(&writer);
    struct span bytes = write_response(uas, request, &way, &parts);
    if (bytes.data != NULL)
        sip_transport_respond(uas->wire, &way, bytes);
}

static void reject(struct sip_uas *uas, const struct sip_message *request,
                   const struct sip_flow *flow, struct sip_response_parts parts)
{
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_REJECTED);
    if (parts.status == 403)
        stats_count(uas->thread->stats, STAT_SIP_REQUESTS_FORBIDDEN);
    log_event(LOG_LEVEL_DEBUG, "sip.rejected", 0, log_number("status", parts.status),
              log_text("call_id", request->call_id));
    reply(uas, request, flow, parts);
}

/* ---- transactions ---- */

static void hash_part(struct digest_part *parts, struct span text)
{
    *parts = (struct digest_part){text.size > 0 ? text.data : "", text.size};
}

static uint64_t hash_of(const uint8_t key[DIGEST_SIZE])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    return hash;
}

/* A branch without the magic cookie is of RFC 2543: the fields beside it tell requests apart. */
static void make_keys(const struct sip_message *request, uint8_t key[DIGEST_SIZE],
                      uint8_t merged_key[DIGEST_SIZE])
{
    struct digest_part parts[9];
    char cseq[16];
    snprintf(cseq, sizeof(cseq), "%u", request->cseq);
    bool cookie = span_starts(request->via.branch, SPAN("z9hG4bK"));
    struct span method = request->method_name;
    hash_part(&parts[0], request->from_tag);
    hash_part(&parts[1], SPAN("\n"));
    hash_part(&parts[2], request->call_id);
    hash_part(&parts[3], SPAN("\n"));
    hash_part(&parts[4], span_of(cseq));
    hash_part(&parts[5], method);
    digest_hmac_sha256("merged", 6, parts, 6, merged_key);
    hash_part(&parts[0], request->via.branch);
    hash_part(&parts[2], request->via.sent_by);
    hash_part(&parts[4], method);
    hash_part(&parts[5], SPAN("\n"));
    parts[6] = (struct digest_part){merged_key, cookie ? 0 : DIGEST_SIZE};
    digest_hmac_sha256("branch", 6, parts, 7, key);
}

static struct transaction *find(const struct sip_uas *uas, const uint8_t key[DIGEST_SIZE])
{
    struct table_node *node = table_find(&uas->transactions, hash_of(key));
    for (; node != NULL; node = table_next(node)) {
        struct transaction *found = node->owner;
        if (memcmp(found->key, key, DIGEST_SIZE) == 0)
            return found;
    }
    return NULL;
}

static bool is_merged(const struct sip_uas *uas, const uint8_t merged_key[DIGEST_SIZE])
{
    struct table_node *node = table_find(&uas->merged, hash_of(merged_key));
    for (; node != NULL; node = table_next(node)) {
        const struct transaction *found = node->owner;
        if (memcmp(found->merged_key, merged_key, DIGEST_SIZE) == 0)
            return true;
    }
    return false;
}

static void transaction_free(struct sip_uas *uas, struct transaction *transaction)
{
    assert(transaction->magic == TRANSACTION_MAGIC);
    table_remove(&uas->transactions, &transaction->node);
    table_remove(&uas->merged, &transaction->merged);
    timer_disarm(&uas->thread->timers, &transaction->timer);
    transaction->is_over = true;
    if (transaction->has_parcel)
        return;
    transaction->magic = 0;
    free(transaction->response);
    free(transaction);
}

static void arm(struct sip_uas *uas, struct transaction *transaction)
{
    uint64_t deadline_ms = sip_server_deadline(&transaction->server);
    if (deadline_ms == UINT64_MAX)
        timer_disarm(&uas->thread->timers, &transaction->timer);
    else
        timer_arm(&uas->thread->timers, &transaction->timer, deadline_ms);
}

static struct transaction *transaction_make(struct sip_uas *uas,
                                            const struct sip_message *request,
                                            const struct sip_flow *flow)
{
    if (uas->transactions.count >= TRANSACTION_MAX)
        return NULL;
    struct transaction *made = calloc(1, sizeof(*made) + request->raw.size);
    if (made == NULL)
        return NULL;
    made->magic = TRANSACTION_MAGIC;
    made->flow = *flow;
    made->trace = thread_trace(uas->thread);
    made->timer.kind = EGRESS_TIMER_SERVER;
    made->timer.owner = made;
    made->raw_size = request->raw.size;
    memcpy(made->raw, request->raw.data, request->raw.size);
    uint64_t random = 0;
    digest_random(&random, sizeof(random));
    snprintf(made->tag, sizeof(made->tag), "%02x%016llx", uas->thread->self & 0xffu,
             (unsigned long long)random);
    make_keys(request, made->key, made->merged_key);
    table_add(&uas->transactions, &made->node, hash_of(made->key), made);
    table_add(&uas->merged, &made->merged, hash_of(made->merged_key), made);
    sip_server_start(&made->server, &uas->timers, flow->transport != SIP_TRANSPORT_UDP,
                     uas->thread->now_ms);
    arm(uas, made);
    return made;
}

static void send_last(struct sip_uas *uas, struct transaction *transaction)
{
    if (transaction->response == NULL)
        return;
    sip_transport_respond(uas->wire, &transaction->flow,
                          span_make(transaction->response, transaction->response_size));
}

/* Answers within the transaction, which may be gone afterwards. `request` may be NULL: then it is
   parsed again from what the transaction kept. */
static void respond(struct sip_uas *uas, struct transaction *transaction,
                    const struct sip_message *request, struct sip_response_parts parts)
{
    struct sip_message again;
    int status = 0;
    struct span reason;
    if (request == NULL) {
        if (sip_message_parse(uas->parser, span_make(transaction->raw, transaction->raw_size),
                              &again, &status, &reason) != SIP_PARSE_OK)
            return; /* it parsed before: only memory can be short now; Timer F ends it */
        request = &again;
    }
    struct sip_flow way = transaction->flow;
    parts.to_tag = span_make(transaction->tag, 18);
    struct span bytes = write_response(uas, request, &way, &parts);
    if (bytes.data == NULL)
        return;
    free(transaction->response);
    transaction->response = malloc(bytes.size);
    transaction->response_size = transaction->response != NULL ? bytes.size : 0;
    if (transaction->response != NULL)
        memcpy(transaction->response, bytes.data, bytes.size);
    sip_transport_respond(uas->wire, &way, bytes);
    if (parts.status >= 200)
        transaction->flow = way; /* what is replayed goes the same way */
    unsigned action = sip_server_respond(&transaction->server, parts.status,
                                         uas->thread->now_ms);
    if (action & SIP_SERVER_FREE)
        transaction_free(uas, transaction);
    else
        arm(uas, transaction);
}

/* ---- checks ---- */

static bool may_send(struct sip_uas *uas, const struct sip_flow *flow,
                     const struct config_trunk *trunk)
{
    if (trunk->transport == SIP_TRANSPORT_TLS && flow->transport == SIP_TRANSPORT_TLS)
        return sip_transport_proved(uas->wire, flow,
                                    trunk->identity != NULL ? trunk->identity : trunk->host);
    if (flow->transport == SIP_TRANSPORT_TLS)
        return false;
    size_t next = 0;
    const struct config_trunk *allowed;
    while ((allowed = config_next_trunk_from(uas->thread->config, &flow->peer, &next)) != NULL)
        if (allowed == trunk)
            return true;
    return false;
}

/* The trunk the request may have come by: one of `tenant`, or of any tenant when that is NULL.
   Index + 1; 0 for a stranger. */
static uint32_t find_source(struct sip_uas *uas, const struct sip_flow *flow,
                            const struct config_tenant *tenant)
{
    const struct config *config = uas->thread->config;
    for (size_t i = 0; i < config->tenant_count; i++) {
        if (tenant != NULL && tenant != &config->tenants[i])
            continue;
        for (size_t j = 0; j < config->tenants[i].trunk_count; j++)
            if (may_send(uas, flow, &config->tenants[i].trunks[j]))
                return config->tenants[i].trunks[j].index + 1;
    }
    return 0;
}

static void find_parties(struct sip_uas *uas, const struct sip_message *request,
                         struct parties *parties)
{
    struct writer memory = writer_make(uas->address_memory, sizeof(uas->address_memory));
    *parties = (struct parties){0};
    parties->from_result = address_to_jid(&request->from, SPAN_NONE, &memory, &parties->from);
    if (parties->from_result != ADDRESS_OK)
        return;
    parties->tenant = config_find_tenant(uas->thread->config, parties->from.domain);
    parties->to_result = address_to_jid(&request->request_uri, SPAN_NONE, &memory,
                                        &parties->to);
}

/* A Via of ours below the top: it has come through here before (RFC 3261 §16.3 item 4). */
static bool is_loop(const struct sip_uas *uas, struct span raw)
{
    while (raw.size > 0) {
        size_t end = span_find(raw, '\n');
        struct span line = span_trim(span_to(raw, end));
        raw = span_from(raw, end + 1);
        if (line.size == 0)
            return false;
        struct span name = span_trim(span_to(line, span_find(line, ':')));
        if ((span_equal_nocase(name, SPAN("Via")) || span_equal_nocase(name, SPAN("v"))) &&
            sip_transport_is_ours(uas->wire, line))
            return true;
    }
    return false;
}

static int address_status(enum address_result result)
{
    switch (result) {
    case ADDRESS_OK: return 0;
    case ADDRESS_MALFORMED: return 400;
    case ADDRESS_UNREPRESENTABLE: return 404;
    case ADDRESS_UNSUPPORTED_SCHEME: return 416;
    }
    return 500;
}

/* What every request must pass, in the order of RFC 3261 §8.2. Status 0: it passed. `extra` may
   use uas->address_memory no more than as static text. */
static struct sip_response_parts check_request(struct sip_uas *uas,
                                               const struct sip_message *request,
                                               struct writer *extra)
{
    struct sip_response_parts parts = {0};
    bool is_options = request->method == SIP_METHOD_OPTIONS;
    if (request->method == SIP_METHOD_CANCEL || request->to_tag.size > 0) {
        parts.status = 481; /* there are no dialogs and nothing to cancel yet */
    } else if (request->request_uri.scheme == SIP_SCHEME_SIPS) {
        parts.status = 480; /* RFC 5630 §5.3: TLS end to end cannot be promised */
        parts.extra = SPAN("Warning: 380 passerelle \"SIPS Not Allowed\"\r\n");
    } else if (request->max_forwards == 0 && !is_options) {
        parts.status = 483;
    } else if (is_loop(uas, request->raw)) {
        stats_count(uas->thread->stats, STAT_LOOPS_REFUSED);
        parts.status = 482;
    } else if (request->require.size > 0) {
        parts.status = 420;
        writer_put_literal(extra, "Unsupported: ");
        writer_put(extra, request->require);
        writer_put_literal(extra, "\r\n");
        parts.extra = extra->overflow ? SPAN("") : writer_span(extra);
    }
    return parts;
}

/* Who may write to whom. Status 0: it may be. */
static struct sip_response_parts check_parties(struct sip_uas *uas,
                                               const struct parties *parties)
{
    const struct config *config = uas->thread->config;
    struct sip_response_parts parts = {0};
    if (parties->from_result != ADDRESS_OK)
        parts.status = address_status(parties->from_result);
    else if (parties->to_result != ADDRESS_OK)
        parts.status = address_status(parties->to_result);
    else if (parties->to.local.size == 0 ||
             config_find_tenant(config, parties->to.domain) != NULL)
        parts.status = 404; /* the XMPP side has no such address */
    else if (!config_partner_allowed(config, parties->tenant, parties->to.domain))
        parts.status = 403;
    return parts;
}

/* ---- MESSAGE ---- */

static struct parcel *fill_parcel(struct sip_uas *uas, const struct sip_message *request,
                                  const struct parties *parties, enum map_result *result,
                                  struct sip_fault *fault)
{
    struct thread *thread = uas->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_TRAFFIC);
    if (parcel == NULL)
        return NULL;
    unsigned owner = route_link(thread->config, parties->from.domain, parties->to.domain);
    uint8_t random[8];
    char id_text[18];
    /* Its first two digits lead an error stanza back to the worker that sent it. */
    digest_random(random, sizeof(random));
    snprintf(id_text, sizeof(id_text), "%02x", owner & 0xffu);
    struct writer digits = writer_make(id_text + 2, 16);
    writer_put_hex(&digits, random, sizeof(random));
    parcel->stanza_id = parcel_copy(parcel, span_make(id_text, 18));
    parcel->from.local = parcel_copy(parcel, parties->from.local);
    parcel->from.domain = parcel_copy(parcel, parties->from.domain);
    parcel->from.resource = parcel_copy(parcel, parties->from.resource);
    parcel->to.local = parcel_copy(parcel, parties->to.local);
    parcel->to.domain = parcel_copy(parcel, parties->to.domain);
    parcel->to.resource = parcel_copy(parcel, parties->to.resource);
    struct xmpp_draft draft = {0};
    struct writer memory = parcel_writer(parcel);
    *result = map_message_to_xmpp(request, &parcel->from, &parcel->to, parcel->stanza_id,
                                  &memory, &draft, fault);
    if (*result == MAP_OK && memory.overflow) {
        *result = MAP_FAULT;
        *fault = (struct sip_fault){.status = 513};
    }
    parcel_keep(parcel, &memory);
    parcel->bytes = draft.stanza;
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = true;
    parcel->born_ms = thread->now_ms;
    parcel->tenant = parties->tenant->index;
    return parcel;
}

static void answer_message(struct sip_uas *uas, struct transaction *transaction,
                           const struct sip_message *request, const struct parties *parties)
{
    struct thread *thread = uas->thread;
    enum map_result result = MAP_IGNORE;
    struct sip_fault fault = {0};
    struct parcel *parcel =
        uas->draining ? NULL : fill_parcel(uas, request, parties, &result, &fault);
    if (parcel == NULL) {
        stats_count(thread->stats, STAT_BACKPRESSURE_PAUSES);
        stats_count(thread->stats, STAT_SIP_REQUESTS_REJECTED);
        respond(uas, transaction, request,
                (struct sip_response_parts){.status = 503,
                                            .extra = SPAN("Retry-After: 10\r\n")});
        return;
    }
    if (result != MAP_OK) {
        struct sip_response_parts parts = {.status = 200};
        if (result == MAP_FAULT) {
            stats_count(thread->stats, STAT_SIP_REQUESTS_REJECTED);
            parts = (struct sip_response_parts){
                .status = fault.status, .reason = fault.reason, .extra = fault.extra};
        }
        respond(uas, transaction, request, parts);
        mesh_give(thread->mesh, thread->self, &parcel);
        return;
    }
    stats_count(thread->stats, STAT_SIP_MESSAGES_ACCEPTED);
    parcel->trace = transaction->trace;
    parcel->ticket = (uint64_t)(uintptr_t)transaction;
    transaction->has_parcel = true;
    transaction->to_full = parties->to.resource.size > 0;
    uas->pending++;
    mesh_post(thread->mesh, thread->self,
              route_link(thread->config, parties->from.domain, parties->to.domain), &parcel);
}

static void count_tenant(struct sip_uas *uas, const struct parcel *parcel, bool failed)
{
    if (uas->thread->stats->tenants == NULL)
        return;
    struct tenant_stats *stats = &uas->thread->stats->tenants[parcel->tenant];
    _Atomic uint64_t *count = failed ? &stats->to_xmpp_failed : &stats->to_xmpp;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* The SIP URI for gone and redirect; empty unless the error names an xmpp: address. */
static struct span contact_for(const struct stanza_fault *fault, struct writer *memory)
{
    struct jid jid;
    struct span address = fault->address;
    if (!span_starts(address, SPAN("xmpp:")))
        return SPAN("");
    address = span_from(address, 5);
    address = span_to(address, span_find(address, '?'));
    if (jid_parse(address, memory, &jid) != JID_OK)
        return SPAN("");
    size_t start = memory->used;
    if (address_to_sip(memory, &jid, false) != ADDRESS_OK || memory->overflow)
        return SPAN("");
    return writer_since(memory, start);
}

static struct sip_response_parts outcome_parts(struct sip_uas *uas, const struct parcel *parcel,
                                               bool to_full, struct writer *memory)
{
    struct stats *stats = uas->thread->stats;
    switch (parcel->outcome.kind) {
    case OUTCOME_DELIVERED:
        stats_count(stats, STAT_SIP_MESSAGES_DELIVERED);
        return (struct sip_response_parts){.status = 200};
    case OUTCOME_HANDED_OVER:
        stats_count(stats, STAT_SIP_MESSAGES_HANDED_OVER);
        return (struct sip_response_parts){.status = 202};
    case OUTCOME_PENDING:
    case OUTCOME_FAILED:
        break;
    }
    stats_count(stats, STAT_SIP_MESSAGES_FAILED);
    struct span contact = contact_for(&parcel->outcome.fault, memory);
    struct sip_fault fault =
        error_map_to_sip(&parcel->outcome.fault, to_full, contact, memory);
    return (struct sip_response_parts){
        .status = fault.status, .reason = fault.reason, .extra = fault.extra};
}

void sip_uas_outcome(struct sip_uas *uas, struct parcel **parcel)
{
    struct thread *thread = uas->thread;
    struct parcel *home = *parcel;
    struct transaction *transaction = (struct transaction *)(uintptr_t)home->ticket;
    *parcel = NULL;
    assert(transaction->magic == TRANSACTION_MAGIC);
    assert(transaction->has_parcel);
    assert(uas->pending > 0);
    uas->pending--;
    transaction->has_parcel = false;
    count_tenant(uas, home, home->outcome.kind == OUTCOME_FAILED);
    if (transaction->is_over) {
        /* RFC 4320 §4.2: the client has given up; a late answer only does harm. */
        stats_count(thread->stats, STAT_SIP_MESSAGES_DROPPED);
        log_event(LOG_LEVEL_WARN, "sip.dropped", transaction->trace,
                  log_text("reason", SPAN("the outcome came after the client gave up")));
        transaction_free(uas, transaction);
    } else {
        struct writer memory =
            writer_make(uas->address_memory, sizeof(uas->address_memory));
        struct sip_response_parts parts =
            outcome_parts(uas, home, transaction->to_full, &memory);
        respond(uas, transaction, NULL, parts);
    }
    mesh_give(thread->mesh, thread->self, &home);
}

/* ---- requests ---- */

static void answer_method(struct sip_uas *uas, const struct sip_message *request,
                          const struct sip_flow *flow)
{
    struct sip_response_parts parts = {0};
    switch (request->method) {
    case SIP_METHOD_OPTIONS:
        reply(uas, request, flow,
              (struct sip_response_parts){.status = 200,
                                          .extra = SPAN(ALLOW_LINE ACCEPT_LINE)});
        return;
    case SIP_METHOD_UNKNOWN:
        parts.status = 501; /* RFC 3261 §21.5.2 */
        break;
    case SIP_METHOD_INVITE: /* sessions go here */
    case SIP_METHOD_BYE:
    case SIP_METHOD_SUBSCRIBE:
    case SIP_METHOD_NOTIFY:
    case SIP_METHOD_REGISTER:
    case SIP_METHOD_PUBLISH:
    case SIP_METHOD_INFO:
    case SIP_METHOD_REFER:
    case SIP_METHOD_UPDATE:
    case SIP_METHOD_PRACK:
        parts.status = 405;
        break;
    case SIP_METHOD_ACK:
    case SIP_METHOD_CANCEL:
    case SIP_METHOD_MESSAGE:
        assert(false); /* were answered before */
    }
    parts.extra = SPAN(ALLOW_LINE);
    reject(uas, request, flow, parts);
}

static void hand_over(struct sip_uas *uas, const struct sip_message *request,
                      const struct sip_flow *flow, unsigned owner)
{
    struct thread *thread = uas->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_TRAFFIC);
    int status = 503;
    if (parcel != NULL) {
        parcel->kind = PARCEL_SIP_BYTES;
        parcel->peer = flow->peer;
        parcel->connection = flow->connection;
        parcel->transport = (uint8_t)flow->transport;
        parcel->trunk = flow->trunk;
        parcel->bytes = parcel_copy(parcel, request->raw);
        if (parcel->bytes.data != NULL) {
            mesh_post(thread->mesh, thread->self, owner, &parcel);
            return;
        }
        mesh_give(thread->mesh, thread->self, &parcel);
        status = 513; /* longer than a text can be */
    }
    reject(uas, request, flow,
           (struct sip_response_parts){.status = status,
                                       .extra = status == 503 ? SPAN("Retry-After: 10\r\n")
                                                              : SPAN("")});
}

/* On the thread that owns the conversation. */
static void serve_message(struct sip_uas *uas, const struct sip_message *request,
                          const struct sip_flow *flow, const struct parties *parties)
{
    uint8_t key[DIGEST_SIZE], merged_key[DIGEST_SIZE];
    make_keys(request, key, merged_key);
    struct transaction *known = find(uas, key);
    if (known != NULL) {
        stats_count(uas->thread->stats, STAT_SIP_RETRANSMISSIONS_IN);
        if (sip_server_retransmit(&known->server) & SIP_SERVER_SEND_LAST)
            send_last(uas, known);
        return;
    }
    char memory[SIP_URI_SIZE_MAX];
    struct writer extra = writer_make(memory, sizeof(memory));
    struct sip_response_parts parts = check_request(uas, request, &extra);
    if (parts.status == 0 && is_merged(uas, merged_key))
        parts.status = 482;
    if (parts.status == 0)
        parts = check_parties(uas, parties);
    if (parts.status != 0) {
        reject(uas, request, flow, parts);
        return;
    }
    struct transaction *made = transaction_make(uas, request, flow);
    if (made == NULL)
        reject(uas, request, flow,
               (struct sip_response_parts){.status = 503,
                                           .extra = SPAN("Retry-After: 30\r\n")});
    else
        answer_message(uas, made, request, parties);
}

/* Everything but MESSAGE needs no memory of it. */
static void serve_other(struct sip_uas *uas, const struct sip_message *request,
                        const struct sip_flow *flow)
{
    char memory[SIP_URI_SIZE_MAX];
    struct writer extra = writer_make(memory, sizeof(memory));
    struct sip_response_parts parts = check_request(uas, request, &extra);
    if (parts.status != 0)
        reject(uas, request, flow, parts);
    else
        answer_method(uas, request, flow);
}

void sip_uas_request(struct sip_uas *uas, const struct sip_input *input, bool handed_over)
{
    struct thread *thread = uas->thread;
    struct sip_message request;
    struct sip_flow flow = input->flow;
    struct sip_response_parts bad = {0};
    enum sip_parse_result result =
        sip_message_parse(uas->parser, input->bytes, &request, &bad.status, &bad.reason);
    if (!handed_over)
        stats_count(thread->stats, STAT_SIP_REQUESTS_IN);
    if (result == SIP_PARSE_DROP) {
        stats_count(thread->stats, STAT_SIP_GUARD_REJECTED);
        return;
    }
    if (request.method == SIP_METHOD_ACK)
        return; /* never answered (RFC 3261 §17.1.1.3) */
    struct parties parties = {0};
    bool is_message = result == SIP_PARSE_OK && request.method == SIP_METHOD_MESSAGE;
    if (is_message)
        find_parties(uas, &request, &parties);
    bool needs_tenant = is_message && parties.from_result == ADDRESS_OK;
    if (!handed_over && !(needs_tenant && parties.tenant == NULL))
        flow.trunk = find_source(uas, &flow, parties.tenant);
    if (flow.trunk == 0) {
        reject(uas, &request, &flow, (struct sip_response_parts){.status = 403});
        return;
    }
    if (result == SIP_PARSE_REJECT) {
        reject(uas, &request, &flow, bad);
        return;
    }
    if (!is_message) {
        serve_other(uas, &request, &flow);
        return;
    }
    unsigned owner = thread->self;
    if (parties.from_result == ADDRESS_OK && parties.to_result == ADDRESS_OK)
        owner = route_egress(thread->config, &parties.from, &parties.to);
    if (owner != thread->self && !handed_over)
        hand_over(uas, &request, &flow, owner);
    else
        serve_message(uas, &request, &flow, &parties);
}

void sip_uas_reject(struct sip_uas *uas, const struct sip_input *input)
{
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_IN);
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_REJECTED);
    /* Not parsed: sofia-sip must not see it. Without rport the answer goes to the source. */
    log_event(LOG_LEVEL_DEBUG, "sip.guard", 0, log_number("status", input->status),
              log_text("reason", input->reason));
    struct sip_message request = {.is_request = true, .raw = input->bytes};
    if (input->status == 0 || find_source(uas, &input->flow, NULL) == 0)
        return;
    struct writer writer = writer_make(uas->scratch, sizeof(uas->scratch));
    sip_write_response(&writer, &request,
                       &(struct sip_response_parts){.status = input->status,
                                                    .reason = input->reason});
    if (!writer.overflow)
        sip_transport_respond(uas->wire, &input->flow, writer_span(&writer));
}

void sip_uas_tick(struct sip_uas *uas, struct timer *timer)
{
    struct transaction *transaction = timer->owner;
    assert(transaction->magic == TRANSACTION_MAGIC);
    unsigned action = sip_server_tick(&transaction->server, uas->thread->now_ms);
    if (action & SIP_SERVER_SEND_100) {
        respond(uas, transaction, NULL, (struct sip_response_parts){.status = 100});
        return;
    }
    if (action & (SIP_SERVER_FREE | SIP_SERVER_EXPIRED))
        transaction_free(uas, transaction);
    else
        arm(uas, transaction);
}

void sip_uas_close(struct sip_uas **uas)
{
    struct sip_uas *closed = *uas;
    if (closed == NULL)
        return;
    struct table_node *node;
    while ((node = table_any(&closed->transactions)) != NULL) {
        struct transaction *transaction = node->owner;
        /* The mesh is about to end: nobody will bring the parcel home. */
        if (transaction->has_parcel) {
            stats_count(closed->thread->stats, STAT_SIP_MESSAGES_DROPPED);
            log_event(LOG_LEVEL_WARN, "sip.dropped", transaction->trace,
                      log_text("reason", SPAN("the relay stops")));
        }
        transaction->has_parcel = false;
        transaction_free(closed, transaction);
    }
    table_fini(&closed->transactions);
    table_fini(&closed->merged);
    sip_parser_close(&closed->parser);
    free(closed);
    *uas = NULL;
}
