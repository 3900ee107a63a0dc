/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lookups: one open-addressing table for every domain in every role, and the trunk sources
 * sorted by (prefix size, network) so that a lookup is one binary search for each prefix size
 * in use. The index also owns the snapshot's arena.
 */
#include "core/config_schema.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/heap.h"
#include "proto/limits.h"

#define INDEX_PREFIX_SIZES 129

struct index_slot {
    const char *text; /* NULL: free */
    uint32_t size;
    uint32_t scope;
    uint32_t hash; /* so that the texts of others are not looked at */
    uint32_t value;
};

struct index_source {
    uint8_t network[16]; /* IPv4 as ::ffff:0:0/96 */
    uint32_t prefix_size;
    uint32_t trunk;
};

struct config_index {
    struct arena arena;
    struct index_slot *slots;
    size_t slot_count; /* power of two */
    size_t used;
    const struct config_tenant **tenants; /* by index; NULL: nobody has it */
    const struct config_trunk **trunks;   /* the same */
    struct index_source *sources;
    size_t source_count;
    uint32_t prefix_sizes[INDEX_PREFIX_SIZES]; /* those in use */
    size_t prefix_size_count;
};

int config_index_open(struct config *config)
{
    assert(config->index == NULL);
    struct config_index *index = calloc(1, sizeof(*index));
    if (index == NULL)
        return -ENOMEM;
    arena_init(&index->arena, &heap_memory, (size_t)1 << 32);
    config->index = index;
    return 0;
}

struct arena *config_index_arena(struct config *config)
{
    return &config->index->arena;
}

void config_index_close(struct config_index **index)
{
    if (*index == NULL)
        return;
    free((*index)->slots);
    free((*index)->sources);
    free((void *)(*index)->trunks);
    free((void *)(*index)->tenants);
    arena_fini(&(*index)->arena);
    free(*index);
    *index = NULL;
}

int config_index_reserve(struct config *config, size_t count)
{
    struct config_index *index = config->index;
    assert(index != NULL);
    assert(index->slots == NULL);
    index->slot_count = 16;
    while (index->slot_count < count + count / 2 + 1)
        index->slot_count *= 2;
    index->slots = calloc(index->slot_count, sizeof(*index->slots));
    return index->slots != NULL ? 0 : -ENOMEM;
}

/* FNV-1a. Only the operator's own domains are in the table, so no peer can make it collide. */
static uint32_t index_hash(unsigned scope, struct span text)
{
    uint32_t hash = (2166136261u ^ scope) * 16777619u;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 16777619u;
    return hash ^ (hash >> 15);
}

/* The slot of the text, or the free one where it belongs. */
static struct index_slot *index_slot(const struct config_index *index, unsigned scope,
                                     struct span text, uint32_t hash)
{
    size_t mask = index->slot_count - 1;
    /* Ends: the table is never full (index_add asserts it). */
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct index_slot *slot = &index->slots[at];
        if (slot->text == NULL ||
            (slot->hash == hash && slot->scope == scope &&
             span_equal(span_make(slot->text, slot->size), text)))
            return slot;
    }
}

bool config_index_add(struct config *config, unsigned scope, const char *text, unsigned value,
                      unsigned *present)
{
    struct config_index *index = config->index;
    assert(index->used + 1 < index->slot_count);
    struct span key = span_of(text);
    uint32_t hash = index_hash(scope, key);
    struct index_slot *slot = index_slot(index, scope, key, hash);
    if (slot->text != NULL) {
        *present = slot->value;
        return false;
    }
    *slot = (struct index_slot){
        .text = text, .size = (uint32_t)key.size, .scope = scope, .hash = hash, .value = value};
    index->used++;
    return true;
}

static bool index_find(const struct config *config, unsigned scope, struct span text,
                       uint32_t *value)
{
    assert(config->index != NULL);
    const struct index_slot *slot =
        index_slot(config->index, scope, text, index_hash(scope, text));
    if (slot->text == NULL)
        return false;
    *value = slot->value;
    return true;
}

