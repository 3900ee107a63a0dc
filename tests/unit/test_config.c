/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The configuration: the defaults, every refused mistake with its file, line and key,
   lookups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>

#include "tests/unit/config_folder.h"

static void test_defaults(void **state)
{
    (void)state;
    struct config *config = opened(NULL);
    char text[NET_ADDRESS_TEXT_SIZE];
    assert_string_equal(config->path, "(embedded)");
    assert_int_equal(config->tenant_count, 1);
    assert_int_equal(config->trunk_count, 1);
    const struct config_tenant *tenant = config_find_tenant(config, SPAN("sip.example"));
    assert_ptr_equal(tenant, &config->tenants[0]);
    assert_ptr_equal(config_find_tenant_ascii(config, SPAN("sip.example")), tenant);
    assert_null(config_find_tenant(config, SPAN("xmpp.example")));
    assert_string_equal(tenant->trunks[0].host, "127.0.0.1");
    assert_int_equal(tenant->trunks[0].port, 5080);
    assert_int_equal(tenant->trunks[0].transport, SIP_TRANSPORT_UDP);
    assert_false(tenant->trunks[0].locate);
    const struct config_partner *partner = config_find_partner(config, SPAN("xmpp.example"));
    assert_non_null(partner);
    assert_string_equal(partner->host, "127.0.0.1");
    assert_int_equal(partner->port, 15269);
    net_address_format(&config->starttls_listen[0], text);
    assert_string_equal(text, "127.0.0.1:5269");
    net_address_format(&config->tls_listen[0], text);
    assert_string_equal(text, "127.0.0.1:5061");
    assert_int_equal(strlen(config->dialback_secret), 64);
    assert_true(config->dns_allow_special);
    assert_int_equal(config->stanza_size_max, 65536);
    assert_true(config->stream_management);
    config_close(&config);
    assert_null(config);
}

/* The defaults as a file give the same, so the printed text is a working start. */
static void test_defaults_as_file(void **state)
{
    (void)state;
    write_file("passerelle.yaml", config_defaults(), 0644);
    struct config *config = opened("passerelle.yaml");
    assert_string_equal(config->certificate, "dev/xmpp.pem");
    config_close(&config);
}

