/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/sip_line.h"

/* What a byte may be part of (RFC 3261 §25.1). */
enum { TOKEN = 1, HOST = 2 };

static const unsigned char classes[256] = {
    ['0' ... '9'] = TOKEN | HOST,
    ['A' ... 'Z'] = TOKEN | HOST,
    ['a' ... 'z'] = TOKEN | HOST,
    ['-'] = TOKEN | HOST,
    ['.'] = TOKEN | HOST,
    ['_'] = TOKEN | HOST,
    ['!'] = TOKEN,
    ['%'] = TOKEN,
    ['*'] = TOKEN,
    ['+'] = TOKEN,
    ['`'] = TOKEN,
    ['\''] = TOKEN,
    ['~'] = TOKEN,
    [':'] = HOST,
    ['['] = HOST,
    [']'] = HOST,
};

static bool is_made_of(struct span text, unsigned class)
{
    for (size_t i = 0; i < text.size; i++)
        if ((classes[(unsigned char)text.data[i]] & class) == 0)
            return false;
    return text.size > 0;
}

static bool is_one_of(char c, struct span set)
{
    for (size_t i = 0; i < set.size; i++)
        if (set.data[i] == c)
            return true;
    return false;
}

bool sip_line_is_token(struct span text)
{
    return is_made_of(text, TOKEN);
}

/* ---- headers ---- */

static const struct {
    struct span name;
    char compact;
    bool once;
} headers[SIP_HEADER_COUNT] = {
#define HEADER(name, text, compact, once) [SIP_HEADER_##name] = {SPAN(text), compact, once},
#include "proto/sip_header.def"
#undef HEADER
};

/* The first header of each size of name; the table is in their order. */
#define NAME_SIZE_MAX 19
static const unsigned char first_of_size[NAME_SIZE_MAX + 1] = {
    [2] = SIP_HEADER_TO,
    [3] = SIP_HEADER_VIA,
    [4] = SIP_HEADER_FROM,
    [5] = SIP_HEADER_EVENT,
    [7] = SIP_HEADER_CALL_ID,
    [10] = SIP_HEADER_USER_AGENT,
    [11] = SIP_HEADER_RETRY_AFTER,
    [12] = SIP_HEADER_MAX_FORWARDS,
    [14] = SIP_HEADER_CONTENT_LENGTH,
    [16] = SIP_HEADER_CONTENT_LANGUAGE,
    [19] = SIP_HEADER_CONTENT_DISPOSITION,
};

static enum sip_header find_compact(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        letter = (char)(letter + 32);
    for (unsigned i = 1; i < SIP_HEADER_COUNT && letter != '\0'; i++)
        if (headers[i].compact == letter)
            return (enum sip_header)i;
    return SIP_HEADER_OTHER;
}

/* Of letters and hyphens, in any case. Only CR is taken for a hyphen, and no line that the
   guard let through has one in its name. */
static bool is_name(struct span known, struct span name)
{
    const uint64_t fold = 0x2020202020202020u;
    uint64_t a, b;
    size_t size = name.size;
    if (size < sizeof(a))
        return span_equal_nocase(known, name);
    for (size_t i = 0; i + sizeof(a) < size; i += sizeof(a)) {
        memcpy(&a, known.data + i, sizeof(a));
        memcpy(&b, name.data + i, sizeof(b));
        if ((a | fold) != (b | fold))
            return false;
    }
    memcpy(&a, known.data + size - sizeof(a), sizeof(a));
    memcpy(&b, name.data + size - sizeof(b), sizeof(b));
    return (a | fold) == (b | fold);
}

enum sip_header sip_header_find(struct span name)
{
    if (name.size == 1)
        return find_compact(name.data[0]);
    if (name.size == 0 || name.size > NAME_SIZE_MAX || first_of_size[name.size] == 0)
        return SIP_HEADER_OTHER;
    for (unsigned i = first_of_size[name.size];
         i < SIP_HEADER_COUNT && headers[i].name.size == name.size; i++)
        if ((headers[i].name.data[0] | 0x20) == (name.data[0] | 0x20) &&
            is_name(headers[i].name, name))
            return (enum sip_header)i;
    return SIP_HEADER_OTHER;
}

bool sip_header_is_single(enum sip_header header)
{
    return headers[header].once;
}

