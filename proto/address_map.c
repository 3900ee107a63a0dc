/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/address_map.h"

#include <assert.h>

#include "proto/utf8.h"

/* XEP-0106 §4: what a localpart cannot hold as it is, and its two hex digits. The backslash
   comes last: it is escaped only where it would start one of these codes. */
struct escape {
    char character;
    char code[2];
};
static const struct escape escapes[] = {
    {' ', {'2', '0'}}, {'"', {'2', '2'}}, {'&', {'2', '6'}}, {'\'', {'2', '7'}},
    {'/', {'2', 'f'}}, {':', {'3', 'a'}}, {'<', {'3', 'c'}}, {'>', {'3', 'e'}},
    {'@', {'4', '0'}}, {'\\', {'5', 'c'}},
};
#define ESCAPE_COUNT (sizeof(escapes) / sizeof(escapes[0]))

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Whether `c` is one of the characters of `set`; NUL never is. */
static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The escape whose code stands at the start of `text`; NULL when there is none. Only lower case
   counts (XEP-0106 §4). */
static const struct escape *escape_by_code(struct span text)
{
    for (size_t i = 0; text.size >= 2 && i < ESCAPE_COUNT; i++) {
        if (memcmp(text.data, escapes[i].code, 2) == 0)
            return &escapes[i];
    }
    return NULL;
}

static const struct escape *escape_by_character(char c)
{
    for (size_t i = 0; i < ESCAPE_COUNT; i++) {
        if (escapes[i].character == c)
            return &escapes[i];
    }
    return NULL;
}

/* Every octet that is neither alphanumeric nor in `allowed` becomes %HH, upper case. */
static void put_percent(struct writer *writer, char c, const char *allowed)
{
    static const char digits[] = "0123456789ABCDEF";
    if (is_alphanumeric(c) || is_one_of(c, allowed)) {
        writer_put_char(writer, c);
        return;
    }
    unsigned char octet = (unsigned char)c;
    writer_put_char(writer, '%');
    writer_put_char(writer, digits[octet >> 4]);
    writer_put_char(writer, digits[octet & 15]);
}

/* ---- JID → SIP ---- */

/* RFC 3261 §25.1: what `user` may hold raw besides alphanumerics (mark and user-unreserved). */
#define USER_RAW "-_.!~*'()&=+$,;?/"
/* What a parameter value may hold raw: paramchar, RFC 3261 §25.1. */
#define PARAMETER_RAW "-_.!~*'()[]/:&+$"

/* Unescapes the ten sequences in one pass and percent-encodes the rest (RFC 7247 §6.5). Refuses
   what XEP-0106 §4.1 never generates: a space at either end, and \5c that protects nothing.
   Both would come back from SIP as another JID, so somebody else would get the answers. */
static enum address_result put_user(struct writer *writer, struct span local)
{
    assert(local.size > 0);
    for (size_t i = 0; i < local.size; i++) {
        const struct escape *escape = NULL;
        if (local.data[i] == '\\')
            escape = escape_by_code(span_from(local, i + 1));
        if (escape == NULL) {
            put_percent(writer, local.data[i], USER_RAW);
            continue;
        }
        bool at_end = i == 0 || i + 3 == local.size;
        if (escape->character == ' ' && at_end)
            return ADDRESS_UNREPRESENTABLE;
        if (escape->character == '\\' && escape_by_code(span_from(local, i + 3)) == NULL)
            return ADDRESS_UNREPRESENTABLE;
        put_percent(writer, escape->character, USER_RAW);
        i += 2;
    }
    return ADDRESS_OK;
}

