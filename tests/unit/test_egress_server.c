/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests of trunks and what becomes of them. */
#include "egress_scene.h"

static void test_answers_after_outcome(void **state)
{
    (void)state;
    static const struct {
        struct outcome outcome;
        const char *line;
    } rows[] = {
        {{.kind = OUTCOME_DELIVERED}, "SIP/2.0 200 "},
        {{.kind = OUTCOME_HANDED_OVER}, "SIP/2.0 202 "},
        {{.kind = OUTCOME_FAILED, .fault.error = STANZA_ERROR_ITEM_NOT_FOUND}, "SIP/2.0 604 "}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char branch[10], extra[100];
        (void)snprintf(branch, sizeof(branch), "b%zu", i);
        (void)snprintf(extra, sizeof(extra), "Max-Forwards: %zu\r\n", 70 - i);
        send_request(&(struct request){.branch = branch, .extra = extra});
        struct parcel *parcel = take_stanza();
        assert_true(span_equal(parcel->from.domain, SPAN("sip.example")));
        assert_true(span_equal(parcel->to.local, SPAN("juliet")));
        assert_true(span_starts(parcel->stanza_id, SPAN("01")));
        assert_non_null(memmem(parcel->bytes.data, parcel->bytes.size, "hello", 5));
        send_request(&(struct request){.branch = branch, .extra = extra}); /* absorbed */
        assert_false(hears(scene.trunks[0], 10));
        assert_null(mesh_next(scene.mesh, WORKER));
        parcel->outcome = rows[i].outcome;
        mesh_return(scene.mesh, WORKER, &parcel);
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, rows[i].line, 12);
        assert_true(says("received=127.0.0.1"));
        send_request(&(struct request){.branch = branch, .extra = extra}); /* answered again */
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, rows[i].line, 12);
        /* Timer J is 640 ms: then the same tag, Call-ID and CSeq are no merged request. */
        (void)hears(scene.trunks[0], 700);
    }
    assert_int_equal(count(STAT_SIP_MESSAGES_ACCEPTED), 3);
    assert_int_equal(count(STAT_SIP_MESSAGES_DELIVERED), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_HANDED_OVER), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_FAILED), 1);
    assert_int_equal(count(STAT_SIP_RETRANSMISSIONS_IN), 6);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

static void test_merged(void **state)
{
    (void)state;
    send_request(&(struct request){.branch = "one"});
    struct parcel *parcel = take_stanza();
    send_request(&(struct request){.branch = "two"});
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 482 ", 12);
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
}

static void test_late_outcome_is_not_sent(void **state)
{
    (void)state;
    send_request(&(struct request){0});
    struct parcel *parcel = take_stanza();
    while (hears(scene.trunks[0], 700)) { /* RFC 4320: perhaps a 100 */
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, "SIP/2.0 100 ", 12);
    }
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    assert_false(hears(scene.trunks[0], 20));
    assert_int_equal(count(STAT_SIP_MESSAGES_DROPPED), 1);
}

/* The parcel of an answered or expired transaction never comes home: nothing may leak. */
static void test_closes_with_parcels_out(void **state)
{
    (void)state;
    send_request(&(struct request){0});
    struct parcel *late = take_stanza();
    while (hears(scene.trunks[0], 700))
        receive(scene.trunks[0]);
    send_request(&(struct request){.branch = "other", .extra = "Max-Forwards: 9\r\n"});
    struct parcel *fresh = take_stanza();
    egress_close(&scene.egress);
    assert_int_equal(count(STAT_SIP_MESSAGES_DROPPED), 2);
    assert_non_null(late);
    assert_non_null(fresh);
}

