/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_skype.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "proto/utf8.h"
#include "tools/ctl_powershell.h"

#define REMARK_SIZE 600

static const char *const kinds[SKYPE_KINDS] = {
    [SKYPE_PARTNER] = "(partners)",
    [SKYPE_GATEWAY] = "(gateway)",
    [SKYPE_POLICY] = "(access policies)",
    [SKYPE_USER] = "(users)",
};

bool skype_init(struct skype *skype)
{
    *skype = (struct skype){.report = json_array(),
                            .names = json_array(),
                            .rules = json_object(),
                            .pairs = json_array(),
                            .hosts = json_array(),
                            .access = json_object(),
                            .default_access = "allow"};
    bool done = skype->report != NULL && skype->names != NULL && skype->rules != NULL &&
                skype->pairs != NULL && skype->hosts != NULL && skype->access != NULL;
    for (size_t i = 0; i < SKYPE_KINDS; i++) {
        skype->objects[i] = json_array();
        skype->ignored[i] = json_object();
        done = done && skype->objects[i] != NULL && skype->ignored[i] != NULL;
    }
    return done;
}

void skype_fini(struct skype *skype)
{
    for (size_t i = 0; i < SKYPE_KINDS; i++) {
        json_decref(skype->objects[i]);
        json_decref(skype->ignored[i]);
    }
    json_decref(skype->report);
    json_decref(skype->names);
    json_decref(skype->rules);
    json_decref(skype->pairs);
    json_decref(skype->hosts);
    json_decref(skype->access);
    *skype = (struct skype){0};
}

/* ---- the report ---- */

static void add_row(struct skype *skype, const char *what, const char *setting,
                    const char *value, enum skype_result result, const char *remark)
{
    static const char *const results[] = {
        [SKYPE_TAKEN] = "taken",     [SKYPE_DEFAULT] = "their default",
        [SKYPE_CHANGED] = "changed", [SKYPE_BY_HAND] = "by hand",
        [SKYPE_LEFT] = "left out",   [SKYPE_WARNING] = "warning",
        [SKYPE_INVALID] = "INVALID",
    };
    skype->invalid += result == SKYPE_INVALID;
    (void)json_array_append_new(skype->report, json_pack("[s, s, s, s, s]", what, setting,
                                                         value, results[result], remark));
}

/* What is too long is cut, but not within a character. */
__attribute__((format(printf, 2, 0))) static void print_remark(char remark[REMARK_SIZE],
                                                               const char *format,
                                                               va_list arguments)
{
    int size = vsnprintf(remark, REMARK_SIZE, format, arguments);
    if (size >= REMARK_SIZE)
        remark[utf8_cut(span_make(remark, REMARK_SIZE - 1), REMARK_SIZE - 2).size] = '\0';
}

void skype_tell(struct skype *skype, const char *what, const char *setting, const char *value,
                enum skype_result result, const char *format, ...)
{
    char remark[REMARK_SIZE];
    va_list arguments;
    va_start(arguments, format);
    print_remark(remark, format, arguments);
    va_end(arguments);
    add_row(skype, what, setting, value, result, remark);
}

void skype_say(struct skype *skype, struct skype_place *place, enum skype_result result,
               const char *format, ...)
{
    char remark[REMARK_SIZE];
    va_list arguments;
    va_start(arguments, format);
    print_remark(remark, format, arguments);
    va_end(arguments);
    place->is_bad |= result == SKYPE_INVALID;
    if (place->is_default && result == SKYPE_TAKEN)
        result = SKYPE_DEFAULT;
    add_row(skype, place->what, place->property, place->text != NULL ? place->text : "-",
            result, remark);
}

/* ---- properties ---- */

const char *skype_text(const json_t *object, const char *property, char memory[32])
{
    const json_t *value = json_object_get(object, property);
    const char *text = value != NULL ? powershell_text(value, memory) : NULL;
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool is_setting(const char *property, const struct skype_setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings[i].property, property) == 0)
            return true;
    return false;
}

