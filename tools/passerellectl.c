/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options: what is for the relay is asked, what is for the tenants file is done here. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"
#include "tools/ctl_answer.h"
#include "tools/ctl_tenants.h"

static const char usage[] =
    "usage: passerellectl [-s SOCKET] [--json] COMMAND…\n"
    "       passerellectl [-c FILE] [options] tenant|partner COMMAND…\n"
    "\n"
    "  -s, --socket SOCKET  the relay's stats socket (global.stats_socket); default\n"
    "                       ./passerelle.sock, for tenant and partner the configured one\n"
    "  -j, --json           JSON instead of a table, for show and list\n"
    "  -c, --config FILE    the relay's configuration, which names the tenants file; default\n"
    "                       /etc/passerelle/passerelle.yaml\n"
    "  -f, --format FORMAT  csv, json or yaml; by default what the name to import ends with,\n"
    "                       and json to export\n"
    "  -r, --replace        import: what is not in it goes\n"
    "  -n, --dry-run        check a change, keep nothing of it\n"
    "  -N, --no-reload      do not tell the relay of a change\n"
    "  -h, --help           this text\n"
    "\n"
    "Commands for the relay:\n"
    "  show info|stat|sess|tenants|trunks|errors\n"
    "  metrics                                 everything as Prometheus text\n"
    "  set log-level error|warn|info|debug\n"
    "  reload                                  has the relay read its configuration again\n"
    "  help                                    what the relay says to each of them\n"
    "\n"
    "Commands for the tenants file, also with partner and its domain:\n"
    "  tenant list [PART]                      those whose name contains it, or all\n"
    "  tenant show NAME                        one setting a line\n"
    "  tenant add NAME KEY=VALUE…              the keys are those of passerelle.yaml:\n"
    "  tenant set NAME KEY=VALUE…              domains='a.example b.example'\n"
    "                                          trunks[0].uri=sip:192.0.2.10\n"
    "                                          KEY= takes away, KEY+= and KEY-= change a list\n"
    "  tenant del NAME…\n"
    "  tenant import FILE|-                    adds them, or changes those that are there\n"
    "  tenant export                           to the standard output\n"
    "\n"
    "Status: 0 answered, 1 not reachable or refused, 2 wrong options.\n";

static enum import_format format_of(const char *name)
{
    static const char *const names[] = {"", "csv", "json", "yaml"};
    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return (enum import_format)i;
    fputs(usage, stderr);
    exit(2);
}

/* The words with blanks between them, as a line; false when they are too long. */
static bool line_of(char *line, size_t size, char *const *words, int count, const char *last)
{
    size_t used = 0;
    for (int i = 0; i < count + (last != NULL); i++) {
        int more = snprintf(line + used, size - used, "%s%s", used > 0 ? " " : "",
                            i < count ? words[i] : last);
        if (more < 0 || (size_t)more >= size - used - 1)
            return false;
        used += (size_t)more;
    }
    line[used] = '\n';
    line[used + 1] = '\0';
    return true;
}

static int ask(const struct ctl_options *options, char **words, int count)
{
    char line[1000];
    const char *path = options->socket != NULL ? options->socket : "./passerelle.sock";
    bool appends = options->as_json && strcmp(words[0], "show") == 0;
    if (!line_of(line, sizeof(line), words, count, appends ? "json" : NULL))
        return 2;
    int rc = ctl_ask(path, line);
    if (rc >= 0)
        return rc;
    fprintf(stderr, "passerellectl: cannot reach the relay at %s: %s\n", path, strerror(-rc));
    return EXIT_FAILURE;
}

static int run(struct ctl_options *options, char **words, int count)
{
    for (int table = 0; table < TENANT_TABLE_COUNT; table++) {
        const char *list = tenant_table_name((enum tenant_table)table);
        /* "tenant" of "tenants". */
        if (strlen(words[0]) + 1 != strlen(list) ||
            strncmp(words[0], list, strlen(words[0])) != 0)
            continue;
        options->command = count > 1 ? words[1] : NULL;
        options->words = words + (count > 1 ? 2 : 1);
        options->count = count > 1 ? count - 2 : 0;
        if (tls_start() != 0) {
            fputs("passerellectl: wolfSSL does not start\n", stderr);
            return EXIT_FAILURE;
        }
        int status = ctl_tenants(options, (enum tenant_table)table);
        tls_stop();
        return status;
    }
    return ask(options, words, count);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"socket", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"format", required_argument, NULL, 'f'},
                                          {"replace", no_argument, NULL, 'r'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"no-reload", no_argument, NULL, 'N'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct ctl_options options = {.config = "/etc/passerelle/passerelle.yaml"};
    for (int option; (option = getopt_long(argc, argv, "s:jc:f:rnNh", known, NULL)) != -1;) {
        switch (option) {
        case 's': options.socket = optarg; break;
        case 'j': options.as_json = true; break;
        case 'c': options.config = optarg; break;
        case 'f': options.format = format_of(optarg); break;
        case 'r': options.replaces = true; break;
        case 'n': options.dry_run = true; break;
        case 'N': options.no_reload = true; break;
        default: fputs(usage, option == 'h' ? stdout : stderr); return option == 'h' ? 0 : 2;
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    return run(&options, argv + optind, argc - optind);
}
