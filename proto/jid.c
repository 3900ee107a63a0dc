/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/jid.h"

#include <assert.h>

#include <idn2.h>

#include "proto/precis.h"
#include "proto/utf8.h"

#define LABEL_SIZE_MAX 63  /* RFC 1035 §2.3.4 */
#define NAME_SIZE_MAX  253 /* 255 less the first length byte and the root label */

_Static_assert(JID_PART_SIZE_MAX == PRECIS_SIZE_MAX, "one buffer fits a part");
_Static_assert(NAME_SIZE_MAX < DOMAIN_SIZE_MAX, "presentation is shorter than the wire");

/* RFC 7622 §3.3.1, on top of the class. */
static const char excluded[] = "\"&'/:<>@";

/* Points `out` into `text` when nothing changed, so that the usual address costs no memory. */
static enum jid_result keep(struct span text, struct span prepared, struct writer *memory,
                            struct span *out)
{
    if (span_equal(text, prepared)) {
        *out = text;
        return JID_OK;
    }
    size_t start = memory->used;
    writer_put(memory, prepared);
    *out = writer_since(memory, start);
    return memory->overflow ? JID_MALFORMED : JID_OK;
}

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0x80)
            return false;
    return true;
}

/* Every byte printable ASCII, at least `first`. */
static bool is_printable(struct span text, char first)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < first || text.data[i] > '~')
            return false;
    return true;
}

static void lower_ascii(struct span text, char *out)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
}

enum jid_result jid_prepare_local(struct span text, struct writer *memory, struct span *out)
{
    char prepared[JID_PART_SIZE_MAX];
    size_t size = text.size;
    *out = SPAN_NONE;
    if (text.size == 0 || text.size > JID_PART_SIZE_MAX)
        return JID_MALFORMED;
    if (is_ascii(text)) {
        if (!is_printable(text, '!'))
            return JID_MALFORMED;
        lower_ascii(text, prepared);
    } else {
        size = precis_prepare(PRECIS_USERNAME, text, prepared);
    }
    if (size == 0)
        return JID_MALFORMED;
    /* Checked last: width mapping may have made one of them. */
    for (size_t i = 0; i < size; i++)
        if (memchr(excluded, prepared[i], sizeof excluded - 1) != NULL)
            return JID_MALFORMED;
    return keep(text, span_make(prepared, size), memory, out);
}

