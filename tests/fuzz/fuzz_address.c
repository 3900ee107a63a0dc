/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Addresses: preparing twice is preparing once, an address that goes to SIP and back is the
 * same address, and nothing in it can break out of where it is written.
 */
#include "fuzz.h"
#include "proto/address_map.h"
#include "proto/precis.h"

#define MEMORY_SIZE (2 * JID_SIZE_MAX + SIP_URI_SIZE_MAX)

static void check_equal(const struct jid *a, const struct jid *b)
{
    CHECK(span_equal(a->local, b->local));
    CHECK(span_equal(a->domain, b->domain));
    CHECK(span_equal(a->resource, b->resource));
}

/* What may stand between < and > in a header (RFC 3261 §25.1) and in a request line. */
static void check_uri_text(struct span uri)
{
    for (size_t i = 0; i < uri.size; i++) {
        unsigned char byte = (unsigned char)uri.data[i];
        CHECK(byte > 0x20 && byte < 0x7f);
        CHECK(strchr("<>\"{}|\\^`", byte) == NULL);
    }
}

static void check_both_ways(const struct jid *jid, bool with_resource)
{
    char uri_memory[4 * JID_SIZE_MAX], memory[MEMORY_SIZE];
    struct writer writer = writer_make(uri_memory, sizeof(uri_memory));
    struct writer back = writer_make(memory, sizeof(memory));
    struct sip_uri uri;
    struct jid again, wanted = *jid;
    if (address_to_sip(&writer, jid, with_resource) != ADDRESS_OK || writer.overflow ||
        writer.used > SIP_URI_SIZE_MAX)
        return;
    check_uri_text(writer_span(&writer));
    CHECK(sip_uri_parse(writer_span(&writer), &uri));
    CHECK(uri.scheme == SIP_SCHEME_SIP && uri.headers.size == 0 && uri.port == 0);
    CHECK(address_to_jid(&uri, SPAN_NONE, &back, &again) == ADDRESS_OK);
    /* A URI without a user is a domain's, which has no GRUU. */
    if (!with_resource || jid->local.size == 0)
        wanted.resource = SPAN("");
    check_equal(&wanted, &again);
}

static void check_jid(struct span text)
{
    char memory[JID_SIZE_MAX], copy[JID_SIZE_MAX], other[JID_SIZE_MAX], ascii[512];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct writer whole = writer_make(copy, sizeof(copy));
    struct writer twice = writer_make(other, sizeof(other));
    struct jid jid, again;
    if (jid_parse(text, &writer, &jid) != JID_OK)
        return;
    jid_write(&whole, &jid);
    CHECK(!whole.overflow && utf8_xml_legal(writer_span(&whole)));
    CHECK(jid.domain.size > 0);
    CHECK(jid_parse(writer_span(&whole), &twice, &again) == JID_OK);
    check_equal(&jid, &again);
    check_both_ways(&jid, true);
    check_both_ways(&jid, false);
    struct writer names = writer_make(ascii, sizeof(ascii));
    struct span name, back;
    struct writer fresh = writer_make(other, sizeof(other));
    if (jid_domain_to_ascii(jid.domain, &names, &name) != JID_OK)
        return;
    for (size_t i = 0; i < name.size; i++)
        CHECK((unsigned char)name.data[i] > 0x20 && (unsigned char)name.data[i] < 0x7f);
    CHECK(jid_prepare_domain(name, &fresh, &back) == JID_OK);
    CHECK(span_equal(back, jid.domain));
}

static void check_uri(struct span text)
{
    char memory[MEMORY_SIZE];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct sip_uri uri;
    struct jid jid;
    if (!sip_uri_parse(text, &uri) ||
        address_to_jid(&uri, SPAN("phone.example"), &writer, &jid) != ADDRESS_OK)
        return;
    CHECK(!writer.overflow);
    CHECK(utf8_xml_legal(jid.local) && utf8_xml_legal(jid.domain));
    CHECK(utf8_xml_legal(jid.resource));
    char copy[JID_SIZE_MAX], other[JID_SIZE_MAX];
    struct writer whole = writer_make(copy, sizeof(copy));
    struct writer twice = writer_make(other, sizeof(other));
    struct jid again;
    jid_write(&whole, &jid);
    CHECK(!whole.overflow);
    CHECK(jid_parse(writer_span(&whole), &twice, &again) == JID_OK);
    check_equal(&jid, &again);
    check_both_ways(&jid, true);
}

static void check_precis(struct span text)
{
    char once[PRECIS_SIZE_MAX], twice[PRECIS_SIZE_MAX];
    for (int profile = PRECIS_USERNAME; profile <= PRECIS_OPAQUE; profile++) {
        size_t size = precis_prepare((enum precis_profile)profile, text, once);
        if (size == 0)
            continue;
        CHECK(size <= PRECIS_SIZE_MAX && utf8_valid(span_make(once, size)));
        size_t again =
            precis_prepare((enum precis_profile)profile, span_make(once, size), twice);
        CHECK(span_equal(span_make(once, size), span_make(twice, again)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    switch (fuzz_choice(&input) % 3) {
    case 0: check_jid(input); break;
    case 1: check_uri(input); break;
    default: check_precis(input); break;
    }
    return 0;
}
