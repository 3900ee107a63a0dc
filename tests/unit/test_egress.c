/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages from XMPP on their way to a trunk. */
#include "egress_scene.h"

static void test_delivers(void **state)
{
    (void)state;
    post("romeo", SPAN("Art thou not Romeo?"));
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "MESSAGE sip:romeo@sip.example SIP/2.0\r\n", 39);
    assert_true(says("\r\n\r\nArt thou not Romeo?"));
    assert_true(says("gr=balcony"));
    assert_true(says("branch=z9hG4bK02"));
    answer(scene.trunks[0], "200 OK");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_DELIVERED);
    assert_int_equal(outcome.sip_status, 200);
    answer(scene.trunks[0], "200 OK"); /* again: matches nothing, as Timer K would have it */
    for (int i = 0; i < 1000 && count(STAT_SIP_RESPONSES_STRAY) == 0; i++)
        egress_turn(scene.egress, 1);
    assert_int_equal(count(STAT_SIP_RESPONSES_STRAY), 1);
    assert_null(mesh_next(scene.mesh, WORKER));
    assert_int_equal(mesh_out(scene.mesh, WORKER), 0);
}

static void test_refusal(void **state)
{
    (void)state;
    post("nobody", SPAN("hello"));
    receive(scene.trunks[0]);
    answer(scene.trunks[0], "404 Not Found");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.sip_status, 404);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_ITEM_NOT_FOUND);
}

static void test_failover_after_silence(void **state)
{
    (void)state;
    char first[300], second[300], branch[300];
    post("romeo", SPAN("hello"));
    receive(scene.trunks[0]);
    header("Call-ID", first, sizeof(first));
    header("Via", branch, sizeof(branch));
    receive(scene.trunks[0]);
    header("Via", second, sizeof(second));
    assert_string_equal(branch, second); /* a retransmission */
    receive(scene.trunks[1]);
    header("Call-ID", second, sizeof(second));
    assert_string_equal(first, second);
    header("Via", second, sizeof(second));
    assert_string_not_equal(branch, second);
    answer(scene.trunks[1], "202 Accepted");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    assert_int_equal(count(STAT_SIP_TRUNK_FAILOVERS), 1);
    assert_true(count(STAT_SIP_RETRANSMISSIONS_OUT) >= 1);
}

static void test_503_with_retry_after_blocks(void **state)
{
    (void)state;
    post("romeo", SPAN("one"));
    receive(scene.trunks[0]);
    answer(scene.trunks[0], "503 Busy\r\nRetry-After: 60");
    receive(scene.trunks[1]);
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    post("romeo", SPAN("two"));
    receive(scene.trunks[1]); /* the first trunk is left alone */
    answer(scene.trunks[1], "503 Busy");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.sip_status, 503);
    assert_true(span_equal(outcome.fault.text, SPAN("The SIP side answered 503 Busy.")));
}

/* What nobody answered is not told as if the SIP side had said it. */
static void test_silence_everywhere(void **state)
{
    (void)state;
    post("romeo", SPAN("hello"));
    receive(scene.trunks[1]); /* the first has had its time */
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    assert_true(span_equal(outcome.fault.text, SPAN("The SIP side did not answer in time")));
}

static void test_one_pending_for_each_recipient(void **state)
{
    (void)state;
    post("romeo", SPAN("one"));
    post("romeo", SPAN("two"));
    post("romeo", SPAN("three"));
    post("romeo", SPAN("four")); /* more than recipient_queue_max wait */
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_RESOURCE_CONSTRAINT);
    static const char *const bodies[] = {"\r\n\r\none", "\r\n\r\ntwo", "\r\n\r\nthree"};
    for (int i = 0; i < 3; i++) {
        receive(scene.trunks[0]);
        while (i > 0 && says(bodies[i - 1])) /* a retransmission sent before the answer */
            receive(scene.trunks[0]);
        assert_true(says(bodies[i]));
        answer(scene.trunks[0], "200 OK");
        assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    }
}

/* What comes when its tenant is gone does not wait for its turn: he may be back then, and whether
   he wants it was judged without him. */
static void test_tenant_is_gone(void **state)
{
    (void)state;
    post("romeo", SPAN("one"));
    receive(scene.trunks[0]);
    struct parcel *parcel = mesh_take(scene.mesh, WORKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    parcel->kind = PARCEL_MESSAGE_TO_SIP;
    parcel->snapshot = scene.config->snapshot;
    parcel->tenant = UINT32_MAX;
    parcel->draft.request_uri = parcel_copy(parcel, SPAN("sip:romeo@sip.example"));
    mesh_post(scene.mesh, WORKER, EGRESS, &parcel);
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_GONE);
    answer(scene.trunks[0], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
}

static void test_too_long_for_udp(void **state)
{
    static char body[1400];
    (void)state;
    memset(body, 'x', sizeof(body));
    post("romeo", span_make(body, sizeof(body)));
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_POLICY_VIOLATION);
}

