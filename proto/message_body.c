/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/message_body.h"

#include <assert.h>

#include "proto/cpim.h"
#include "proto/limits.h"
#include "proto/utf8.h"

enum body_kind {
    BODY_KIND_PLAIN,
    BODY_KIND_HTML,
    BODY_KIND_CPIM,
    BODY_KIND_MIXED,
    BODY_KIND_ALTERNATIVE,
    BODY_KIND_STATUS,
    BODY_KIND_OTHER
};

static enum body_kind kind_of(struct span type)
{
    static const struct {
        struct span type;
        enum body_kind kind;
    } kinds[] = {
        {SPAN("text/plain"), BODY_KIND_PLAIN},
        {SPAN("text/html"), BODY_KIND_HTML},
        {SPAN("message/cpim"), BODY_KIND_CPIM},
        {SPAN("multipart/mixed"), BODY_KIND_MIXED},
        {SPAN("multipart/alternative"), BODY_KIND_ALTERNATIVE},
        {SPAN("application/im-iscomposing+xml"), BODY_KIND_STATUS},
        {SPAN("message/imdn+xml"), BODY_KIND_STATUS},
    };
    if (type.size == 0)
        return BODY_KIND_PLAIN;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (span_equal_nocase(type, kinds[i].type))
            return kinds[i].kind;
    }
    return BODY_KIND_OTHER;
}

static bool is_one_of(struct span text, const struct span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_nocase(text, names[i]))
            return true;
    }
    return text.size == 0;
}

/* ---- character sets ---- */

/* The bytes as UTF-8: themselves, or a copy in memory. */
static enum body_result to_utf8(struct span charset, struct span bytes, struct writer *memory,
                                struct span *out)
{
    static const struct span unicode[] = {SPAN("utf-8"), SPAN("utf8"), SPAN("us-ascii"),
                                          SPAN("ascii")};
    static const struct span latin[] = {SPAN("iso-8859-1"), SPAN("iso_8859-1"), SPAN("latin1")};
    *out = bytes;
    if (!is_one_of(charset, unicode, sizeof(unicode) / sizeof(unicode[0]))) {
        if (!is_one_of(charset, latin, sizeof(latin) / sizeof(latin[0])))
            return BODY_UNSUPPORTED_TYPE;
        size_t start = memory->used;
        for (size_t i = 0; i < bytes.size; i++) {
            char encoded[4];
            size_t size = utf8_encode((unsigned char)bytes.data[i], encoded);
            writer_put(memory, span_make(encoded, size));
        }
        if (memory->overflow)
            return BODY_TOO_LARGE;
        *out = writer_since(memory, start);
    }
    return utf8_xml_legal(*out) ? BODY_TEXT : BODY_MALFORMED;
}

/* MIME ends lines with CRLF, XML with LF (XML 1.0 §2.11). */
static void put_lines(struct writer *writer, struct span text)
{
    size_t start = 0;
    for (;;) {
        size_t end = start + span_find(span_from(text, start), '\r');
        writer_put(writer, span_make(text.data + start, end - start));
        if (end == text.size)
            return;
        start = end + 1;
        if (start == text.size || text.data[start] != '\n')
            writer_put_char(writer, '\n');
    }
}

/* ---- text/html ---- */

/* Where the text is written to. White space is held back so that runs collapse and none is
   left at the ends. */
struct html {
    struct writer *writer;
    size_t start;
    bool space;      /* one is owed */
    unsigned breaks; /* line ends owed */
};

static void html_put(struct html *html, struct span text)
{
    if (html->writer->used > html->start) {
        for (unsigned i = 0; i < html->breaks; i++)
            writer_put_char(html->writer, '\n');
        if (html->space && html->breaks == 0)
            writer_put_char(html->writer, ' ');
    }
    html->space = false;
    html->breaks = 0;
    writer_put(html->writer, text);
}

