/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rules for partners: the matrix, which place counts, what is refused or doubted when the
   configuration is read, and what `show policy` tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/report.h"
#include "tests/unit/config_folder.h"
#include "tests/unit/matrix.h"

static struct rules_stack stack_of(struct rules *rules, const struct matrix_cell *cell)
{
    struct rules_stack stack = rules_stack_make();
    *rules = (struct rules){0};
    rules_give(rules, RULE_TLS, cell->tls);
    rules_give(rules, RULE_SASL, cell->sasl);
    rules_give(rules, RULE_DIALBACK, cell->dialback);
    stack.level[RULES_PAIR] = rules;
    return stack;
}

static void test_matrix(void **state)
{
    (void)state;
    assert_int_equal(MATRIX_SIZE, 18);
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        struct rules rules;
        struct rules_stack stack = stack_of(&rules, &matrix[i]);
        assert_int_equal(rules_proofs(&stack), matrix[i].proofs);
        assert_int_equal(rules_mistake(&stack) != NULL, matrix[i].proofs == 0);
        assert_int_equal(rules_doubt(&stack) != NULL, matrix[i].warns);
    }
}

/* What a least proof leaves of each cell of the matrix. */
static void test_trust(void **state)
{
    (void)state;
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        for (uint32_t trust = TRUST_DIALBACK; trust <= TRUST_DANE; trust++) {
            struct rules rules;
            struct rules_stack stack = stack_of(&rules, &matrix[i]);
            rules_give(&rules, RULE_TRUST, trust);
            unsigned out = matrix[i].proofs, in;
            if (trust > TRUST_DIALBACK)
                out &= S2S_PROOF_TLS; /* nobody is trusted so far in clear */
            in = trust == TRUST_DANE ? out & S2S_PROOF_DIALBACK : out;
            assert_int_equal(rules_proofs(&stack), out);
            assert_int_equal(rules_proofs_in(&stack), in);
            assert_int_equal(rules_mistake(&stack) != NULL, in == S2S_PROOF_NONE);
        }
    }
}

static void test_trust_that_lets_nobody_in(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *complaint;
    } cases[] = {
        {"    dialback: false\n    trust: dane\n", "trust: dane needs dialback under TLS"},
        {"    sasl: required\n    trust: dane\n", "trust: dane needs dialback under TLS"},
        {"    tls: not_supported\n    trust: pkix\n", "trust: pkix and dane need TLS"},
        {"    trust: posh\n", "partners[0].trust"},
        {"    trust_downgrade: forbid\n", "partners[0].trust_downgrade"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1000], error[600];
        struct config *config = NULL;
        (void)snprintf(text, sizeof(text), XMPP TENANT "partners:\n  - domain: x.example\n%s",
                       cases[i].rules);
        write_file("trust.yaml", text, 0644);
        assert_int_equal(config_open(&config, "trust.yaml", error, sizeof(error)), -EINVAL);
        assert_non_null(strstr(error, cases[i].complaint));
    }
}

/* The whole way: from the text of a configuration to what is allowed, refused or doubted. */
static void test_matrix_of_a_configuration(void **state)
{
    (void)state;
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        const char *const *needs = rules_row(RULE_TLS)->names;
        char text[1000], error[600];
        struct config *config = NULL;
        (void)snprintf(
            text, sizeof(text),
            XMPP TENANT "partners:\n  - domain: x.example\n    tls: %s\n    sasl: %s\n"
                        "    dialback: %s\n",
            needs[matrix[i].tls], needs[matrix[i].sasl], matrix[i].dialback ? "true" : "false");
        write_file("matrix.yaml", text, 0644);
        int rc = config_open(&config, "matrix.yaml", error, sizeof(error));
        assert_int_equal(rc, matrix[i].proofs == 0 ? -EINVAL : 0);
        if (rc != 0) {
            assert_non_null(strstr(error, "matrix.yaml:9: partners[0].tls: "));
            assert_non_null(
                strstr(error, "leave no way to prove a domain (with tenant 'a.example')"));
            continue;
        }
        struct rules_stack stack = config_rules(config, &config->tenants[0], SPAN("x.example"));
        assert_int_equal(rules_proofs(&stack), matrix[i].proofs);
        assert_int_equal(config->warning_count, matrix[i].warns ? 1 : 0);
        if (matrix[i].warns)
            assert_non_null(
                strstr(config->warnings[0],
                       "matrix.yaml:9: partners[0].tls: streams may fail: SASL needs "
                       "TLS, which is "));
        config_close(&config);
    }
}

