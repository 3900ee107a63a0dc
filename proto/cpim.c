/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/cpim.h"

#include <assert.h>

#include "proto/utf8.h"

#define CPIM_SPACE "urn:ietf:params:cpim-headers:"

/* The namespaces in force while the message headers are read (RFC 3862 §3.4): we only need to
   know which prefixes stand for the standard headers. */
struct cpim_spaces {
    bool default_is_cpim;
    struct span prefixes[CPIM_PREFIX_COUNT_MAX];
    bool is_cpim[CPIM_PREFIX_COUNT_MAX];
    size_t count;
};

/* A header name as RFC 3862 §3.6 has it: a token, perhaps with a prefix and a dot. */
static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("!#$%&'*+-^_`|~.", c));
        if (!token)
            return false;
    }
    return name.size > 0;
}

/* The local name when `name` belongs to the standard headers, else SPAN_NONE. */
static struct span standard_name(const struct cpim_spaces *spaces, struct span name)
{
    size_t dot = span_find(name, '.');
    if (dot == name.size)
        return spaces->default_is_cpim ? name : SPAN_NONE;
    for (size_t i = spaces->count; i > 0; i--) {
        if (span_equal(spaces->prefixes[i - 1], span_to(name, dot)))
            return spaces->is_cpim[i - 1] ? span_from(name, dot + 1) : SPAN_NONE;
    }
    return SPAN_NONE;
}

/* "NS: [prefix SP] <uri>" (RFC 3862 §4.6). */
static enum cpim_result declare_space(struct cpim_spaces *spaces, struct span value)
{
    size_t open = span_find(value, '<');
    if (open == value.size || value.data[value.size - 1] != '>')
        return CPIM_MALFORMED;
    struct span uri = span_from(value, open + 1);
    uri.size--;
    bool is_cpim = span_equal(uri, SPAN(CPIM_SPACE));
    struct span prefix = span_trim(span_to(value, open));
    if (prefix.size == 0) {
        spaces->default_is_cpim = is_cpim;
        return CPIM_OK;
    }
    if (spaces->count == CPIM_PREFIX_COUNT_MAX)
        return CPIM_MALFORMED;
    spaces->prefixes[spaces->count] = prefix;
    spaces->is_cpim[spaces->count] = is_cpim;
    spaces->count++;
    return CPIM_OK;
}

/* "Require: name, name": each must be a header that we understand. */
static enum cpim_result check_required(const struct cpim_spaces *spaces, struct span value)
{
    static const struct span known[] = {SPAN("From"),     SPAN("To"),      SPAN("cc"),
                                        SPAN("DateTime"), SPAN("Subject"), SPAN("NS"),
                                        SPAN("Require")};
    while (value.size > 0) {
        size_t comma = span_find(value, ',');
        struct span name = standard_name(spaces, span_trim(span_to(value, comma)));
        value = span_from(value, comma + 1);
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found = found || span_equal(name, known[i]);
        if (!found)
            return CPIM_UNSUPPORTED;
    }
    return CPIM_OK;
}

/* The value of \uXXXX behind the u; false when it is not four hex digits. */
static bool read_unicode(struct span digits, uint32_t *character)
{
    *character = 0;
    if (digits.size < 4)
        return false;
    for (size_t i = 0; i < 4; i++) {
        char c = digits.data[i];
        uint32_t value = 0;
        if (c >= '0' && c <= '9')
            value = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = (uint32_t)(c - 'A' + 10);
        else
            return false;
        *character = *character * 16 + value;
    }
    return *character < 0xd800 || *character > 0xdfff;
}

/* Undoes the escapes of RFC 3862 §2.3.1: an unknown \x is x, a lone final \ is nothing. */
static void put_unescaped(struct writer *writer, struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '\\') {
            writer_put_char(writer, text.data[i]);
            continue;
        }
        i++;
        uint32_t character = 0;
        if (i == text.size)
            break;
        if (text.data[i] == 'u' && read_unicode(span_from(text, i + 1), &character)) {
            char bytes[4];
            writer_put(writer, span_make(bytes, utf8_encode(character, bytes)));
            i += 4;
        } else if (text.data[i] == 'n' || text.data[i] == 'r' || text.data[i] == 't') {
            writer_put_char(writer, text.data[i] == 't' ? '\t' : '\n');
        } else {
            writer_put_char(writer, text.data[i] == 'b' ? '\b' : text.data[i]);
        }
    }
}

static enum cpim_result read_header(struct span line, struct cpim_spaces *spaces,
                                    struct writer *memory, struct cpim_message *message)
{
    size_t colon = span_find(line, ':');
    if (colon == line.size || !is_name(span_to(line, colon)) || !utf8_valid(line))
        return CPIM_MALFORMED;
    struct span name = standard_name(spaces, span_to(line, colon));
    /* Parameters stand between the colon and the one space (RFC 3862 §2.2). */
    struct span rest = span_from(line, colon + 1);
    size_t space = span_find(rest, ' ');
    struct span value = span_from(rest, space + 1);
    if (space > 0 && rest.size > 0 && rest.data[0] != ';')
        return CPIM_MALFORMED;
    if (span_equal(name, SPAN("NS")))
        return declare_space(spaces, value);
    if (span_equal(name, SPAN("Require")))
        return check_required(spaces, value);
    if (span_equal(name, SPAN("DateTime")))
        message->date_time = value;
    if (span_equal(name, SPAN("Subject")) && message->subject.size == 0) {
        size_t start = memory->used;
        put_unescaped(memory, value);
        message->subject = writer_since(memory, start);
    }
    return CPIM_OK;
}

enum cpim_result cpim_read(struct span text, struct writer *memory,
                           struct cpim_message *message)
{
    *message = (struct cpim_message){.subject = SPAN_NONE};
    struct cpim_spaces spaces = {.default_is_cpim = true};
    struct span line = SPAN_NONE;
    for (size_t count = 0;; count++) {
        if (count > CPIM_HEADER_COUNT_MAX || !mime_take_line(&text, &line))
            return CPIM_MALFORMED;
        if (line.size == 0)
            break;
        enum cpim_result result = read_header(line, &spaces, memory, message);
        if (result != CPIM_OK)
            return result;
    }
    assert(spaces.count <= CPIM_PREFIX_COUNT_MAX);
    /* RFC 3862 §2.1: the content has a type. */
    if (memory->overflow || !mime_read_part(text, &message->content))
        return CPIM_MALFORMED;
    return message->content.type.size > 0 ? CPIM_OK : CPIM_MALFORMED;
}
