/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The configuration: the defaults, every refused mistake with its file, line and key, lookups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/config.h"

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* Every test runs in a folder of its own with the files that the defaults name. */
static int enter_folder(void **state)
{
    char folder[] = "/tmp/passerelle-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    *state = strdup(folder);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("dev", 0700), 0);
    assert_int_equal(mkdir("more", 0700), 0);
    write_file("dev/ca.pem", "ca", 0644);
    write_file("dev/xmpp.pem", "certificate", 0644);
    write_file("dev/xmpp.key", "key", 0600);
    write_file("dev/open.key", "key", 0644);
    return 0;
}

static int leave_folder(void **state)
{
    char command[200];
    assert_int_equal(chdir("/"), 0);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
    assert_int_equal(system(command), 0);
    free(*state);
    return 0;
}

static struct config *opened(const char *path)
{
    struct config *config = NULL;
    char error[600];
    int rc = config_open(&config, path, error, sizeof(error));
    if (rc != 0)
        fail_msg("%s", error);
    assert_non_null(config);
    return config;
}

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

/* Parts of a good file, to be varied. */
#define XMPP                                                                                     \
    "xmpp:\n"                                                                                    \
    "  certificate: dev/xmpp.pem\n"                                                              \
    "  key: dev/xmpp.key\n"
#define TENANT                                                                                   \
    "tenants:\n"                                                                                 \
    "  - domains: [a.example]\n"                                                                 \
    "    trunks: [{uri: 'sip:192.0.2.1'}]\n"

struct refusal {
    const char *text;
    const char *line_and_key; /* "4: key" behind the file's name */
    const char *words;        /* part of the sentence */
};

static const struct refusal refusals[] = {
    {XMPP TENANT "  - domains: [b.example, A.example]\n    trunks: [{uri: 'sip:192.0.2.1'}]\n",
     "7: tenants[1].domains[1]", "already belongs to tenant 'a.example'"},
    {XMPP "tenants:\n  - domains:\n    - a.example\n    - a.example\n", "7: tenants[0].domains[1]",
     "stands twice"},
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
    {XMPP "  listen:\n    - 127.0.0.1:5269\n    - 127.0.0.1:70000\n" TENANT, "6: xmpp.listen[1]",
     "no address to listen on"},
    {XMPP TENANT "sip:\n  listen_udp: [127.0.0.1:0]\n", "8: sip.listen_udp[0]", "no address"},
    {XMPP TENANT "sip:\n  certificate: dev/xmpp.pem\n", "7: sip.key", "belong together"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sip:192.0.2.1;transport=sctp\n",
     "7: tenants[0].trunks[0].uri", "unknown transport; give one of udp, tcp, tls"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sip:192.0.2.1:99999\n",
     "7: tenants[0].trunks[0].uri", "bad port"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: http://192.0.2.1\n",
     "7: tenants[0].trunks[0].uri", "no trunk"},
    {XMPP "tenants:\n- domains: [a.example]\n  trunks:\n  - uri: sips:h.example;transport=udp\n",
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
    {XMPP TENANT "    trunk: 2\n", "7: tenants[0].trunk", "unknown key"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    auth: psk\n", "9: partners[0].auth",
     "one of any, external, dialback"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    host: h\n    port: 65536\n",
     "10: partners[0].port", "1 to 65535"},
    {XMPP TENANT "include: nowhere\n", "7: include", "cannot read the directory"},
    {XMPP "  listen: [a, b\n" TENANT, "5: ", "syntax error"},
};

static void check_refusal(const struct refusal *refusal)
{
    struct config *config = NULL;
    char error[600], start[200];
    write_file("bad.yaml", refusal->text, 0644);
    int rc = config_open(&config, "bad.yaml", error, sizeof(error));
    if (rc != -EINVAL || config != NULL)
        fail_msg("accepted (%d):\n%s", rc, refusal->text);
    (void)snprintf(start, sizeof(start), "bad.yaml:%s", refusal->line_and_key);
    if (strncmp(error, start, strlen(start)) != 0 || strstr(error, refusal->words) == NULL)
        fail_msg("'%s' should be '%s: …%s'", error, start, refusal->words);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        check_refusal(&refusals[i]);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct config *config = NULL;
    char error[200];
    assert_int_equal(config_open(&config, "none.yaml", error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "none.yaml: cannot read it"));
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

/* Processor time, so that a busy machine does not matter; sanitizers cost some thirty times. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOAD_MS_MAX 30000
#else
#define LOAD_MS_MAX 2000
#endif

static uint64_t cpu_ms(void)
{
    return (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

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
    uint64_t start = cpu_ms();
    struct config *config = opened("big.yaml");
    uint64_t elapsed_ms = cpu_ms() - start;
    size_t each = (mallinfo2().uordblks + mallinfo2().hblkhd - before) / COUNT;
    print_message("%d tenants: %lu ms, %zu bytes each\n", COUNT, (unsigned long)elapsed_ms, each);
    assert_true(elapsed_ms < LOAD_MS_MAX);
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
        cmocka_unit_test(test_included),
        cmocka_unit_test(test_policy_and_spelling),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_ten_thousand_tenants),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
