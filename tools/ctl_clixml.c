/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CLIXML, the form of Export-Clixml. The outermost <Obj> are the objects; their properties
 * stand in <Props> (those of the type) and <MS> (those that were added) with their names in N.
 */
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "proto/utf8.h"
#include "tools/ctl_powershell.h"

/* Of elements, and of values, which references may nest as well. Export-Clixml goes two objects
   deep unless it is told otherwise. */
#define DEPTH_MAX 64

/* An element that is open, and what has come of its value. */
struct element {
    char *name;      /* N: the property that it is; NULL */
    char *reference; /* RefId, by which <Ref> names it again; NULL */
    bool is_object, is_list, is_text;
    json_t *members, *list, *scalar;
    char *said;      /* <ToString> */
    unsigned height; /* values in its value, one within the other */
};

struct clixml {
    XML_Parser parser;
    struct element open[DEPTH_MAX];
    unsigned depth;
    json_t *known;   /* RefId → value */
    json_t *heights; /* RefId → its height */
    json_t *roots;
    char *text; /* of the element that is open */
    size_t text_size;
    const char *problem;
};

static void stop(struct clixml *clixml, const char *problem)
{
    if (clixml->problem == NULL)
        clixml->problem = problem;
    (void)XML_StopParser(clixml->parser, XML_FALSE);
}

static const char *attribute(const char **attributes, const char *name)
{
    for (size_t i = 0; attributes[i] != NULL; i += 2)
        if (strcmp(attributes[i], name) == 0)
            return attributes[i + 1];
    return NULL;
}