bool sip_line_next(struct span *rest, struct sip_line *line)
{
    struct span text = *rest;
    size_t end = 0;

    if (text.size == 0 || text.data[0] == '\r')
        return false;
    do {
        size_t step = span_find(span_from(text, end), '\n');
        end += step < text.size - end ? step + 1 : step;
    } while (end < text.size && (text.data[end] == ' ' || text.data[end] == '\t'));

    *rest = span_from(text, end);
    line->text = span_to(text, end);
    size_t colon = span_find(line->text, ':');
    if (colon == end) {
        line->header = SIP_HEADER_OTHER;
        line->name = span_to(text, 0);
        line->value = span_trim(line->text);
        return true;
    }
    line->name = span_to(text, colon);
    while (line->name.size > 0 && (line->name.data[line->name.size - 1] == ' ' ||
                                   line->name.data[line->name.size - 1] == '\t'))
        line->name.size--;
    line->header = sip_header_find(line->name);
    line->value = span_trim(span_from(line->text, colon + 1));
    return true;
}

/* Offset behind the quoted string that opens at `at`, or SIZE_MAX when it does not end. */
static size_t behind_quotes(struct span text, size_t at)
{
    for (size_t i = at + 1; i < text.size; i++) {
        if (text.data[i] == '\\')
            i++;
        else if (text.data[i] == '"')
            return i + 1;
    }
    return SIZE_MAX;
}

size_t sip_line_until(struct span text, struct span stops)
{
    static const bool is_special[256] = {
        ['"'] = true, ['<'] = true, [','] = true, [';'] = true};
    size_t i = 0;
    while (i < text.size) {
        char c = text.data[i];
        if (!is_special[(unsigned char)c]) {
            i++;
        } else if (c == '"') {
            i = behind_quotes(text, i);
        } else if (c == '<') {
            size_t close = i + span_find(span_from(text, i), '>');
            i = close < text.size ? close + 1 : SIZE_MAX;
        } else if (is_one_of(c, stops)) {
            return i;
        } else {
            i++;
        }
    }
    return i == SIZE_MAX ? SIZE_MAX : text.size;
}

bool sip_line_uint(struct span text, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(text.data[i] - '0');
        if (sum > max)
            return false;
    }
    *value = sum;
    return text.size > 0;
}

bool sip_line_parameter(struct span *parameters, struct span *name, struct span *value)
{
    struct span text = span_trim(*parameters);
    if (text.size == 0 || text.data[0] != ';') {
        *parameters = text;
        return false;
    }
    struct span body = span_from(text, 1);
    size_t end = sip_line_until(body, SPAN(";"));
    if (end == SIZE_MAX) {
        *parameters = text;
        return false;
    }
    struct span item = span_to(body, end);
    size_t equals = span_find(item, '=');
    *name = span_trim(span_to(item, equals));
    *value = equals < item.size ? span_trim(span_from(item, equals + 1))
                                : span_make(item.data + item.size, 0);
    bool whole = equals == item.size || value->size > 0;
    if (!sip_line_is_token(*name) || !whole) {
        *parameters = text;
        return false;
    }
    *parameters = span_from(body, end);
    return true;
}

bool sip_line_find(struct span parameters, struct span name, struct span *value)
{
    struct span found;
    while (sip_line_parameter(&parameters, &found, value))
        if (span_equal_nocase(found, name))
            return true;
    *value = SPAN_NONE;
    return false;
}

static bool parameters_well_formed(struct span parameters)
{
    struct span name, value;
    while (sip_line_parameter(&parameters, &name, &value))
        ;
    return parameters.size == 0;
}

/* gen-value (§25.1) */
static bool is_value(struct span text)
{
    if (text.size > 0 && text.data[0] == '"')
        return behind_quotes(text, 0) == text.size;
    return text.size == 0 || is_made_of(text, TOKEN | HOST);
}

bool sip_line_is_generic(struct span parameters)
{
    struct span name, value;
    while (sip_line_parameter(&parameters, &name, &value))
        if (!is_value(value))
            return false;
    return parameters.size == 0;
}

/* *(token LWS) or one quoted string (§25.1 display-name). */
static bool display_name_legal(struct span text)
{
    text = span_trim(text);
    if (text.size == 0)
        return true;
    if (text.data[0] == '"') {
        size_t i = 1;
        while (i < text.size && text.data[i] != '"')
            i += text.data[i] == '\\' ? 2 : 1;
        return i + 1 == text.size;
    }
    for (size_t i = 0; i < text.size; i++)
        /* Octets above 0x7f are not tokens, but common in the field and harmless here. */
        if (!span_is_blank(text.data[i]) && (text.data[i] & 0x80) == 0 &&
            !sip_line_is_token(span_make(text.data + i, 1)))
            return false;
    return true;
}

