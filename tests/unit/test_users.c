/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which users of a tenant may talk with XMPP users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/config_folder.h"

#define TWO                                                                                    \
    XMPP "tenants:\n"                                                                          \
         "  - domains: [a.example, bücher.example]\n"                                         \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    users: {default: deny, allow: [Bob@A.example, 'eve@xn--bcher-kva.example']}\n"   \
         "  - domains: [b.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    users: {deny: [bob@b.example, 'o\\27neil@b.example']}\n"                         \
         "  - domains: [c.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    users: {default: deny}\n"                                                        \
         "  - domains: [d.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "  - domains: [e.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    users: {default: allow, allow: [bob@e.example], deny: [eve@e.example]}\n"        \
         "  - domains: [f.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    users: {default: deny, allow: [bob@f.example], deny: [eve@f.example]}\n"

static bool is_allowed(const struct config *config, const char *address)
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct jid jid;
    assert_int_equal(jid_parse(span_of(address), &writer, &jid), JID_OK);
    return config_user_allowed(config, config_find_tenant(config, jid.domain), &jid);
}

static void test_lists(void **state)
{
    (void)state;
    write_file("users.yaml", TWO, 0644);
    struct config *config = opened("users.yaml");
    assert_true(is_allowed(config, "bob@a.example"));
    assert_true(is_allowed(config, "bob@a.example/phone"));
    assert_true(is_allowed(config, "eve@bücher.example"));
    assert_false(is_allowed(config, "eve@a.example"));
    assert_false(is_allowed(config, "bobby@a.example"));
    assert_false(is_allowed(config, "bob@b.example"));
    assert_false(is_allowed(config, "o\\27neil@b.example/x"));
    assert_true(is_allowed(config, "eve@b.example"));
    assert_false(is_allowed(config, "bob@c.example"));
    assert_true(is_allowed(config, "bob@d.example"));
    assert_true(is_allowed(config, "bob@e.example"));
    assert_false(is_allowed(config, "eve@e.example"));
    assert_true(is_allowed(config, "ann@e.example"));
    assert_true(is_allowed(config, "bob@f.example"));
    assert_false(is_allowed(config, "eve@f.example"));
    assert_false(is_allowed(config, "ann@f.example"));
    config_close(&config);
}

static const struct refusal refusals[] = {
    {XMPP TENANT "    users: {default: maybe}\n", "7: tenants[0].users.default",
     "one of deny, allow"},
    {XMPP TENANT "    users:\n      allow: [bob@a.example]\n", "8: tenants[0].users.allow",
     "write default: deny (only these may) or default: allow"},
    {XMPP TENANT "    users: {default: deny, allow: [bob@a.example], deny: [Bob@a.example]}\n",
     "7: tenants[0].users.deny[0]", "stands twice"},
    {XMPP TENANT "    users:\n      deny:\n      - bob@b.example\n",
     "9: tenants[0].users.deny[0]", "'bob@b.example' is in no domain of this tenant"},
    {XMPP TENANT "    users: {deny: [a.example]}\n", "7: tenants[0].users.deny[0]",
     "'a.example' is no address such as bob@a.example"},
    {XMPP TENANT "    users: {deny: [bob@a.example/x]}\n", "7: tenants[0].users.deny[0]",
     "is no address"},
    {XMPP TENANT "    users: {deny: [bob@a.example, BOB@a.example]}\n",
     "7: tenants[0].users.deny[1]", "stands twice"},
    {XMPP TENANT "    users: {dent: [bob@a.example]}\n", "7: tenants[0].users.dent",
     "unknown key"},
};

static void test_refusals(void **state)
{
    (void)state;
    check_refusals(refusals, sizeof(refusals) / sizeof(refusals[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
