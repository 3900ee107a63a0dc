/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_DEPTH_MAX 16

static bool put(yaml_emitter_t *emitter, yaml_event_t *event, int is_made)
{
    return is_made != 0 && yaml_emitter_emit(emitter, event) != 0;
}

static bool put_text(yaml_emitter_t *emitter, const char *text)
{
    yaml_event_t event;
    return put(emitter, &event,
               yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                            (int)strlen(text), 1, 1, YAML_ANY_SCALAR_STYLE));
}

static bool put_scalar(yaml_emitter_t *emitter, const json_t *value)
{
    if (json_is_string(value))
        return put_text(emitter, json_string_value(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    bool done = text != NULL && put_text(emitter, text);
    free(text);
    return done;
}

static bool put_value(yaml_emitter_t *emitter, const json_t *value, unsigned depth);

static bool put_list(yaml_emitter_t *emitter, const json_t *list, unsigned depth)
{
    yaml_event_t event;
    size_t i;
    const json_t *item;
    bool is_flat = !json_is_object(json_array_get(list, 0));
    bool done = put(emitter, &event,
                    yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                         is_flat ? YAML_FLOW_SEQUENCE_STYLE
                                                                 : YAML_BLOCK_SEQUENCE_STYLE));
    json_array_foreach(list, i, item) done = done && put_value(emitter, item, depth + 1);
    return done && put(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static bool put_object(yaml_emitter_t *emitter, const json_t *object, unsigned depth)
{
    yaml_event_t event;
    const char *key;
    json_t *value;
    bool done = put(
        emitter, &event,
        yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        done = done && put_text(emitter, key) && put_value(emitter, value, depth + 1);
    }
    return done && put(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

/* Never deeper than YAML_DEPTH_MAX. */
static bool put_value(yaml_emitter_t *emitter, const json_t *value, unsigned depth)
{
    if (depth > YAML_DEPTH_MAX)
        return false;
    if (json_is_array(value))
        return put_list(emitter, value, depth);
    return json_is_object(value) ? put_object(emitter, value, depth)
                                 : put_scalar(emitter, value);
}

bool yaml_write(const json_t *value, FILE *out)
{
    yaml_emitter_t emitter;
    yaml_event_t event;
    if (yaml_emitter_initialize(&emitter) == 0)
        return false;
    yaml_emitter_set_output_file(&emitter, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, 96);
    bool done =
        put(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING)) &&
        put(&emitter, &event,
            yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1)) &&
        put_value(&emitter, value, 0) &&
        put(&emitter, &event, yaml_document_end_event_initialize(&event, 1)) &&
        put(&emitter, &event, yaml_stream_end_event_initialize(&event)) &&
        yaml_emitter_flush(&emitter) != 0;
    yaml_emitter_delete(&emitter);
    return done && fflush(out) == 0;
}
