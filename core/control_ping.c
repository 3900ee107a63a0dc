/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `ping`: a XEP-0199 ping or a message of the operator's goes the way of every stanza, over the
 * link of its pair of domains, and its parcel comes home with what became of it.
 */
#include "core/control_priv.h"

#include <assert.h>
#include <inttypes.h>

#include "net/clock.h"
#include "net/digest.h"
#include "proto/service_iq.h"

struct ping {
    struct jid from, to;
    struct span message;                                 /* empty: a ping */
    char sender[JID_SIZE_MAX], memory[2 * JID_SIZE_MAX]; /* what they point into */
};

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

static void put_address(struct writer *writer, struct span name, const struct jid *jid)
{
    char memory[JID_SIZE_MAX];
    struct writer text = writer_make(memory, sizeof(memory));
    jid_write(&text, jid);
    writer_put_attribute(writer, name, writer_span(&text));
}

/* The stanza, in the parcel's text. */
static void compose(struct parcel *parcel, struct span message)
{
    struct writer writer = parcel_writer(parcel);
    writer_put(&writer,
               message.size > 0 ? SPAN("<message type='chat'") : SPAN("<iq type='get'"));
    put_address(&writer, SPAN("from"), &parcel->from);
    put_address(&writer, SPAN("to"), &parcel->to);
    writer_put_attribute(&writer, SPAN("id"), parcel->stanza_id);
    if (message.size > 0) {
        writer_put_literal(&writer, "><body>");
        writer_put_xml_text(&writer, message);
        writer_put_literal(&writer, "</body></message>");
    } else {
        writer_put_literal(&writer, "><ping xmlns='" NS_PING "'/></iq>");
    }
    assert(!writer.overflow); /* a command is not that long */
    parcel->bytes = writer_span(&writer);
    parcel_keep(parcel, &writer);
}

static struct jid copy_jid(struct parcel *parcel, const struct jid *jid)
{
    return (struct jid){parcel_copy(parcel, jid->local), parcel_copy(parcel, jid->domain),
                        parcel_copy(parcel, jid->resource)};
}

static void post(struct control *control, struct control_probe *probe, const struct ping *ping,
                 struct parcel *parcel)
{
    const struct config *config = control->options.config;
    uint8_t random[8];
    char id[32];
    struct writer writer = writer_make(id, sizeof(id));
    digest_random(random, sizeof(random));
    writer_put_literal(&writer, "operator-");
    writer_put_hex(&writer, random, sizeof(random));
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->snapshot = config->snapshot;
    parcel->born_ms = probe->begin_ms = now_ms();
    parcel->wants_outcome = true;
    parcel->wants_answer = parcel->is_iq = ping->message.size == 0;
    parcel->inquiry = &probe->talk;
    parcel->from = copy_jid(parcel, &ping->from);
    parcel->to = copy_jid(parcel, &ping->to);
    parcel->stanza_id = parcel_copy(parcel, writer_span(&writer));
    parcel->share = thread_share(parcel->from.local);
    compose(parcel, ping->message);
    probe->is_out = true;
    mesh_post(control->options.mesh, control->options.self,
              route_link(config, ping->from.domain, ping->to.domain), &parcel);
    mesh_flush(control->options.mesh, control->options.self);
}

/* What comes behind the address; false when it is no such command. */
static bool read_options(struct client *client, struct span command, struct span *user,
                         struct span *message)
{
    for (struct span word = control_word(&command); word.size > 0;
         word = control_word(&command)) {
        if (span_equal(word, SPAN("message"))) {
            *message = span_trim(command);
            return message->size > 0;
        }
        if (span_equal(word, SPAN("json")))
            client->as_json = true;
        else if (span_equal(word, SPAN("from")) && user->size == 0)
            *user = control_word(&command);
        else
            return false;
    }
    return true;
}

/* The addresses; false when one is none. */
static bool read_addresses(struct ping *ping, const struct s2s_domain *local, struct span user,
                           struct span address)
{
    struct writer text = writer_make(ping->sender, sizeof(ping->sender));
    struct writer writer = writer_make(ping->memory, sizeof(ping->memory));
    writer_put(&text, user);
    if (user.size > 0)
        writer_put_char(&text, '@');
    writer_put(&text, s2s_domain_span(local));
    return !text.overflow && address.size > 0 &&
           jid_parse(writer_span(&text), &writer, &ping->from) == JID_OK &&
           jid_parse(address, &writer, &ping->to) == JID_OK &&
           ping->to.domain.size <= DOMAIN_SIZE_MAX;
}

void control_ping_command(struct control *control, struct client *client, struct span command)
{
    struct ping ping = {.message = SPAN_NONE};
    struct s2s_domain local;
    struct span tenant = control_word(&command), address = control_word(&command);
    struct span user = SPAN_NONE;
    client->as_json = false;
    if (!read_options(client, command, &user, &ping.message)) {
        control_client_say(client,
                           "error: ping TENANT ADDRESS [from USER] [json] [message TEXT]\n");
        return;
    }
    if (!control_probe_tenant(control, client, tenant, &local))
        return;
    if (!read_addresses(&ping, &local, user, address)) {
        control_client_say(client, "error: this is no XMPP address\n");
        return;
    }
    struct parcel *parcel =
        mesh_take(control->options.mesh, control->options.self, MESH_CONTROL);
    struct control_probe *probe = parcel != NULL ? control_probe_take(control, client) : NULL;
    if (probe == NULL) {
        if (parcel != NULL)
            mesh_give(control->options.mesh, control->options.self, &parcel);
        else
            control_client_say(client, "error: the relay is too busy\n");
        return;
    }
    probe->state = PROBE_PINGS;
    (void)snprintf(probe->target, sizeof(probe->target), "%.*s", (int)address.size,
                   address.data);
    post(control, probe, &ping, parcel);
    control_probe_wait(client);
}

void control_ping_home(struct control_probe *probe, const struct parcel *parcel)
{
    const struct stanza_fault *fault = &parcel->outcome.fault;
    char text[PROBE_TEXT_SIZE] = "";
    struct probe_row row = {.step = "ping",
                            .result = PROBE_OK,
                            .ms = (int64_t)(now_ms() - probe->begin_ms),
                            .target = probe->target,
                            .text = text};
    struct span name = stanza_error_name(fault->error);
    switch (parcel->outcome.kind) {
    case OUTCOME_DELIVERED:
        row.text = parcel->wants_answer
                       ? "pong"
                       : "the server has taken the message: it answered a ping "
                         "that was sent behind it";
        break;
    case OUTCOME_HANDED_OVER:
        row.text = "sent, but the server did not confirm it in time";
        row.result = PROBE_PARTLY;
        break;
    case OUTCOME_PENDING:
    case OUTCOME_FAILED:
        row.result = PROBE_FAILED;
        (void)snprintf(text, sizeof(text), "%.*s%s%.*s", (int)name.size, name.data,
                       fault->text.size > 0 ? ": " : "", (int)span_to(fault->text, 1000).size,
                       fault->text.data);
    }
    control_probe_show(probe, &row);
}