static const struct refusal refusals[] = {
    {XMPP TENANT "  - domains: [b.example, A.example]\n    trunks: [{uri: 'sip:192.0.2.1'}]\n",
     "7: tenants[1].domains[1]", "also belongs to tenant 'a.example'"},
    {XMPP "tenants:\n  - domains:\n    - a.example\n    - a.example\n",
     "7: tenants[0].domains[1]", "stands twice"},
    {XMPP TENANT "partners:\n  - domain: x.example\n  - domain: a.example\n",
     "9: partners[1].domain", "tenant 'a.example' as well"},
    {XMPP TENANT "partners:\n  - domain: x.example\n  - domain: X.example\n",
     "9: partners[1].domain", "twice"},
    {"xmpp:\n  certificate: dev/xmpp.pem\n  key: dev/open.key\n" TENANT, "3: xmpp.key",
     "open to others (mode 644); chmod 640"},
    {"xmpp:\n  certificate: dev/none.pem\n  key: dev/xmpp.key\n" TENANT, "2: xmpp.certificate",
     "No such file"},
    {"xmpp:\n  certificate: dev\n  key: dev/xmpp.key\n" TENANT, "2: xmpp.certificate",
     "is not a file"},
    {"xmpp:\n  certificate: dev/xmpp.pem\n" TENANT, "1: xmpp.key", "is missing"},
    {XMPP "  ca_file: nowhere.pem\n" TENANT, "4: xmpp.ca_file", "No such file"},
    {XMPP "  listen: ['127.0.0.1:5269']\n  proxy_listen: ['127.0.0.1:5268']\n" TENANT,
     "5: xmpp.proxy_listen[0]", "neither in xmpp.listen nor in xmpp.listen_direct_tls"},
    {XMPP "  listen: ['127.0.0.1:5269']\n  proxy_listen: ['127.0.0.1:5269']\n" TENANT,
     "5: xmpp.proxy_listen", "name the proxy's addresses in xmpp.proxy_sources"},
    {XMPP "  listen: ['127.0.0.1:5269']\n  proxy_sources: [10.0.0.1, 10.0.0.0/33]\n" TENANT,
     "5: xmpp.proxy_sources[1]", "'10.0.0.0/33' is no network; write 192.0.2.0/24"},
    {XMPP TENANT "sip:\n  listen_udp: ['127.0.0.1:5060']\n  proxy_listen: ['127.0.0.1:5060']\n",
     "9: sip.proxy_listen[0]", "neither in sip.listen_tcp nor in sip.listen_tls"},
    {XMPP TENANT "sip:\n  listen_tls: ['127.0.0.1:5061']\n  proxy_listen: ['127.0.0.1:5061']\n",
     "9: sip.proxy_listen", "name the proxy's addresses in sip.proxy_sources"},
    {XMPP "  listen:\n    - 127.0.0.1:5269\n    - 127.0.0.1:70000\n" TENANT,
     "6: xmpp.listen[1]", "no address to listen on"},
    {XMPP TENANT "sip:\n  listen_udp: [127.0.0.1:0]\n", "8: sip.listen_udp[0]", "no address"},
    {XMPP TENANT "sip:\n  certificate: dev/xmpp.pem\n", "7: sip.key", "belong together"},
    {XMPP
     "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sip:192.0.2.1;transport=sctp\n",
     "7: tenants[0].trunks[0].uri", "unknown transport; give one of udp, tcp, tls"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sip:192.0.2.1:99999\n",
     "7: tenants[0].trunks[0].uri", "bad port"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: http://192.0.2.1\n",
     "7: tenants[0].trunks[0].uri", "no trunk"},
    {XMPP
     "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sips:h.example;transport=udp\n",
     "7: tenants[0].trunks[0].uri", "sips needs transport=tls"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - priority: 1\n",
     "7: tenants[0].trunks[0].uri", "is missing"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sip:192.0.2.1\n"
          "    sources: [192.0.2.0/33]\n",
     "8: tenants[0].trunks[0].sources", "no network"},
    {XMPP TENANT "    policy: friends\n", "7: tenants[0].policy",
     "unknown value 'friends'; give one of open, list, closed"},
    {XMPP TENANT "    policy: list\n", "7: tenants[0].policy", "needs partners"},
    {XMPP TENANT "    partners: [x.example]\n", "5: tenants[0].policy", "policy: list"},
    {XMPP "tenants:\n  - domains: [a.example]\n", "5: tenants[0].trunks", "at least one trunk"},
    {XMPP "tenants:\n  - name: a\n", "5: tenants[0].domains", "at least one domain"},
    {XMPP "tenants:\n  - domains: ['a b']\n", "5: tenants[0].domains[0]", "not a domain"},
    {XMPP TENANT "    certificate: dev/xmpp.pem\n", "5: tenants[0]", "belong together"},
    {XMPP, "1: tenants", "there is no tenant"},
    {XMPP "  stanza_size_max: 9999\n" TENANT, "4: xmpp.stanza_size_max", "10000 to 262144"},
    {XMPP "  stanza_size_max: 262145\n" TENANT, "4: xmpp.stanza_size_max", "out of range"},
    {XMPP "  dialback_secret: short\n" TENANT, "4: xmpp.dialback_secret", "too short"},
    {XMPP TENANT "global:\n  parcel_count: 1000\n", "8: global.parcel_count", "power of two"},
    {XMPP TENANT "global:\n  workers: 17\n", "8: global.workers", "give 1 to 16"},
    {XMPP TENANT "global:\n  egress: 0\n", "8: global.egress", "give 1 to 16"},
    {XMPP TENANT "global:\n  log_level: loud\n", "8: global.log_level", "unknown value 'loud'"},
    {XMPP TENANT "global:\n  workers: many\n", "8: global.workers", "not a whole number"},
    {XMPP TENANT "global:\n  wrokers: 2\n", "8: global.wrokers", "unknown key"},
    {XMPP "  listen: ['127.0.0.1:5269']\n  listen_direct_tls: ['127.0.0.1']\n" TENANT
     "sip: {listen_udp: ['127.0.0.1:5270'], listen_tcp: ['127.0.0.1', '127.0.0.1:5270']}\n",
     "9: sip.listen_tcp[1]", "127.0.0.1:5270 stands in xmpp.listen_direct_tls already"},
    {XMPP TENANT "sip: {listen_udp: ['[::1]:5060', '[::1]']}\n", "7: sip.listen_udp[1]",
     "[::1]:5060 stands in sip.listen_udp already"},
    {XMPP "tenants:\n  - {name: a, domains: [a.example], trunks: [{uri: 'sip:h'}]}\n"
          "  - {name: a, domains: [b.example], trunks: [{uri: 'sip:h'}]}\n",
     "6: tenants[1].name", "another tenant has the name 'a'"},
    {XMPP TENANT "    trunk: 2\n", "7: tenants[0].trunk", "unknown key"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    sasl: psk\n", "9: partners[0].sasl",
     "one of required, optional, not_supported"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    host: h\n    port: 65536\n",
     "10: partners[0].port", "1 to 65535"},
    {XMPP TENANT "include: nowhere\n", "7: include", "cannot read the directory"},
    {XMPP "  listen: [a, b\n" TENANT, "5: ", "syntax error"},
};

