/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whom a certificate speaks for: XMPP (RFC 9525, XEP-0178) and SIP (RFC 5922). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "certificates.h"
#include "net/certificate.h"

#define SRV  "1.3.6.1.5.5.7.8.7"
#define ADDR "1.3.6.1.5.5.7.8.5"

struct der_file {
    uint8_t data[8192];
    size_t size;
};

struct match_case {
    const char *extensions; /* of the certificate, as in an openssl file */
    const char *domain;
    bool xmpp, sip;
};

static struct certificates certificates;

static void read_der(struct der_file *der, const char *name)
{
    char path[256];
    certificates_path(&certificates, name, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    der->size = fread(der->data, 1, sizeof(der->data), file);
    (void)fclose(file);
    assert_true(der->size > 0 && der->size < sizeof(der->data));
}

/* A self-signed certificate with CN=cn.example and these extensions. */
static void make_der(struct der_file *der, const char *extensions)
{
    char command[3500];
    (void)snprintf(command, sizeof(command),
                   "rm -f t.der; printf '%s\\n' >t.ext && openssl x509 -req -in base.csr "
                   "-signkey base.key -days 30 -extfile t.ext -outform DER -out t.der",
                   extensions);
    if (certificates_run(&certificates, command) != 0)
        fail_msg("openssl refuses: %s", extensions);
    read_der(der, "t.der");
}

static void check_cases(const struct match_case *cases, size_t count)
{
    static struct certificate certificate;
    static struct der_file der;
    for (size_t i = 0; i < count; i++) {
        const struct match_case *c = &cases[i];
        make_der(&der, c->extensions);
        assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
        if (certificate_matches_xmpp(&certificate, c->domain, c->domain) != c->xmpp)
            fail_msg("xmpp, %s: %s", c->domain, c->extensions);
        if (certificate_matches_sip(&certificate, c->domain) != c->sip)
            fail_msg("sip, %s: %s", c->domain, c->extensions);
    }
}

static void test_dns(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"subjectAltName=DNS:a.example", "a.example", true, true},
        {"subjectAltName=DNS:A.Example", "a.example", true, true},
        {"subjectAltName=DNS:a.example", "b.example", false, false},
        {"subjectAltName=DNS:a.example", "x.a.example", false, false},
        {"subjectAltName=DNS:x.a.example", "a.example", false, false},
        {"subjectAltName=DNS:b.example,DNS:a.example", "a.example", true, true},
        {"subjectAltName=DNS:*.example", "a.example", true, false},
        {"subjectAltName=DNS:*.example", "example", false, false},
        {"subjectAltName=DNS:*.example", "a.b.example", false, false},
        {"subjectAltName=DNS:a*b.example", "axb.example", false, false},
        {"subjectAltName=DNS:a*.example", "ab.example", false, false},
        {"subjectAltName=DNS:foo.*.example", "foo.a.example", false, false},
        {"subjectAltName=DNS:*.*.example", "a.b.example", false, false},
        {"subjectAltName=DNS:*", "example", false, false},
        {"subjectAltName=DNS:xn--bcher-kva.example", "xn--bcher-kva.example", true, true},
        /* Never the CN, nor an address or a mail name. */
        {"basicConstraints=CA:FALSE", "cn.example", false, false},
        {"subjectAltName=DNS:a.example", "cn.example", false, false},
        {"subjectAltName=IP:192.0.2.1", "192.0.2.1", false, false},
        {"subjectAltName=email:a@a.example", "a.example", false, false},
    };
    check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Attack row 34: certificates with only these names are accepted. */