#define LEVELS                                                                                 \
    XMPP "  sasl: not_supported\n"                                                             \
         "tenants:\n"                                                                          \
         "  - domains: [a.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    xmpp: {sasl: required}\n"                                                        \
         "    partner_rules: [{domain: P.example, sasl: optional, tls: optional}]\n"           \
         "  - domains: [b.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "partners:\n"                                                                         \
         "  - domain: p.example\n"                                                             \
         "    sasl: required\n"                                                                \
         "  - domain: q.example\n"                                                             \
         "    dialback: false\n"                                                               \
         "    sasl: optional\n"                                                                \
         "  - domain: d.example\n"                                                             \
         "    sasl: optional\n"                                                                \
         "    trust: dane\n"

static void check_rule(const struct config *config, unsigned tenant, const char *domain,
                       enum rules_need sasl, enum rules_level level)
{
    struct rules_stack stack = config_rules(config, &config->tenants[tenant], span_of(domain));
    assert_int_equal(rules_value(&stack, RULE_SASL), sasl);
    assert_int_equal(rules_level_of(&stack, RULE_SASL), level);
}

static void test_the_last_place_counts(void **state)
{
    (void)state;
    write_file("levels.yaml", LEVELS, 0644);
    struct config *config = opened("levels.yaml");
    check_rule(config, 1, "x.example", NEED_NOT_SUPPORTED, RULES_GLOBAL);
    check_rule(config, 1, "", NEED_NOT_SUPPORTED, RULES_GLOBAL);
    check_rule(config, 0, "x.example", NEED_REQUIRED, RULES_TENANT);
    check_rule(config, 0, "", NEED_REQUIRED, RULES_TENANT);
    check_rule(config, 1, "p.example", NEED_REQUIRED, RULES_PARTNER);
    check_rule(config, 0, "q.example", NEED_OPTIONAL, RULES_PARTNER);
    check_rule(config, 0, "p.example", NEED_OPTIONAL, RULES_PAIR);
    struct rules_stack stack = config_rules(config, &config->tenants[1], SPAN("p.example"));
    assert_int_equal(rules_value(&stack, RULE_TLS), NEED_REQUIRED);
    assert_int_equal(rules_level_of(&stack, RULE_TLS), RULES_DEFAULT);
    config_close(&config);
}

static void show_policy(const struct config *config, struct span domain, char *text,
                        size_t size)
{
    const char *error = NULL;
    FILE *out = fmemopen(text, size, "w");
    assert_true(report_policy(config, SPAN("a.example"), domain, out, &error));
    assert_int_equal(fclose(out), 0);
}