/* RFC 3261 §18.1.1: a sent-by is where answers can come to; 0.0.0.0 is nowhere. */
static void test_via_names_the_way_to_the_trunk(void **state)
{
    (void)state;
    char via[60];
    (void)snprintf(via, sizeof(via), "\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;", scene.own);
    post("romeo", SPAN("hello"));
    receive(scene.trunks[0]);
    assert_true(says(via));
    answer(scene.trunks[0], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    /* And what carries it is a loop. */
    char extra[100];
    (void)snprintf(extra, sizeof(extra),
                   "Max-Forwards: 60\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKx\r\n",
                   scene.own);
    send_request(&(struct request){.extra = extra});
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 482 ", 12);
}

/* What `show trunks` is made of; free() it. */
static char *report_of_trunks(void)
{
    char *text = NULL;
    size_t size = 0;
    struct parcel *parcel = mesh_take(scene.mesh, CONTROL, MESH_CONTROL);
    struct inquiry inquiry = {.kind = INQUIRY_TRUNKS,
                              .out = open_memstream(&text, &size)};
    assert_non_null(parcel);
    parcel->kind = PARCEL_INQUIRY;
    parcel->inquiry = &inquiry;
    mesh_post(scene.mesh, CONTROL, EGRESS, &parcel);
    for (int i = 0; i < TURNS && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, CONTROL);
    }
    assert_non_null(parcel);
    mesh_give(scene.mesh, CONTROL, &parcel);
    assert_int_equal(fclose(inquiry.out), 0);
    return text;
}

static void test_report_of_trunks(void **state)
{
    (void)state;
    char row[200];
    post("romeo", SPAN("one"));
    post("romeo", SPAN("two"));
    receive(scene.trunks[0]);
    char *text = report_of_trunks();
    /* egress 0; no answer yet; one in flight, one queued, one sent, none failed */
    (void)snprintf(row, sizeof(row),
                   "0\texample\tsip:127.0.0.1:%u;transport=udp\tudp\t127.0.0.1:%u\tunknown\t",
                   scene.ports[0], scene.ports[0]);
    assert_non_null(strstr(text, row));
    assert_non_null(strstr(text, "\t0\t-\t1\t1\t1\t0\n"));
    free(text);
    answer(scene.trunks[0], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
}

static int set_up_wildcard(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.wildcard = true});
}

static int set_up_keep_alive(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.keep_alive_s = 1});
}

static void test_keep_alive(void **state)
{
    (void)state;
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "OPTIONS sip:127.0.0.1", 21);
    answer(scene.trunks[0], "200 OK");
    /* Then silence: three misses are the end of the trunk. */
    for (int i = 0; i < 4500; i++) {
        egress_turn(scene.egress, 1);
        while (recv(scene.trunks[0], scene.text, sizeof(scene.text), MSG_DONTWAIT) > 0)
            ;
    }
    post("romeo", SPAN("hello"));
    receive(scene.trunks[1]);
    assert_false(hears(scene.trunks[0], 1));
    assert_int_equal(count(STAT_SIP_TRUNK_FAILOVERS), 0);
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
}

static int set_up_neighbours(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.keep_alive_s = 1, .neighbour = true});
}

/* Both tenants' trunks to the one server. */
static bool both_are(const char *status)
{
    unsigned found = 0;
    char *text = report_of_trunks(), to[60];
    (void)snprintf(to, sizeof(to), "udp\t127.0.0.1:%u\t%s\t", scene.ports[0], status);
    for (const char *hit = text; (hit = strstr(hit, to)) != NULL; hit++)
        found++;
    free(text);
    return found == 2;
}

/* Answers keep-alives, or not, until both trunks have the status. Returns how many there were; all
   are one tenant's. */
static unsigned keep_alives_until(const char *status, bool answers)
{
    unsigned heard = 0, calls = 0;
    char from[300] = "", call[300], last[300] = "";
    for (unsigned i = 0; !both_are(status); i++) {
        assert_in_range(i, 0, 6 * TURNS);
        if (!hears(scene.trunks[0], 1))
            continue;
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, "OPTIONS ", 8);
        header("From", from, sizeof(from));
        assert_non_null(strstr(from, "sip.example"));
        header("Call-ID", call, sizeof(call));
        calls += strcmp(call, last) != 0;
        (void)snprintf(last, sizeof(last), "%s", call);
        if (answers)
            answer(scene.trunks[0], "200 OK");
        heard++;
    }
    assert_in_range(calls, 1, heard);
    return calls;
}

static void test_neighbours_share_keep_alives(void **state)
{
    (void)state;
    assert_in_range(keep_alives_until("up", true), 1, 3);
    assert_in_range(keep_alives_until("down", false), 3, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_delivers),
        ROW(test_refusal),
        ROW(test_failover_after_silence),
        ROW(test_503_with_retry_after_blocks),
        ROW(test_silence_everywhere),
        ROW(test_one_pending_for_each_recipient),
        ROW(test_tenant_is_gone),
        ROW(test_too_long_for_udp),
        ROW(test_report_of_trunks),
        ROW_WITH(set_up_wildcard, test_via_names_the_way_to_the_trunk),
        ROW_WITH(set_up_keep_alive, test_keep_alive),
        ROW_WITH(set_up_neighbours, test_neighbours_share_keep_alives),
    };
    return cmocka_run_group_tests(tests, start_tls, stop_tls);
}