void skype_read(struct skype *skype, struct skype_place *place,
                const struct skype_setting *settings, size_t count)
{
    const char *property;
    json_t *value;
    for (size_t i = 0; i < count; i++) {
        const struct skype_setting *setting = &settings[i];
        place->property = setting->property;
        place->value = json_object_get(place->object, setting->property);
        place->is_default = place->value == NULL;
        place->text = place->value != NULL ? powershell_text(place->value, place->memory)
                                           : setting->fallback;
        if (setting->take != NULL && (place->value != NULL || setting->fallback != NULL))
            setting->take(skype, place, setting);
    }
    json_object_foreach((json_t *)(uintptr_t)place->object, property, value)
    {
        if (property[0] != '\0' && !is_setting(property, settings, count))
            (void)json_object_set_new(skype->ignored[place->kind], property, json_true());
    }
}

static bool is_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* Theirs is in camel case, ours has underscores. */
static bool is_same_word(const char *theirs, const char *ours)
{
    for (; *ours != '\0'; ours++) {
        if (*ours == '_')
            continue;
        if (tolower((unsigned char)*theirs) != *ours)
            return false;
        theirs++;
    }
    return *theirs == '\0';
}

void skype_take_name(struct skype *skype, struct skype_place *place,
                     const struct skype_setting *setting)
{
    const struct rules_row *row = rules_row(setting->rule);
    uint32_t value = 0;
    assert(row->names != NULL);
    if (place->text != NULL && is_digits(place->text)) {
        skype_say(skype, place, SKYPE_INVALID,
                  "ConvertTo-Json writes a number for this word, and which is not documented: "
                  "use Export-Clixml or Export-Csv, or ConvertTo-Json -EnumsAsStrings");
        return;
    }
    while (place->text != NULL && row->names[value] != NULL &&
           !is_same_word(place->text, row->names[value]))
        value++;
    if (place->text == NULL || row->names[value] == NULL) {
        skype_say(skype, place, SKYPE_INVALID, "it is none of the words that %s knows",
                  row->key);
        return;
    }
    rules_give(&place->rules, setting->rule, value);
    (void)json_object_set_new(place->out, row->key, json_string(row->names[value]));
    skype_say(skype, place, SKYPE_TAKEN, "%s: %s", row->key, row->names[value]);
}

void skype_take_number(struct skype *skype, struct skype_place *place,
                       const struct skype_setting *setting)
{
    const struct rules_row *row = rules_row(setting->rule);
    if (place->text == NULL || place->text[0] == '\0') {
        skype_say(skype, place, SKYPE_LEFT, "nothing is set: what holds for all stays");
        return;
    }
    if (!is_digits(place->text) || strlen(place->text) > 10) {
        skype_say(skype, place, SKYPE_INVALID, "it is no number");
        return;
    }
    uint64_t wanted = strtoull(place->text, NULL, 10) * setting->unit, value = wanted;
    if (wanted == 0 && row->min > 0) {
        skype_say(skype, place, SKYPE_LEFT,
                  "what 0 means there is not documented: what holds for all stays");
        return;
    }
    value = value < row->min ? row->min : value > row->max ? row->max : value;
    rules_give(&place->rules, setting->rule, (uint32_t)value);
    (void)json_object_set_new(place->out, row->key, json_integer((json_int_t)value));
    if (value == wanted)
        skype_say(skype, place, SKYPE_TAKEN, "%s: %" PRIu64, row->key, value);
    else
        skype_say(skype, place, SKYPE_CHANGED,
                  "%s: %" PRIu64 ", as it is %" PRIu32 " to %" PRIu32 " here", row->key, value,
                  row->min, row->max);
}

/* ---- the gateway ---- */

static void take_sessions(struct skype *skype, struct skype_place *place,
                          const struct skype_setting *setting)
{
    (void)setting;
    skype_say(skype, place, SKYPE_BY_HAND,
              "of the whole relay: write sessions_max: %s into xmpp (10000 without it)",
              place->text != NULL ? place->text : "…");
}

static void take_secret(struct skype *skype, struct skype_place *place,
                        const struct skype_setting *setting)
{
    (void)setting;
    bool is_empty = place->text == NULL || place->text[0] == '\0';
    place->text = is_empty ? "-" : "(not shown)";
    if (is_empty)
        skype_say(skype, place, SKYPE_LEFT, "there is none: the relay makes its own");
    else
        skype_say(skype, place, SKYPE_BY_HAND,
                  "needed only while two gateways answer for one domain: then copy it to "
                  "xmpp.dialback_secret (16 characters or more); the relay makes its own");
}

static void take_logging(struct skype *skype, struct skype_place *place,
                         const struct skype_setting *setting)
{
    (void)setting;
    skype_say(skype, place, SKYPE_LEFT, "texts of messages are never logged here");
}