const struct config_tenant *config_find_tenant(const struct config *config, struct span domain)
{
    uint32_t value;
    bool found = index_find(config, CONFIG_SCOPE_UNICODE, domain, &value);
    return found ? &config->tenants[value] : NULL;
}

const struct config_tenant *config_find_tenant_ascii(const struct config *config,
                                                     struct span domain)
{
    uint32_t value;
    bool found = index_find(config, CONFIG_SCOPE_ASCII, domain, &value);
    return found ? &config->tenants[value] : NULL;
}

const struct config_tenant *config_find_named(const struct config *config, struct span name)
{
    uint32_t value;
    bool found = index_find(config, CONFIG_SCOPE_NAME, name, &value);
    return found ? &config->tenants[value] : NULL;
}

const struct config_tenant *config_find_said(const struct config *config, struct span word)
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span domain;
    const struct config_tenant *tenant = config_find_named(config, word);
    if (tenant != NULL || jid_prepare_domain(word, &writer, &domain) != JID_OK)
        return tenant;
    return config_find_tenant(config, domain);
}

/* The domain itself, or the wildcard that stands for it. */
static bool index_find_domain(const struct config *config, unsigned scope, struct span domain,
                              uint32_t *value)
{
    char text[DOMAIN_SIZE_MAX + 2] = "*";
    if (index_find(config, scope, domain, value))
        return true;
    struct span rest = span_from(domain, span_find(domain, '.'));
    if (rest.size == 0 || rest.size > DOMAIN_SIZE_MAX)
        return false;
    memcpy(text + 1, rest.data, rest.size);
    return index_find(config, scope, span_make(text, rest.size + 1), value);
}

const struct config_partner *config_find_partner(const struct config *config,
                                                 struct span domain)
{
    uint32_t value;
    bool found = index_find_domain(config, CONFIG_SCOPE_PARTNER, domain, &value);
    return found ? &config->partners[value] : NULL;
}

struct rules_stack config_rules(const struct config *config, const struct config_tenant *tenant,
                                struct span domain)
{
    struct rules_stack stack = rules_stack_make();
    const struct config_partner *partner = config_find_partner(config, domain);
    uint32_t value;
    stack.level[RULES_GLOBAL] = &config->rules;
    if (tenant != NULL)
        stack.level[RULES_TENANT] = &tenant->rules;
    if (partner != NULL)
        stack.level[RULES_PARTNER] = &partner->rules;
    if (tenant != NULL &&
        index_find_domain(config, config_scope(CONFIG_SCOPE_PAIR, tenant), domain, &value))
        stack.level[RULES_PAIR] = &tenant->pairs[value].rules;
    return stack;
}

bool config_partner_allowed(const struct config *config, const struct config_tenant *tenant,
                            struct span domain)
{
    uint32_t value;
    switch (tenant->policy) {
    case PARTNER_OPEN: return true;
    case PARTNER_LIST:
        return index_find_domain(config, config_scope(CONFIG_SCOPE_ALLOWED, tenant), domain,
                                 &value);
    case PARTNER_CLOSED: return false;
    }
    return false;
}

bool config_user_allowed(const struct config *config, const struct config_tenant *tenant,
                         const struct jid *user)
{
    char text[JID_SIZE_MAX];
    struct writer writer = writer_make(text, sizeof(text));
    uint32_t value;
    if (tenant->user_count == 0)
        return tenant->users_allowed;
    jid_write_bare(&writer, user);
    if (!index_find(config, CONFIG_SCOPE_USER, writer_span(&writer), &value))
        return tenant->users_allowed;
    return value < tenant->user_allow_count;
}

/* The first `prefix_size` bits of the address in its IPv6 spelling. */
static void index_mask(uint8_t out[16], const union net_address *address, uint32_t prefix_size)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (address->any.sa_family == AF_INET) {
        memcpy(out, mapped, sizeof(mapped));
        memcpy(out + sizeof(mapped), &address->v4.sin_addr, 4);
    } else {
        memcpy(out, &address->v6.sin6_addr, 16);
    }
    for (uint32_t bit = prefix_size; bit < 128; bit++)
        out[bit / 8] = (uint8_t)(out[bit / 8] & ~(0x80u >> (bit % 8)));
}