/* The character of &name; and how far it reaches; 0 when it is not one that we know. */
static size_t read_entity(struct span text, uint32_t *character)
{
    static const struct {
        struct span name;
        uint32_t character;
    } names[] = {{SPAN("&amp;"), '&'},  {SPAN("&lt;"), '<'},    {SPAN("&gt;"), '>'},
                 {SPAN("&quot;"), '"'}, {SPAN("&apos;"), '\''}, {SPAN("&nbsp;"), 0xa0}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        *character = names[i].character;
        if (span_starts(text, names[i].name))
            return names[i].name.size;
    }
    if (!span_starts(text, SPAN("&#")))
        return 0;
    bool hex = text.size > 2 && (text.data[2] == 'x' || text.data[2] == 'X');
    size_t i = hex ? 3 : 2;
    size_t first = i;
    *character = 0;
    for (; i < text.size && i < first + 7; i++) {
        char c = text.data[i];
        if (c >= '0' && c <= '9')
            *character = *character * (hex ? 16 : 10) + (uint32_t)(c - '0');
        else if (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            *character = *character * 16 + (uint32_t)((c | 0x20) - 'a' + 10);
        else
            break;
    }
    if (i == first || i == text.size || text.data[i] != ';' || *character > 0x10ffff)
        return 0;
    if (*character == '\r')
        *character = '\n';
    return *character >= 0xd800 && *character <= 0xdfff ? 0 : i + 1;
}

/* Bytes up to and with the > of a tag; quoted > do not count. The whole rest when it has none,
   so that nothing is scanned twice. */
static size_t tag_size(struct span text)
{
    char quote = '\0';
    for (size_t i = 1; i < text.size; i++) {
        char c = text.data[i];
        if (quote != '\0')
            quote = c == quote ? '\0' : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (c == '>')
            return i + 1;
    }
    return text.size;
}

/* Offset of `needle` in `text` without regard to case, or text.size. */
static size_t find_nocase(struct span text, struct span needle)
{
    for (size_t i = 0; i + needle.size <= text.size; i++) {
        if (span_equal_nocase(span_make(text.data + i, needle.size), needle))
            return i;
    }
    return text.size;
}

static struct span tag_name(struct span tag)
{
    size_t i = tag.size > 1 && tag.data[1] == '/' ? 2 : 1;
    size_t start = i;
    while (i < tag.size) {
        char c = (char)(tag.data[i] | 0x20);
        if ((c < 'a' || c > 'z') && (tag.data[i] < '0' || tag.data[i] > '9'))
            break;
        i++;
    }
    return span_make(tag.data + start, i - start);
}

/* Reads the markup at the start of `text`, which is a <; returns its bytes. Scripts, styles
   and titles are not for reading and go with their content. */
static size_t skip_markup(struct html *html, struct span text)
{
    static const struct span blocks[] = {SPAN("br"), SPAN("p"),  SPAN("div"),       SPAN("tr"),
                                         SPAN("li"), SPAN("h1"), SPAN("h2"),        SPAN("h3"),
                                         SPAN("ul"), SPAN("ol"), SPAN("blockquote")};
    static const struct {
        struct span name, end;
    } hidden[] = {{SPAN("script"), SPAN("</script")},
                  {SPAN("style"), SPAN("</style")},
                  {SPAN("title"), SPAN("</title")}};
    if (span_starts(text, SPAN("<!--")))
        return find_nocase(text, SPAN("-->")) + 3;
    size_t size = tag_size(text);
    struct span name = tag_name(span_to(text, size));
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (span_equal_nocase(name, hidden[i].name) && text.data[1] != '/')
            return size + find_nocase(span_from(text, size), hidden[i].end);
    }
    bool is_break =
        name.size > 0 && is_one_of(name, blocks, sizeof(blocks) / sizeof(blocks[0]));
    if (is_break && span_equal_nocase(name, SPAN("br")))
        html->breaks++;
    else if (is_break && html->breaks == 0)
        html->breaks = 1;
    return size;
}

