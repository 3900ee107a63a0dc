/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/document.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/html.h"

_Static_assert(DOCUMENT_MAX <= HTML_COLORS, "each document of a page has a colour of its own");

/* What a report of each kind cannot be without; the first one tells it from the others. */
static const struct {
    enum document_kind kind;
    const char *paths[4];
} document_shapes[] = {
    {DOCUMENT_FIGURES, {"targets", "runs", "machine", NULL}},
    {DOCUMENT_COMPARE, {"chains", "runs", "machine", NULL}},
    {DOCUMENT_FLOOR, {"floor_us", NULL}},
    {DOCUMENT_IDLE, {"session_kib", "sessions", NULL}},
    {DOCUMENT_LOAD, {"relay", "relay.cpu_us", "generator.cpu_us", "seconds"}},
};

const json_t *document_at(const json_t *json, const char *path)
{
    char key[64];
    while (json != NULL && *path != '\0') {
        size_t size = strcspn(path, ".");
        if (size >= sizeof(key))
            return NULL;
        memcpy(key, path, size);
        key[size] = '\0';
        json = json_object_get(json, key);
        path += size + (path[size] == '.');
    }
    return json;
}

double document_number(const json_t *json, const char *path)
{
    const json_t *value = document_at(json, path);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *document_text(const json_t *json, const char *path)
{
    const char *text = json_string_value(document_at(json, path));
    return text != NULL ? text : "";
}

static bool document_fail(const struct document *document, const char *what)
{
    fprintf(stderr, "passerelle-bench: %s: %s\n", document->path, what);
    return false;
}

/* Finds the kind by what is there; then all of that kind must be. */
static bool document_check(struct document *document)
{
    char what[160];
    if (!json_is_object(document->root))
        return document_fail(document, "is no report: there is no JSON object in it");
    for (size_t i = 0; i < sizeof(document_shapes) / sizeof(document_shapes[0]); i++) {
        const char *const *paths = document_shapes[i].paths;
        if (document_at(document->root, paths[0]) == NULL)
            continue;
        document->kind = document_shapes[i].kind;
        for (size_t j = 0; j < 4 && paths[j] != NULL; j++) {
            if (document_at(document->root, paths[j]) != NULL)
                continue;
            snprintf(what, sizeof(what), "is no whole report: \"%s\" is missing", paths[j]);
            return document_fail(document, what);
        }
        return true;
    }
    return document_fail(document, "is no report of passerelle-bench --json, bench/figures "
                                   "--json or bench/compare --json: it has neither \"relay\" "
                                   "nor \"targets\", \"chains\", \"floor_us\" or "
                                   "\"session_kib\"");
}

static void document_set_name(struct document *document, bool folders)
{
    const char *slash = strrchr(document->path, '/');
    const char *name = slash != NULL && !folders ? slash + 1 : document->path;
    size_t size = strlen(name);
    if (size > 5 && strcmp(name + size - 5, ".json") == 0)
        size -= 5;
    snprintf(document->name, sizeof(document->name), "%.*s", (int)size, name);
}

bool document_open(struct document *document, const char *path)
{
    char what[JSON_ERROR_TEXT_LENGTH + 64];
    json_error_t error;
    *document = (struct document){.path = path};
    document_set_name(document, false);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(what, sizeof(what), "cannot read it: %s", strerror(errno));
        return document_fail(document, what);
    }
    errno = 0;
    document->root = json_loadf(file, 0, &error);
    bool unread = ferror(file) != 0;
    int cause = errno;
    fclose(file);
    if (unread) {
        snprintf(what, sizeof(what), "cannot read it: %s", strerror(cause));
    } else if (document->root == NULL) {
        snprintf(what, sizeof(what), "line %d, column %d: %s", error.line, error.column,
                 error.text);
    } else if (document_check(document)) {
        return true;
    } else {
        document_close(document);
        return false;
    }
    document_close(document);
    return document_fail(document, what);
}

bool document_open_all(struct document *documents, char **paths, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        good = document_open(&documents[i], paths[i]);
        for (size_t j = 0; j < i && !good; j++)
            document_close(&documents[j]);
    }
    for (size_t i = 1; i < count && good; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(documents[i].name, documents[j].name) != 0)
                continue;
            document_set_name(&documents[i], true);
            document_set_name(&documents[j], true);
        }
    }
    return good;
}

void document_close(struct document *document)
{
    json_decref(document->root);
    document->root = NULL;
}