bool sip_line_address(struct span value, struct span *uri, struct span *parameters)
{
    value = span_trim(value);
    /* The first bracket outside a quoted string opens the URI. */
    size_t open = 0;
    for (bool quoted = false; open < value.size; open++) {
        char c = value.data[open];
        if (!quoted && c == '<')
            break;
        if (quoted && c == '\\')
            open++;
        else if (c == '"')
            quoted = !quoted;
    }
    if (open < value.size) {
        size_t close = open + span_find(span_from(value, open), '>');
        if (close >= value.size || !display_name_legal(span_to(value, open)))
            return false;
        *uri = span_from(span_to(value, close), open + 1);
        *parameters = span_from(value, close + 1);
    } else {
        /* Without brackets a semicolon starts a header parameter, and a comma or a question
           mark may not appear (§20.10). */
        size_t end = span_find(value, ';');
        *uri = span_trim(span_to(value, end));
        *parameters = span_from(value, end);
        for (size_t i = 0; i < uri->size; i++)
            if (is_one_of(uri->data[i], SPAN("?,\"<> \t\r\n")))
                return false;
    }
    return uri->size > 0 && parameters_well_formed(*parameters);
}

static struct span take_part(struct span *text, size_t end)
{
    struct span part = span_trim(span_to(*text, end));
    *text = span_from(*text, end + 1);
    return part;
}

static bool via_sent_by(struct sip_via *via)
{
    struct span text = via->sent_by;
    size_t colon = span_find(text, ':');
    if (text.size > 0 && text.data[0] == '[') {
        size_t close = span_find(text, ']');
        if (close == text.size)
            return false;
        colon = close + 1 + span_find(span_from(text, close + 1), ':');
        if (span_trim(span_from(span_to(text, colon), close + 1)).size > 0)
            return false;
    }
    via->host = span_trim(span_to(text, colon));
    via->port = 0;
    if (colon < text.size) {
        uint64_t port;
        if (!sip_line_uint(span_trim(span_from(text, colon + 1)), UINT16_MAX, &port))
            return false;
        via->port = (uint16_t)port;
    }
    return is_made_of(via->host, HOST);
}

/* The first of each name counts. */
static bool via_parameters(struct sip_via *via, struct span parameters)
{
    struct span name, value;
    while (sip_line_parameter(&parameters, &name, &value)) {
        if (via->branch.data == NULL && span_equal_nocase(name, SPAN("branch")))
            via->branch = value;
        else if (via->received.data == NULL && span_equal_nocase(name, SPAN("received")))
            via->received = value;
        else if (span_equal_nocase(name, SPAN("rport")))
            via->rport_present = true;
        else if (span_equal_nocase(name, SPAN("alias")))
            via->alias = true;
    }
    return parameters.size == 0;
}

bool sip_line_via(struct span value, struct sip_via *via, struct span *rest)
{
    size_t comma = sip_line_until(value, SPAN(","));
    if (comma == SIZE_MAX)
        return false;
    *rest = comma < value.size ? span_from(value, comma + 1) : SPAN_NONE;
    *via = (struct sip_via){.text = span_trim(span_to(value, comma))};

    struct span text = via->text;
    struct span protocol = take_part(&text, span_find(text, '/'));
    struct span version = take_part(&text, span_find(text, '/'));
    text = span_trim(text);
    size_t blank = 0;
    while (blank < text.size && !span_is_blank(text.data[blank]))
        blank++;
    via->transport = span_to(text, blank);
    text = span_from(text, blank);
    if (!span_equal_nocase(protocol, SPAN("SIP")) || !span_equal(version, SPAN("2.0")) ||
        !sip_line_is_token(via->transport))
        return false;

    size_t semicolon = span_find(text, ';');
    via->sent_by = span_trim(span_to(text, semicolon));
    via->parameters = span_from(text, semicolon);
    return via_sent_by(via) && via_parameters(via, via->parameters);
}

/* delta-seconds [comment] *(;parameter) */
long sip_line_retry_after(struct span value)
{
    size_t digits = 0;
    uint64_t seconds;
    while (digits < value.size && value.data[digits] >= '0' && value.data[digits] <= '9')
        digits++;
    return sip_line_uint(span_to(value, digits), INT32_MAX, &seconds) ? (long)seconds : -1;
}

bool sip_line_cseq(struct span value, uint32_t *number, struct span *method)
{
    size_t blank = 0;
    uint64_t sum;
    while (blank < value.size && !span_is_blank(value.data[blank]))
        blank++;
    *method = span_trim(span_from(value, blank));
    if (!sip_line_uint(span_to(value, blank), INT32_MAX, &sum) || !sip_line_is_token(*method))
        return false;
    *number = (uint32_t)sum;
    return true;
}
