/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_settings.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/config_key.h"

#define PATH_SIZE 256
#define DEPTH_MAX 8 /* of keys within keys; the schema has fewer */

static bool fail(char problem[SETTINGS_PROBLEM_SIZE], const char *path, const char *sentence)
{
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "%s: %s", path, sentence);
    return false;
}

/* ---- texts to values ---- */

static json_t *number_of(const char *text)
{
    size_t size = strlen(text);
    /* What is no number, or too big, stays a text: the check of the configuration will say so.
     */
    bool is_number = size > 0 && size <= 10 && strspn(text, "0123456789") == size &&
                     (text[0] != '0' || size == 1);
    return is_number ? json_integer(strtoll(text, NULL, 10)) : json_string(text);
}

static json_t *bool_of(const char *text)
{
    static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        for (int value = 0; value < 2; value++)
            if (strcmp(text, words[i][value]) == 0)
                return json_boolean(value);
    return json_string(text);
}

static json_t *scalar_of(enum config_kind kind, const char *text)
{
    switch (kind) {
    case CONFIG_KIND_NUMBER: return number_of(text);
    case CONFIG_KIND_BOOL: return bool_of(text);
    case CONFIG_KIND_NONE:
    case CONFIG_KIND_TEXT:
    case CONFIG_KIND_LIST:
    case CONFIG_KIND_ITEMS:
    case CONFIG_KIND_SECTION: break;
    }
    return json_string(text);
}

/* NULL when it is not UTF-8. */
static json_t *words_of(const char *text)
{
    json_t *list = json_array();
    for (struct span rest = span_trim(span_of(text)); rest.size > 0; rest = span_trim(rest)) {
        size_t size = 0;
        while (size < rest.size && !span_is_blank(rest.data[size]))
            size++;
        if (json_array_append_new(list, json_stringn(rest.data, size)) != 0) {
            json_decref(list);
            return NULL;
        }
        rest = span_from(rest, size);
    }
    return list;
}

/* ---- from elsewhere ---- */

/* A value that holds no others. A new reference; NULL when it has another form. */
static json_t *tidy_scalar(const json_t *value, enum config_kind kind)
{
    if (json_is_string(value))
        return scalar_of(kind, json_string_value(value));
    if (!json_is_number(value) && !json_is_boolean(value))
        return NULL;
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_t *scalar = text != NULL ? scalar_of(kind, text) : NULL;
    free(text);
    return scalar;
}

/* The values that hold others are done by calls of their own: as deep as the schema, and never
   deeper than DEPTH_MAX. */
static bool tidy_object(json_t *object, const char *list, const char *path, unsigned depth,
                        char problem[SETTINGS_PROBLEM_SIZE]);
static bool tidy_array(json_t *array, const char *list, const char *path, unsigned depth,
                       char problem[SETTINGS_PROBLEM_SIZE]);

/* A new reference: the value, or what it becomes. NULL with the problem said. */
static json_t *tidied(json_t *value, const char *list, const char *path, unsigned depth,
                      char problem[SETTINGS_PROBLEM_SIZE])
{
    enum config_kind kind = config_key_kind(list, span_of(path));
    bool is_array = kind == CONFIG_KIND_LIST || kind == CONFIG_KIND_ITEMS;
    if (kind == CONFIG_KIND_NONE || depth > DEPTH_MAX) {
        (void)fail(problem, path, "unknown key");
        return NULL;
    }
    if (is_array && json_is_array(value))
        return tidy_array(value, list, path, depth, problem) ? json_incref(value) : NULL;
    if (kind == CONFIG_KIND_SECTION && json_is_object(value))
        return tidy_object(value, list, path, depth, problem) ? json_incref(value) : NULL;
    json_t *scalar = is_array || kind == CONFIG_KIND_SECTION ? NULL : tidy_scalar(value, kind);
    if (scalar == NULL)
        (void)fail(problem, path, is_array ? "it is to be a list" : "it has another form");
    return scalar;
}

static bool tidy_array(json_t *array, const char *list, const char *path, unsigned depth,
                       char problem[SETTINGS_PROBLEM_SIZE])
{
    char inner[PATH_SIZE];
    for (size_t i = 0; i < json_array_size(array); i++) {
        (void)snprintf(inner, sizeof(inner), "%s[%zu]", path, i);
        json_t *value = tidied(json_array_get(array, i), list, inner, depth + 1, problem);
        if (value == NULL || json_array_set_new(array, i, value) != 0)
            return false;
    }
    return true;
}

