/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/component.h"

#include <errno.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#include "proto/writer.h"
#include "proto/xml_stream.h"

#define NS_COMPONENT "jabber:component:accept"

static void component_end(struct component *component, const char *problem)
{
    if (component->problem == NULL)
        component->problem = problem;
}

static void component_say(struct component *component, const struct writer *text)
{
    if (text->overflow || ring_send(component->options.ring, component->handle, text->data,
                                    text->used) != 0)
        component_end(component, "send refused");
}

static void component_say_header(struct component *component)
{
    struct writer writer = writer_make(component->output, sizeof(component->output));
    writer_put_literal(&writer, "<?xml version='1.0'?><stream:stream xmlns='" NS_COMPONENT
                                "' xmlns:stream='" NS_STREAMS "'");
    writer_put_attribute(&writer, SPAN("to"), span_of(component->options.domain));
    writer_put_char(&writer, '>');
    component_say(component, &writer);
}

/* XEP-0114 §3: the SHA-1 of the stream's id and the secret, in lower-case hex. */
static void component_shake(struct component *component, const char *id)
{
    char text[512];
    uint8_t digest[WC_SHA_DIGEST_SIZE];
    struct writer both = writer_make(text, sizeof(text));
    writer_put(&both, span_of(id));
    writer_put(&both, span_of(component->options.secret));
    if (both.overflow || wc_ShaHash((const byte *)both.data, (word32)both.used, digest) != 0) {
        component_end(component, "bad stream id");
        return;
    }
    struct writer writer = writer_make(component->output, sizeof(component->output));
    writer_put_literal(&writer, "<handshake>");
    writer_put_hex(&writer, digest, sizeof(digest));
    writer_put_literal(&writer, "</handshake>");
    component_say(component, &writer);
}

static void component_on_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct component *component = context;
    component->depth++;
    if (component->depth == 1) {
        const char *id = "";
        for (size_t i = 0; attributes[i] != NULL; i += 2) {
            if (strcmp(attributes[i], "id") == 0)
                id = attributes[i + 1];
        }
        component_shake(component, id);
    } else if (component->depth == 2 && strcmp(name, "handshake") == 0) {
        component->ready = true;
    } else if (component->depth == 2 && strcmp(name, "stream:error") == 0) {
        component_end(component, "the server refused the component");
    } else if (component->depth == 3 && strcmp(name, "body") == 0) {
        component->in_body = true;
        component->text_size = 0;
    }
}

static void component_on_end(void *context, const XML_Char *name)
{
    struct component *component = context;
    (void)name;
    if (component->in_body && component->depth == 3) {
        component->in_body = false;
        component->options.message(component->options.context,
                                   span_make(component->text, component->text_size));
    }
    component->depth--;
    if (component->depth == 0)
        component_end(component, "the server closed the stream");
}

static void component_on_text(void *context, const XML_Char *text, int size)
{
    struct component *component = context;
    size_t room = sizeof(component->text) - component->text_size;
    size_t part = (size_t)size < room ? (size_t)size : room;
    if (!component->in_body)
        return;
    memcpy(component->text + component->text_size, text, part);
    component->text_size += part;
}

int component_open(struct component *component, const struct component_options *options)
{
    *component = (struct component){.owner = BENCH_OWNER_COMPONENT, .options = *options};
    component->parser = XML_ParserCreate(NULL);
    if (component->parser == NULL)
        return -ENOMEM;
    XML_SetUserData(component->parser, component);
    XML_SetElementHandler(component->parser, component_on_start, component_on_end);
    XML_SetCharacterDataHandler(component->parser, component_on_text);
    return ring_connect(options->ring, &options->server, NULL, component, &component->handle);
}

void component_event(struct component *component, const struct ring_event *event)
{
    switch (event->kind) {
    case RING_CONNECTED:
        if (event->result != 0)
            component_end(component, "cannot connect to the server's component port");
        else
            component_say_header(component);
        break;
    case RING_RECEIVED:
        if (component->problem == NULL &&
            XML_Parse(component->parser, (const char *)event->data, (int)event->size, 0) !=
                XML_STATUS_OK)
            component_end(component, "bad XML from the server");
        break;
    case RING_SENT:
        if (event->result != 0)
            component_end(component, "send failed");
        break;
    case RING_END: component_end(component, "connection ended"); break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_GONE:
    case RING_WOKEN: break;
    }
}

void component_close(struct component *component)
{
    if (component->parser != NULL)
        XML_ParserFree(component->parser);
}