static void test_show_policy(void **state)
{
    (void)state;
    write_file("levels.yaml", LEVELS, 0644);
    struct config *config = opened("levels.yaml");
    char text[2000] = "";
    const char *error = NULL;
    /* A certificate of who comes in is too little where DANE is wanted. */
    show_policy(config, SPAN("d.example"), text, sizeof(text));
    assert_non_null(strstr(text, "proof\tdialback\t"));
    show_policy(config, SPAN("P.Example"), text, sizeof(text));
    assert_non_null(strstr(text, "allowed\ttrue\ttenants[].policy\n"));
    assert_non_null(strstr(text, "proof\tcertificate, dialback, dialback in clear\t"));
    assert_non_null(strstr(text, "tls\toptional\ttenants[].partner_rules[]\n"));
    assert_non_null(strstr(text, "sasl\toptional\ttenants[].partner_rules[]\n"));
    assert_non_null(strstr(text, "dialback\ttrue\tdefault\n"));
    assert_false(report_policy(config, SPAN("nobody"), SPAN("p.example"), stdout, &error));
    assert_non_null(strstr(error, "no tenant"));
    assert_false(report_policy(config, SPAN("a.example"), SPAN("no domain"), stdout, &error));
    assert_non_null(strstr(error, "no domain"));
    config_close(&config);
}

#define WILD                                                                                   \
    XMPP "tenants:\n"                                                                          \
         "  - domains: [a.example]\n"                                                          \
         "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                              \
         "    policy: list\n"                                                                  \
         "    partners: ['*.Wild.example', p.example, '*.bücher.example']\n"                  \
         "    partner_rules: [{domain: '*.wild.example', idle_timeout_ms: 7000}]\n"            \
         "partners:\n"                                                                         \
         "  - domain: p.example\n"                                                             \
         "    additional_domains: [chat.p.example, '*.wild.example']\n"                        \
         "    idle_timeout_ms: 8000\n"                                                         \
         "  - domain: own.wild.example\n"                                                      \
         "    keepalive_interval_ms: 300000\n"

/* Exactly one label, in front. */
static void test_wildcards(void **state)
{
    (void)state;
    static const struct {
        const char *domain;
        bool is_allowed, is_partner;
    } names[] = {
        {"x.wild.example", true, true},
        {"wild.example", false, false},
        {"y.x.wild.example", false, false},
        {"xwild.example", false, false},
        {"x.wild.example.org", false, false},
        {"münchen.bücher.example", true, false},
        {"chat.p.example", false, true},
        {"p.example", true, true},
        {"x.p.example", false, false},
        {".wild.example", true, true},
        {"", false, false},
    };
    write_file("wild.yaml", WILD, 0644);
    struct config *config = opened("wild.yaml");
    const struct config_tenant *tenant = &config->tenants[0];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct span domain = span_of(names[i].domain);
        struct s2s_domain prepared;
        if (domain.size > 0 && !s2s_domain_read(&prepared, domain))
            continue; /* it does not get so far */
        if (config_partner_allowed(config, tenant, domain) != names[i].is_allowed ||
            (config_find_partner(config, domain) != NULL) != names[i].is_partner)
            fail_msg("'%s'", names[i].domain);
    }
    assert_ptr_equal(config_find_partner(config, SPAN("chat.p.example")), &config->partners[0]);
    assert_ptr_equal(config_find_partner(config, SPAN("x.wild.example")), &config->partners[0]);
    assert_ptr_equal(config_find_partner(config, SPAN("own.wild.example")),
                     &config->partners[1]);
    struct rules_stack stack = config_rules(config, tenant, SPAN("x.wild.example"));
    assert_int_equal(rules_value(&stack, RULE_IDLE_TIMEOUT), 7000);
    stack = config_rules(config, NULL, SPAN("x.wild.example"));
    assert_int_equal(rules_value(&stack, RULE_IDLE_TIMEOUT), 8000);
    stack = config_rules(config, tenant, SPAN("own.wild.example"));
    assert_int_equal(rules_value(&stack, RULE_KEEPALIVE_INTERVAL), 300000);
    /* Nobody is called by a star. */
    struct s2s_domain star;
    assert_false(s2s_domain_read(&star, SPAN("*.wild.example")));
    config_close(&config);
}

#define TWO                                                                                    \
    "  - domains: [b.example]\n"                                                               \
    "    trunks: [{uri: 'sip:192.0.2.1'}]\n"

