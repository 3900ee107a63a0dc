/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The PROXY protocol's header, at every cut and against a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xc0\x00\x02\x01\xc6\x33\x64\x01\x30\x39\x14\x95" /* 192.0.2.1:12345 */
#define V6                                                                                     \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08"     \
    "\x30\x39\x14\x95"
#define MAPPED                                                                                 \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x01" \
    "\x30\x39\x14\x95"
#define TLVS "\x04\x00\x03xyz\xe0\x00\x00" /* a padding, and an empty one */

struct sample {
    const char *bytes;
    size_t size;
    const char *source; /* NULL: the proxy's own */
};
#define SAMPLE(bytes, source)                                                                  \
    {                                                                                          \
        bytes, sizeof(bytes) - 1, source                                                       \
    }

static const struct sample good[] = {
    SAMPLE(SIGNATURE "\x21\x11\x00\x0c" V4, "192.0.2.1:12345"),
    SAMPLE(SIGNATURE "\x21\x11\x00\x15" V4 TLVS, "192.0.2.1:12345"),
    SAMPLE(SIGNATURE "\x21\x21\x00\x24" V6, "[2001:db8::7]:12345"),
    SAMPLE(SIGNATURE "\x21\x21\x00\x2d" V6 TLVS, "[2001:db8::7]:12345"),
    SAMPLE(SIGNATURE "\x21\x21\x00\x24" MAPPED, "192.0.2.1:12345"),
    SAMPLE(SIGNATURE "\x20\x00\x00\x00", NULL),
    SAMPLE(SIGNATURE "\x20\x11\x00\x0c" V4, NULL), /* its addresses are to be ignored */
    SAMPLE(SIGNATURE "\x20\xff\x00\x09" TLVS, NULL),
};

static void test_good(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const struct sample *sample = &good[i];
        struct proxy_header header;
        /* Cut anywhere there is more to come; nothing behind the cut is read. */
        for (size_t size = 0; size <= sample->size; size++) {
            uint8_t *at = map + page - size;
            memcpy(at, sample->bytes, size);
            assert_int_equal(proxy_header_read(&header, at, size),
                             size < sample->size ? PROXY_HEADER_MORE : PROXY_HEADER_DONE);
        }
        assert_int_equal(header.size, sample->size);
        assert_int_equal(header.is_local, sample->source == NULL);
        if (sample->source == NULL)
            continue;
        char text[NET_ADDRESS_TEXT_SIZE];
        net_address_format(&header.source, text);
        assert_string_equal(text, sample->source);
    }
    munmap(map, 2 * page);
}

/* What the client sent behind it is not looked at. */
static void test_behind(void **state)
{
    (void)state;
    struct proxy_header header;
    uint8_t data[200];
    memcpy(data, good[1].bytes, good[1].size);
    memcpy(data + good[1].size, "<stream:stream>", 15);
    assert_int_equal(proxy_header_read(&header, data, good[1].size + 15), PROXY_HEADER_DONE);
    assert_int_equal(header.size, good[1].size);
}

static void test_broken(void **state)
{
    (void)state;
    static const struct sample broken[] = {
        SAMPLE("PROXY TCP4 192.0.2.1 198.51.100.1 12345 5269\r\n", NULL), /* version 1 */
        SAMPLE("<?xml version='1.0'?>", NULL),
        SAMPLE("\x16\x03\x01", NULL), /* TLS */
        SAMPLE("\r\n\r\n\0\r\nQUIT\r", NULL),
        SAMPLE("\r\n\r\n\r", NULL),
        SAMPLE(SIGNATURE "\x11\x11\x00\x0c" V4, NULL), /* version 1 in this form */
        SAMPLE(SIGNATURE "\x31\x11\x00\x0c" V4, NULL),
        SAMPLE(SIGNATURE "\x22\x11\x00\x0c" V4, NULL), /* no such command */
        SAMPLE(SIGNATURE "\x21\x00\x00\x0c" V4, NULL), /* of an unknown client */
        SAMPLE(SIGNATURE "\x21\x12\x00\x0c" V4, NULL), /* datagrams */
        SAMPLE(SIGNATURE "\x21\x31\x00\x0c" V4, NULL), /* UNIX */
        SAMPLE(SIGNATURE "\x21\x11\x00\x0b" V4, NULL), /* too short for its family */
        SAMPLE(SIGNATURE "\x21\x21\x00\x23" V6, NULL),
        SAMPLE(SIGNATURE "\x21\x11\x0f\xf1" V4, NULL), /* one too long */
        SAMPLE(SIGNATURE "\x20\x00\xff\xff", NULL),
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct proxy_header header;
        assert_int_equal(proxy_header_read(&header, (const uint8_t *)broken[i].bytes,
                                           broken[i].size),
                         PROXY_HEADER_BROKEN);
    }
}

/* The longest one that is taken. */
static void test_limit(void **state)
{
    (void)state;
    static uint8_t data[PROXY_HEADER_SIZE_MAX] = SIGNATURE "\x21\x11\x0f\xf0" V4;
    struct proxy_header header;
    assert_int_equal(proxy_header_read(&header, data, sizeof(data) - 1), PROXY_HEADER_MORE);
    assert_int_equal(proxy_header_read(&header, data, sizeof(data)), PROXY_HEADER_DONE);
    assert_int_equal(header.size, PROXY_HEADER_SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_behind),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