/* One answer too many for the table: the first request counts as new, and nobody gets 503. */
static void test_forgets_the_oldest_answer(void **state)
{
    (void)state;
    char branch[20], from[60];
    unsigned last = scene.config->sip_answered_max;
    for (unsigned i = 0; i <= last; i++) {
        (void)snprintf(branch, sizeof(branch), "%u", i);
        (void)snprintf(from, sizeof(from), "sip:romeo%u@sip.example", i);
        send_request(&(struct request){.branch = branch, .from = from, .tag = branch});
        struct parcel *parcel = take_stanza();
        parcel->outcome.kind = OUTCOME_DELIVERED;
        mesh_return(scene.mesh, WORKER, &parcel);
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    }
    char first[sizeof(scene.text)];
    memcpy(first, scene.text, sizeof(first));
    assert_int_equal(count(STAT_SIP_ANSWERS_FORGOTTEN), 1);
    send_request(&(struct request){.branch = branch, .from = from, .tag = branch});
    receive(scene.trunks[0]);
    assert_string_equal(scene.text, first); /* rebuilt to the last byte */
    send_request(&(struct request){.branch = "0", .from = "sip:romeo0@sip.example", .tag = "0"});
    struct parcel *parcel = take_stanza();
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    receive(scene.trunks[0]);
}

/* A stop: what has begun is finished, both ways; what is new is sent elsewhere. */
static void test_drains(void **state)
{
    (void)state;
    send_request(&(struct request){0});
    struct parcel *stanza = take_stanza();
    post("romeo", SPAN("on its way"));
    receive(scene.trunks[0]);
    char request[sizeof(scene.text)];
    memcpy(request, scene.text, sizeof(request));
    assert_false(egress_drain(scene.egress, false));
    send_request(&(struct request){.branch = "late", .extra = "Max-Forwards: 9\r\n", .tag = "2"});
    receive(scene.trunks[0]);
    while (strncmp(scene.text, "MESSAGE ", 8) == 0) /* sent again meanwhile */
        receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 503 ", 12);
    assert_true(says("Retry-After: "));
    stanza->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &stanza);
    receive(scene.trunks[0]);
    while (strncmp(scene.text, "MESSAGE ", 8) == 0)
        receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    assert_false(egress_drain(scene.egress, false));
    memcpy(scene.text, request, sizeof(request));
    answer(scene.trunks[0], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    assert_true(egress_drain(scene.egress, false));
}

static void test_refused_requests(void **state)
{
    (void)state;
    static const struct {
        struct request request;
        const char *line, *also;
    } rows[] = {{{.from = "sip:mallory@foreign.example"}, "SIP/2.0 403 ", NULL},
                {{.uri = "sip:romeo@sip.example"}, "SIP/2.0 404 ", NULL},
                {{.uri = "sip:xmpp.example"}, "SIP/2.0 404 ", NULL},
                {{.uri = "sips:juliet@xmpp.example"}, "SIP/2.0 480 ", "Warning: 380"},
                {{.uri = "http://juliet.example"}, "SIP/2.0 416 ", NULL},
                {{.extra = "Max-Forwards: 0\r\n"}, "SIP/2.0 483 ", NULL},
                {{.extra = "Require: magic\r\n"}, "SIP/2.0 420 ", "Unsupported: magic"},
                {{.method = "OPTIONS"}, "SIP/2.0 200 ", "Allow: MESSAGE, OPTIONS"},
                {{.method = "INVITE"}, "SIP/2.0 405 ", "Allow: "},
                {{.method = "CANCEL"}, "SIP/2.0 481 ", NULL},
                {{.method = "DANCE"}, "SIP/2.0 501 ", "Allow: "}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        send_request(&rows[i].request);
        receive(scene.trunks[0]);
        if (strncmp(scene.text, rows[i].line, 12) != 0)
            fail_msg("row %zu: %s", i, scene.text);
        assert_true(rows[i].also == NULL || says(rows[i].also));
    }
    send_request(&(struct request){.method = "ACK"});
    assert_false(hears(scene.trunks[0], 20));
    assert_int_equal(count(STAT_SIP_REQUESTS_FORBIDDEN), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_ACCEPTED), 0);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

static void test_our_via_is_a_loop(void **state)
{
    (void)state;
    char extra[200];
    (void)snprintf(extra, sizeof(extra),
                   "Max-Forwards: 60\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKx\r\n",
                   scene.own);
    send_request(&(struct request){.extra = extra});
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 482 ", 12);
    assert_int_equal(count(STAT_LOOPS_REFUSED), 1);
}

static int set_up_two(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.egress_count = 2});
}

