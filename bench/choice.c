/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/choice.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/random.h"

/* ---- options ---- */

bool choice_parse_spread(struct choice_options *options, const char *text)
{
    options->exponent = 1;
    if (strcmp(text, "even") == 0) {
        options->spread = CHOICE_EVEN;
        return true;
    }
    if (strcmp(text, "uniform") == 0) {
        options->spread = CHOICE_UNIFORM;
        return true;
    }
    if (strncmp(text, "zipf", 4) != 0)
        return false;
    options->spread = CHOICE_ZIPF;
    if (text[4] == '\0')
        return true;
    char *end = NULL;
    if (text[4] == ':')
        options->exponent = strtod(text + 5, &end);
    return end != NULL && end != text + 5 && *end == '\0' && options->exponent > 0 &&
           options->exponent <= 10;
}

/* A number from 1 to `high` at *text, which moves behind it; 0: none. */
static unsigned choice_parse_number(const char **text, unsigned high)
{
    char *end;
    if (**text < '1' || **text > '9')
        return 0;
    unsigned long value = strtoul(*text, &end, 10);
    *text = end;
    return value <= high ? (unsigned)value : 0;
}

static bool choice_parse_part(struct choice_part *part, const char **text)
{
    part->low = part->high = choice_parse_number(text, CHOICE_SIZE_MAX);
    part->weight = 1;
    if (**text == '-') {
        (*text)++;
        part->high = choice_parse_number(text, CHOICE_SIZE_MAX);
    }
    if (**text == '*') {
        (*text)++;
        part->weight = choice_parse_number(text, 1000000);
    }
    return part->low > 0 && part->high >= part->low && part->weight > 0;
}

bool choice_parse_sizes(struct choice_options *options, const char *text)
{
    options->part_count = options->weight_sum = 0;
    while (options->part_count < CHOICE_PARTS_MAX) {
        struct choice_part *part = &options->parts[options->part_count++];
        if (!choice_parse_part(part, &text))
            return false;
        options->weight_sum += part->weight;
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

unsigned choice_mean_size(const struct choice_options *options)
{
    double sum = 0;
    for (unsigned i = 0; i < options->part_count; i++) {
        const struct choice_part *part = &options->parts[i];
        sum += (part->low + part->high) / 2.0 * part->weight / options->weight_sum;
    }
    return (unsigned)(sum + 0.5);
}

unsigned choice_most_size(const struct choice_options *options)
{
    unsigned most = 0;
    for (unsigned i = 0; i < options->part_count; i++)
        most = options->parts[i].high > most ? options->parts[i].high : most;
    return most;
}

/* ---- drawing ---- */

/* Of seed, number and what is drawn. */
static uint64_t choice_hash(const struct choice *choice, uint32_t number, uint32_t what)
{
    return random_mix(choice->options.seed + RANDOM_STEP * (number + 1ull) +
                      0xd1342543de82ef95ull * what);
}

int choice_open(struct choice *choice, const struct choice_options *options, unsigned users)
{
    assert(users > 0 && options->part_count > 0);
    *choice = (struct choice){.options = *options, .users = users};
    if (options->spread != CHOICE_ZIPF)
        return 0;
    choice->sums = malloc(users * sizeof(*choice->sums));
    if (choice->sums == NULL)
        return -ENOMEM;
    double sum = 0;
    for (unsigned i = 0; i < users; i++)
        choice->sums[i] = sum += pow(i + 1, -options->exponent);
    return 0;
}

static unsigned choice_zipf(const struct choice *choice, uint64_t hash)
{
    double at = (double)(hash >> 11) / 9007199254740992.0 * choice->sums[choice->users - 1];
    unsigned low = 0, high = choice->users - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (choice->sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

unsigned choice_user(const struct choice *choice, uint32_t number)
{
    switch (choice->options.spread) {
    case CHOICE_EVEN: break;
    case CHOICE_UNIFORM: return (unsigned)(choice_hash(choice, number, 1) % choice->users);
    case CHOICE_ZIPF: return choice_zipf(choice, choice_hash(choice, number, 1));
    }
    return number % choice->users;
}

unsigned choice_size(const struct choice *choice, uint32_t number)
{
    const struct choice_options *options = &choice->options;
    unsigned at = (unsigned)(choice_hash(choice, number, 2) % options->weight_sum), i = 0;
    while (at >= options->parts[i].weight)
        at -= options->parts[i++].weight;
    const struct choice_part *part = &options->parts[i];
    return part->low +
           (unsigned)(choice_hash(choice, number, 3) % (part->high - part->low + 1));
}

void choice_close(struct choice *choice)
{
    free(choice->sums);
    choice->sums = NULL;
}
