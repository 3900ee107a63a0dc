/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/config_key.h"

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

/* Takes "key" or ".key" off the path: the value of that field. */
static const struct cyaml_schema_value *step_field(const struct cyaml_schema_value *value,
                                                   struct span *path)
{
    if (path->size > 0 && path->data[0] == '.')
        *path = span_from(*path, 1);
    size_t dot = span_find(*path, '.'), bracket = span_find(*path, '[');
    struct span key = span_to(*path, dot < bracket ? dot : bracket);
    *path = span_from(*path, key.size);
    return value->type == CYAML_MAPPING ? value_of(value->mapping.fields, key) : NULL;
}

/* Takes "[7]" off the path: the value of an entry. */
static const struct cyaml_schema_value *step_entry(const struct cyaml_schema_value *value,
                                                   struct span *path)
{
    size_t end = span_find(*path, ']');
    bool is_number = end > 1 && end < path->size && end < 8;
    for (size_t i = 1; i < end && is_number; i++)
        is_number = path->data[i] >= '0' && path->data[i] <= '9';
    *path = span_from(*path, end + 1);
    return is_number && value->type == CYAML_SEQUENCE ? value->sequence.entry : NULL;
}

enum config_kind config_key_kind(const char *list, struct span path)
{
    const struct cyaml_schema_value *value = value_of(config_schema_fields(), span_of(list));
    if (value == NULL || value->type != CYAML_SEQUENCE || path.size == 0 || path.data[0] == '[')
        return CONFIG_KIND_NONE;
    value = value->sequence.entry;
    /* Each step takes something off the path. */
    while (value != NULL && path.size > 0)
        value = path.data[0] == '[' ? step_entry(value, &path) : step_field(value, &path);
    return kind_of(value);
}