static void test_other_names(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-server.a.example", "a.example", true,
         false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_XMPP-Server.A.example", "a.example", true,
         false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-server.*.example", "a.example", true,
         false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-server.*.example", "a.b.example",
         false, false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-client.a.example", "a.example",
         false, false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-server.", "a.example", false, false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:a.example", "a.example", false, false},
        {"subjectAltName=otherName:" SRV ";UTF8:_xmpp-server.a.example", "a.example", false,
         false},
        {"subjectAltName=otherName:" ADDR ";UTF8:a.example", "a.example", true, false},
        {"subjectAltName=otherName:" ADDR ";UTF8:*.example", "a.example", false, false},
        {"subjectAltName=otherName:" ADDR ";UTF8:user@a.example", "a.example", false, false},
        {"subjectAltName=otherName:" ADDR ";IA5STRING:a.example", "a.example", false, false},
        {"subjectAltName=otherName:1.2.3.4;UTF8:a.example", "a.example", false, false},
        {"subjectAltName=DNS:b.example,otherName:" ADDR ";UTF8:a.example", "a.example", true,
         false},
        {"subjectAltName=otherName:" SRV ";IA5STRING:_xmpp-server.b.example,DNS:a.example",
         "a.example", true, true},
    };
    check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_sip(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"subjectAltName=URI:sip:a.example", "a.example", false, true},
        {"subjectAltName=URI:SIP:A.example", "a.example", false, true},
        {"subjectAltName=URI:sip:a.example:5061", "a.example", false, true},
        {"subjectAltName=URI:sip:alice@a.example", "a.example", false, false},
        {"subjectAltName=URI:sips:a.example", "a.example", false, false},
        {"subjectAltName=URI:xmpp:a.example", "a.example", false, false},
        {"subjectAltName=URI:sip:a.example.org", "a.example", false, false},
        /* With a SIP URI the dNSName no longer counts; without one it does. */
        {"subjectAltName=URI:sip:b.example,DNS:a.example", "a.example", true, false},
        {"subjectAltName=URI:sip:alice@b.example,DNS:a.example", "a.example", true, true},
        {"subjectAltName=URI:https://b.example,DNS:a.example", "a.example", true, true},
        {"subjectAltName=DNS:a.example\\nextendedKeyUsage=serverAuth", "a.example", true, true},
        {"subjectAltName=DNS:a.example\\nextendedKeyUsage=clientAuth", "a.example", true,
         false},
        {"subjectAltName=DNS:a.example\\nextendedKeyUsage=emailProtection", "a.example", true,
         false},
        {"subjectAltName=DNS:a.example\\nextendedKeyUsage=1.3.6.1.5.5.7.3.20", "a.example",
         true, true},
        {"subjectAltName=DNS:a.example\\nextendedKeyUsage=anyExtendedKeyUsage", "a.example",
         true, true},
    };
    check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_unicode(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    const char *ascii = "xn--bcher-kva.example", *unicode = "bücher.example";
    make_der(&der, "subjectAltName=@names\\n[names]\\notherName=" ADDR
                   ";FORMAT:UTF8,UTF8:bücher.example");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    assert_int_equal(certificate.name_count, 1);
    assert_true(certificate_matches_xmpp(&certificate, ascii, unicode));
    make_der(&der, "subjectAltName=otherName:" ADDR ";UTF8:xn--bcher-kva.example");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    assert_false(certificate_matches_xmpp(&certificate, ascii, unicode));
}

/* openssl writes no NUL into a name, so a byte of a good one is exchanged. */
static void test_nul(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    make_der(&der, "subjectAltName=DNS:a.exampleXevil.example,DNS:other.example");
    uint8_t *name = memmem(der.data, der.size, "a.exampleX", 10);
    assert_non_null(name);
    name[9] = '\0';
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    assert_int_equal(certificate.name_count, 1);
    assert_false(certificate_matches_xmpp(&certificate, "a.example", "a.example"));
    assert_false(certificate_matches_sip(&certificate, "a.example"));
    assert_true(certificate_matches_xmpp(&certificate, "other.example", "other.example"));
}

static void test_fields(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    make_der(&der, "extendedKeyUsage=critical,serverAuth,clientAuth\\n"
                   "subjectAltName=critical,DNS:a.example,IP:192.0.2.1,DNS:b.example");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    assert_true(certificate.has_san && certificate.eku_present);
    assert_true(certificate.eku_server && certificate.eku_client);
    assert_false(certificate.eku_sip || certificate.eku_any);
    assert_int_equal(certificate.name_count, 2);
    int64_t days = (certificate.not_after - (int64_t)time(NULL)) / 86400;
    assert_true(days >= 29 && days <= 30);
    assert_int_equal(
        certificates_run(&certificates,
                         "openssl req -x509 -key base.key -subj /CN=x -days 36500 -outform DER "
                         "-out far.der"),
        0);
    read_der(&der, "far.der");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    days = (certificate.not_after - (int64_t)time(NULL)) / 86400;
    assert_true(days >= 36499 && days <= 36500);
    assert_false(certificate.has_san);
}