static void test_refusals(void **state)
{
    (void)state;
    CHECK_REFUSALS(refusals);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct config *config = NULL;
    char error[200];
    assert_int_equal(config_open(&config, "none.yaml", error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "none.yaml: cannot read it"));
}

/* What was found until then must not leak. In memory, where so many names are made at once; each
   is a name of one file. */
static void test_too_many_included(void **state)
{
    (void)state;
    enum { FILES = 65537 };
    struct config *config = NULL;
    char folder[] = "/dev/shm/passerelle-config-XXXXXX", text[1000], error[600] = "", name[100];
    if (mkdtemp(folder) == NULL)
        skip();
    (void)snprintf(text, sizeof(text), XMPP TENANT "include: %s\n", folder);
    write_file("main.yaml", text, 0644);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "%s/%u.yaml", folder, i);
        assert_int_equal(symlink("/dev/null", name), 0);
    }
    int rc = config_open(&config, "main.yaml", error, sizeof(error));
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "%s/%u.yaml", folder, i);
        assert_int_equal(unlink(name), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rc, -EINVAL);
    assert_null(config);
    if (strstr(error, "has more than 65536 files") == NULL)
        fail_msg("%s", error);
}

static void test_included(void **state)
{
    (void)state;
    struct config *config = NULL;
    char error[600];
    write_file("main.yaml", XMPP TENANT "include: more\n", 0644);
    write_file("more/1.yaml", "tenants:\n  - domains: [b.example]\n    trunks:\n"
                              "      - uri: sips:gw.example\n      - uri: sip:192.0.2.9:5070;"
                              "transport=tcp\n        priority: 0\n        sources: []\n", 0644);
    write_file("more/2.yml", "partners: [{domain: x.example, direct_tls: true}]\n", 0644);
    write_file("more/ignored.txt", "nonsense", 0644);
    config = opened("main.yaml");
    assert_int_equal(config->tenant_count, 2);
    assert_int_equal(config->trunk_count, 3);
    assert_int_equal(config->partners[0].port, 5270);
    const struct config_tenant *tenant = config_find_tenant(config, SPAN("b.example"));
    assert_int_equal(tenant->index, 1);
    assert_int_equal(tenant->trunks[0].transport, SIP_TRANSPORT_TLS);
    assert_true(tenant->trunks[0].locate);
    assert_int_equal(tenant->trunks[0].port, 0);
    assert_int_equal(tenant->trunks[1].index, 2);
    assert_int_equal(tenant->trunks[1].source_count, 1);
    config_close(&config);
    write_file("more/3.yaml", "\nglobal: {workers: 2}\n", 0644);
    assert_int_equal(config_open(&config, "main.yaml", error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, "more/3.yaml:2: global: an included file"));
}

