/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/sip_message.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_hex(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9');
}

/* Every byte is alphanumeric, one of `others` or part of a %HH escape (RFC 3261 §25.1). */
static bool made_of(struct span text, struct span others)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            if (i + 2 >= text.size || !is_hex(text.data[i + 1]) || !is_hex(text.data[i + 2]))
                return false;
            i += 2;
        } else if (!is_alnum(c) && span_find(others, c) == others.size) {
            return false;
        }
    }
    return true;
}

static enum sip_scheme scheme_find(struct span name)
{
    static const struct {
        struct span name;
        enum sip_scheme scheme;
    } table[] = {
        {SPAN("sip"), SIP_SCHEME_SIP}, {SPAN("sips"), SIP_SCHEME_SIPS},
        {SPAN("tel"), SIP_SCHEME_TEL}, {SPAN("im"), SIP_SCHEME_IM},
        {SPAN("pres"), SIP_SCHEME_PRES},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (span_equal_nocase(name, table[i].name))
            return table[i].scheme;
    return SIP_SCHEME_OTHER;
}

static bool port_parse(struct span text, uint16_t *port)
{
    uint32_t value = 0;
    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

/* Only the characters: the grammar of RFC 3261 itself allows ":::" (RFC 5118 §4.9). */
static bool address6_legal(struct span text)
{
    size_t colon_count = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (!is_hex(text.data[i]) && text.data[i] != ':' && text.data[i] != '.')
            return false;
        colon_count += text.data[i] == ':';
    }
    return colon_count >= 2;
}

static bool host_port_parse(struct span text, struct sip_uri *uri)
{
    size_t end;
    if (text.size > 0 && text.data[0] == '[') {
        size_t close = span_find(text, ']');
        if (close == text.size || !address6_legal(span_from(span_to(text, close), 1)))
            return false;
        end = close + 1;
    } else {
        end = span_find(text, ':');
        for (size_t i = 0; i < end; i++)
            /* The underscore is no host character, but DNS has it. */
            if (!is_alnum(text.data[i]) && span_find(SPAN("-._"), text.data[i]) == 3)
                return false;
    }
    uri->host = span_to(text, end);
    if (uri->host.size == 0)
        return false;
    if (end == text.size)
        return true;
    return text.data[end] == ':' && port_parse(span_from(text, end + 1), &uri->port);
}

static bool user_parse(struct span info, struct sip_uri *uri)
{
    size_t colon = span_find(info, ':');
    uri->user = span_to(info, colon);
    return uri->user.size > 0 && made_of(uri->user, SPAN("-_.!~*'()&=+$,;?/")) &&
           made_of(span_from(info, colon + 1), SPAN("-_.!~*'()&=+$,"));
}

/* user@host:port;parameters?headers */
static bool hierarchy_parse(struct span text, struct sip_uri *uri)
{
    size_t at = span_find(text, '@');
    if (at < text.size) {
        if (!user_parse(span_to(text, at), uri))
            return false;
        text = span_from(text, at + 1);
    }
    size_t question = span_find(text, '?');
    uri->headers = span_from(text, question + 1);
    if (question + 1 == text.size || !made_of(uri->headers, SPAN("-_.!~*'()[]/?:+$=&")))
        return false;
    text = span_to(text, question);
    size_t semicolon = span_find(text, ';');
    uri->parameters = span_from(text, semicolon + 1);
    return made_of(uri->parameters, SPAN("-_.!~*'()[]/:&+$=;")) &&
           host_port_parse(span_to(text, semicolon), uri);
}

bool sip_uri_parse(struct span text, struct sip_uri *uri)
{
    *uri = (struct sip_uri){.text = text, .scheme = SIP_SCHEME_OTHER};
    size_t colon = span_find(text, ':');
    struct span scheme = span_to(text, colon);
    if (text.size > SIP_URI_SIZE_MAX || colon == text.size || scheme.size == 0)
        return false;
    for (size_t i = 0; i < scheme.size; i++)
        if (!is_alnum(scheme.data[i]) && span_find(SPAN("+-."), scheme.data[i]) == 3)
            return false;

    struct span rest = span_from(text, colon + 1);
    uri->scheme = scheme_find(scheme);
    switch (uri->scheme) {
    case SIP_SCHEME_SIP:
    case SIP_SCHEME_SIPS:
    case SIP_SCHEME_IM:
    case SIP_SCHEME_PRES:
        return hierarchy_parse(rest, uri);
    case SIP_SCHEME_TEL: {
        size_t semicolon = span_find(rest, ';');
        uri->user = span_to(rest, semicolon);
        uri->parameters = span_from(rest, semicolon + 1);
        return uri->user.size > 0 && made_of(uri->user, SPAN("-.()+*#")) &&
               made_of(uri->parameters, SPAN("-_.!~*'()[]/:&+$=;"));
    }
    case SIP_SCHEME_OTHER:
        break;
    }
    for (size_t i = 0; i < rest.size; i++)
        if (rest.data[i] <= ' ' || rest.data[i] == '<' || rest.data[i] == '>')
            return false;
    return rest.size > 0;
}

bool sip_uri_parameter(const struct sip_uri *uri, struct span name, struct span *value)
{
    struct span rest = uri->parameters;
    while (rest.size > 0) {
        size_t end = span_find(rest, ';');
        struct span item = span_to(rest, end);
        size_t equals = span_find(item, '=');
        if (span_equal_nocase(span_to(item, equals), name)) {
            *value = span_from(item, equals + 1);
            return true;
        }
        rest = span_from(rest, end + 1);
    }
    *value = SPAN_NONE;
    return false;
}