static bool tidy_object(json_t *object, const char *list, const char *path, unsigned depth,
                        char problem[SETTINGS_PROBLEM_SIZE])
{
    char inner[PATH_SIZE];
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value)
    {
        (void)snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] != '\0' ? "." : "", key);
        /* A key that would read as a path is none. */
        if (strpbrk(key, ".[") != NULL)
            return fail(problem, inner, "unknown key");
        const char *text = json_string_value(value);
        if (json_is_null(value) || (text != NULL && text[0] == '\0')) {
            (void)json_object_del(object, key);
            continue;
        }
        value = tidied(value, list, inner, depth + 1, problem);
        if (value == NULL || json_object_set_new(object, key, value) != 0)
            return false;
    }
    return true;
}

bool settings_tidy(json_t *settings, const char *list, char problem[SETTINGS_PROBLEM_SIZE])
{
    assert(json_is_object(settings));
    return tidy_object(settings, list, "", 0, problem);
}

/* A new reference; NULL with the problem said. */
static json_t *value_of(const char *list, const char *path, const char *text,
                        char problem[SETTINGS_PROBLEM_SIZE])
{
    enum config_kind kind = config_key_kind(list, span_of(path));
    bool is_words = kind == CONFIG_KIND_LIST && text[strspn(text, " \t\r\n")] != '[';
    if (is_words || (kind != CONFIG_KIND_LIST && kind != CONFIG_KIND_ITEMS &&
                     kind != CONFIG_KIND_SECTION)) {
        json_t *plain = is_words ? words_of(text) : scalar_of(kind, text);
        if (plain == NULL)
            (void)fail(problem, path, "it is not UTF-8");
        return plain;
    }
    json_error_t error;
    json_t *given = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (given == NULL) {
        (void)snprintf(problem, SETTINGS_PROBLEM_SIZE,
                       "%s: give each key of it (as in trunks[0].uri=…) or JSON: %s", path,
                       error.text);
        return NULL;
    }
    json_t *value = tidied(given, list, path, 0, problem);
    json_decref(given);
    return value;
}

/* ---- places ---- */

/* Where a value is, or is to be, in the object or array that holds it. */
struct place {
    json_t *holder;
    char key[64]; /* of an object */
    size_t index; /* of an array */
};

static json_t *place_value(const struct place *place)
{
    return json_is_array(place->holder) ? json_array_get(place->holder, place->index)
                                        : json_object_get(place->holder, place->key);
}

static bool place_put(const struct place *place, json_t *value)
{
    if (!json_is_array(place->holder))
        return json_object_set_new(place->holder, place->key, value) == 0;
    return (place->index < json_array_size(place->holder)
                ? json_array_set_new(place->holder, place->index, value)
                : json_array_append_new(place->holder, value)) == 0;
}

static void place_clear(const struct place *place)
{
    if (json_is_array(place->holder))
        (void)json_array_remove(place->holder, place->index);
    else
        (void)json_object_del(place->holder, place->key);
}

/* Takes the next part off a path that the schema has. */
static void place_part(struct place *place, struct span *path)
{
    struct config_key_part part;
    bool is_good = config_key_next(path, &part);
    assert(is_good);
    if (part.is_place)
        place->index = part.place;
    else
        (void)snprintf(place->key, sizeof(place->key), "%.*s", (int)part.key.size,
                       part.key.data);
}

/* Goes down the path; what is missing on the way is made. */
static bool place_find(struct place *place, json_t *settings, const char *path,
                       char problem[SETTINGS_PROBLEM_SIZE])
{
    struct span rest = span_of(path);
    *place = (struct place){.holder = settings};
    place_part(place, &rest);
    while (rest.size > 0) {
        bool is_array = rest.data[0] == '[';
        json_t *inner = place_value(place);
        if (inner == NULL) {
            inner = is_array ? json_array() : json_object();
            if (!place_put(place, inner))
                return fail(problem, path, "out of memory");
        }
        if (is_array ? !json_is_array(inner) : !json_is_object(inner))
            return fail(problem, path, "what is there has another form");
        place->holder = inner;
        place_part(place, &rest);
        if (is_array && place->index > json_array_size(inner))
            return fail(problem, path, "the entry before it is missing");
    }
    return true;
}

/* ---- changes ---- */