static void test_policy_and_spelling(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n"
                    "- {domains: [Bücher.example], trunks: [{uri: 'sip:192.0.2.1'}],\n"
                    "   policy: list, partners: [xn--mnchen-3ya.example]}\n"
                    "- {domains: [c.example], trunks: [{uri: 'sip:192.0.2.1'}], policy: closed}\n"
                    "- {domains: [d.example], trunks: [{uri: 'sip:192.0.2.1'}]}\n", 0644);
    struct config *config = opened("main.yaml");
    const struct config_tenant *tenant = config_find_tenant(config, SPAN("bücher.example"));
    assert_non_null(tenant);
    assert_ptr_equal(config_find_tenant_ascii(config, SPAN("xn--bcher-kva.example")), tenant);
    assert_null(config_find_tenant(config, SPAN("xn--bcher-kva.example")));
    assert_true(config_partner_allowed(config, tenant, SPAN("münchen.example")));
    assert_false(config_partner_allowed(config, tenant, SPAN("x.example")));
    assert_false(config_partner_allowed(config, tenant + 1, SPAN("münchen.example")));
    assert_true(config_partner_allowed(config, tenant + 2, SPAN("x.example")));
    config_close(&config);
}

static size_t count_trunks_from(const struct config *config, const char *text)
{
    union net_address address;
    size_t next = 0, count = 0;
    assert_int_equal(net_address_parse(&address, text, 5060), 0);
    while (config_next_trunk_from(config, &address, &next) != NULL)
        count++;
    return count;
}

static void test_sources(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n"
                    "- domains: [a.example]\n"
                    "  trunks:\n"
                    "  - {uri: 'sip:192.0.2.1', priority: 2}\n"
                    "  - {uri: 'sip:gw.example', sources: [192.0.2.0/24, '2001:db8::/32']}\n"
                    "- domains: [b.example]\n"
                    "  trunks: [{uri: 'sip:[2001:db8::5]:5070'}, {uri: 'sip:192.0.2.1'}]\n", 0644);
    struct config *config = opened("main.yaml");
    assert_int_equal(count_trunks_from(config, "192.0.2.1:999"), 3);
    assert_int_equal(count_trunks_from(config, "192.0.2.7"), 1);
    assert_int_equal(count_trunks_from(config, "[::ffff:192.0.2.1]:5060"), 3);
    assert_int_equal(count_trunks_from(config, "192.0.3.1"), 0);
    assert_int_equal(count_trunks_from(config, "[2001:db8::5]:1"), 2);
    assert_int_equal(count_trunks_from(config, "[2001:db9::5]:1"), 0);
    assert_string_equal(config->tenants[0].trunks[0].host, "gw.example");
    assert_string_equal(config->tenants[1].trunks[0].host, "2001:db8::5");
    assert_int_equal(config->tenants[1].trunks[0].port, 5070);
    config_close(&config);
}

/* ---- one configuration in the place of another ---- */

static struct config *read_again(const struct config *previous)
{
    struct config *config = NULL;
    char error[600] = "";
    const struct config_source source = {.path = previous->path, .previous = previous};
    int rc = config_read(&config, &source, error, sizeof(error));
    if (rc != 0)
        fail_msg("refused: %s", error);
    return config;
}

