/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Get-CsXmppAllowedPartner: each partner with its own rules, which are of this tenant only. */
#include <string.h>
#include <strings.h>

#include "proto/jid.h"
#include "tools/ctl_powershell.h"
#include "tools/ctl_skype.h"

/* ---- its settings ---- */

static void take_keepalive(struct skype *skype, struct skype_place *place,
                           const struct skype_setting *setting)
{
    const char *key = rules_row(setting->rule)->key;
    if (place->text != NULL && strcasecmp(place->text, "True") == 0) {
        skype_say(skype, place, SKYPE_TAKEN, "%s is the gateway's", key);
    } else if (place->text != NULL && strcasecmp(place->text, "False") == 0) {
        (void)json_object_set_new(place->out, key, json_integer(0));
        skype_say(skype, place, SKYPE_TAKEN, "%s: 0", key);
    } else {
        skype_say(skype, place, SKYPE_INVALID, "it is neither True nor False");
    }
}

static void take_host(struct skype *skype, struct skype_place *place,
                      const struct skype_setting *setting)
{
    (void)setting;
    if (place->text == NULL || place->text[0] == '\0')
        return; /* by DNS, there as here */
    place->host = json_string_value(place->value) != NULL ? place->text : NULL;
    if (place->host != NULL)
        skype_say(skype, place, SKYPE_TAKEN, "partners[].host: %s, for all tenants",
                  place->text);
    else
        skype_say(skype, place, SKYPE_INVALID, "it is no name");
}

static void take_additional(struct skype *skype, struct skype_place *place,
                            const struct skype_setting *setting)
{
    (void)setting;
    place->additional = powershell_list(place->value);
    size_t count = json_array_size(place->additional);
    if (place->additional == NULL)
        skype_say(
            skype, place, SKYPE_WARNING,
            "the export has lost the list: more domains of this partner, if he has any, are "
            "no partners here; Export-Clixml keeps them");
    else if (count > 0)
        skype_say(skype, place, SKYPE_TAKEN, "%zu more, each with these rules", count);
}

static void take_description(struct skype *skype, struct skype_place *place,
                             const struct skype_setting *setting)
{
    (void)setting;
    if (place->text != NULL && place->text[0] != '\0')
        skype_say(skype, place, SKYPE_LEFT, "descriptions are not kept");
}

/* ---- domains ---- */

/* The domain as it is compared; NULL: it is none. "*" and "*.example.org" are wildcards. */
static const char *prepared(const char *text, char out[DOMAIN_SIZE_MAX + 3])
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span domain, name = span_of(text);
    bool is_wild = span_starts(name, SPAN("*."));
    if (span_equal(name, SPAN("*")))
        return strcpy(out, "*");
    if (jid_prepare_domain(is_wild ? span_from(name, 2) : name, &writer, &domain) != JID_OK ||
        domain.size > DOMAIN_SIZE_MAX)
        return NULL;
    (void)snprintf(out, DOMAIN_SIZE_MAX + 3, "%s%.*s", is_wild ? "*." : "", (int)domain.size,
                   domain.data);
    return out;
}

static bool is_listed(const json_t *names, const char *domain)
{
    size_t i;
    const json_t *name;
    bool found = false;
    json_array_foreach(names, i, name) found |= strcmp(json_string_value(name), domain) == 0;
    return found;
}

/* All domains of the partner, prepared; what is wrong with them makes the place bad. */
static json_t *domains_of(struct skype *skype, struct skype_place *place, const char *domain)
{
    char memory[DOMAIN_SIZE_MAX + 3];
    json_t *domains = json_array(), *more;
    size_t i;
    place->property = "Domain";
    place->text = domain;
    (void)json_array_append_new(domains, json_string(domain));
    json_array_foreach(place->additional, i, more)
    {
        const char *read = prepared(json_string_value(more), memory);
        if (read == NULL)
            skype_say(skype, place, SKYPE_INVALID, "of AdditionalDomains '%s' is no domain",
                      json_string_value(more));
        else if (!is_listed(domains, read))
            (void)json_array_append_new(domains, json_string(read));
    }
    json_array_foreach(domains, i, more)
    {
        if (is_listed(skype->names, json_string_value(more)))
            skype_say(skype, place, SKYPE_INVALID, "'%s' is exported twice",
                      json_string_value(more));
    }
    return domains;
}

