/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The lookups of a configuration, and what of a tenant stands together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/config_folder.h"

#define TRUNK "trunks: [{uri: 'sip:192.0.2.1'}]"

static uint32_t index_of(const struct config_tenant *tenant)
{
    return tenant != NULL ? tenant->index : UINT32_MAX;
}

/* The same word may be the name of one tenant and a domain of another, or in one spelling and
   not in the other. */
static void test_each_way_to_be_called_is_its_own(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n"
                    "- {name: b.example, domains: [a.example], " TRUNK "}\n"
                    "- {name: a, domains: [b.example, Bücher.example], " TRUNK "}\n"
                    "- {domains: [c.example, c2.example], " TRUNK "}\n", 0644);
    struct config *config = opened("main.yaml");
    assert_int_equal(index_of(config_find_named(config, SPAN("b.example"))), 0);
    assert_int_equal(index_of(config_find_tenant(config, SPAN("b.example"))), 1);
    assert_int_equal(index_of(config_find_tenant_ascii(config, SPAN("b.example"))), 1);
    assert_int_equal(index_of(config_find_named(config, SPAN("a"))), 1);
    assert_null(config_find_tenant(config, SPAN("a")));
    assert_int_equal(index_of(config_find_tenant(config, SPAN("a.example"))), 0);
    assert_null(config_find_named(config, SPAN("a.example")));
    assert_int_equal(index_of(config_find_tenant(config, SPAN("bücher.example"))), 1);
    assert_null(config_find_tenant_ascii(config, SPAN("bücher.example")));
    assert_int_equal(
        index_of(config_find_tenant_ascii(config, SPAN("xn--bcher-kva.example"))), 1);
    assert_int_equal(index_of(config_find_named(config, SPAN("c.example"))), 2);
    assert_int_equal(index_of(config_find_tenant(config, SPAN("c.example"))), 2);
    assert_int_equal(index_of(config_find_tenant(config, SPAN("c2.example"))), 2);
    assert_null(config_find_named(config, SPAN("c2.example")));
    assert_null(config_find_partner(config, SPAN("c.example")));
    config_close(&config);
}

/* Also where a peer has worked out a text with the hash of a domain: two of these have it
   (core/config_index.c, index_hash). */
static void test_a_text_is_compared_whole(void **state)
{
    (void)state;
    write_file("main.yaml", XMPP "tenants:\n- {domains: [a.example], " TRUNK "}\n", 0644);
    struct config *config = opened("main.yaml");
    assert_null(config_find_tenant(config, SPAN("a.exampl")));
    assert_null(config_find_tenant(config, SPAN("a.example\0")));
    assert_null(config_find_tenant(config, SPAN("a.example\0wbjaavg")));
    assert_null(config_find_tenant(config, SPAN("bgukdncu")));
    assert_null(config_find_tenant(config, SPAN("a.example.")));
    assert_null(config_find_tenant(config, SPAN("")));
    assert_non_null(config_find_tenant(config, SPAN("a.example")));
    config_close(&config);
}

static bool is_near(const struct config_tenant *tenant, const char *text)
{
    union net_address address;
    assert_int_equal(net_address_parse(&address, text, 5060), 0);
    return config_is_near(tenant, &address);
}

static void test_the_first_network_is_near(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n"
                    "- domains: [a.example]\n"
                    "  trunks:\n"
                    "  - {uri: 'sip:192.0.2.1', priority: 2}\n"
                    "  - {uri: 'sip:192.0.2.9', sources: [10.1.0.0/16, 192.0.2.7]}\n"
                    "- domains: [b.example]\n"
                    "  trunks: [{uri: 'sips:t.example'}]\n"
                    "- domains: [c.example]\n"
                    "  trunks: [{uri: 'sip:[2001:db8::1]', sources: ['2001:db8::/32']}]\n", 0644);
    struct config *config = opened("main.yaml");
    const struct config_tenant *tenants = config->tenants;
    assert_int_equal(tenants[0].first_trunk, tenants[0].trunks[0].index);
    assert_string_equal(tenants[0].trunks[0].host, "192.0.2.9");
    assert_true(is_near(&tenants[0], "10.1.255.3"));
    assert_false(is_near(&tenants[0], "10.2.0.1"));
    assert_false(is_near(&tenants[0], "192.0.2.7")); /* it may, but is looked for */
    assert_false(is_near(&tenants[0], "[2001:db8::1]"));
    /* Who has to prove himself over TLS is not believed for an address. */
    assert_false(is_near(&tenants[1], "192.0.2.1"));
    assert_false(is_near(&tenants[1], "[::]"));
    assert_true(is_near(&tenants[2], "[2001:db8:ffff::7]"));
    assert_false(is_near(&tenants[2], "[2001:db9::1]"));
    assert_false(is_near(&tenants[2], "32.1.13.184"));
    config_close(&config);
}

static bool begins_line(const void *place)
{
    return (uintptr_t)place % CONFIG_LINE_SIZE == 0;
}

/* What the lookup of a tenant compares is in the line that its message needs anyway, if the
   domain is not too long. */
static void test_a_tenant_stands_in_a_line(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n"
                    "- {domains: [of-twenty-six-byte.example], " TRUNK "}\n"
                    "- {domains: [of-twenty-seven-xyz.example], " TRUNK "}\n"
                    "- {domains: [c.example, d.example], " TRUNK "}\n", 0644);
    struct config *config = opened("main.yaml");
    for (size_t i = 0; i < config->tenant_count; i++) {
        assert_true(begins_line(&config->tenants[i]));
        assert_ptr_equal(
            config_find_tenant(config, span_of(config->tenants[i].domains[0].unicode)),
            &config->tenants[i]);
    }
    assert_int_equal(strlen(config->tenants[0].domains[0].unicode), CONFIG_NEAR_SIZE - 1);
    assert_ptr_equal(config->tenants[0].domains[0].unicode, config->tenants[0].near_domain);
    assert_int_equal(strlen(config->tenants[1].domains[0].unicode), CONFIG_NEAR_SIZE);
    assert_ptr_not_equal(config->tenants[1].domains[0].unicode, config->tenants[1].near_domain);
    assert_ptr_equal(config->tenants[2].domains[0].unicode, config->tenants[2].near_domain);
    assert_string_equal(config->tenants[2].domains[1].unicode, "d.example");
    config_close(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_way_to_be_called_is_its_own),
        cmocka_unit_test(test_a_text_is_compared_whole),
        cmocka_unit_test(test_the_first_network_is_near),
        cmocka_unit_test(test_a_tenant_stands_in_a_line),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