static int source_compare(const void *left, const void *right)
{
    const struct index_source *a = left, *b = right;
    if (a->prefix_size != b->prefix_size)
        return a->prefix_size > b->prefix_size ? -1 : 1; /* the narrowest first */
    int order = memcmp(a->network, b->network, sizeof(a->network));
    if (order != 0)
        return order;
    return a->trunk < b->trunk ? -1 : a->trunk > b->trunk;
}

static size_t index_take_sources(struct config_index *index, const struct config_tenant *tenant,
                                 size_t used)
{
    for (size_t i = 0; i < tenant->trunk_count; i++) {
        const struct config_trunk *trunk = &tenant->trunks[i];
        index->trunks[trunk->index] = trunk;
        for (size_t j = 0; j < trunk->source_count; j++) {
            const struct config_network *network = &trunk->sources[j];
            bool is_v4 = network->address.any.sa_family == AF_INET;
            struct index_source *source = &index->sources[used++];
            source->prefix_size = network->prefix_size + (is_v4 ? 96 : 0);
            source->trunk = trunk->index;
            index_mask(source->network, &network->address, source->prefix_size);
        }
    }
    return used;
}

int config_index_finish(struct config *config)
{
    struct config_index *index = config->index;
    size_t count = 0;
    for (size_t i = 0; i < config->tenant_count; i++)
        for (size_t j = 0; j < config->tenants[i].trunk_count; j++)
            count += config->tenants[i].trunks[j].source_count;
    index->tenants = calloc(config->tenant_slots + 1, sizeof(*index->tenants));
    index->trunks = calloc(config->trunk_slots + 1, sizeof(*index->trunks));
    index->sources = calloc(count + 1, sizeof(*index->sources));
    if (index->tenants == NULL || index->trunks == NULL || index->sources == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        assert(tenant->index < config->tenant_slots);
        index->tenants[tenant->index] = tenant;
        index->source_count = index_take_sources(index, tenant, index->source_count);
    }
    assert(index->source_count == count);
    qsort(index->sources, count, sizeof(*index->sources), source_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || index->sources[i].prefix_size != index->sources[i - 1].prefix_size)
            index->prefix_sizes[index->prefix_size_count++] = index->sources[i].prefix_size;
    assert(index->prefix_size_count <= INDEX_PREFIX_SIZES);
    return 0;
}

const struct config_trunk *config_trunk_at(const struct config *config, uint32_t index)
{
    return index < config->trunk_slots ? config->index->trunks[index] : NULL;
}

const struct config_tenant *config_tenant_at(const struct config *config, uint32_t index)
{
    return index < config->tenant_slots ? config->index->tenants[index] : NULL;
}

/* The first source that is not before `wanted`. */
static size_t index_lower_bound(const struct config_index *index,
                                const struct index_source *wanted)
{
    size_t low = 0, high = index->source_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source_compare(&index->sources[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* *next holds the prefix size's number in its upper half and in the lower half the source to
   look at, plus one; 0 there means that the search for this prefix size has not begun. */
const struct config_trunk *config_next_trunk_from(const struct config *config,
                                                  const union net_address *source, size_t *next)
{
    _Static_assert(sizeof(size_t) == 8, "two 32-bit halves");
    const struct config_index *index = config->index;
    assert(index != NULL);
    for (size_t size = *next >> 32; size < index->prefix_size_count; size++) {
        struct index_source wanted = {.prefix_size = index->prefix_sizes[size]};
        index_mask(wanted.network, source, wanted.prefix_size);
        size_t at = *next & UINT32_MAX;
        at = at > 0 ? at - 1 : index_lower_bound(index, &wanted);
        const struct index_source *found = &index->sources[at];
        if (at < index->source_count && found->prefix_size == wanted.prefix_size &&
            memcmp(found->network, wanted.network, sizeof(wanted.network)) == 0) {
            *next = (size << 32) | (at + 2);
            return index->trunks[found->trunk];
        }
        *next = (size + 1) << 32;
    }
    return NULL;
}
