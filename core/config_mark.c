/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a key stands in its file. libcyaml forgets the positions, so a mistake that only the
 * checks find is looked up by a second pass over libyaml's events; that costs nothing while
 * there is no mistake.
 */
#include "core/config_schema.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "core/tenant_file.h"

#define MARK_DEPTH_MAX 16

struct mark_level {
    bool is_sequence;
    bool has_key; /* a mapping: the next node is the value of `path`'s last part */
    unsigned index;
    size_t path_size; /* of the level itself */
};

struct mark_walk {
    const char *wanted;
    char path[CONFIG_KEY_SIZE];
    size_t path_size;
    struct mark_level level[MARK_DEPTH_MAX];
    unsigned depth;
    size_t best_size;
    unsigned best_line;
};

static void walk_append(struct mark_walk *walk, const char *format, const char *text,
                        unsigned n)
{
    size_t room = sizeof(walk->path) - walk->path_size;
    int size = text != NULL ? snprintf(walk->path + walk->path_size, room, "%s%s", format, text)
                            : snprintf(walk->path + walk->path_size, room, "[%u]", n);
    if (size > 0 && (size_t)size < room)
        walk->path_size += (size_t)size;
}

/* Remembers the line when the path is the wanted one or the longest start of it so far. */
static void walk_compare(struct mark_walk *walk, size_t line)
{
    if (walk->path_size <= walk->best_size ||
        strncmp(walk->path, walk->wanted, walk->path_size) != 0)
        return;
    char end = walk->wanted[walk->path_size];
    if (end != '\0' && end != '.' && end != '[')
        return;
    walk->best_size = walk->path_size;
    walk->best_line = (unsigned)line + 1;
}

/* A node begins. A mapping's key only names the node that follows. */
static void walk_node(struct mark_walk *walk, const yaml_event_t *event)
{
    if (walk->depth == 0)
        return;
    struct mark_level *level = &walk->level[walk->depth - 1];
    if (!level->is_sequence && level->has_key) {
        level->has_key = false;
        return;
    }
    walk->path_size = level->path_size;
    walk->path[walk->path_size] = '\0';
    if (level->is_sequence)
        walk_append(walk, "", NULL, level->index++);
    else if (event->type == YAML_SCALAR_EVENT)
        walk_append(walk, walk->path_size > 0 ? "." : "",
                    (const char *)event->data.scalar.value, 0);
    level->has_key = true;
    walk_compare(walk, event->start_mark.line);
}

/* False when the walk must end. */
static bool walk_event(struct mark_walk *walk, const yaml_event_t *event)
{
    bool is_mapping = event->type == YAML_MAPPING_START_EVENT;
    bool is_sequence = event->type == YAML_SEQUENCE_START_EVENT;
    if (event->type == YAML_STREAM_END_EVENT)
        return false;
    if (event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT) {
        assert(walk->depth > 0);
        walk->depth--;
    }
    bool is_node = is_mapping || is_sequence || event->type == YAML_SCALAR_EVENT ||
                   event->type == YAML_ALIAS_EVENT;
    if (is_node)
        walk_node(walk, event);
    if (!is_mapping && !is_sequence)
        return true;
    /* Also where a mapping or sequence is itself a key: each start has its end. */
    if (walk->depth == MARK_DEPTH_MAX)
        return false;
    walk->level[walk->depth++] =
        (struct mark_level){.is_sequence = is_sequence, .path_size = walk->path_size};
    return true;
}

unsigned config_mark_line(struct span text, const char *key)
{
    struct mark_walk walk = {.wanted = key, .best_line = 1};
    yaml_parser_t parser;
    yaml_event_t event;
    if (yaml_parser_initialize(&parser) == 0)
        return 1;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.size);
    /* Bounded by the text: libyaml ends every input with STREAM-END or an error. */
    for (bool more = true; more && yaml_parser_parse(&parser, &event) != 0;) {
        more = walk_event(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return walk.best_line;
}

/* A mistake in the characters themselves has an offset instead of a mark. */
static unsigned problem_line(const yaml_parser_t *parser, struct span text)
{
    if (parser->error != YAML_READER_ERROR)
        return (unsigned)parser->problem_mark.line + 1;
    unsigned line = 1;
    for (size_t i = 0; i < parser->problem_offset && i < text.size; i++)
        line += text.data[i] == '\n';
    return line;
}

unsigned config_mark_syntax(struct span text, char *problem, size_t problem_size)
{
    yaml_parser_t parser;
    yaml_event_t event;
    unsigned line = 0;
    if (yaml_parser_initialize(&parser) == 0)
        return 0;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.size);
    for (bool more = true; more;) {
        if (yaml_parser_parse(&parser, &event) == 0) {
            line = problem_line(&parser, text);
            (void)snprintf(problem, problem_size, "%s",
                           parser.problem != NULL ? parser.problem : "unreadable YAML");
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return line;
}

const char *config_mark_at(const struct config_file *file, unsigned line, const char *key,
                           char *place, size_t place_size)
{
    struct span text = span_make(file->text, file->size);
    char row[CONFIG_KEY_SIZE];
    const char *rest = key;
    if (!file->is_tenants_file)
        (void)snprintf(place, place_size, "%s:%u", file->path, line);
    else if (tenant_file_place(text, line, key, row, sizeof(row), &rest))
        (void)snprintf(place, place_size, "%s: %s", file->path, row);
    else
        (void)snprintf(place, place_size, "%s", file->path);
    return rest;
}

const char *config_mark_place(const struct config_file *file, const char *key, char *place,
                              size_t place_size)
{
    unsigned line = config_mark_line(span_make(file->text, file->size), key);
    return config_mark_at(file, line, key, place, place_size);
}

/* "file:line: key: sentence", or with a row of the tenants file for the line. */
static void mark_write(char *out, size_t size, const struct config_file *file, const char *key,
                       const char *sentence)
{
    char place[CONFIG_PLACE_SIZE];
    const char *rest = config_mark_place(file, key, place, sizeof(place));
    (void)snprintf(out, size, "%s: %s%s%s", place, rest, rest[0] != '\0' ? ": " : "", sentence);
}

void config_mark_warn(struct config_load *load, const struct config_file *file, const char *key,
                      const char *sentence)
{
    struct config *config = load->config;
    char text[600];
    if (config->warnings == NULL)
        config->warnings =
            config_check_alloc(load, CONFIG_WARNING_MAX, sizeof(*config->warnings));
    if (config->warnings == NULL || config->warning_count == CONFIG_WARNING_MAX) {
        config->warnings_left_out++;
        return;
    }
    mark_write(text, sizeof(text), file, key, sentence);
    config->warnings[config->warning_count] = config_check_copy(load, text);
    config->warning_count += config->warnings[config->warning_count] != NULL;
}

bool config_mark_fail(struct config_load *load, const struct config_file *file, const char *key,
                      const char *format, ...)
{
    assert(load->error_size > 0);
    char sentence[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    mark_write(load->error, load->error_size, file, key, sentence);
    return false;
}
