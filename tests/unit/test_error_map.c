/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Both tables of RFC 7247 §7, and what SIP forbids in answer to a MESSAGE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/error_map.h"

static void assert_span(struct span got, const char *wanted)
{
    if (!span_equal(got, span_of(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)got.size, got.data, wanted);
}

static void statuses_become_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *name;
    } rows[] = {
        {300, "redirect"}, {301, "gone"}, {302, "redirect"}, {305, "redirect"},
        {380, "not-acceptable"}, {399, "redirect"}, {400, "bad-request"},
        {401, "not-authorized"}, {402, "bad-request"}, {403, "forbidden"},
        {404, "item-not-found"}, {405, "feature-not-implemented"}, {406, "not-acceptable"},
        {407, "registration-required"}, {408, "remote-server-timeout"}, {410, "gone"},
        {413, "policy-violation"}, {414, "policy-violation"}, {415, "not-acceptable"},
        {416, "not-acceptable"}, {420, "feature-not-implemented"}, {421, "not-acceptable"},
        {423, "resource-constraint"}, {430, "recipient-unavailable"},
        {439, "feature-not-implemented"}, {440, "policy-violation"},
        {480, "recipient-unavailable"}, {481, "item-not-found"}, {482, "not-acceptable"},
        {483, "not-acceptable"}, {484, "item-not-found"}, {485, "item-not-found"},
        {486, "recipient-unavailable"}, {487, "recipient-unavailable"},
        {488, "not-acceptable"}, {489, "policy-violation"}, {491, "unexpected-request"},
        {493, "bad-request"}, {499, "bad-request"}, {500, "internal-server-error"},
        {501, "feature-not-implemented"}, {502, "remote-server-not-found"},
        {503, "internal-server-error"}, {504, "remote-server-timeout"},
        {505, "not-acceptable"}, {513, "policy-violation"}, {580, "internal-server-error"},
        {600, "recipient-unavailable"}, {603, "recipient-unavailable"},
        {604, "item-not-found"}, {606, "not-acceptable"}, {699, "recipient-unavailable"},
        {428, "forbidden"}, {433, "forbidden"}, {470, "forbidden"},
        {607, "policy-violation"}, {608, "policy-violation"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char space[512];
        struct writer memory = writer_make(space, sizeof(space));
        struct stanza_fault fault =
            error_map_to_xmpp(rows[i].status, SPAN_NONE, SPAN("xmpp:a@b.example"), &memory);
        assert_span(stanza_error_name(fault.error), rows[i].name);
        bool moved = rows[i].status == 301 || rows[i].status == 302;
        assert_int_equal(fault.address.size > 0, moved);
        assert_int_equal(fault.by.size, 0);
    }
}

static void texts_name_the_code(void **state)
{
    (void)state;
    char space[512];
    struct writer memory = writer_make(space, sizeof(space));
    struct stanza_fault fault =
        error_map_to_xmpp(404, SPAN("Nobody\r\nhere"), SPAN_NONE, &memory);
    assert_span(fault.text, "The SIP side answered 404 Nobody here.");
    fault = error_map_to_xmpp(404, SPAN_NONE, SPAN_NONE, &memory);
    assert_span(fault.text, "The SIP side answered 404 Not Found.");
    /* What XML cannot hold never gets into a stanza. */
    fault = error_map_to_xmpp(404, SPAN("\xEF\xBF\xBF"), SPAN_NONE, &memory);
    assert_span(fault.text, "The SIP side answered 404 Not Found.");
    fault = error_map_to_xmpp(413, SPAN_NONE, SPAN_NONE, &memory);
    assert_span(fault.type, "modify");
    memory = writer_make(space, 10);
    fault = error_map_to_xmpp(404, SPAN_NONE, SPAN_NONE, &memory);
    assert_int_equal(fault.text.size, 0);
    assert_false(memory.overflow);
}

