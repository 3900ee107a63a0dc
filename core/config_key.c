/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/config_key.h"

#include <assert.h>
#include <cyaml/cyaml.h>

#include "core/config_schema.h"

static enum config_kind kind_of(const struct cyaml_schema_value *value)
{
    if (value == NULL)
        return CONFIG_KIND_NONE;
    if (value->type == CYAML_MAPPING)
        return CONFIG_KIND_SECTION;
    if (value->type == CYAML_SEQUENCE || value->type == CYAML_SEQUENCE_FIXED)
        return kind_of(value->sequence.entry) == CONFIG_KIND_SECTION ? CONFIG_KIND_ITEMS
                                                                     : CONFIG_KIND_LIST;
    if (value->type == CYAML_INT || value->type == CYAML_UINT)
        return CONFIG_KIND_NUMBER;
    return value->type == CYAML_BOOL ? CONFIG_KIND_BOOL : CONFIG_KIND_TEXT;
}

static const struct cyaml_schema_value *value_of(const struct cyaml_schema_field *fields,
                                                 struct span key)
{
    /* The schema's tables end with a field without a key. */
    for (; fields->key != NULL; fields++)
        if (span_equal(span_of(fields->key), key))
            return &fields->value;
    return NULL;
}

static bool read_place(struct span *path, size_t *place)
{
    size_t end = span_find(*path, ']');
    bool is_number = end > 1 && end < path->size && end < 8;
    *place = 0;
    for (size_t i = 1; i < end && is_number; i++) {
        is_number = path->data[i] >= '0' && path->data[i] <= '9';
        *place = 10 * *place + (size_t)(path->data[i] - '0');
    }
    *path = span_from(*path, end + 1);
    return is_number;
}

/* Behind a part the path ends, or a place follows, or a dot and a key. */
static bool is_followed(struct span *path)
{
    if (path->size == 0 || path->data[0] == '[')
        return true;
    bool has_dot = path->data[0] == '.';
    *path = span_from(*path, 1);
    return has_dot && path->size > 0 && path->data[0] != '[';
}

bool config_key_next(struct span *path, struct config_key_part *part)
{
    assert(path->size > 0);
    *part = (struct config_key_part){.is_place = path->data[0] == '['};
    if (part->is_place)
        return read_place(path, &part->place) && is_followed(path);
    size_t dot = span_find(*path, '.'), bracket = span_find(*path, '[');
    part->key = span_to(*path, dot < bracket ? dot : bracket);
    *path = span_from(*path, part->key.size);
    return is_followed(path);
}

/* What stands there in the value; NULL: nothing can. */
static const struct cyaml_schema_value *inside(const struct cyaml_schema_value *value,
                                               const struct config_key_part *part)
{
    if (part->is_place)
        return value->type == CYAML_SEQUENCE ? value->sequence.entry : NULL;
    return value->type == CYAML_MAPPING ? value_of(value->mapping.fields, part->key) : NULL;
}

enum config_kind config_key_kind(const char *list, struct span path)
{
    const struct cyaml_schema_value *value = value_of(config_schema_fields(), span_of(list));
    struct config_key_part part;
    if (value == NULL || value->type != CYAML_SEQUENCE || path.size == 0 || path.data[0] == '[')
        return CONFIG_KIND_NONE;
    value = value->sequence.entry;
    /* Each step takes something off the path. */
    while (value != NULL && path.size > 0)
        value = config_key_next(&path, &part) ? inside(value, &part) : NULL;
    return kind_of(value);
}
