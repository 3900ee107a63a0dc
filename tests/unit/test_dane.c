/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLSA records: what can be used, and which certificate each kind names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/dane.h"
#include "tests/unit/certificates.h"

#define RECORD_SIZE_MAX 2100

static struct certificates certificates;

struct file {
    uint8_t data[2048];
    size_t size;
};

/* What this openssl command writes. */
static void make(struct file *file, const char *command)
{
    char line[500], path[256];
    (void)snprintf(line, sizeof(line), "%s >out", command);
    assert_int_equal(certificates_run(&certificates, line), 0);
    certificates_path(&certificates, "out", path);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    file->size = fread(file->data, 1, sizeof(file->data), stream);
    (void)fclose(stream);
    assert_true(file->size > 0 && file->size < sizeof(file->data));
}

/* The association data of leaf.pem or other.pem as openssl makes it (RFC 6698 §2.1). */
static void make_data(struct file *file, const char *name, unsigned selector, unsigned matching)
{
    static const char *const digests[] = {"cat", "openssl dgst -binary -sha256",
                                          "openssl dgst -binary -sha512"};
    char command[400];
    if (selector == 0)
        (void)snprintf(command, sizeof(command), "openssl x509 -in %s.pem -outform DER | %s",
                       name, digests[matching]);
    else
        (void)snprintf(command, sizeof(command),
                       "openssl x509 -in %s.pem -noout -pubkey | openssl pkey -pubin -outform "
                       "DER | %s",
                       name, digests[matching]);
    make(file, command);
}

static bool parse(struct dane_record *record, unsigned usage, unsigned selector,
                  unsigned matching, const struct file *file)
{
    uint8_t data[RECORD_SIZE_MAX] = {(uint8_t)usage, (uint8_t)selector, (uint8_t)matching};
    memcpy(data + 3, file->data, file->size);
    return dane_parse(record, data, 3 + file->size);
}

static void test_every_kind(void **state)
{
    static struct certificate leaf, other;
    static struct file leaf_der, other_der, data;
    (void)state;
    make_data(&leaf_der, "leaf", 0, 0);
    make_data(&other_der, "other", 0, 0);
    assert_int_equal(certificate_read(&leaf, leaf_der.data, leaf_der.size), 0);
    assert_int_equal(certificate_read(&other, other_der.data, other_der.size), 0);
    for (unsigned selector = 0; selector < 2; selector++) {
        for (unsigned matching = 0; matching < 3; matching++) {
            struct dane_record record;
            make_data(&data, "leaf", selector, matching);
            for (unsigned usage = 0; usage < 4; usage++)
                assert_true(parse(&record, usage, selector, matching, &data));
            assert_int_equal(record.usage, DANE_EE);
            assert_int_equal(record.whole_size, 0);
            assert_true(dane_matches(&record, &leaf));
            assert_false(dane_matches(&record, &other));
            /* An authority that is whole in DNS need not be sent (RFC 7671 §5.2.2). */
            assert_true(parse(&record, DANE_TA, selector, matching, &data));
            assert_int_equal(record.whole_size,
                             selector == 0 && matching == 0 ? data.size : 0);
            /* A certificate's data is not its key's. */
            assert_true(parse(&record, DANE_EE, !selector, matching, &data));
            assert_false(dane_matches(&record, &leaf));
            /* Nor does one that is a bit off name anything. */
            data.data[data.size - 1] ^= 1;
            assert_true(parse(&record, DANE_EE, selector, matching, &data));
            assert_false(dane_matches(&record, &leaf));
        }
    }
}

/* The key of a certificate that was issued anew is the same. */
static void test_key_outlives_certificate(void **state)
{
    static struct certificate again;
    static struct file der, key, whole;
    struct dane_record record;
    (void)state;
    make_data(&der, "again", 0, 0);
    make_data(&key, "leaf", 1, 1);
    make_data(&whole, "leaf", 0, 1);
    assert_int_equal(certificate_read(&again, der.data, der.size), 0);
    assert_true(parse(&record, DANE_EE, 1, 1, &key));
    assert_true(dane_matches(&record, &again));
    assert_true(parse(&record, DANE_EE, 0, 1, &whole));
    assert_false(dane_matches(&record, &again));
}

static void test_unusable(void **state)
{
    static const struct {
        uint8_t head[3];
        size_t size;
    } cases[] = {
        {{4, 1, 1}, 32},  {{255, 1, 1}, 32}, {{3, 2, 1}, 32}, {{3, 255, 1}, 32},
        {{3, 1, 3}, 32},  {{3, 1, 255}, 32}, {{3, 1, 1}, 0},  {{3, 1, 1}, 1},
        {{3, 1, 1}, 31},  {{3, 1, 1}, 33},   {{3, 1, 1}, 64}, {{3, 1, 2}, 32},
        {{3, 1, 2}, 63},  {{3, 1, 2}, 65},   {{3, 0, 0}, 0},  {{3, 0, 0}, 1},
        {{3, 0, 0}, 100}, /* zeros are no certificate */
    };
    struct dane_record record;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* Of the very size, so that a sanitizer sees a byte too far. */
        uint8_t *data = calloc(1, 3 + cases[i].size);
        assert_non_null(data);
        memcpy(data, cases[i].head, 3);
        assert_false(dane_parse(&record, data, 3 + cases[i].size));
        free(data);
    }
    static struct file der; /* torn, or with something behind it */
    make_data(&der, "leaf", 0, 0);
    der.size--;
    assert_false(parse(&record, DANE_EE, 0, 0, &der));
    der.size += 2;
    assert_false(parse(&record, DANE_EE, 0, 0, &der));
    for (size_t size = 0; size < 4; size++)
        assert_false(dane_parse(&record, (const uint8_t *)"\3\1\1", size < 3 ? size : 3));
}

/* RFC 7671 §9: of digests of one kind the strongest counts; what is given whole always does. */
static void test_digest_agility(void **state)
{
    (void)state;
    const struct dane_record records[] = {
        {.usage = DANE_EE, .selector = 1, .matching = 1},
        {.usage = DANE_EE, .selector = 1, .matching = 2},
        {.usage = DANE_EE, .selector = 0, .matching = 1},
        {.usage = DANE_TA, .selector = 1, .matching = 1},
        {.usage = DANE_EE, .selector = 1, .matching = 0},
        {.usage = DANE_EE, .selector = 1, .matching = 1},
        {.usage = DANE_EE, .selector = 1, .matching = 2},
    };
    static const bool is_outdone[] = {true, false, false, false, false, true, false};
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(dane_is_outdone(records, 7, i), is_outdone[i]);
    assert_false(dane_is_outdone(records, 1, 0));
}

static int set_up(void **state)
{
    (void)state;
    if (certificates_open(&certificates) != 0 ||
        certificates_root(&certificates, "root") != 0 ||
        certificates_issue(&certificates, "leaf", "root", "subjectAltName=DNS:a.example") !=
            0 ||
        certificates_issue(&certificates, "other", "root", "subjectAltName=DNS:a.example") != 0)
        return -1;
    return certificates_run(&certificates,
                            "openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key "
                            "-CAcreateserial -days 31 -extfile leaf.ext -out again.pem");
}

static int tear_down(void **state)
{
    (void)state;
    certificates_close(&certificates);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_key_outlives_certificate),
        cmocka_unit_test(test_unusable),
        cmocka_unit_test(test_digest_agility),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
