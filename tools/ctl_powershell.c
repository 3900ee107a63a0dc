/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_powershell.h"

#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "proto/utf8.h"
#include "tools/ctl_csv.h"

#define COLUMN_MAX 512 /* Get-CsUser has less than a hundred */

static json_t *fail(char problem[SETTINGS_PROBLEM_SIZE], const char *sentence)
{
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "%s", sentence);
    return NULL;
}

/* ---- encodings ---- */

/* Behind the byte order mark; NULL: it is no UTF-16. */
static char *of_utf16(struct span text, bool is_big, size_t *size)
{
    size_t count = text.size / 2;
    uint16_t *units = malloc(count * sizeof(*units) + 1);
    uint8_t *out = NULL;
    for (size_t i = 0; i < count && units != NULL; i++) {
        const unsigned char *at = (const unsigned char *)text.data + 2 * i;
        units[i] = (uint16_t)(is_big ? at[0] << 8 | at[1] : at[1] << 8 | at[0]);
    }
    if (units != NULL && text.size % 2 == 0)
        out = u16_to_u8(units, count, NULL, size);
    free(units);
    return (char *)out;
}

/* As UTF-8 without a mark, malloced; NULL: it is neither UTF-8 nor UTF-16. */
static char *decoded(struct span text, size_t *size)
{
    static const struct span little = {"\xff\xfe", 2}, big = {"\xfe\xff", 2},
                             mark = {"\xef\xbb\xbf", 3};
    if (span_starts(text, little) || span_starts(text, big))
        return of_utf16(span_from(text, 2), span_starts(text, big), size);
    if (span_starts(text, mark))
        text = span_from(text, mark.size);
    char *copy = utf8_valid(text) ? malloc(text.size + 1) : NULL;
    if (copy != NULL && text.size > 0)
        memcpy(copy, text.data, text.size);
    *size = text.size;
    return copy;
}

/* ---- JSON ---- */

/* One object, or a list of them; Windows PowerShell may write a list as an object with "value"
   and "Count". */
static json_t *read_json(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE])
{
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "line %d: %s", error.line, error.text);
        return NULL;
    }
    json_t *value = json_object_get(root, "value"), *list;
    if (json_is_array(root))
        return root;
    if (json_is_array(value) && json_object_get(root, "Count") != NULL)
        list = json_incref(value);
    else
        list = json_pack("[O]", root);
    json_decref(root);
    return list;
}

/* ---- CSV ---- */

/* "#TYPE Microsoft.Rtc…", which Windows PowerShell writes in front. */
static struct span behind_type(struct span text)
{
    return span_starts(text, SPAN("#TYPE ")) ? span_from(text, span_find(text, '\n') + 1)
                                             : text;
}

/* What stands behind the first column's name. */
static char separator_of(struct span text)
{
    struct span line = span_to(text, span_find(text, '\n'));
    bool in_quotes = false;
    for (size_t i = 0; i < line.size; i++) {
        in_quotes ^= line.data[i] == '"';
        if (!in_quotes && strchr(",;\t", line.data[i]) != NULL && line.data[i] != '\0')
            return line.data[i];
    }
    return ',';
}

struct table {
    struct csv csv;
    char *columns[COLUMN_MAX];
    size_t column_count;
    json_t *rows;
};

/* Reads a row: the first one names the columns. False at the end, and when it is bad. */
static bool read_row(struct table *table)
{
    bool is_first = table->column_count == 0;
    json_t *row = json_object();
    enum csv_result result = CSV_FIELD;
    size_t i = 0;
    for (; result == CSV_FIELD; i++) {
        char *field;
        result = csv_next(&table->csv, &field);
        if (result != CSV_FIELD && result != CSV_LAST)
            break;
        if (i >= (is_first ? COLUMN_MAX : table->column_count)) {
            table->csv.problem = "the row has more fields than the first line";
            result = CSV_BAD;
        } else if (is_first) {
            table->columns[table->column_count++] = field;
        } else if (json_object_set_new(row, table->columns[i], json_string(field)) != 0) {
            result = CSV_BAD;
        }
    }
    if (!is_first && result == CSV_LAST && i < table->column_count) {
        table->csv.problem = "the row has fewer fields than the first line";
        result = CSV_BAD;
    }
    if (!is_first && result == CSV_LAST)
        (void)json_array_append(table->rows, row);
    json_decref(row);
    return result == CSV_LAST;
}