/* What the relay posted to the other egress thread, whose part the test plays. */
static struct parcel *at_other(void)
{
    struct parcel *parcel = NULL;
    for (int i = 0; i < 50 && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, OTHER_EGRESS);
    }
    return parcel;
}

static void test_hands_over_to_the_owner(void **state)
{
    (void)state;
    unsigned kept = 0, given = 0;
    for (unsigned i = 0; i < 16; i++) {
        char from[60], branch[10];
        (void)snprintf(from, sizeof(from), "sip:user%u@sip.example", i);
        (void)snprintf(branch, sizeof(branch), "h%u", i);
        struct jid user = {.local = span_make(from + 4, span_find(span_of(from), '@') - 4),
                           .domain = SPAN("sip.example")};
        struct jid peer = {.local = SPAN("juliet"), .domain = SPAN("xmpp.example")};
        unsigned owner = route_egress(scene.config, &user, &peer);
        char extra[40];
        (void)snprintf(extra, sizeof(extra), "Subject: %u\r\nMax-Forwards: 9\r\n", i);
        send_request(&(struct request){.from = from, .branch = branch, .extra = extra});
        struct parcel *parcel = at_other();
        assert_int_equal(parcel != NULL, owner == OTHER_EGRESS);
        if (parcel == NULL) {
            kept++;
            /* The same tags from another user are a merged request here. */
            (void)hears(scene.trunks[0], 1);
            parcel = mesh_next(scene.mesh, WORKER);
            if (parcel != NULL) {
                parcel->outcome.kind = OUTCOME_DELIVERED;
                mesh_return(scene.mesh, WORKER, &parcel);
            }
            continue;
        }
        given++;
        assert_int_equal(parcel->kind, PARCEL_SIP_BYTES);
        assert_true(parcel->trunk > 0);
        assert_true(span_starts(parcel->bytes, SPAN("MESSAGE ")));
        mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    }
    assert_true(kept > 0);
    assert_true(given > 0);
}

/* A copy of a request that the other thread has must not be refused here when parcels are short:
   its sender would hear two answers. */
static void test_full_is_silent_for_the_other(void **state)
{
    (void)state;
    struct parcel *taken[2048];
    struct jid peer = {.local = SPAN("juliet"), .domain = SPAN("xmpp.example")};
    char from[60] = "";
    unsigned held = 0, owner = EGRESS;
    for (unsigned i = 0; owner != OTHER_EGRESS; i++) {
        (void)snprintf(from, sizeof(from), "sip:user%u@sip.example", i);
        struct jid user = {.local = span_make(from + 4, span_find(span_of(from), '@') - 4),
                           .domain = SPAN("sip.example")};
        owner = route_egress(scene.config, &user, &peer);
    }
    while (held < 2048 && (taken[held] = mesh_take(scene.mesh, EGRESS, MESH_TRAFFIC)) != NULL)
        held++;
    assert_true(held > 0 && held < 2048);
    send_request(&(struct request){.from = from, .branch = "full"});
    for (int i = 0; i < TURNS && count(STAT_SIP_REQUESTS_IN) == 0; i++)
        egress_turn(scene.egress, 1);
    assert_int_equal(count(STAT_SIP_REQUESTS_IN), 1);
    assert_false(hears(scene.trunks[0], 5));
    while (held > 0)
        mesh_give(scene.mesh, EGRESS, &taken[--held]);
    send_request(&(struct request){.from = from, .branch = "full"});
    struct parcel *parcel = at_other();
    assert_non_null(parcel);
    mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
}