/* Name constraints of an authority, and the one name of a leaf. */
static const struct {
    const char *constraints, *name;
    bool permits;
} limit_cases[] = {
    {"permitted;DNS:a.example", "DNS:a.example", true},
    {"permitted;DNS:a.example", "DNS:A.Example", true},
    {"permitted;DNS:a.example", "DNS:x.y.a.example", true},
    {"permitted;DNS:a.example", "DNS:xa.example", false},
    {"permitted;DNS:a.example", "DNS:example", false},
    {"permitted;DNS:a.example", "DNS:*.a.example", true},
    {"permitted;DNS:a.example", "DNS:*.example", false},
    {"permitted;DNS:a.example,permitted;DNS:b.example", "DNS:b.example", true},
    {"permitted;DNS:example,excluded;DNS:a.example", "DNS:b.example", true},
    {"permitted;DNS:example,excluded;DNS:a.example", "DNS:x.a.example", false},
    {"excluded;DNS:a.example", "DNS:*.example", false},
    {"excluded;DNS:x.a.example", "DNS:a.example", true},
    /* A dot in front: what is below it. */
    {"permitted;DNS:.a.example", "DNS:x.a.example", true},
    {"permitted;DNS:.a.example", "DNS:*.a.example", true},
    {"permitted;DNS:.a.example", "DNS:a.example", false},
    {"excluded;DNS:.a.example", "DNS:x.a.example", false},
    {"excluded;DNS:.a.example", "DNS:a.example", false},
    /* Names of each kind are taken for one another. */
    {"permitted;DNS:a.example", "URI:sip:a.example", true},
    {"permitted;DNS:a.example", "URI:sip:b.example", false},
    {"permitted;DNS:a.example", "otherName:" ADDR ";UTF8:a.example", true},
    {"permitted;DNS:a.example", "otherName:" ADDR ";UTF8:b.example", false},
    {"permitted;DNS:a.example", "otherName:" SRV ";IA5STRING:_xmpp-server.a.example", true},
    {"excluded;DNS:a.example", "otherName:" SRV ";IA5STRING:_xmpp-server.a.example", false},
    {"permitted;URI:a.example", "URI:sip:b.example", false},
    {"permitted;URI:a.example", "DNS:b.example", true},
    /* Of other forms they do not count, but what stands in a form that is not read does. */
    {"permitted;email:a.example", "DNS:a.example", true},
    {"permitted;IP:192.0.2.0/255.255.255.0", "DNS:a.example", true},
    {"excluded;otherName:" SRV ";IA5STRING:_xmpp-server.a.example",
     "otherName:" SRV ";IA5STRING:_xmpp-server.a.example", false},
    {"permitted;otherName:" ADDR ";UTF8:a.example", "otherName:" ADDR ";UTF8:b.example", false},
    {"permitted;otherName:" ADDR ";UTF8:a.example", "DNS:b.example", true},
};

static void test_limits(void **state)
{
    (void)state;
    static struct certificate authority, leaf;
    static struct der_file authority_der, leaf_der;
    for (size_t i = 0; i < sizeof(limit_cases) / sizeof(limit_cases[0]); i++) {
        char extension[300];
        (void)snprintf(extension, sizeof(extension), "nameConstraints=critical,%s",
                       limit_cases[i].constraints);
        make_der(&authority_der, extension);
        (void)snprintf(extension, sizeof(extension), "subjectAltName=%s", limit_cases[i].name);
        make_der(&leaf_der, extension);
        assert_int_equal(certificate_read(&authority, authority_der.data, authority_der.size),
                         0);
        assert_int_equal(certificate_read(&leaf, leaf_der.data, leaf_der.size), 0);
        assert_true(certificate_permits(&leaf, &authority)); /* it has no limits */
        if (certificate_permits(&authority, &leaf) != limit_cases[i].permits)
            fail_msg("%s: %s", limit_cases[i].constraints, limit_cases[i].name);
    }
}