#define NAMED(name, trunk)                                                                     \
    "- name: " name "\n  domains: [" name ".example]\n  trunks: [{uri: '" trunk "'}]\n"

static uint32_t index_of(const struct config *config, const char *name)
{
    const struct config_tenant *tenant = config_find_named(config, span_of(name));
    assert_non_null(tenant);
    assert_ptr_equal(config_tenant_at(config, tenant->index), tenant);
    return tenant->index;
}

/* The trunk that is first to be tried. */
static const struct config_trunk *trunk_of(const struct config *config, const char *name)
{
    const struct config_trunk *trunk = &config_find_named(config, span_of(name))->trunks[0];
    assert_ptr_equal(config_trunk_at(config, trunk->index), trunk);
    return trunk;
}

static void test_who_stays_keeps_his_place(void **state)
{
    (void)state;
    write_file("main.yaml",
               XMPP "tenants:\n" NAMED("a", "sip:10.0.0.1") NAMED("b", "sip:10.0.0.2")
                   NAMED("c", "sip:10.0.0.3"),
               0644);
    struct config *first = opened("main.yaml");
    assert_int_equal(first->snapshot, 1);
    write_file("main.yaml",
               XMPP "tenants:\n" NAMED("new", "sip:10.0.0.2") NAMED("c", "sip:10.0.0.9")
                   NAMED("a", "sip:10.0.0.1"),
               0644);
    struct config *second = read_again(first);
    assert_int_equal(second->snapshot, 2);
    assert_int_equal(index_of(second, "a"), index_of(first, "a"));
    assert_int_equal(index_of(second, "c"), index_of(first, "c"));
    assert_int_equal(trunk_of(second, "a")->index, trunk_of(first, "a")->index);
    assert_int_equal(trunk_of(second, "a")->serial, trunk_of(first, "a")->serial);
    /* Another URI is another trunk; nobody gets what anybody had before. */
    assert_true(trunk_of(second, "c")->serial > first->trunk_serial);
    assert_null(config_trunk_at(first, trunk_of(second, "c")->index));
    assert_null(config_tenant_at(first, index_of(second, "new")));
    assert_null(config_tenant_at(second, index_of(first, "b")));
    /* What was given up is given again a reload later. */
    write_file("main.yaml",
               XMPP "tenants:\n" NAMED("d", "sip:10.0.0.4") NAMED("a", "sip:10.0.0.1"), 0644);
    struct config *third = read_again(second);
    assert_int_equal(index_of(third, "d"), index_of(first, "b"));
    assert_int_equal(third->tenant_slots, second->tenant_slots);
    assert_int_equal(index_of(third, "a"), index_of(first, "a"));
    config_close(&first);
    config_close(&second);
    config_close(&third);
}

static void test_trunks_are_known_by_uri_and_identity(void **state)
{
    (void)state;
    const char *form = XMPP "tenants:\n- name: a\n  domains: [a.example]\n  trunks:\n"
                            "  - {uri: 'sip:10.0.0.1', priority: %s}\n"
                            "  - {uri: 'sip:10.0.0.1', priority: 2, options_interval: %s}\n"
                            "  - {uri: 'sips:gw.example', priority: 9, identity: %s}\n";
    char text[2000];
    (void)snprintf(text, sizeof(text), form, "1", "30", "one.example");
    write_file("main.yaml", text, 0644);
    struct config *first = opened("main.yaml");
    (void)snprintf(text, sizeof(text), form, "5", "0", "two.example");
    write_file("main.yaml", text, 0644);
    struct config *second = read_again(first);
    const struct config_trunk *before = first->tenants[0].trunks;
    const struct config_trunk *after = second->tenants[0].trunks;
    /* The two of one URI stay two, whatever else of them changes. */
    assert_int_equal(after[0].serial, before[0].serial);
    assert_int_equal(after[1].serial, before[1].serial);
    assert_int_equal(after[0].options_interval_s, 0);
    assert_int_not_equal(after[2].serial, before[2].serial);
    assert_int_not_equal(after[2].index, before[2].index);
    config_close(&first);
    config_close(&second);
}