static const struct refusal refusals[] = {
    {XMPP "  tls: sometimes\n" TENANT, "4: xmpp.tls",
     "unknown value 'sometimes'; give one of required, optional, not_supported"},
    {XMPP "  sasl: not_supported\n  dialback: false\n" TENANT, "4: xmpp.sasl",
     "sasl: not_supported and dialback: false leave no way to prove a domain"},
    {XMPP "  dialback: false\n  tls: not_supported\n" TENANT, "5: xmpp.tls",
     "SASL needs TLS: tls: not_supported and dialback: false leave no way to prove a domain"},
    /* What a tenant, a partner or both of them add to what stands above. */
    {XMPP "  dialback: false\n" TENANT "    xmpp:\n      sasl: not_supported\n",
     "9: tenants[0].xmpp.sasl", "sasl: not_supported and dialback: false"},
    {XMPP TENANT "    xmpp:\n      dialback: perhaps\n", "8: tenants[0].xmpp.dialback",
     "one of false, true"},
    {XMPP TENANT TWO "    xmpp: {tls: not_supported}\npartners:\n  - domain: x.example\n"
                     "    dialback: false\n",
     "12: partners[0].dialback",
     "SASL needs TLS: tls: not_supported and dialback: false leave no "
     "way to prove a domain (with tenant 'b.example')"},
    {XMPP "  idle_timeout_ms: 999\n" TENANT, "4: xmpp.idle_timeout_ms", "1000 to 86400000"},
    {XMPP TENANT "    xmpp: {negotiation_timeout_ms: 300001}\n",
     "7: tenants[0].xmpp.negotiation_timeout_ms", "100 to 300000"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    sessions_per_partner_max: 0\n",
     "9: partners[0].sessions_per_partner_max", "1 to 1000000"},
    {XMPP TENANT "partners:\n  - domain: '*'\n", "8: partners[0].domain",
     "is no domain name, nor a wildcard such as *.example.org"},
    {XMPP TENANT "partners:\n  - domain: 'x*.example'\n", "8: partners[0].domain",
     "is no domain"},
    {XMPP TENANT "partners:\n  - domain: '*.*.example'\n", "8: partners[0].domain",
     "is no domain"},
    {XMPP TENANT
     "partners:\n  - domain: x.example\n    additional_domains: [y.example, a.example]\n",
     "9: partners[0].additional_domains[1]", "is a domain of tenant 'a.example' as well"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    additional_domains: ['*.x.example']\n"
                 "  - domain: '*.X.example'\n",
     "10: partners[1].domain", "configured twice"},
    {"tenants:\n  - domains: ['*.a.example']\n" XMPP, "2: tenants[0].domains[0]",
     "is not a domain name"},
    {XMPP TENANT "    partner_rules:\n    - tls: optional\n", "8: tenants[0].partner_rules[0]",
     "is missing"},
    {XMPP TENANT "    partner_rules:\n    - domain: x.example\n    - domain: X.example\n",
     "9: tenants[0].partner_rules[1].domain", "stands twice in this tenant"},
    {XMPP TENANT "    partner_rules:\n    - domain: x.example\n      dialback: false\n"
                 "partners:\n  - domain: x.example\n    sasl: not_supported\n",
     "9: tenants[0].partner_rules[0].dialback", "sasl: not_supported and dialback: false"},
    {XMPP TENANT "    xmpp: {tls: not_supported}\npartners:\n  - domain: x.example\n"
                 "    direct_tls: true\n",
     "10: partners[0].direct_tls",
     "direct TLS is TLS, which tls: not_supported rules out (with tenant 'a.example')"},
};

/* The wildcard is in no list, the name is. */
static const struct refusal listed = {
    XMPP TENANT "    policy: list\n    partners:\n    - a.w.example\n"
                "    xmpp: {tls: not_supported}\n"
                "partners:\n  - domain: '*.w.example'\n    dialback: false\n",
    "9: tenants[0].partners[0]", "SASL needs TLS"};

