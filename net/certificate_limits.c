/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Name constraints (RFC 5280 §4.2.1.10): for which domains an authority may vouch. */
#include "net/certificate.h"

#include <string.h>
#include <strings.h>

#include "net/der.h"

struct domain {
    const char *text;
    size_t size;
    bool is_wildcard; /* the text is what stands behind "*." */
};

static bool starts_with(const struct domain *domain, const char *start)
{
    size_t size = strlen(start);
    return domain->size >= size && strncasecmp(domain->text, start, size) == 0;
}

static void skip(struct domain *domain, size_t size)
{
    domain->text += size;
    domain->size -= size;
}

/* The domain that a name is about; false: none. */
static bool domain_of(const struct certificate_name *name, struct domain *domain)
{
    *domain = (struct domain){.text = name->text, .size = name->size};
    switch (name->kind) {
    case CERTIFICATE_DNS:
    case CERTIFICATE_XMPP_ADDR: break;
    case CERTIFICATE_SRV:
        if (starts_with(domain, "_xmpp-server."))
            skip(domain, sizeof("_xmpp-server.") - 1);
        break;
    case CERTIFICATE_URI:
        if (!starts_with(domain, "sip:"))
            return false;
        skip(domain, sizeof("sip:") - 1);
        for (size_t i = 0; i < domain->size; i++)
            if (strchr(":;?/", domain->text[i]) != NULL)
                domain->size = i;
        break;
    }
    domain->is_wildcard = starts_with(domain, "*.");
    if (domain->is_wildcard)
        skip(domain, 2);
    return true;
}

/* Is the domain that of the subtree, or below it? A subtree may begin with a dot. */
static bool is_within(struct domain domain, struct domain tree)
{
    if (tree.size > 0 && tree.text[0] == '.')
        skip(&tree, 1);
    if (tree.size == 0)
        return true;
    if (domain.size < tree.size ||
        strncasecmp(domain.text + domain.size - tree.size, tree.text, tree.size) != 0)
        return false;
    return domain.size == tree.size || domain.text[domain.size - tree.size - 1] == '.';
}

/* A subtree that begins with a dot leaves what is below it only. */
static bool is_permitted(const struct domain *domain, struct domain tree)
{
    bool is_below = tree.size > 0 && tree.text[0] == '.';
    return is_within(*domain, tree) &&
           (!is_below || domain->is_wildcard || domain->size >= tree.size);
}

/* What is excluded is an A-label and may be meant by another spelling, or be one of the domains
   that a wildcard stands for. */
static bool is_touched(const struct domain *domain, struct domain tree)
{
    for (size_t i = 0; i < domain->size; i++)
        if ((unsigned char)domain->text[i] >= 0x80)
            return true;
    return is_within(*domain, tree) || (domain->is_wildcard && is_within(tree, *domain));
}

enum verdict { UNREADABLE, NOT_NAMED, NAMED, NOT_CONCERNED };

static bool is_other_name(const struct certificate_name *name)
{
    return name->kind == CERTIFICATE_SRV || name->kind == CERTIFICATE_XMPP_ADDR;
}

/* What a list of subtrees says of a name: SEQUENCE OF SEQUENCE { base GeneralName, … }. Those
   of otherNames are not read, so none is permitted there (RFC 5280 §4.2.1.10). */
static enum verdict look_up(struct der subtrees, const struct certificate_name *name,
                            bool is_excluded)
{
    enum verdict verdict = NOT_CONCERNED;
    struct domain domain;
    if (!domain_of(name, &domain))
        return NOT_CONCERNED;
    while (subtrees.size > 0) {
        struct der subtree, base;
        uint8_t tag;
        if (!der_expect(&subtrees, DER_SEQUENCE, &subtree) || !der_take(&subtree, &tag, &base))
            return UNREADABLE;
        if (tag == DER_CONTEXT_0 && is_other_name(name))
            return UNREADABLE;
        if (tag != DER_DNS_NAME && (tag != DER_URI || name->kind != CERTIFICATE_URI))
            continue;
        struct domain tree = {.text = (const char *)base.data, .size = base.size};
        if (is_excluded ? is_touched(&domain, tree) : is_permitted(&domain, tree))
            return NAMED;
        verdict = NOT_NAMED;
    }
    return verdict;
}

static bool permits_name(struct der limits, const struct certificate_name *name)
{
    struct der subtrees;
    uint8_t tag;
    while (limits.size > 0) {
        if (!der_take(&limits, &tag, &subtrees))
            return false;
        bool is_excluded = tag == DER_CONTEXT_1;
        switch (look_up(subtrees, name, is_excluded)) {
        case UNREADABLE: return false;
        case NOT_CONCERNED: break;
        case NAMED:
            if (is_excluded)
                return false;
            break;
        case NOT_NAMED:
            if (!is_excluded)
                return false;
            break;
        }
    }
    return true;
}

bool certificate_permits(const struct certificate *authority, const struct certificate *leaf)
{
    struct der value = {authority->limits, authority->limits_size}, limits;
    if (authority->limits == NULL)
        return true;
    if (!der_expect(&value, DER_SEQUENCE, &limits))
        return false;
    for (size_t i = 0; i < leaf->name_count; i++)
        if (!permits_name(limits, &leaf->names[i]))
            return false;
    return true;
}