static void test_what_needs_a_restart(void **state)
{
    (void)state;
    const char *keys[32];
    write_file("main.yaml", "global: {workers: 2}\nsip: {listen_udp: ['10.0.0.1'], host: one}\n"
                            XMPP TENANT, 0644);
    struct config *first = opened("main.yaml");
    write_file("main.yaml",
               "global: {workers: 3, stats_socket: other.sock}\n"
               "sip: {listen_udp: ['10.0.0.1', '10.0.0.2'], recipient_queue_max: 7}\n" XMPP TENANT,
               0644);
    struct config *second = read_again(first);
    assert_int_equal(config_keep_fixed(second, first, keys, 32), 4);
    assert_string_equal(keys[0], "global.workers");
    assert_string_equal(keys[1], "global.stats_socket");
    assert_string_equal(keys[2], "sip.host");
    assert_string_equal(keys[3], "sip.listen_udp");
    assert_string_equal(second->dialback_secret, first->dialback_secret);
    config_close(&first);
    assert_int_equal(second->worker_count, 2);
    assert_string_equal(second->stats_socket, "./passerelle.sock");
    assert_string_equal(second->sip_host, "one");
    assert_int_equal(second->udp_listen_count, 1);
    assert_int_equal(second->recipient_queue_max, 7);
    config_close(&second);
}

static void test_a_changed_certificate_has_another_stamp(void **state)
{
    (void)state;
    write_file("main.yaml", XMPP TENANT, 0644);
    struct config *first = opened("main.yaml");
    struct config *second = read_again(first);
    assert_true(second->stamp == first->stamp && second->sip_stamp == first->sip_stamp);
    /* It is no certificate, but nobody asks before it changes. */
    write_file("dev/xmpp.pem", "another one", 0644);
    struct config *third = NULL;
    char error[600] = "";
    const struct config_source source = {.path = "main.yaml", .previous = second};
    assert_int_equal(config_read(&third, &source, error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, "main.yaml:2: xmpp.certificate: "));
    config_close(&first);
    config_close(&second);
}

/* How long it takes is measured by bench/figures. */
static void test_ten_thousand_tenants(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    FILE *file = fopen("big.yaml", "w");
    assert_non_null(file);
    (void)fputs(XMPP "tenants:\n", file);
    for (unsigned i = 0; i < COUNT; i++)
        (void)fprintf(file,
                      "- domains: [t%u.example]\n  policy: list\n  partners: [p%u.example]\n"
                      "  trunks:\n  - uri: sip:10.0.%u.%u:5060;transport=udp\n",
                      i, i, i / 250, i % 250 + 1);
    assert_int_equal(fclose(file), 0);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct config *config = opened("big.yaml");
    size_t each = (mallinfo2().uordblks + mallinfo2().hblkhd - before) / COUNT;
    print_message("%d tenants: %zu bytes each\n", COUNT, each);
    assert_true(each < 2048);
    assert_int_equal(config_find_tenant(config, SPAN("t9999.example"))->index, 9999);
    assert_true(config_partner_allowed(config, &config->tenants[77], SPAN("p77.example")));
    assert_false(config_partner_allowed(config, &config->tenants[77], SPAN("p78.example")));
    assert_int_equal(count_trunks_from(config, "10.0.1.1"), 1);
    config_close(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_defaults_as_file),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_too_many_included),
        cmocka_unit_test(test_included),
        cmocka_unit_test(test_policy_and_spelling),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_who_stays_keeps_his_place),
        cmocka_unit_test(test_trunks_are_known_by_uri_and_identity),
        cmocka_unit_test(test_what_needs_a_restart),
        cmocka_unit_test(test_a_changed_certificate_has_another_stamp),
        cmocka_unit_test(test_ten_thousand_tenants),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