static void test_response_of_the_other_thread(void **state)
{
    (void)state;
    send_text(scene.trunks[0],
              "SIP/2.0 200 OK\r\n"
              "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK030123456789abcdef\r\n"
              "From: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\n"
              "Call-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
    struct parcel *parcel = at_other();
    assert_non_null(parcel);
    assert_int_equal(parcel->kind, PARCEL_SIP_BYTES);
    assert_true(span_starts(parcel->bytes, SPAN("SIP/2.0 200 OK")));
    mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    egress_turn(scene.egress, 1);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
    assert_int_equal(count(STAT_SIP_RESPONSES_STRAY), 0);
}

static void test_request_of_the_other_thread(void **state)
{
    (void)state;
    char text[2000];
    struct parcel *parcel = mesh_take(scene.mesh, OTHER_EGRESS, MESH_TRAFFIC);
    assert_non_null(parcel);
    request_text(&(struct request){0}, text, sizeof(text));
    parcel->kind = PARCEL_SIP_BYTES;
    parcel->transport = SIP_TRANSPORT_TCP;
    parcel->connection = 77;
    thread_put_trunk(&scene.thread, parcel, 1);
    assert_int_equal(net_address_parse(&parcel->peer, "127.0.0.1:9", 0), 0);
    parcel->bytes = parcel_copy(parcel, span_of(text));
    mesh_post(scene.mesh, OTHER_EGRESS, EGRESS, &parcel);
    parcel = take_stanza();
    /* No parcel is left for the answer but the one that brings the outcome. */
    struct parcel *taken[2048];
    unsigned held = 0;
    while (held < 2048 && (taken[held] = mesh_take(scene.mesh, EGRESS, MESH_CONTROL)) != NULL)
        held++;
    assert_true(held > 0 && held < 2048);
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    parcel = at_other(); /* its own, home again */
    assert_true(parcel != NULL && parcel->is_return);
    mesh_give(scene.mesh, OTHER_EGRESS, &parcel);
    parcel = at_other();
    assert_non_null(parcel);
    assert_int_equal(parcel->kind, PARCEL_SIP_REPLY);
    assert_int_equal(parcel->connection, 77);
    assert_true(span_starts(parcel->bytes, SPAN("SIP/2.0 200 ")));
    mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    egress_turn(scene.egress, 1);
    while (held > 0)
        mesh_give(scene.mesh, EGRESS, &taken[--held]);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

/* Without any parcel of its own the owner still refuses: in the parcel that brought the request. */
static void test_refuses_without_a_parcel(void **state)
{
    (void)state;
    char text[2000];
    struct parcel *taken[2048];
    unsigned held = 0;
    struct parcel *parcel = mesh_take(scene.mesh, OTHER_EGRESS, MESH_TRAFFIC);
    assert_non_null(parcel);
    request_text(&(struct request){0}, text, sizeof(text));
    parcel->kind = PARCEL_SIP_BYTES;
    parcel->transport = SIP_TRANSPORT_TCP;
    parcel->connection = 77;
    thread_put_trunk(&scene.thread, parcel, 1);
    assert_int_equal(net_address_parse(&parcel->peer, "127.0.0.1:9", 0), 0);
    parcel->bytes = parcel_copy(parcel, span_of(text));
    while (held < 2048 && (taken[held] = mesh_take(scene.mesh, EGRESS, MESH_CONTROL)) != NULL)
        held++;
    assert_true(held > 0 && held < 2048);
    mesh_post(scene.mesh, OTHER_EGRESS, EGRESS, &parcel);
    parcel = at_other();
    assert_non_null(parcel);
    assert_true(parcel->is_return);
    assert_int_equal(parcel->kind, PARCEL_SIP_ANSWERED);
    assert_int_equal(parcel->connection, 77);
    assert_true(span_starts(parcel->bytes, SPAN("SIP/2.0 503 ")));
    mesh_give(scene.mesh, OTHER_EGRESS, &parcel);
    while (held > 0)
        mesh_give(scene.mesh, EGRESS, &taken[--held]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_answers_after_outcome),
        ROW(test_merged),
        ROW(test_late_outcome_is_not_sent),
        ROW(test_closes_with_parcels_out),
        ROW(test_forgets_the_oldest_answer),
        ROW(test_drains),
        ROW(test_refused_requests),
        ROW(test_our_via_is_a_loop),
        ROW_WITH(set_up_two, test_hands_over_to_the_owner),
        ROW_WITH(set_up_two, test_full_is_silent_for_the_other),
        ROW_WITH(set_up_two, test_response_of_the_other_thread),
        ROW_WITH(set_up_two, test_request_of_the_other_thread),
        ROW_WITH(set_up_two, test_refuses_without_a_parcel),
    };
    return cmocka_run_group_tests(tests, start_tls, stop_tls);
}
