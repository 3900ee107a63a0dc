/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "tools/ctl_answer.h"
#include "tools/ctl_users.h"

enum print_form { PRINT_TABLE, PRINT_CSV, PRINT_JSON };

/* How users are printed, and where. */
struct printer {
    FILE *out;
    enum print_form form;
    const char *part; /* of the addresses that are wanted */
    size_t count;     /* that were printed */
};

static void print_begin(const struct printer *printer)
{
    switch (printer->form) {
    case PRINT_TABLE: fputs("user\taccess\n", printer->out); break;
    case PRINT_CSV: fputs("tenant,user,access\r\n", printer->out); break; /* RFC 4180 §2.1 */
    case PRINT_JSON: break;
    }
}

static void print_one(struct printer *printer, const char *tenant, const char *address,
                      const char *access)
{
    json_t *entry;
    switch (printer->form) {
    case PRINT_TABLE: fprintf(printer->out, "%s\t%s\n", address, access); break;
    case PRINT_CSV:
        csv_put(printer->out, span_of(tenant));
        (void)fputc(',', printer->out);
        csv_put(printer->out, span_of(address));
        fprintf(printer->out, ",%s\r\n", access);
        break;
    case PRINT_JSON:
        fputs(printer->count > 0 ? ",\n" : "[\n", printer->out);
        entry =
            json_pack("{s:s, s:s, s:s}", "tenant", tenant, "user", address, "access", access);
        (void)json_dumpf(entry, printer->out, 0);
        json_decref(entry);
        break;
    }
    printer->count++;
}

static void print_users(struct printer *printer, const struct users *users)
{
    const char *address;
    json_t *access;
    json_object_foreach(users->access, address, access)
    {
        if (strstr(address, printer->part) != NULL)
            print_one(printer, users->tenant, address, json_string_value(access));
    }
    if (printer->form == PRINT_TABLE)
        fprintf(printer->out, "(others)\t%s\n", users_default(users));
}

static void print_end(const struct printer *printer)
{
    if (printer->form == PRINT_JSON)
        fputs(printer->count > 0 ? "\n]\n" : "[]\n", printer->out);
}

static bool print_tenant(struct ctl_job *job, struct printer *printer, const char *tenant)
{
    struct users users;
    bool done = users_open(job, &users, tenant);
    if (done)
        print_users(printer, &users);
    users_close(&users);
    return done;
}

static bool print_all(struct ctl_job *job, struct printer *printer)
{
    struct users users;
    json_t *row;
    bool done = true;
    int got = 0;
    while (done && (got = ctl_next_row(job, "", &row)) == 1) {
        const char *name =
            json_string_value(json_object_get(row, tenant_table_key(job->table)));
        done = users_read(job, &users, name, row);
        if (done)
            print_users(printer, &users);
        users_close(&users);
        json_decref(row);
    }
    return done && got == 0;
}

bool ctl_users_list(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    char *text = NULL;
    size_t size;
    if (options->count < 1 || options->count > 2)
        return ctl_misuse(job, "name the tenant, and part of the users' addresses or nothing");
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return ctl_fail_file(job, -ENOMEM);
    struct printer printer = {.out = out,
                              .form = options->as_json ? PRINT_JSON : PRINT_TABLE,
                              .part = options->count > 1 ? options->words[1] : ""};
    print_begin(&printer);
    bool done = print_tenant(job, &printer, options->words[0]);
    print_end(&printer);
    (void)fclose(out);
    if (done && options->as_json)
        fputs(text, stdout);
    else if (done)
        ctl_table(text, stdout);
    free(text);
    return done;
}

bool ctl_users_show(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    struct users users;
    struct users_address address;
    char by[20];
    if (options->count != 2)
        return ctl_misuse(job, "name the tenant and one user");
    bool done = users_open(job, &users, options->words[0]);
    const char *problem = done ? users_address(&users, options->words[1], &address) : NULL;
    if (problem != NULL)
        done = users_fail(job, &users, options->words[1], problem);
    if (done) {
        const char *listed = json_string_value(json_object_get(users.access, address.text));
        (void)snprintf(by, sizeof(by), "users.%s", listed != NULL ? listed : "default");
        json_t *found = json_pack("{s:s, s:s, s:s}", "user", address.text, "access",
                                  listed != NULL ? listed : users_default(&users), "by", by);
        ctl_print_settings(job, found);
        json_decref(found);
    }
    users_close(&users);
    return done;
}

bool ctl_users_export(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    struct printer printer = {.out = stdout,
                              .form = options->format == IMPORT_CSV ? PRINT_CSV : PRINT_JSON,
                              .part = ""};
    if (options->count > 1 || options->format == IMPORT_YAML)
        return ctl_misuse(job, "an export goes to the standard output, as csv or json");
    print_begin(&printer);
    bool done = options->count == 1 ? print_tenant(job, &printer, options->words[0])
                                    : print_all(job, &printer);
    print_end(&printer);
    return done;
}
