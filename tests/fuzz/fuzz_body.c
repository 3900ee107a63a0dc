/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bodies of SIP messages: whatever comes out as text can stand in a stanza. */
#include "fuzz.h"
#include "proto/cpim.h"
#include "proto/message_body.h"

static const struct span types[] = {SPAN(""),
                                    SPAN("text/plain"),
                                    SPAN("text/html"),
                                    SPAN("message/cpim"),
                                    SPAN("multipart/mixed"),
                                    SPAN("multipart/alternative"),
                                    SPAN("application/im-iscomposing+xml"),
                                    SPAN("image/png")};
static const struct span charsets[] = {SPAN(""), SPAN("utf-8"), SPAN("us-ascii"),
                                       SPAN("iso-8859-1"), SPAN("x-unknown")};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char memory[TEXT_SIZE_MAX + 1024];
    struct span input = span_make(data, size);
    unsigned choice = fuzz_choice(&input);
    size_t room = fuzz_choice(&input) % 8 == 0 ? input.size / 2 : sizeof(memory);
    struct writer writer = writer_make(memory, room < sizeof(memory) ? room : sizeof(memory));
    struct span bytes = fuzz_copy(input);
    const struct body_part part = {.type = types[choice % 8],
                                   .charset = charsets[choice / 8 % 5],
                                   .encoding = choice / 64 == 3 ? SPAN("gzip") : SPAN(""),
                                   .bytes = bytes};
    struct message_body body = {SPAN_NONE, SPAN_NONE};
    if (message_body_read(&part, &writer, &body) == BODY_TEXT) {
        CHECK(body.text.size > 0 && body.text.size <= TEXT_SIZE_MAX);
        CHECK(utf8_xml_legal(body.text));
        CHECK(span_find(body.text, '\r') == body.text.size);
        CHECK(!writer.overflow);
    }
    struct cpim_message cpim;
    struct writer other = writer_make(memory, sizeof(memory));
    if (cpim_read(bytes, &other, &cpim) == CPIM_OK && cpim.content.body.size > 0)
        CHECK(cpim.content.body.data >= bytes.data &&
              cpim.content.body.data + cpim.content.body.size <= bytes.data + bytes.size);
    fuzz_free(bytes);
    return 0;
}