static json_t *read_csv(char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE])
{
    struct table table = {.rows = json_array()};
    struct span rest = behind_type(span_make(text, size));
    csv_init(&table.csv, text + (size - rest.size), rest.size);
    table.csv.separator = separator_of(rest);
    table.csv.line += rest.size < size;
    while (csv_more(&table.csv) && read_row(&table))
        ;
    if (table.csv.problem == NULL && table.column_count > 0)
        return table.rows;
    json_decref(table.rows);
    if (table.csv.problem == NULL)
        return fail(problem, "it is empty");
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "line %u: %s", table.csv.at_line,
                   table.csv.problem);
    return NULL;
}

/* ---- all of them ---- */

static json_t *checked(json_t *objects, char problem[SETTINGS_PROBLEM_SIZE])
{
    size_t i;
    const json_t *object;
    if (objects == NULL)
        return NULL;
    json_array_foreach(objects, i, object)
    {
        if (json_is_object(object))
            continue;
        json_decref(objects);
        return fail(problem, "there is something in it that is no object");
    }
    return objects;
}

json_t *powershell_read(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE])
{
    size_t used = 0;
    char *utf8 = decoded(span_make(text, size), &used);
    if (utf8 == NULL)
        return fail(problem, "it is neither UTF-8 nor UTF-16 with a byte order mark: export it "
                             "with -Encoding UTF8");
    struct span begin = span_trim(span_make(utf8, used));
    json_t *objects;
    if (begin.size == 0)
        objects = fail(problem, "it is empty");
    else if (begin.data[0] == '<')
        objects = clixml_read(utf8, used, problem);
    else if (begin.data[0] == '[' || begin.data[0] == '{')
        objects = read_json(utf8, used, problem);
    else
        objects = read_csv(utf8, used, problem);
    free(utf8);
    return checked(objects, problem);
}

const char *powershell_text(const json_t *value, char memory[32])
{
    /* What wraps one value, at most a few times. */
    for (int i = 0; i < 4 && (json_is_object(value) || json_is_array(value)); i++) {
        const json_t *inner = json_is_array(value) && json_array_size(value) == 1
                                  ? json_array_get(value, 0)
                                  : json_object_get(value, "");
        value = inner != NULL ? inner : json_object_get(value, "value");
    }
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_boolean(value))
        return json_is_true(value) ? "True" : "False";
    if (!json_is_integer(value))
        return NULL;
    (void)snprintf(memory, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return memory;
}

/* "System.String[]", "…List`1[System.String]", "Microsoft.Rtc.….XdsListOfStrings". */
static bool is_type_name(const char *text)
{
    return strchr(text, '`') != NULL || strstr(text, "[]") != NULL ||
           strncmp(text, "System.", 7) == 0 || strncmp(text, "Microsoft.", 10) == 0;
}

static bool add_words(json_t *list, const char *text)
{
    static const char separators[] = " \t\r\n,;{}";
    if (is_type_name(text))
        return false;
    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t size = strcspn(text, separators);
        if (json_array_append_new(list, json_stringn(text, size)) != 0)
            return false;
        text += size;
    }
    return true;
}

json_t *powershell_list(const json_t *value)
{
    char memory[32];
    json_t *list = json_array();
    const json_t *wrapped = json_object_get(value, "value");
    value = json_is_array(wrapped) ? wrapped : value;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    bool done = true;
    for (size_t i = 0; i < count && done && !json_is_null(value); i++) {
        const char *text =
            powershell_text(json_is_array(value) ? json_array_get(value, i) : value, memory);
        done = text != NULL && add_words(list, text);
    }
    if (done)
        return list;
    json_decref(list);
    return NULL;
}