/* A section of which nothing is left, or that was made on the way to what is not there. */
static void clear_empty(json_t *settings)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(settings, next, key, value)
    {
        if (json_is_object(value) && json_object_size(value) == 0)
            (void)json_object_del(settings, key);
    }
}

static bool list_change(const struct place *place, const char *path,
                        enum settings_change change, const json_t *items,
                        char problem[SETTINGS_PROBLEM_SIZE])
{
    json_t *list = place_value(place), *item;
    if (list == NULL) {
        list = json_array();
        if (!place_put(place, list))
            return fail(problem, path, "out of memory");
    }
    size_t i;
    json_array_foreach(items, i, item)
    {
        size_t at = 0;
        while (at < json_array_size(list) && !json_equal(json_array_get(list, at), item))
            at++;
        bool is_there = at < json_array_size(list);
        if (change == SETTINGS_REMOVE && !is_there)
            return fail(problem, path, "that is not in the list");
        if (change == SETTINGS_REMOVE)
            (void)json_array_remove(list, at);
        else if (!is_there && json_array_append(list, item) != 0)
            return fail(problem, path, "out of memory");
    }
    if (json_array_size(list) == 0)
        place_clear(place);
    return true;
}

bool settings_change(json_t *settings, const char *list, const char *path,
                     enum settings_change change, const char *text,
                     char problem[SETTINGS_PROBLEM_SIZE])
{
    struct place place;
    enum config_kind kind = config_key_kind(list, span_of(path));
    if (kind == CONFIG_KIND_NONE)
        return fail(problem, path, "unknown key");
    if (change != SETTINGS_PUT && kind != CONFIG_KIND_LIST)
        return fail(problem, path, "only lists are added to and removed from");
    if (!place_find(&place, settings, path, problem))
        return false;
    if (change == SETTINGS_PUT && text[0] == '\0') {
        place_clear(&place);
        clear_empty(settings);
        return true;
    }
    json_t *value = value_of(list, path, text, problem);
    if (value == NULL)
        return false;
    if (change == SETTINGS_PUT)
        return place_put(&place, value) || fail(problem, path, "out of memory");
    bool changed = list_change(&place, path, change, value, problem);
    json_decref(value);
    clear_empty(settings);
    return changed;
}

/* ---- back to texts ---- */

/* A list of texts without blanks in them is one text. */
static bool are_words(const json_t *list)
{
    size_t i;
    const json_t *item;
    bool words = json_array_size(list) > 0;
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        words = words && text != NULL && text[0] != '\0' && strpbrk(text, " \t\r\n") == NULL;
    }
    return words && json_string_value(json_array_get(list, 0))[0] != '[';
}

/* A value as text; NULL when it must be taken apart. Malloced. */
static char *text_of(const json_t *value)
{
    char *text = NULL;
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (!json_is_array(value) || !are_words(value))
        return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t i, size;
    const json_t *item;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    json_array_foreach(value, i, item)
        fprintf(out, "%s%s", i > 0 ? " " : "", json_string_value(item));
    (void)fclose(out);
    return text;
}

static bool has_objects(const json_t *value)
{
    return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

static bool put_texts(json_t *texts, const json_t *holder, const char *path, unsigned depth);

static bool put_text(json_t *texts, const json_t *value, const char *path, unsigned depth)
{
    bool is_inner = json_is_object(value) && json_object_size(value) > 0;
    if ((is_inner || has_objects(value)) && depth < DEPTH_MAX)
        return put_texts(texts, value, path, depth);
    char *text = text_of(value);
    bool done = text != NULL && json_object_set_new(texts, path, json_string(text)) == 0;
    free(text);
    return done;
}

/* The same depth as in tidy. */
static bool put_texts(json_t *texts, const json_t *holder, const char *path, unsigned depth)
{
    char inner[PATH_SIZE];
    size_t i;
    const char *key;
    json_t *value;
    bool done = true;
    json_array_foreach(holder, i, value)
    {
        (void)snprintf(inner, sizeof(inner), "%s[%zu]", path, i);
        done = done && put_text(texts, value, inner, depth + 1);
    }
    json_object_foreach((json_t *)(uintptr_t)holder, key, value)
    {
        (void)snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] != '\0' ? "." : "", key);
        done = done && put_text(texts, value, inner, depth + 1);
    }
    return done;
}

json_t *settings_texts(const json_t *settings)
{
    json_t *texts = json_object();
    if (texts == NULL || put_texts(texts, settings, "", 0))
        return texts;
    json_decref(texts);
    return NULL;
}