static void errors_become_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int full, bare;
    } rows[] = {
        {"bad-request", 400, 400}, {"conflict", 400, 400},
        {"feature-not-implemented", 405, 501}, {"forbidden", 403, 603}, {"gone", 410, 410},
        {"internal-server-error", 500, 500}, {"item-not-found", 404, 604},
        {"jid-malformed", 400, 400}, {"not-acceptable", 406, 606}, {"not-allowed", 403, 403},
        {"not-authorized", 403, 403}, {"policy-violation", 403, 403},
        {"recipient-unavailable", 480, 600}, {"redirect", 480, 480},
        {"registration-required", 403, 403}, {"remote-server-not-found", 404, 404},
        {"remote-server-timeout", 504, 504}, {"resource-constraint", 500, 500},
        {"service-unavailable", 403, 403}, {"subscription-required", 400, 400},
        {"undefined-condition", 400, 400}, {"unexpected-request", 400, 400},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char space[512];
        struct writer memory = writer_make(space, sizeof(space));
        struct stanza_fault fault = {.error = stanza_error_find(span_of(rows[i].name))};
        assert_int_equal(error_map_to_sip(&fault, true, SPAN_NONE, &memory).status,
                         rows[i].full);
        assert_int_equal(error_map_to_sip(&fault, false, SPAN_NONE, &memory).status,
                         rows[i].bare);
    }
}

static void forbidden_statuses_are_never_sent(void **state)
{
    (void)state;
    for (int error = 0; error < STANZA_ERROR_COUNT; error++) {
        for (int full = 0; full < 2; full++) {
            char space[512];
            struct writer memory = writer_make(space, sizeof(space));
            struct stanza_fault fault = {.error = (enum stanza_error)error};
            struct sip_fault out = error_map_to_sip(&fault, full == 1, SPAN_NONE, &memory);
            assert_true(out.status >= 400 && out.status < 700);
            assert_int_not_equal(out.status, 401);
            assert_int_not_equal(out.status, 407);
            assert_int_not_equal(out.status, 408);
            assert_int_not_equal(out.status, 503);
            assert_int_equal(out.status == 405, span_starts(out.extra, SPAN("Allow: ")));
        }
    }
}

static void companions_and_reasons(void **state)
{
    (void)state;
    char space[512];
    struct writer memory = writer_make(space, sizeof(space));
    struct stanza_fault fault = {.error = STANZA_ERROR_GONE, .text = SPAN("moved\r\nEvil: x")};
    struct sip_fault out = error_map_to_sip(&fault, false, SPAN("sip:n@x.example"), &memory);
    assert_int_equal(out.status, 301);
    assert_span(out.extra, "Contact: <sip:n@x.example>\r\n");
    assert_span(out.reason, "moved Evil: x");
    fault.error = STANZA_ERROR_REDIRECT;
    out = error_map_to_sip(&fault, false, SPAN("sip:n@x.example"), &memory);
    assert_int_equal(out.status, 302);
    out = error_map_to_sip(&fault, false, SPAN("sip:n@x.example>\r\nEvil: x"), &memory);
    assert_int_equal(out.status, 480);
    assert_int_equal(out.extra.size, 0);
    /* Prosody and ejabberd send no text for a user who is not there. */
    memory = writer_make(space, sizeof(space));
    fault = (struct stanza_fault){.error = STANZA_ERROR_SERVICE_UNAVAILABLE};
    assert_span(error_map_to_sip(&fault, false, SPAN_NONE, &memory).reason,
                "The XMPP side answered service-unavailable");
    /* An address that does not fit is left out whole. */
    memory = writer_make(space, 20);
    fault.error = STANZA_ERROR_GONE;
    out = error_map_to_sip(&fault, false, SPAN("sip:n@x.example"), &memory);
    assert_int_equal(out.status, 410);
    assert_int_equal(out.extra.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_become_errors), cmocka_unit_test(texts_name_the_code),
        cmocka_unit_test(errors_become_statuses),
        cmocka_unit_test(forbidden_statuses_are_never_sent),
        cmocka_unit_test(companions_and_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