/* The table of what TLS, SASL and dialback allow together. */
static void judge(struct skype *skype, struct skype_place *place)
{
    struct rules_stack stack = rules_stack_make();
    stack.level[RULES_PAIR] = &place->rules;
    const char *mistake = rules_mistake(&stack), *doubt = rules_doubt(&stack);
    place->property = "TLS, SASL, dialback";
    place->text = "-";
    if (mistake != NULL)
        skype_say(skype, place, SKYPE_INVALID, "%s", mistake);
    else if (doubt != NULL)
        skype_say(skype, place, SKYPE_WARNING, "%s", doubt);
}

static void add_pair(struct skype *skype, const char *domain, const json_t *rules)
{
    json_t *pair = json_pack("{s:s}", "domain", domain);
    (void)json_object_update(pair, (json_t *)(uintptr_t)rules);
    (void)json_array_append_new(skype->pairs, pair);
    (void)json_array_append_new(skype->names, json_string(domain));
}

static void add_host(struct skype *skype, const struct skype_place *place, json_t *domains)
{
    json_t *entry =
        json_pack("{s:O, s:s}", "domain", json_array_get(domains, 0), "host", place->host);
    json_t *rest = json_copy(domains);
    (void)json_array_remove(rest, 0);
    if (json_array_size(rest) > 0)
        (void)json_object_set(entry, "additional_domains", rest);
    json_decref(rest);
    (void)json_array_append_new(skype->hosts, entry);
}

static void add_partner(struct skype *skype, struct skype_place *place, json_t *domains)
{
    for (size_t i = 0; i < json_array_size(domains); i++)
        add_pair(skype, json_string_value(json_array_get(domains, i)), place->out);
    if (place->host != NULL)
        add_host(skype, place, domains);
    skype_say(skype, place, SKYPE_TAKEN, "partners, partner_rules[].domain");
}

/* Everybody who is not named himself. */
static void add_all(struct skype *skype, struct skype_place *place)
{
    if (place->host != NULL || json_array_size(place->additional) > 0) {
        skype_say(skype, place, SKYPE_INVALID,
                  "for all domains there is no ProxyFqdn and no "
                  "additional domain");
        return;
    }
    skype->is_open = true;
    (void)json_object_update(skype->rules, place->out);
    skype_say(skype, place, SKYPE_TAKEN, "policy: open, and its rules for the whole tenant");
}

static void map_partner(struct skype *skype, const json_t *object)
{
    static const struct skype_setting settings[] = {
        {"Domain", NULL, NULL, 0, 0},
        {"TlsNegotiation", "Required", skype_take_name, RULE_TLS, 0},
        {"SaslNegotiation", "Required", skype_take_name, RULE_SASL, 0},
        {"SupportDialbackNegotiation", "True", skype_take_name, RULE_DIALBACK, 0},
        {"PartnerType", "PublicUnverified", skype_take_name, RULE_TYPE, 0},
        {"EnableKeepAlive", "True", take_keepalive, RULE_KEEPALIVE_DEMAND, 0},
        {"ConnectionLimit", NULL, skype_take_number, RULE_SESSIONS_MAX, 1},
        {"ProxyFqdn", NULL, take_host, 0, 0},
        {"AdditionalDomains", NULL, take_additional, 0, 0},
        {"Description", NULL, take_description, 0, 0},
    };
    char name_memory[32], memory[DOMAIN_SIZE_MAX + 3];
    const char *name = skype_text(object, "Domain", name_memory);
    if (name == NULL)
        name = skype_text(object, "Identity", name_memory);
    const char *domain = name != NULL ? prepared(name, memory) : NULL;
    struct skype_place place = {.kind = SKYPE_PARTNER,
                                .what = name != NULL ? name : "(partner)",
                                .object = object,
                                .out = json_object()};
    skype_read(skype, &place, settings, sizeof(settings) / sizeof(settings[0]));
    json_t *domains = json_array();
    if (!place.is_bad)
        judge(skype, &place);
    place.property = "Domain";
    place.text = name;
    place.is_default = false;
    if (domain == NULL) {
        skype_say(skype, &place, SKYPE_INVALID, "it is no domain");
    } else if (strcmp(domain, "*") == 0 && !place.is_bad) {
        add_all(skype, &place);
    } else if (!place.is_bad) {
        json_decref(domains);
        domains = domains_of(skype, &place, domain);
        if (!place.is_bad)
            add_partner(skype, &place, domains);
    }
    json_decref(domains);
    json_decref(place.additional);
    json_decref(place.out);
}

void skype_map_partners(struct skype *skype)
{
    size_t i;
    const json_t *object;
    json_array_foreach(skype->objects[SKYPE_PARTNER], i, object) map_partner(skype, object);
}
