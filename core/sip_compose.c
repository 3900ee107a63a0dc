/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our requests: their names and their text. */
#include "core/sip_uac_priv.h"

#include <assert.h>
#include <string.h>

#include "net/digest.h"

void sip_compose_branch(struct sip_uac *uac, struct request *request)
{
    uint64_t random;
    uint8_t bytes[1 + sizeof(random)] = {(uint8_t)uac->thread->self};
    struct writer writer = writer_make(request->branch, BRANCH_SIZE);
    digest_random(bytes + 1, sizeof(random));
    memcpy(&random, bytes + 1, sizeof(random));
    writer_put_literal(&writer, BRANCH_PREFIX);
    writer_put_hex(&writer, bytes, sizeof(bytes));
    assert(!writer.overflow);
    table_remove(&uac->requests, &request->node);
    table_add(&uac->requests, &request->node, random, request);
}

void sip_compose_call(struct sip_uac *uac, struct request *request)
{
    uint8_t random[16 + 8];
    digest_random(random, sizeof(random));
    struct span given = SPAN_NONE;
    struct writer writer = writer_make(request->call_id, SIP_CALL_ID_SIZE_MAX);
    if (request->parcel != NULL) {
        given = request->parcel->draft.call_id;
        struct span thread = request->parcel->draft.thread;
        uint8_t digest[DIGEST_SIZE];
        /* The same thread of talk gives the same Call-ID (RFC 7572 §4). */
        if (thread.size > 0) {
            digest_sha256(thread.data, thread.size, digest);
            memcpy(random, digest, 16);
        }
    }
    if (given.size > 0 && given.size <= SIP_CALL_ID_SIZE_MAX)
        writer_put(&writer, given);
    else
        writer_put_hex(&writer, random, 16);
    request->call_id_size = writer.used;
    /* The first two digits are the thread that owns the conversation. */
    uint8_t tag[1 + 8] = {(uint8_t)uac->thread->self};
    memcpy(tag + 1, random + 16, 8);
    writer = writer_make(request->tag, sizeof(request->tag));
    writer_put_hex(&writer, tag, sizeof(tag));
    assert(!writer.overflow);
}

/* The OPTIONS to a trunk is about the trunk itself (RFC 3261 §11). */
static void trunk_uri(struct writer *writer, const struct request *request)
{
    char address[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&request->target.address, address);
    writer_put_literal(writer, "sip:");
    writer_put(writer, span_of(address));
}

struct span sip_compose_request(struct sip_uac *uac, struct request *request)
{
    char uri_text[128], from_text[RESOLVER_NAME_SIZE + 32];
    struct writer uri = writer_make(uri_text, sizeof(uri_text));
    struct writer from = writer_make(from_text, sizeof(from_text));
    enum sip_transport transport = request->target.transport;
    struct sip_request_parts parts = {
        .method = request->parcel != NULL ? SIP_METHOD_MESSAGE : SIP_METHOD_OPTIONS,
        .transport = transport,
        .sent_by = sip_transport_sent_by(uac->wire, request->trunk->config, &request->target),
        .branch = span_make(request->branch, sizeof(request->branch)),
        .alias = transport == SIP_TRANSPORT_TLS,
        .from_tag = span_make(request->tag, sizeof(request->tag)),
        .call_id = span_make(request->call_id, request->call_id_size),
        .cseq = 1,
        .max_forwards = 70,
        .user_agent = SPAN("Passerelle/" PASSERELLE_VERSION),
        .step = transport == SIP_TRANSPORT_UDP ? SIP_DATAGRAM_STEP : 0};
    if (parts.sent_by.size == 0)
        return SPAN_NONE;
    if (request->parcel != NULL) {
        const struct sip_draft *draft = &request->parcel->draft;
        parts.request_uri = parts.to_uri = draft->request_uri;
        parts.from_uri = draft->from_uri;
        parts.subject = draft->subject;
        parts.content_language = draft->language;
        parts.content_type = draft->content_type;
        parts.date = draft->date;
        parts.body = draft->body;
    } else {
        trunk_uri(&uri, request);
        parts.request_uri = parts.to_uri = writer_span(&uri);
        writer_put_literal(&from, "sip:");
        writer_put(&from, span_of(request->tenant->domains[0].ascii));
        parts.from_uri = writer_span(&from);
    }
    struct writer writer = writer_make(uac->scratch, sizeof(uac->scratch));
    sip_write_request(&writer, &parts);
    assert(!writer.overflow);
    return writer_span(&writer);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sip_compose_read_branch(struct span branch, unsigned *shard, uint64_t *random)
{
    uint8_t bytes[1 + sizeof(*random)];
    if (branch.size != BRANCH_SIZE || !span_starts(branch, SPAN(BRANCH_PREFIX)))
        return false;
    branch = span_from(branch, sizeof(BRANCH_PREFIX) - 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        int high = hex_digit(branch.data[2 * i]), low = hex_digit(branch.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *shard = bytes[0];
    memcpy(random, bytes + 1, sizeof(*random));
    return true;
}

struct span sip_compose_redirect(struct span contact, struct writer *memory)
{
    struct sip_uri uri;
    struct jid jid;
    if (contact.size == 0 || !sip_uri_parse(contact, &uri) ||
        address_to_jid(&uri, SPAN_NONE, memory, &jid) != ADDRESS_OK)
        return SPAN("");
    for (size_t i = 0; i < jid.local.size; i++)
        if (memchr("%\"#/<>?[\\]^`{|}", jid.local.data[i], 15) != NULL)
            return SPAN("");
    size_t start = memory->used;
    writer_put_literal(memory, "xmpp:");
    jid_write_bare(memory, &jid);
    return memory->overflow ? SPAN("") : writer_since(memory, start);
}