enum address_result address_to_sip(struct writer *writer, const struct jid *jid,
                                   bool with_resource)
{
    assert(jid->domain.size > 0);
    char ascii[2 * JID_PART_SIZE_MAX];
    struct writer scratch = writer_make(ascii, sizeof(ascii));
    struct span domain = SPAN_NONE;
    if (jid_domain_to_ascii(jid->domain, &scratch, &domain) != JID_OK)
        return ADDRESS_UNREPRESENTABLE;
    writer_put_literal(writer, "sip:");
    if (jid->local.size > 0) {
        enum address_result result = put_user(writer, jid->local);
        if (result != ADDRESS_OK)
            return result;
        writer_put_char(writer, '@');
    }
    writer_put(writer, domain);
    /* A gr belongs to a user's address of record (RFC 5627 §3.1), a domain has none. */
    if (with_resource && jid->local.size > 0 && jid->resource.size > 0) {
        writer_put_literal(writer, ";gr=");
        for (size_t i = 0; i < jid->resource.size; i++)
            put_percent(writer, jid->resource.data[i], PARAMETER_RAW);
    }
    return writer->overflow ? ADDRESS_UNREPRESENTABLE : ADDRESS_OK;
}

/* ---- SIP → JID ---- */

/* Percent-decodes exactly once (RFC 7247 §6.4 step 3). Controls are legal in SIP (RFC 4475
   §3.1.1.4, escnull) but have no place in a JID. */
static enum address_result decode(struct span text, struct writer *writer)
{
    size_t start = writer->used;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ADDRESS_MALFORMED;
            c = (char)(high * 16 + low);
            i += 2;
        }
        writer_put_char(writer, c);
    }
    if (writer->overflow)
        return ADDRESS_UNREPRESENTABLE;
    struct span decoded = writer_since(writer, start);
    if (!utf8_valid(decoded))
        return ADDRESS_MALFORMED;
    uint32_t character = 0;
    for (size_t i = 0; i < decoded.size;) {
        i += utf8_decode(span_from(decoded, i), &character);
        if (character < 0x20 || (character >= 0x7f && character < 0xa0))
            return ADDRESS_UNREPRESENTABLE;
    }
    return ADDRESS_OK;
}

/* XEP-0106 §4.2: the nine characters always, the backslash only before a code. */
static enum address_result put_escaped(struct writer *writer, struct span text)
{
    if (text.size == 0)
        return ADDRESS_UNREPRESENTABLE;
    if (text.data[0] == ' ' || text.data[text.size - 1] == ' ')
        return ADDRESS_UNREPRESENTABLE;
    for (size_t i = 0; i < text.size; i++) {
        const struct escape *escape = escape_by_character(text.data[i]);
        bool protects = text.data[i] != '\\' ||
                        escape_by_code(span_from(text, i + 1)) != NULL;
        if (escape == NULL || !protects) {
            writer_put_char(writer, text.data[i]);
            continue;
        }
        writer_put_char(writer, '\\');
        writer_put(writer, span_make(escape->code, 2));
    }
    return writer->overflow ? ADDRESS_UNREPRESENTABLE : ADDRESS_OK;
}

static enum address_result prepare_domain(struct span host, struct writer *memory,
                                          struct span *out)
{
    /* RFC 3261 §19.1.2: a host holds no escapes and none may be repaired. */
    if (host.size == 0 || span_find(host, '%') < host.size)
        return ADDRESS_MALFORMED;
    return jid_prepare_domain(host, memory, out) == JID_OK ? ADDRESS_OK
                                                           : ADDRESS_UNREPRESENTABLE;
}

/* Drops the visual separators of a global number (RFC 3966 §3); they carry no meaning. */
static void put_number(struct writer *writer, struct span number)
{
    for (size_t i = 0; i < number.size; i++) {
        if (!is_one_of(number.data[i], "-.()"))
            writer_put_char(writer, number.data[i]);
    }
}

/* A global number becomes the localpart; its parameters are not part of the identity. Local
   numbers mean nothing outside their context. */