static char *copied(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static void on_start(void *context, const char *name, const char **attributes)
{
    static const char *const lists[] = {"LST", "IE", "QUE", "STK", NULL};
    static const char *const groups[] = {"Objs", "Props", "MS",  "DCT", "En",    "TN",
                                         "LST",  "IE",    "QUE", "STK", "TNRef", NULL};
    struct clixml *clixml = context;
    if (clixml->problem != NULL)
        return;
    if (clixml->depth == 0 && strcmp(name, "Objs") != 0) {
        stop(clixml, "it is XML, but not of Export-Clixml: its root is not <Objs>");
        return;
    }
    if (clixml->depth == DEPTH_MAX) {
        stop(clixml, "it is too deep");
        return;
    }
    clixml->text_size = 0;
    struct element *element = &clixml->open[clixml->depth++];
    *element = (struct element){.name = copied(attribute(attributes, "N")),
                                .reference = copied(attribute(attributes, "RefId")),
                                .is_object = strcmp(name, "Obj") == 0,
                                .is_list = is_one_of(name, lists),
                                .is_text = !is_one_of(name, groups)};
    if (element->is_list)
        element->list = json_array();
}

static void on_text(void *context, const char *text, int size)
{
    struct clixml *clixml = context;
    if (clixml->problem != NULL || clixml->depth == 0 ||
        !clixml->open[clixml->depth - 1].is_text || clixml->open[clixml->depth - 1].is_object)
        return;
    char *wider = realloc(clixml->text, clixml->text_size + (size_t)size + 1);
    if (wider == NULL) {
        stop(clixml, "out of memory");
        return;
    }
    memcpy(wider + clixml->text_size, text, (size_t)size);
    clixml->text = wider;
    clixml->text_size += (size_t)size;
}

/* ---- values ---- */

/* _xHHHH_, the UTF-16 unit that a text may not have in XML (MS-PSRP §2.2.5.3.2); false: none
   is here. */
static bool unit_at(struct span text, unsigned *unit)
{
    char digits[5];
    if (text.size < 7 || text.data[0] != '_' || text.data[1] != 'x' || text.data[6] != '_')
        return false;
    memcpy(digits, text.data + 2, 4);
    digits[4] = '\0';
    *unit = (unsigned)strtoul(digits, NULL, 16);
    return strspn(digits, "0123456789abcdefABCDEF") == 4;
}

/* In place, as what is written is never longer. Half a pair of surrogates and NUL stay as they
   are written. */
static json_t *string_of(char *text, size_t size)
{
    size_t at = 0, used = 0;
    while (at < size) {
        unsigned unit, low;
        struct span rest = span_make(text + at, size - at);
        if (!unit_at(rest, &unit) || unit == 0 || (unit >= 0xdc00 && unit < 0xe000)) {
            text[used++] = text[at++];
        } else if (unit < 0xd800 || unit >= 0xe000) {
            used += utf8_encode(unit, text + used);
            at += 7;
        } else if (unit_at(span_from(rest, 7), &low) && low >= 0xdc00 && low < 0xe000) {
            used += utf8_encode(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                                text + used);
            at += 14;
        } else {
            text[used++] = text[at++];
        }
    }
    return used > 0 ? json_stringn(text, used) : json_string("");
}

/* An element without elements in it, by the name of its type (MS-PSRP §2.2.5.1). */
static json_t *scalar_of(struct clixml *clixml, const char *name, const struct element *element)
{
    if (strcmp(name, "Nil") == 0)
        return json_null();
    if (strcmp(name, "Ref") == 0) {
        json_t *known = element->reference != NULL
                            ? json_object_get(clixml->known, element->reference)
                            : NULL;
        return known != NULL ? json_incref(known) : json_null();
    }
    if (strcmp(name, "SS") == 0) /* only the account that exported it can read it */
        return json_string("(encrypted)");
    bool is_true = clixml->text_size == 4 && memcmp(clixml->text, "true", 4) == 0;
    if (strcmp(name, "B") == 0)
        return json_boolean(is_true);
    return string_of(clixml->text, clixml->text_size);
}

/* What an <Obj> stands for: a list, its properties, what it calls itself (as the values of an
   enum do), or the value that it wraps. Takes what the element has. */
static json_t *object_of(struct element *element)
{
    json_t *said = element->said != NULL ? json_string(element->said) : NULL, *value;
    if (element->list != NULL) {
        value = json_incref(element->list);
    } else if (element->members != NULL) {
        value = json_incref(element->members);
        const json_t *itself = said != NULL ? said : element->scalar;
        if (itself != NULL)
            (void)json_object_set(value, "", (json_t *)(uintptr_t)itself);
    } else if (said != NULL) {
        return said;
    } else {
        value = element->scalar != NULL ? json_incref(element->scalar) : json_null();
    }
    json_decref(said);
    return value;
}

static bool put_member(struct element *holder, const char *name, json_t *value)
{
    if (holder->members == NULL)
        holder->members = json_object();
    return json_object_set_new(holder->members, name, value) == 0;
}

/* The element that a value belongs to: groups stand for the object around them. */
static struct element *holder_of(struct clixml *clixml)
{
    unsigned i = clixml->depth;
    while (i > 0 && !clixml->open[i - 1].is_object && !clixml->open[i - 1].is_list)
        i--;
    return i > 0 ? &clixml->open[i - 1] : NULL;
}

/* The outermost; of a list that was exported as one object, its entries. */
static bool put_root(struct clixml *clixml, json_t *value)
{
    if (!json_is_array(value))
        return json_array_append_new(clixml->roots, value) == 0;
    bool done = json_array_extend(clixml->roots, value) == 0;
    json_decref(value);
    return done;
}

static void raise_to(struct element *holder, unsigned height)
{
    if (holder->height < height)
        holder->height = height;
}

/* Takes the value. */
static bool put_value(struct clixml *clixml, const char *name, json_t *value, unsigned height)
{
    struct element *holder = holder_of(clixml);
    if (holder == NULL)
        return put_root(clixml, value);
    raise_to(holder, height + 1);
    if (holder->is_list)
        return json_array_append_new(holder->list, value) == 0;
    if (name != NULL)
        return put_member(holder, name, value);
    json_decref(holder->scalar);
    holder->scalar = value;
    return true;
}

static void release(struct element *element)
{
    free(element->name);
    free(element->reference);
    free(element->said);
    json_decref(element->members);
    json_decref(element->list);
    json_decref(element->scalar);
    *element = (struct element){0};
}

static unsigned height_of(const struct clixml *clixml, const struct element *element)
{
    if (element->is_object || element->reference == NULL)
        return element->height;
    return (unsigned)json_integer_value(json_object_get(clixml->heights, element->reference));
}

/* What <Ref> names again. */
static void remember(struct clixml *clixml, const struct element *element, json_t *value)
{
    if (!element->is_object || element->reference == NULL)
        return;
    (void)json_object_set(clixml->known, element->reference, value);
    (void)json_object_set_new(clixml->heights, element->reference,
                              json_integer(element->height));
}

static bool is_type_name(const char *name)
{
    return strcmp(name, "T") == 0 || strcmp(name, "TN") == 0 || strcmp(name, "TNRef") == 0;
}

static void on_end(void *context, const char *name)
{
    struct clixml *clixml = context;
    bool done = true;
    if (clixml->problem != NULL || clixml->depth == 0)
        return;
    struct element *element = &clixml->open[--clixml->depth];
    struct element *holder = holder_of(clixml);
    json_t *value = NULL;
    if (element->is_list && holder != NULL) {
        json_decref(holder->list);
        holder->list = json_incref(element->list);
        raise_to(holder, element->height);
    } else if (strcmp(name, "ToString") == 0 && holder != NULL) {
        free(holder->said);
        value = string_of(clixml->text, clixml->text_size);
        holder->said = copied(json_string_value(value));
        json_decref(value);
    } else if (element->is_object || (element->is_text && !is_type_name(name))) {
        value = element->is_object ? object_of(element) : scalar_of(clixml, name, element);
        unsigned height = height_of(clixml, element);
        remember(clixml, element, value);
        done = value != NULL && put_value(clixml, element->name, value, height);
        if (height == DEPTH_MAX)
            stop(clixml, "it is too deep");
    }
    release(element);
    clixml->text_size = 0;
    if (!done)
        stop(clixml, "out of memory");
}

/* No export has one, and there is no good in it. */
static void on_doctype(void *context, const char *name, const char *system, const char *public,
                       int has_subset)
{
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    stop(context, "it has a document type");
}

json_t *clixml_read(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE])
{
    struct clixml clixml = {
        .parser = XML_ParserCreate("UTF-8"),
        .known = json_object(),
        .heights = json_object(),
        .roots = json_array()};
    bool done = false;
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "out of memory");
    if (clixml.parser != NULL && size <= INT32_MAX) {
        XML_SetUserData(clixml.parser, &clixml);
        XML_SetElementHandler(clixml.parser, on_start, on_end);
        XML_SetCharacterDataHandler(clixml.parser, on_text);
        XML_SetStartDoctypeDeclHandler(clixml.parser, on_doctype);
        done = XML_Parse(clixml.parser, text, (int)size, 1) == XML_STATUS_OK;
        unsigned long line = XML_GetCurrentLineNumber(clixml.parser);
        if (!done)
            (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "line %lu: %s", line,
                           clixml.problem != NULL
                               ? clixml.problem
                               : XML_ErrorString(XML_GetErrorCode(clixml.parser)));
    }
    while (clixml.depth > 0)
        release(&clixml.open[--clixml.depth]);
    if (clixml.parser != NULL)
        XML_ParserFree(clixml.parser);
    free(clixml.text);
    json_decref(clixml.known);
    json_decref(clixml.heights);
    if (!done) {
        json_decref(clixml.roots);
        return NULL;
    }
    return clixml.roots;
}
