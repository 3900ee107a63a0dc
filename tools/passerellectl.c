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
    "       passerellectl [-c FILE] [options] tenant|partner|user|skype COMMAND…\n"
    "\n"
    "  -s, --socket SOCKET  the relay's stats socket (global.stats_socket); default\n"
    "                       ./passerelle.sock, for tenant, partner and user the configured one\n"
    "  -j, --json           JSON instead of a table, for show, consent, list, explain and ping\n"
    "  -c, --config FILE    the relay's configuration, which names the tenants file; default\n"
    "                       /etc/passerelle/passerelle.yaml\n"
    "  -f, --format FORMAT  csv, json or yaml; by default what the name to import ends with,\n"
    "                       and json to export\n"
    "  -r, --replace        import: what is not in it goes\n"
    "  -n, --dry-run        check a change, keep nothing of it\n"
    "      --skip-invalid   skype: leave out partners with an invalid setting\n"
    "  -N, --no-reload      do not tell the relay of a change\n"
    "  -h, --help           this text\n"
    "\n"
    "Commands for the relay:\n"
    "  show info|stat|sess|links|tenants|trunks|errors\n"
    "  show policy TENANT DOMAIN               what is in force between them, and from where\n"
    "  show consent TENANT [USER]              who of public_unverified partners may write\n"
    "  consent remove TENANT USER [ADDRESS]    they, or one, may no more until written to again\n"
    "  metrics                                 everything as Prometheus text\n"
    "  set log-level error|warn|info|debug\n"
    "  explain DOMAIN [--tenant NAME]          how DOMAIN is reached, step by step, and what "
    "is wrong\n"
    "  ping TENANT ADDRESS [--from USER] [--message TEXT]\n"
    "                                          pings an XMPP address, or sends it a message\n"
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
    "Commands for a tenant's users, BOB or BOB@DOMAIN; others have the tenant's users.default:\n"
    "  user list TENANT [PART]                 who is listed, and what holds for the others\n"
    "  user show TENANT USER                   whether this one may talk with XMPP users, and why\n"
    "  user add TENANT USER… [access=deny]     lists them as those who may, or who may not\n"
    "  user set TENANT USER… access=allow|deny\n"
    "  user del TENANT USER…                   the default holds for them again\n"
    "  user import [TENANT] FILE|-             with the columns tenant, user, access\n"
    "  user export [TENANT]\n"
    "\n"
    "Commands for what was exported of Skype for Business' XMPP gateway (Get-CsXmppAllowedPartner\n"
    "and others, by Export-Clixml, ConvertTo-Json or Export-Csv), with a word on each setting:\n"
    "  skype import TENANT FILE… [KEY=VALUE…]  into the tenants file\n"
    "  skype yaml TENANT FILE… [KEY=VALUE…]    as YAML to the standard output\n"
    "\n"
    "Status: 0 answered, 1 not reachable or refused, or explain and ping found a fault,\n"
    "2 wrong options.\n";

static enum import_format format_of(const char *name)
{
    static const char *const names[] = {"", "csv", "json", "yaml"};
    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return (enum import_format)i;
    fputs(usage, stderr);
    exit(2);
}

/* The command as one line: explain and ping take options, whose words stand behind them. */
struct line {
    char text[1000];
    size_t used;
    bool is_too_long;
};

static void add_word(struct line *line, const char *word)
{
    size_t room = sizeof(line->text) - line->used;
    int size =
        snprintf(line->text + line->used, room, "%s%s", line->used > 0 ? " " : "", word);
    if (size < 0 || (size_t)size + 2 > room)
        line->is_too_long = true;
    else
        line->used += (size_t)size;
}

static void add_option(struct line *line, const char *name, const char *value)
{
    if (value == NULL)
        return;
    add_word(line, name);
    add_word(line, value);
}

static int ask(const struct ctl_options *options, char **words, int count)
{
    struct line line = {.used = 0};
    const char *path = options->socket != NULL ? options->socket : "./passerelle.sock";
    bool explains = strcmp(words[0], "explain") == 0, pings = strcmp(words[0], "ping") == 0;
    for (int i = 0; i < count; i++)
        add_word(&line, words[i]);
    if (explains)
        add_option(&line, "tenant", options->tenant);
    if (pings)
        add_option(&line, "from", options->from);
    if (options->as_json && (explains || pings || strcmp(words[0], "show") == 0 ||
                             strcmp(words[0], "consent") == 0))
        add_word(&line, "json");
    if (pings)
        add_option(&line, "message", options->message);
    if (line.is_too_long) {
        fputs("passerellectl: the command is too long\n", stderr);
        return 2;
    }
    memcpy(line.text + line.used, "\n", 2);
    int rc = explains || pings ? ctl_follow(path, line.text, options->as_json)
                               : ctl_ask(path, line.text);
    if (rc >= 0)
        return rc;
    fprintf(stderr, "passerellectl: cannot reach the relay at %s: %s\n", path, strerror(-rc));
    return EXIT_FAILURE;
}

static int run(struct ctl_options *options, char **words, int count)
{
    enum ctl_object object;
    if (!ctl_object_of(words[0], &object))
        return ask(options, words, count);
    options->command = count > 1 ? words[1] : NULL;
    options->words = words + (count > 1 ? 2 : 1);
    options->count = count > 1 ? count - 2 : 0;
    if (tls_start() != 0) {
        fputs("passerellectl: wolfSSL does not start\n", stderr);
        return EXIT_FAILURE;
    }
    int status = ctl_tenants(options, object);
    tls_stop();
    return status;
}

int main(int argc, char **argv)
{
    enum { TENANT = 256, FROM, MESSAGE, SKIP };
    static const struct option known[] = {{"socket", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"format", required_argument, NULL, 'f'},
                                          {"replace", no_argument, NULL, 'r'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"no-reload", no_argument, NULL, 'N'},
                                          {"tenant", required_argument, NULL, TENANT},
                                          {"from", required_argument, NULL, FROM},
                                          {"message", required_argument, NULL, MESSAGE},
                                          {"skip-invalid", no_argument, NULL, SKIP},
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
        case TENANT: options.tenant = optarg; break;
        case FROM: options.from = optarg; break;
        case SKIP: options.skips_invalid = true; break;
        case MESSAGE: options.message = optarg; break;
        default: fputs(usage, option == 'h' ? stdout : stderr); return option == 'h' ? 0 : 2;
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    return run(&options, argv + optind, argc - optind);
}
