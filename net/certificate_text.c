/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a certificate says, for people to read. */
#include "net/certificate.h"

#include <stdio.h>

#include "net/der.h"

/* Attribute types of X.520 and RFC 4519 that subjects have. */
static const struct {
    uint8_t oid[3];
    const char *name;
} attributes[] = {{{0x55, 4, 3}, "CN"}, {{0x55, 4, 10}, "O"}, {{0x55, 4, 11}, "OU"},
                  {{0x55, 4, 6}, "C"},  {{0x55, 4, 8}, "ST"}, {{0x55, 4, 7}, "L"}};

static void add(char *text, size_t size, const char *separator, const char *label,
                const char *value, size_t value_size)
{
    size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s%s%.*s", used > 0 ? separator : "", label,
                   value_size < 256 ? (int)value_size : 256, value);
}

/* AttributeTypeAndValue, RFC 5280 §4.1.2.4; types that are not known here are left out. */
static void add_attribute(struct der attribute, char *text, size_t size)
{
    struct der oid, value;
    uint8_t tag;
    char label[8];
    if (!der_expect(&attribute, DER_OID, &oid) || !der_take(&attribute, &tag, &value) ||
        (tag != DER_UTF8 && tag != DER_PRINTABLE && tag != DER_IA5 && tag != DER_T61))
        return;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        if (!IS_OID(oid, attributes[i].oid))
            continue;
        (void)snprintf(label, sizeof(label), "%s=", attributes[i].name);
        add(text, size, ", ", label, (const char *)value.data, value.size);
    }
}

void certificate_text_subject(const struct certificate_subject *subject, char *text,
                              size_t size)
{
    struct der rest = {subject->der, subject->size}, set, attribute;
    text[0] = '\0';
    while (rest.size > 0 && der_expect(&rest, DER_SET, &set))
        while (set.size > 0 && der_expect(&set, DER_SEQUENCE, &attribute))
            add_attribute(attribute, text, size);
    if (text[0] == '\0')
        (void)snprintf(text, size, "-");
}

static const char *name_label(enum certificate_name_kind kind)
{
    switch (kind) {
    case CERTIFICATE_DNS: return "dNSName ";
    case CERTIFICATE_SRV: return "SRVName ";
    case CERTIFICATE_XMPP_ADDR: return "xmppAddr ";
    case CERTIFICATE_URI: return "URI ";
    }
    return "";
}

void certificate_text_name(const struct certificate_name *name, char *text, size_t size)
{
    text[0] = '\0';
    add(text, size, "", name_label(name->kind), name->text, name->size);
}

void certificate_text_names(const struct certificate *certificate, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < certificate->name_count; i++) {
        const struct certificate_name *name = &certificate->names[i];
        /* What would not fit whole is only counted. */
        if (strlen(text) + name->size + 40 > size) {
            char more[32];
            (void)snprintf(more, sizeof(more), " and %zu more", certificate->name_count - i);
            add(text, size, "", more, "", 0);
            return;
        }
        add(text, size, ", ", name_label(name->kind), name->text, name->size);
    }
    if (text[0] == '\0')
        (void)snprintf(text, size, "none");
}
