/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `show consent` and `consent remove`: who of public_unverified partners may write to a
 * tenant's users. The SIP threads have it (core/consent.h), and are asked one after the other.
 */
#include "core/control_priv.h"

/* Writes what stands for the word in the memory of consents: an address as XMPP prepares it, or
   a local part alone where that is enough. */
static bool read_address(struct span word, bool may_be_local, char *text, size_t size)
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct writer out = writer_make(text, size - 1);
    struct jid jid;
    struct span local;
    if (may_be_local && span_find(word, '@') == word.size) {
        if (jid_prepare_local(word, &writer, &local) != JID_OK)
            return false;
        writer_put(&out, local);
    } else {
        if (jid_parse(word, &writer, &jid) != JID_OK || jid.local.size == 0)
            return false;
        jid_write_bare(&out, &jid);
    }
    text[out.overflow ? 0 : out.used] = '\0';
    return !out.overflow;
}

/* The words behind the command: TENANT [USER [ADDRESS]]. What is wrong; NULL: nothing is. */
static const char *read_query(const struct config *config, struct span words[3],
                              struct consent_query *query)
{
    if (words[0].size == 0)
        return "error: which tenant? show tenants lists them\n";
    const struct config_tenant *tenant = config_find_said(config, words[0]);
    struct span name = config_tenant_name(tenant);
    if (tenant == NULL || name.size >= sizeof(query->tenant))
        return "error: there is no tenant of this name or domain; show tenants lists them\n";
    memcpy(query->tenant, name.data, name.size);
    query->tenant[name.size] = '\0';
    if (words[1].size > 0 && !read_address(words[1], true, query->user, sizeof(query->user)))
        return "error: this is no user; write BOB or BOB@DOMAIN\n";
    if (words[2].size > 0 && !read_address(words[2], false, query->peer, sizeof(query->peer)))
        return "error: this is no XMPP address of a user\n";
    return NULL;
}

bool control_consent_command(struct control *control, struct client *client,
                             struct span command)
{
    struct consent_query query = {.removes = false};
    struct span words[3] = {SPAN(""), SPAN(""), SPAN("")};
    struct span first = control_word(&command), second = control_word(&command);
    query.removes = span_equal(first, SPAN("consent")) && span_equal(second, SPAN("remove"));
    bool shows = span_equal(first, SPAN("show")) && span_equal(second, SPAN("consent"));
    if (!query.removes && !shows)
        return false;
    size_t count = 0, most = query.removes ? 3 : 2;
    struct span word = control_word(&command);
    client->as_json = false;
    for (; word.size > 0 && !client->as_json; word = control_word(&command)) {
        client->as_json = span_equal(word, SPAN("json"));
        if (!client->as_json && count < most)
            words[count] = word;
        count += !client->as_json;
    }
    const char *problem = read_query(control->options.config, words, &query);
    if (count > most || word.size > 0 || (query.removes && count < 2))
        problem = query.removes ? "error: consent remove TENANT USER [ADDRESS] [json]\n"
                                : "error: show consent TENANT [USER] [json]\n";
    if (problem != NULL) {
        control_client_say(client, problem);
        return true;
    }
    client->kind = REPORT_CONSENTS;
    client->consents = query;
    control_client_wait(client, CLIENT_ASKED);
    return true;
}