enum jid_result jid_prepare_resource(struct span text, struct writer *memory, struct span *out)
{
    char prepared[JID_PART_SIZE_MAX];
    *out = SPAN_NONE;
    if (text.size == 0 || text.size > JID_PART_SIZE_MAX)
        return JID_MALFORMED;
    if (is_ascii(text)) {
        if (!is_printable(text, ' '))
            return JID_MALFORMED;
        *out = text;
        return JID_OK;
    }
    size_t size = precis_prepare(PRECIS_OPAQUE, text, prepared);
    if (size == 0)
        return JID_MALFORMED;
    return keep(text, span_make(prepared, size), memory, out);
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_a_label(struct span label)
{
    return label.size > 4 && span_equal_nocase(span_to(label, 4), SPAN("xn--"));
}

/* An LDH label (RFC 5890 §2.3.1) that is not reserved, or looks like an A-label. */
static bool is_ldh_label(struct span label)
{
    if (label.size == 0 || label.size > LABEL_SIZE_MAX)
        return false;
    if (label.data[0] == '-' || label.data[label.size - 1] == '-')
        return false;
    for (size_t i = 0; i < label.size; i++)
        if (!is_letter_or_digit(label.data[i]) && label.data[i] != '-')
            return false;
    bool is_reserved = label.size >= 4 && label.data[2] == '-' && label.data[3] == '-';
    return !is_reserved || is_a_label(label);
}

static bool is_number(struct span label)
{
    for (size_t i = 0; i < label.size; i++)
        if (label.data[i] < '0' || label.data[i] > '9')
            return false;
    return label.size > 0;
}

/* An ASCII domain name; *has_a_label tells whether some label is in punycode. */
static bool is_ascii_domain(struct span domain, bool *has_a_label)
{
    *has_a_label = false;
    if (domain.size == 0 || domain.size > NAME_SIZE_MAX)
        return false;
    struct span label;
    do {
        label = span_to(domain, span_find(domain, '.'));
        if (!is_ldh_label(label))
            return false;
        *has_a_label |= is_a_label(label);
        bool is_last = label.size == domain.size;
        domain = span_from(domain, label.size + 1);
        if (!is_last && domain.size == 0)
            return false;
    } while (domain.size > 0);
    /* A numeric last label is an IPv4 literal or a bad name (RFC 1123 §2.1). */
    return !is_number(label);
}

/* The A-label form in `out`, JID_PART_SIZE_MAX + 1 bytes with a NUL; false when IDNA2008
   forbids it. UTS 46 only maps case and width beforehand; nothing transitional. */
static bool to_ascii(struct span domain, char *out)
{
    char text[JID_PART_SIZE_MAX + 1];
    if (domain.size > JID_PART_SIZE_MAX || memchr(domain.data, '\0', domain.size) != NULL)
        return false;
    memcpy(text, domain.data, domain.size);
    text[domain.size] = '\0';
    uint8_t *name = NULL;
    int rc = idn2_lookup_u8((const uint8_t *)text, &name,
                            IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES);
    if (rc != IDN2_OK)
        return false;
    struct span ascii = span_of((const char *)name);
    bool ignored;
    bool valid = is_ascii_domain(ascii, &ignored);
    if (valid)
        memcpy(out, ascii.data, ascii.size + 1);
    idn2_free(name);
    return valid;
}

/* Through the A-labels and back: what comes out is the one spelling of this name. */
static enum jid_result prepare_international(struct span text, struct span domain,
                                             struct writer *memory, struct span *out)
{
    char ascii[JID_PART_SIZE_MAX + 1], again[JID_PART_SIZE_MAX + 1];
    if (!utf8_valid(domain) || !to_ascii(domain, ascii))
        return JID_MALFORMED;
    char *unicode = NULL;
    if (idn2_to_unicode_8z8z(ascii, &unicode, 0) != IDN2_OK)
        return JID_MALFORMED;
    struct span prepared = span_of(unicode);
    enum jid_result result = JID_MALFORMED;
    /* An A-label that is not what its own U-label encodes to is a fake (RFC 5891 §5.4). */
    if (prepared.size <= JID_PART_SIZE_MAX && to_ascii(prepared, again) &&
        span_equal(span_of(ascii), span_of(again)))
        result = keep(text, prepared, memory, out);
    idn2_free(unicode);
    return result;
}

enum jid_result jid_prepare_domain(struct span text, struct writer *memory, struct span *out)
{
    *out = SPAN_NONE;
    struct span domain = text;
    /* One final dot is stripped, RFC 7622 §3.2. */
    if (domain.size > 0 && domain.data[domain.size - 1] == '.')
        domain.size--;
    if (domain.size == 0 || domain.size > JID_PART_SIZE_MAX)
        return JID_MALFORMED;
    bool has_a_label = false;
    if (!is_ascii(domain))
        return prepare_international(domain, domain, memory, out);
    if (!is_ascii_domain(domain, &has_a_label))
        return JID_MALFORMED;
    char lower[NAME_SIZE_MAX];
    lower_ascii(domain, lower);
    if (has_a_label)
        return prepare_international(domain, span_make(lower, domain.size), memory, out);
    return keep(domain, span_make(lower, domain.size), memory, out);
}

enum jid_result jid_domain_to_ascii(struct span domain, struct writer *memory, struct span *out)
{
    *out = SPAN_NONE;
    bool ignored;
    if (is_ascii(domain)) {
        if (!is_ascii_domain(domain, &ignored))
            return JID_MALFORMED;
        *out = domain;
        return JID_OK;
    }
    char ascii[JID_PART_SIZE_MAX + 1];
    if (!utf8_valid(domain) || !to_ascii(domain, ascii))
        return JID_MALFORMED;
    return keep(domain, span_of(ascii), memory, out);
}

/* RFC 7622 §3.1: the first slash ends the bare address, the first @ in that ends the
   localpart. */
enum jid_result jid_parse(struct span text, struct writer *memory, struct jid *jid)
{
    *jid = (struct jid){SPAN(""), SPAN(""), SPAN("")};
    if (text.size == 0 || text.size > JID_SIZE_MAX)
        return JID_MALFORMED;
    size_t slash = span_find(text, '/');
    struct span bare = span_to(text, slash);
    size_t at = span_find(bare, '@');
    struct span domain = at < bare.size ? span_from(bare, at + 1) : bare;
    if (at < bare.size && jid_prepare_local(span_to(bare, at), memory, &jid->local) != JID_OK)
        return JID_MALFORMED;
    if (jid_prepare_domain(domain, memory, &jid->domain) != JID_OK)
        return JID_MALFORMED;
    if (slash == text.size)
        return JID_OK;
    return jid_prepare_resource(span_from(text, slash + 1), memory, &jid->resource);
}

void jid_write_bare(struct writer *writer, const struct jid *jid)
{
    assert(jid->domain.size > 0);
    if (jid->local.size > 0) {
        writer_put(writer, jid->local);
        writer_put_char(writer, '@');
    }
    writer_put(writer, jid->domain);
}

void jid_write(struct writer *writer, const struct jid *jid)
{
    jid_write_bare(writer, jid);
    if (jid->resource.size > 0) {
        writer_put_char(writer, '/');
        writer_put(writer, jid->resource);
    }
}
