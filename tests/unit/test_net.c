/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Addresses, byte queues and digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/address.h"
#include "net/buffer.h"
#include "net/clock.h"
#include "net/digest.h"

static union net_address parsed(const char *text)
{
    union net_address address;
    assert_int_equal(net_address_parse(&address, text, 5269), 0);
    return address;
}

static void check_format(const char *input, const char *expected)
{
    char text[NET_ADDRESS_TEXT_SIZE];
    union net_address address = parsed(input);
    net_address_format(&address, text);
    assert_string_equal(text, expected);
}

static void test_address_text(void **state)
{
    (void)state;
    check_format("192.0.2.1:5060", "192.0.2.1:5060");
    check_format("192.0.2.1", "192.0.2.1:5269");
    check_format("[2001:DB8::1]:5060", "[2001:db8::1]:5060");
    check_format("[2001:db8::1]", "[2001:db8::1]:5269");
    check_format("2001:db8::1", "[2001:db8::1]:5269");
    check_format("[::]:0", "[::]:0");
    check_format("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
                 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    char text[NET_ADDRESS_TEXT_SIZE];
    union net_address address = parsed("[2001:db8::1]:5060");
    net_address_format_host(&address, text);
    assert_string_equal(text, "2001:db8::1");
}

/* Every byte in every place, as inet_ntop writes it. */
static void test_address_v4(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (unsigned place = 0; place < 4; place++) {
            union net_address address = {.v4 = {.sin_family = AF_INET}};
            char text[NET_ADDRESS_TEXT_SIZE], expected[INET_ADDRSTRLEN];
            uint8_t bytes[4] = {1, 20, 255, 0};
            bytes[place] = (uint8_t)byte;
            memcpy(&address.v4.sin_addr, bytes, 4);
            net_address_format_host(&address, text);
            assert_non_null(inet_ntop(AF_INET, bytes, expected, sizeof(expected)));
            assert_string_equal(text, expected);
        }
    }
}

static void test_address_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "example.org",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:+5",
        "192.0.2.1: 5",
        "192.0.2:5",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "[2001:db8::1]5",
        "[]:5",
        "[192.0.2.1]:5",
        "192.0.2.1:123456",
        "1.2.3.4.5",
        "fe80::1%lo",
        "12345::1",
        "[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:1"};
    union net_address address;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(net_address_parse(&address, wrong[i], 1), -EINVAL);
    assert_int_equal(net_address_parse_host(&address, "192.0.2.1:1", 1), -EINVAL);
}

static void test_address_equal(void **state)
{
    (void)state;
    union net_address v4 = parsed("192.0.2.1:7"), mapped = parsed("[::ffff:192.0.2.1]:7");
    union net_address other = parsed("192.0.2.1:8");
    assert_true(net_address_equal(&v4, &mapped));
    assert_int_equal(net_address_hash(&v4), net_address_hash(&mapped));
    assert_false(net_address_equal(&v4, &other));
    assert_true(net_address_equal_host(&v4, &other));
    assert_int_not_equal(net_address_hash(&v4), net_address_hash(&other));
    net_address_set_port(&other, 7);
    assert_true(net_address_equal(&v4, &other));
    assert_int_equal(net_address_size(&v4), sizeof(struct sockaddr_in));
    assert_int_equal(net_address_size(&mapped), sizeof(struct sockaddr_in6));
}

static void test_address_site(void **state)
{
    (void)state;
    static const char *const same[][2] = {{"192.0.2.1:7", "192.0.2.1:8"},
                                          {"[::ffff:192.0.2.1]:7", "192.0.2.1:8"},
                                          {"[2001:db8::1]:7", "[2001:db8::ffff:1:2:3]:8"}};
    static const char *const other[][2] = {{"192.0.2.1:7", "192.0.2.2:7"},
                                           {"[::ffff:192.0.2.1]:7", "[::ffff:192.0.2.2]:7"},
                                           {"[2001:db8::1]:7", "[2001:db8:0:1::1]:7"}};
    for (size_t i = 0; i < 3; i++) {
        union net_address a = parsed(same[i][0]), b = parsed(same[i][1]), x, y;
        net_address_site(&x, &a);
        net_address_site(&y, &b);
        assert_true(net_address_equal(&x, &y));
        assert_int_equal(net_address_hash(&x), net_address_hash(&y));
        a = parsed(other[i][0]);
        b = parsed(other[i][1]);
        net_address_site(&x, &a);
        net_address_site(&y, &b);
        assert_false(net_address_equal(&x, &y));
    }
}

static void test_address_networks(void **state)
{
    (void)state;
    union net_address network = parsed("10.1.128.0"), v6 = parsed("2001:db8::");
    union net_address in = parsed("10.1.255.255"), out = parsed("10.1.127.255");
    union net_address six = parsed("2001:db8:1::1"), all = parsed("0.0.0.0");
    assert_true(net_address_in(&in, &network, 17));
    assert_false(net_address_in(&out, &network, 17));
    assert_true(net_address_in(&out, &all, 0));
    assert_false(net_address_in(&six, &all, 0));
    assert_true(net_address_in(&six, &v6, 32));
    assert_false(net_address_in(&six, &v6, 48));
    assert_true(net_address_in(&in, &in, 32));
}

