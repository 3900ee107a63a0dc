/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <yaml.h>

#include "tools/ctl_import.h"

#define YAML_DEPTH_MAX 16
#define YAML_NODE_MAX  50000000u /* aliases may name a node again and again */

struct walk {
    yaml_document_t document;
    unsigned left; /* nodes that may still come */
};

static json_t *node_value(struct walk *walk, int number, unsigned depth);

static json_t *mapping_value(struct walk *walk, const yaml_node_t *node, unsigned depth)
{
    json_t *object = json_object();
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&walk->document, pair->key);
        json_t *value =
            key->type == YAML_SCALAR_NODE ? node_value(walk, pair->value, depth) : NULL;
        if (value == NULL ||
            json_object_set_new(object, (const char *)key->data.scalar.value, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* One node with all below it, not deeper than YAML_DEPTH_MAX; NULL when it is beyond a limit.
 */
static json_t *node_value(struct walk *walk, int number, unsigned depth)
{
    const yaml_node_t *node = yaml_document_get_node(&walk->document, number);
    if (depth == YAML_DEPTH_MAX || walk->left == 0)
        return NULL;
    walk->left--;
    if (node->type == YAML_SCALAR_NODE)
        return json_stringn((const char *)node->data.scalar.value, node->data.scalar.length);
    if (node->type == YAML_MAPPING_NODE)
        return mapping_value(walk, node, depth + 1);
    json_t *list = json_array();
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        json_t *value = node_value(walk, *item, depth + 1);
        if (value == NULL || json_array_append_new(list, value) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *import_yaml(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE])
{
    struct walk walk = {.left = YAML_NODE_MAX};
    yaml_parser_t parser;
    json_t *value = NULL;
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "it has no list, or one that is too deep");
    if (yaml_parser_initialize(&parser) == 0)
        return NULL;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    if (yaml_parser_load(&parser, &walk.document) == 0) {
        (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "line %zu: %s",
                       parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "unreadable YAML");
    } else {
        if (yaml_document_get_root_node(&walk.document) != NULL)
            value = node_value(&walk, 1, 0);
        yaml_document_delete(&walk.document);
    }
    yaml_parser_delete(&parser);
    return value;
}