static void test_refusals(void **state)
{
    (void)state;
    CHECK_REFUSALS(refusals);
    check_refusal(&listed);
}

/* What never comes into force is no mistake. */
static const char *const harmless[] = {
    XMPP TENANT TWO "    policy: closed\n    xmpp: {tls: not_supported}\npartners:\n"
                    "  - domain: x.example\n    dialback: false\n",
    XMPP TENANT TWO
    "    policy: list\n    partners: [y.example]\n    xmpp: {tls: not_supported}\n"
    "partners:\n  - domain: x.example\n    dialback: false\n",
    XMPP TENANT TWO "    xmpp: {tls: not_supported}\n    partner_rules:\n"
                    "      - {domain: x.example, tls: required}\n"
                    "partners:\n  - domain: x.example\n    dialback: false\n",
};

static const struct {
    const char *text, *warning;
} doubts[] = {
    {XMPP "  tls: optional\n" TENANT, "doubt.yaml:4: xmpp.tls: streams may fail: SASL needs "
                                      "TLS, which is only optional; without it "
                                      "dialback in clear is all the proof there is"},
    {XMPP "  tls: optional\n  dialback: false\n" TENANT,
     "doubt.yaml:4: xmpp.tls: streams may fail: SASL needs TLS, which is only optional, and "
     "dialback is off"},
    {XMPP "  tls: not_supported\n" TENANT,
     "doubt.yaml:4: xmpp.tls: streams may fail: SASL needs TLS, which is not used, so only "
     "dialback in clear is left"},
    {XMPP TENANT "    xmpp:\n      tls: optional\n", "doubt.yaml:8: tenants[0].xmpp.tls: "},
    {XMPP TENANT "    partner_rules:\n      - domain: x.example\n        tls: optional\n",
     "doubt.yaml:9: tenants[0].partner_rules[0].tls: "},
    {XMPP TENANT TWO "    xmpp: {tls: optional, sasl: not_supported}\npartners:\n"
                     "  - domain: x.example\n    sasl: optional\n",
     "(with tenant 'b.example')"},
};

static void test_doubts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        write_file("harmless.yaml", harmless[i], 0644);
        struct config *config = opened("harmless.yaml");
        config_close(&config);
    }
    for (size_t i = 0; i < sizeof(doubts) / sizeof(doubts[0]); i++) {
        write_file("doubt.yaml", doubts[i].text, 0644);
        struct config *config = opened("doubt.yaml");
        assert_int_equal(config->warning_count, 1);
        if (strstr(config->warnings[0], doubts[i].warning) == NULL)
            fail_msg("'%s' should hold '%s'", config->warnings[0], doubts[i].warning);
        config_close(&config);
    }
}

/* As many as can be read. */
static void test_many_doubts(void **state)
{
    (void)state;
    FILE *file = fopen("many.yaml", "w");
    assert_non_null(file);
    (void)fputs(XMPP TENANT "    partner_rules:\n", file);
    for (unsigned i = 0; i < CONFIG_WARNING_MAX + 7; i++)
        (void)fprintf(file, "      - {domain: x%u.example, tls: optional}\n", i);
    assert_int_equal(fclose(file), 0);
    struct config *config = opened("many.yaml");
    char text[10000] = "";
    assert_int_equal(config->warning_count, CONFIG_WARNING_MAX);
    FILE *out = fmemopen(text, sizeof(text), "w");
    config_tell_warnings(config, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "warning: many.yaml:8: tenants[0].partner_rules[0].tls: "));
    assert_non_null(strstr(text, "warning: and 7 more like these\n"));
    config_close(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_trust_that_lets_nobody_in),
        cmocka_unit_test(test_matrix_of_a_configuration),
        cmocka_unit_test(test_the_last_place_counts),
        cmocka_unit_test(test_show_policy),
        cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_doubts),
        cmocka_unit_test(test_many_doubts),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