/* Whether `text` starts with markup: a < before a letter, a slash, ! or ?. Else it is a plain
   "less than". */
static bool is_markup(struct span text)
{
    if (text.size < 2 || text.data[0] != '<')
        return false;
    char c = (char)(text.data[1] | 0x20);
    return (c >= 'a' && c <= 'z') || text.data[1] == '/' || text.data[1] == '!' ||
           text.data[1] == '?';
}

static void strip_html(struct writer *writer, struct span text)
{
    struct html html = {.writer = writer, .start = writer->used};
    for (size_t i = 0; i < text.size;) {
        struct span rest = span_from(text, i);
        uint32_t character = 0;
        size_t entity = rest.data[0] == '&' ? read_entity(rest, &character) : 0;
        if (is_markup(rest)) {
            i += skip_markup(&html, rest);
        } else if (entity > 0) {
            char bytes[4];
            html_put(&html, span_make(bytes, utf8_encode(character, bytes)));
            i += entity;
        } else if (memchr(" \t\r\n", rest.data[0], 4) != NULL) {
            html.space = true;
            i++;
        } else {
            html_put(&html, span_to(rest, 1));
            i++;
        }
    }
}

/* ---- the whole ---- */

static enum body_result read_text(const struct body_part *part, bool is_html,
                                  struct writer *memory, struct message_body *body)
{
    struct span text = SPAN_NONE;
    enum body_result result = to_utf8(part->charset, part->bytes, memory, &text);
    if (result != BODY_TEXT)
        return result;
    size_t start = memory->used;
    if (is_html)
        strip_html(memory, text);
    else
        put_lines(memory, text);
    body->text = writer_since(memory, start);
    if (memory->overflow || body->text.size > TEXT_SIZE_MAX)
        return BODY_TOO_LARGE;
    /* Character references may name what XML cannot hold. */
    if (is_html && !utf8_xml_legal(body->text))
        return BODY_MALFORMED;
    return body->text.size > 0 ? BODY_TEXT : BODY_NONE;
}

static bool is_readable_encoding(const struct mime_part *part)
{
    static const struct span plain[] = {SPAN("7bit"), SPAN("8bit"), SPAN("binary")};
    static const struct span identity[] = {SPAN("identity")};
    return is_one_of(part->transfer_encoding, plain, sizeof(plain) / sizeof(plain[0])) &&
           is_one_of(part->content_encoding, identity, 1);
}

static struct body_part part_of(const struct mime_part *part)
{
    return (struct body_part){part->type, part->charset, part->content_encoding, part->body};
}

/* Reads a text part of a multipart body; any other is unsupported. */
static enum body_result read_inner(const struct mime_part *inner, struct writer *memory,
                                   struct message_body *body)
{
    struct body_part part = part_of(inner);
    enum body_kind kind = kind_of(part.type);
    if (kind == BODY_KIND_STATUS)
        return BODY_NONE;
    if (kind != BODY_KIND_PLAIN && kind != BODY_KIND_HTML)
        return BODY_UNSUPPORTED_TYPE;
    if (!is_readable_encoding(inner))
        return BODY_UNSUPPORTED_ENCODING;
    return read_text(&part, kind == BODY_KIND_HTML, memory, body);
}

/* RFC 2046 §5.1.4: all parts say the same, the last is the richest. We can show only text, so
   text/plain goes before text/html, and of equals the last. */