static void take_refresh(struct skype *skype, struct skype_place *place,
                         const struct skype_setting *setting)
{
    (void)setting;
    skype_say(skype, place, SKYPE_LEFT, "the relay carries no presence yet");
}

static void map_gateway(struct skype *skype)
{
    static const struct skype_setting settings[] = {
        {"ConnectionLimit", "1000", take_sessions, 0, 0},
        {"PartnerConnectionLimit", "20", skype_take_number, RULE_SESSIONS_MAX, 1},
        {"KeepAliveInterval", "300", skype_take_number, RULE_KEEPALIVE_DEMAND, 1000},
        {"StreamEstablishmentTimeout", "60", skype_take_number, RULE_NEGOTIATION_TIMEOUT, 1000},
        {"StreamInactivityTimeout", "600", skype_take_number, RULE_IDLE_TIMEOUT, 1000},
        {"DialbackPassphrase", NULL, take_secret, 0, 0},
        {"EnableLoggingAllMessageBodies", NULL, take_logging, 0, 0},
        {"SubscriptionRefreshInterval", NULL, take_refresh, 0, 0},
    };
    size_t count = json_array_size(skype->objects[SKYPE_GATEWAY]);
    if (count > 1)
        skype_tell(skype, kinds[SKYPE_GATEWAY], "-", "-", SKYPE_INVALID,
                   "it is exported %zu times: there is one for an organisation", count);
    if (count == 0 && json_array_size(skype->objects[SKYPE_PARTNER]) == 0)
        return;
    json_t *none = json_object();
    struct skype_place place = {
        .kind = SKYPE_GATEWAY,
        .what = kinds[SKYPE_GATEWAY],
        .object = count > 0 ? json_array_get(skype->objects[SKYPE_GATEWAY], 0) : none,
        .out = skype->rules};
    skype_read(skype, &place, settings, sizeof(settings) / sizeof(settings[0]));
    json_decref(none);
}

/* ---- all of it ---- */

static bool has(const json_t *object, const char *property)
{
    return json_object_get(object, property) != NULL;
}

static enum skype_kind kind_of(const json_t *object)
{
    if (has(object, "EnableXmppAccess"))
        return SKYPE_POLICY;
    if (has(object, "StreamEstablishmentTimeout") || has(object, "PartnerConnectionLimit") ||
        has(object, "StreamInactivityTimeout") || has(object, "KeepAliveInterval") ||
        has(object, "DialbackPassphrase"))
        return SKYPE_GATEWAY;
    if (has(object, "TlsNegotiation") || has(object, "SaslNegotiation") ||
        has(object, "SupportDialbackNegotiation") || has(object, "PartnerType"))
        return SKYPE_PARTNER;
    return has(object, "SipAddress") ? SKYPE_USER : SKYPE_KINDS;
}

void skype_take(struct skype *skype, const char *path, const json_t *objects)
{
    size_t i;
    json_t *object;
    json_array_foreach(objects, i, object)
    {
        enum skype_kind kind = kind_of(object);
        if (kind < SKYPE_KINDS)
            (void)json_array_append(skype->objects[kind], object);
        else
            skype_tell(skype, path, "-", "-", SKYPE_INVALID,
                       "object %zu has no property of Get-CsXmppAllowedPartner, "
                       "Get-CsXmppGatewayConfiguration, Get-CsExternalAccessPolicy or "
                       "Get-CsUser",
                       i + 1);
    }
    if (json_array_size(objects) == 0)
        skype_tell(skype, path, "-", "-", SKYPE_WARNING, "there is no object in it");
}

static void tell_ignored(struct skype *skype, enum skype_kind kind)
{
    const char *property;
    json_t *value;
    char *names = NULL;
    size_t size;
    FILE *out =
        json_object_size(skype->ignored[kind]) > 0 ? open_memstream(&names, &size) : NULL;
    if (out == NULL)
        return;
    fputs("no settings of XMPP:", out);
    json_object_foreach(skype->ignored[kind], property, value) fprintf(out, " %s", property);
    (void)fclose(out);
    add_row(skype, kinds[kind], "-", "-", SKYPE_LEFT, names);
    free(names);
}

void skype_map(struct skype *skype)
{
    map_gateway(skype);
    skype_map_partners(skype);
    skype_map_users(skype);
    for (size_t i = 0; i < SKYPE_KINDS; i++)
        tell_ignored(skype, (enum skype_kind)i);
}