/* More names than are looked at: the rest is left out, nothing is overrun. */
static void test_many_names(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    assert_int_equal(
        certificates_run(&certificates,
                         "(printf subjectAltName=; for i in $(seq 1 300); do printf "
                         "\"DNS:n$i.example,\"; done; echo DNS:last.example) >many.ext && "
                         "openssl x509 -req -in base.csr -signkey base.key -extfile many.ext "
                         "-outform DER -out many.der"),
        0);
    read_der(&der, "many.der");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    assert_int_equal(certificate.name_count, CERTIFICATE_NAME_MAX);
    assert_true(certificate_matches_xmpp(&certificate, "n256.example", "n256.example"));
    assert_false(certificate_matches_xmpp(&certificate, "last.example", "last.example"));
}

/* Every cut is malformed, and nothing behind the end is read; no changed byte does harm. */
static void test_malformed(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    make_der(&der, "subjectAltName=DNS:a.example,otherName:" SRV
                   ";IA5STRING:_xmpp-server.a.example\\nextendedKeyUsage=serverAuth");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map =
        mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_true(der.size < 2 * page);
    assert_int_equal(mprotect(map + 2 * page, page, PROT_NONE), 0);
    for (size_t size = 0; size < der.size; size++) {
        uint8_t *at = map + 2 * page - size;
        memcpy(at, der.data, size);
        assert_int_equal(certificate_read(&certificate, at, size), -EBADMSG);
        assert_int_equal(certificate.name_count, 0);
    }
    uint8_t *at = map + 2 * page - der.size;
    static const uint8_t values[] = {0x00, 0x30, 0x7f, 0x80, 0x82, 0x84, 0xa0, 0xff};
    for (size_t i = 0; i < der.size * sizeof(values); i++) {
        memcpy(at, der.data, der.size);
        at[i / sizeof(values)] = values[i % sizeof(values)];
        if (certificate_read(&certificate, at, der.size) == 0)
            (void)certificate_matches_xmpp(&certificate, "a.example", "a.example");
    }
    munmap(map, 3 * page);
    der.data[der.size] = 0;
    assert_int_equal(certificate_read(&certificate, der.data, der.size + 1), -EBADMSG);
}

/* What people are told; never more than there is room for. */
static void test_words(void **state)
{
    (void)state;
    static struct certificate certificate;
    static struct der_file der;
    char text[512];
    make_der(&der, "subjectAltName=DNS:a.example,otherName:" SRV
                   ";IA5STRING:_xmpp-server.a.example,URI:sip:a.example");
    assert_int_equal(certificate_read(&certificate, der.data, der.size), 0);
    certificate_text_subject(&certificate.subject, text, sizeof(text));
    assert_string_equal(text, "CN=cn.example");
    certificate_text_subject(&certificate.issuer, text, sizeof(text));
    assert_string_equal(text, "CN=cn.example"); /* it signed itself */
    certificate_text_names(&certificate, text, sizeof(text));
    assert_string_equal(text,
                        "dNSName a.example, SRVName _xmpp-server.a.example, URI sip:a.example");
    certificate_text_name(certificate_match_xmpp(&certificate, "a.example", "a.example"), text,
                          sizeof(text));
    assert_string_equal(text, "dNSName a.example");
    assert_null(certificate_match_xmpp(&certificate, "b.example", "b.example"));
    certificate_text_names(&certificate, text, 60);
    assert_string_equal(text, "dNSName a.example and 2 more");
    assert_true(certificate.not_before > 0);
    assert_int_equal(certificate.not_after - certificate.not_before, 30 * 86400);
    for (size_t size = 1; size < 40; size++) {
        certificate_text_subject(&certificate.subject, text, size);
        assert_true(strlen(text) < size);
    }
    const struct certificate_subject broken = {der.data, 3}, none = {der.data, 0};
    certificate_text_subject(&broken, text, sizeof(text));
    assert_string_equal(text, "-");
    certificate_text_subject(&none, text, sizeof(text));
    assert_string_equal(text, "-");
}

static int make_base(void **state)
{
    (void)state;
    if (certificates_open(&certificates) != 0)
        return -1;
    return certificates_run(&certificates,
                            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                            "-nodes -keyout base.key -subj /CN=cn.example -out base.csr");
}

static int remove_base(void **state)
{
    (void)state;
    certificates_close(&certificates);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dns),        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_sip),        cmocka_unit_test(test_unicode),
        cmocka_unit_test(test_nul),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_many_names), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_words),      cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