static enum body_result read_alternative(struct span bytes, struct writer *memory,
                                         struct message_body *body)
{
    struct mime_multipart multipart;
    struct mime_part part, best = {.type = SPAN_NONE};
    enum body_kind best_kind = BODY_KIND_OTHER;
    enum mime_next next = MIME_NEXT_MALFORMED;
    if (!mime_multipart_open(&multipart, bytes))
        return BODY_MALFORMED;
    while ((next = mime_multipart_next(&multipart, &part)) == MIME_NEXT_PART) {
        enum body_kind kind = kind_of(part.type);
        bool is_text = kind == BODY_KIND_PLAIN || kind == BODY_KIND_HTML;
        if (!is_text || !is_readable_encoding(&part) || kind > best_kind)
            continue;
        best = part;
        best_kind = kind;
    }
    if (next == MIME_NEXT_MALFORMED)
        return BODY_MALFORMED;
    return best_kind == BODY_KIND_OTHER ? BODY_UNSUPPORTED_TYPE
                                        : read_inner(&best, memory, body);
}

/* RFC 2046 §5.1.3: the texts one below the other. A part that cannot be shown refuses the
   whole: the sender must not believe that it arrived. */
static enum body_result read_mixed(struct span bytes, struct writer *memory,
                                   struct message_body *body)
{
    struct span texts[MIME_PART_COUNT_MAX];
    size_t count = 0;
    struct mime_multipart multipart;
    struct mime_part part;
    enum mime_next next = MIME_NEXT_MALFORMED;
    if (!mime_multipart_open(&multipart, bytes))
        return BODY_MALFORMED;
    while ((next = mime_multipart_next(&multipart, &part)) == MIME_NEXT_PART) {
        enum body_result result = read_inner(&part, memory, body);
        if (result != BODY_TEXT && result != BODY_NONE)
            return result;
        if (result == BODY_TEXT)
            texts[count++] = body->text;
    }
    if (next == MIME_NEXT_MALFORMED)
        return BODY_MALFORMED;
    size_t start = memory->used;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            writer_put_char(memory, '\n');
        writer_put(memory, texts[i]);
    }
    body->text = writer_since(memory, start);
    if (memory->overflow || body->text.size > TEXT_SIZE_MAX)
        return BODY_TOO_LARGE;
    return count > 0 ? BODY_TEXT : BODY_NONE;
}

/* Replaces the wrapper by what it holds. */
static enum body_result unwrap(struct body_part *part, struct writer *memory,
                               struct message_body *body)
{
    struct cpim_message message;
    switch (cpim_read(part->bytes, memory, &message)) {
    case CPIM_OK: break;
    case CPIM_MALFORMED: return memory->overflow ? BODY_TOO_LARGE : BODY_MALFORMED;
    case CPIM_UNSUPPORTED: return BODY_UNSUPPORTED_TYPE;
    }
    if (!is_readable_encoding(&message.content))
        return BODY_UNSUPPORTED_ENCODING;
    *part = part_of(&message.content);
    body->subject = message.subject;
    return BODY_TEXT;
}

enum body_result message_body_read(const struct body_part *outer, struct writer *memory,
                                   struct message_body *body)
{
    static const struct span identity[] = {SPAN("identity")};
    struct body_part part = *outer;
    *body = (struct message_body){SPAN_NONE, SPAN_NONE};
    /* One wrapper at most: message/cpim within message/cpim is refused the second time. */
    for (size_t depth = 0; depth < 2; depth++) {
        if (!is_one_of(part.encoding, identity, 1))
            return BODY_UNSUPPORTED_ENCODING;
        enum body_result result = BODY_UNSUPPORTED_TYPE;
        switch (kind_of(part.type)) {
        case BODY_KIND_PLAIN: return read_text(&part, false, memory, body);
        case BODY_KIND_HTML: return read_text(&part, true, memory, body);
        case BODY_KIND_MIXED: return read_mixed(part.bytes, memory, body);
        case BODY_KIND_ALTERNATIVE: return read_alternative(part.bytes, memory, body);
        case BODY_KIND_STATUS: return BODY_NONE;
        case BODY_KIND_OTHER: return BODY_UNSUPPORTED_TYPE;
        case BODY_KIND_CPIM: result = unwrap(&part, memory, body); break;
        }
        if (result != BODY_TEXT)
            return result;
    }
    return BODY_UNSUPPORTED_TYPE;
}