static void test_address_special(void **state)
{
    (void)state;
    static const char *const special[] = {"0.0.0.0",
                                          "10.2.3.4",
                                          "127.0.0.1",
                                          "127.255.1.1",
                                          "169.254.1.1",
                                          "172.16.0.1",
                                          "172.31.255.1",
                                          "192.168.9.9",
                                          "224.0.0.1",
                                          "255.255.255.255",
                                          "100.64.0.1",
                                          "::",
                                          "::1",
                                          "fe80::1",
                                          "fd00::1",
                                          "ff02::1",
                                          "::ffff:127.0.0.1",
                                          "::127.0.0.1",
                                          "64:ff9b::10.0.0.1",
                                          "2002:7f00:1::"};
    static const char *const plain[] = {"8.8.8.8",     "172.32.0.1",     "192.167.1.1",
                                        "2001:db8::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"};
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        union net_address address = parsed(special[i]);
        if (!net_address_is_special(&address))
            fail_msg("%s is special", special[i]);
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        union net_address address = parsed(plain[i]);
        if (net_address_is_special(&address))
            fail_msg("%s is not special", plain[i]);
    }
}

static void test_buffer_limit(void **state)
{
    (void)state;
    struct net_buffer buffer;
    net_buffer_init(&buffer, 3000);
    uint8_t block[1000];
    memset(block, 'a', sizeof(block));
    for (int i = 0; i < 3; i++)
        assert_int_equal(net_buffer_add(&buffer, block, sizeof(block)), 0);
    assert_int_equal(net_buffer_add(&buffer, block, 1), -ENOBUFS);
    assert_null(net_buffer_reserve(&buffer, 1));
    assert_int_equal(net_buffer_used(&buffer), 3000);
    net_buffer_consume(&buffer, 1);
    assert_int_equal(net_buffer_add(&buffer, "z", 1), 0);
    net_buffer_consume(&buffer, 2999);
    assert_int_equal(*net_buffer_front(&buffer), 'z');
    net_buffer_trim(&buffer, 0);
    assert_non_null(buffer.data);
    net_buffer_consume(&buffer, 1);
    net_buffer_trim(&buffer, 4096);
    assert_non_null(buffer.data);
    net_buffer_trim(&buffer, 0);
    assert_null(buffer.data);
    assert_null(net_buffer_reserve(&buffer, SIZE_MAX));
    net_buffer_fini(&buffer);
}

/* The queue keeps order and content under a random mix of sizes. */
static void test_buffer_random(void **state)
{
    (void)state;
    unsigned seed = (unsigned)clock_now_ns();
    print_message("seed %u\n", seed);
    srand(seed);
    struct net_buffer buffer;
    net_buffer_init(&buffer, 20000);
    uint8_t in = 0, out = 0;
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)rand() % 700;
        uint8_t *place = net_buffer_reserve(&buffer, size);
        for (size_t i = 0; place != NULL && i < size; i++)
            place[i] = in++;
        if (place != NULL)
            net_buffer_commit(&buffer, size);
        else
            assert_true(net_buffer_used(&buffer) + size > 20000);
        size_t take = (size_t)rand() % 720;
        if (take > net_buffer_used(&buffer))
            take = net_buffer_used(&buffer);
        for (size_t i = 0; i < take; i++)
            assert_int_equal(net_buffer_front(&buffer)[i], out++);
        net_buffer_consume(&buffer, take);
        assert_true(buffer.size <= 20000);
    }
    net_buffer_fini(&buffer);
}

static void check_hex(const uint8_t digest[DIGEST_SIZE], const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * DIGEST_SIZE + 1];
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[2 * DIGEST_SIZE] = '\0';
    assert_string_equal(text, hex);
}

static void test_digest(void **state)
{
    (void)state;
    uint8_t out[DIGEST_SIZE];
    digest_sha256("abc", 3, out);
    check_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_sha256("", 0, out);
    check_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /* RFC 4231 §4.3, in pieces. */
    struct digest_part parts[] = {{"what do ya want ", 16}, {NULL, 0}, {"for nothing?", 12}};
    digest_hmac_sha256("Jefe", 4, parts, 3, out);
    check_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    /* RFC 4231 §4.7: a key larger than a block. */
    uint8_t key[131];
    memset(key, 0xaa, sizeof(key));
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    struct digest_part whole = {text, strlen(text)};
    digest_hmac_sha256(key, sizeof(key), &whole, 1, out);
    check_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    digest_hmac_sha256(NULL, 0, NULL, 0, out);
    check_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_true(digest_equal("abc", "abc", 3));
    assert_false(digest_equal("abc", "abd", 3));
    assert_true(digest_equal("a", "b", 0));
}

static void test_random(void **state)
{
    (void)state;
    uint8_t seen[200][16], large[2][5000];
    for (size_t i = 0; i < 200; i++)
        digest_random(seen[i], sizeof(seen[i]));
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], sizeof(seen[i]));
    }
    digest_random(large[0], sizeof(large[0]));
    digest_random(large[1], sizeof(large[1]));
    assert_memory_not_equal(large[0], large[1], sizeof(large[0]));
}

static void test_clock(void **state)
{
    (void)state;
    uint64_t first = clock_now_ns();
    assert_true(clock_now_ns() >= first);
    assert_true(clock_wall_ms() > 1700000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_v4),
        cmocka_unit_test(test_address_text),    cmocka_unit_test(test_address_refused),
        cmocka_unit_test(test_address_equal),   cmocka_unit_test(test_address_site),
        cmocka_unit_test(test_address_networks),
        cmocka_unit_test(test_address_special), cmocka_unit_test(test_buffer_limit),
        cmocka_unit_test(test_buffer_random),   cmocka_unit_test(test_digest),
        cmocka_unit_test(test_random),          cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