static enum address_result tel_to_jid(const struct sip_uri *uri, struct span default_domain,
                                      struct writer *memory, struct jid *jid)
{
    struct span number = span_from(uri->text, span_find(uri->text, ':') + 1);
    number = span_to(number, span_find(number, ';'));
    number = span_to(number, span_find(number, '?'));
    if (number.size == 0)
        return ADDRESS_MALFORMED;
    if (number.data[0] != '+')
        return ADDRESS_UNREPRESENTABLE;
    for (size_t i = 1; i < number.size; i++) {
        if (!is_one_of(number.data[i], "0123456789-.()"))
            return ADDRESS_MALFORMED;
    }
    size_t start = memory->used;
    put_number(memory, number);
    struct span digits = writer_since(memory, start);
    if (memory->overflow || digits.size > JID_PART_SIZE_MAX)
        return ADDRESS_UNREPRESENTABLE;
    if (digits.size < 2)
        return ADDRESS_MALFORMED;
    jid->local = digits;
    return prepare_domain(default_domain, memory, &jid->domain);
}

/* RFC 3261 §19.1.6: a global number in a SIP URI, told by user=phone. */
static bool is_phone(const struct sip_uri *uri)
{
    struct span value = SPAN_NONE;
    return uri->user.size > 0 && uri->user.data[0] == '+' &&
           sip_uri_parameter(uri, SPAN("user"), &value) &&
           span_equal_nocase(value, SPAN("phone"));
}

static enum address_result user_to_local(const struct sip_uri *uri, struct writer *memory,
                                         struct span *local)
{
    char decoded[SIP_URI_SIZE_MAX];
    struct writer scratch = writer_make(decoded, sizeof(decoded));
    enum address_result result = decode(uri->user, &scratch);
    if (result != ADDRESS_OK)
        return result;
    struct span user = writer_span(&scratch);
    size_t start = memory->used;
    if (is_phone(uri)) {
        struct span number = span_to(user, span_find(user, ';'));
        put_number(memory, number);
        user = span_from(user, number.size);
    }
    if (user.size > 0 || memory->used == start)
        result = put_escaped(memory, user);
    if (result != ADDRESS_OK || memory->overflow)
        return ADDRESS_UNREPRESENTABLE;
    struct span escaped = writer_since(memory, start);
    return jid_prepare_local(escaped, memory, local) == JID_OK ? ADDRESS_OK
                                                               : ADDRESS_UNREPRESENTABLE;
}

static enum address_result gr_to_resource(struct span gr, struct writer *memory,
                                          struct span *resource)
{
    size_t start = memory->used;
    enum address_result result = decode(gr, memory);
    if (result != ADDRESS_OK)
        return result;
    struct span decoded = writer_since(memory, start);
    return jid_prepare_resource(decoded, memory, resource) == JID_OK ? ADDRESS_OK
                                                                     : ADDRESS_UNREPRESENTABLE;
}

enum address_result address_to_jid(const struct sip_uri *uri, struct span default_domain,
                                   struct writer *memory, struct jid *jid)
{
    *jid = (struct jid){SPAN_NONE, SPAN_NONE, SPAN_NONE};
    switch (uri->scheme) {
    case SIP_SCHEME_OTHER:
        return ADDRESS_UNSUPPORTED_SCHEME;
    case SIP_SCHEME_TEL:
        return tel_to_jid(uri, default_domain, memory, jid);
    case SIP_SCHEME_SIP:
    case SIP_SCHEME_SIPS:
    case SIP_SCHEME_IM:
    case SIP_SCHEME_PRES:
        break;
    }
    enum address_result result = prepare_domain(uri->host, memory, &jid->domain);
    if (result != ADDRESS_OK || uri->user.size == 0)
        return result;
    result = user_to_local(uri, memory, &jid->local);
    if (result != ADDRESS_OK)
        return result;
    /* A gr without value marks a temporary GRUU, which names no resource (RFC 7247 §6.3). */
    struct span gr = SPAN_NONE;
    if (sip_uri_parameter(uri, SPAN("gr"), &gr) && gr.size > 0)
        result = gr_to_resource(gr, memory, &jid->resource);
    return result;
}
