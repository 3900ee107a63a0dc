/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char options_usage[] =
    "usage: passerelle-bench [options]                  load\n"
    "       passerelle-bench --drive idle [options]     memory of idle sessions\n"
    "       passerelle-bench floor [options]            the unavoidable work of one message\n"
    "       passerelle-bench --print-config [options]   a relay configuration for this load\n"
    "       passerelle-bench --demo [options]           a few messages each way, shown\n"
    "\n"
    "Plays M XMPP domains (x0.bench …) with TLS streams (SASL EXTERNAL) to the relay and N SIP\n"
    "domains (s0.bench …) behind one trunk address. Follows every message by its number: lost,\n"
    "duplicated, reordered, failed; latency; the relay's CPU time a message and its memory.\n"
    "\n"
    "The three drives (--drive):\n"
    "  xmpp-sip   stanzas on the streams; the SIP side answers each MESSAGE with 200. A message\n"
    "             is done when its MESSAGE arrived, or an error came back\n"
    "  sip-xmpp   MESSAGE requests to the relay; done when the stanza and the final response\n"
    "             came. Over UDP what has no answer after 500 ms is sent again\n"
    "  duplex     both at once, --count of each\n"
    "and one more:\n"
    "  idle       opens --streams sessions, sends nothing, reads the relay's memory\n"
    "floor decrypts a record, reads it with expat, writes a request, sends and receives by UDP:\n"
    "what no relay can do without, in µs of CPU; needs --certificate, --key and --ca only.\n"
    "\n"
    "Where:\n"
    "  --relay ADDR:PORT        the relay's S2S listener (127.0.0.1:5269)\n"
    "  --relay-sip ADDR:PORT    the relay's SIP listener (127.0.0.1:5060)\n"
    "  --listen ADDR:PORT       where the XMPP partner listens (127.0.0.1:15269)\n"
    "  --listen-sip ADDR:PORT   where the SIP domains are (127.0.0.1:5080)\n"
    "  --transport udp|tcp|tls  of the trunks (udp)\n"
    "  --certificate, --key, --ca FILE   PEM of what is played: the XMPP domains, and for TLS\n"
    "                           trunks trunk.bench; *.bench and trunk.bench are enough\n"
    "What:\n"
    "  --xmpp-domains M, --sip-domains N, --streams S, --users U   (4, 1, 4, 64); stream i is\n"
    "                           of one XMPP and one SIP domain, user u writes on stream u mod S\n"
    "  --size BYTES             of a stanza or SIP text (300)\n"
    "  --count N                messages of each direction (20000)\n"
    "  --seconds T              send for T seconds instead\n"
    "How:\n"
    "  --window W               closed loop: at most W in flight (256); a large W is a flood\n"
    "  --rate R                 open loop: R messages a second of each direction. Latency counts\n"
    "                           from the time a message should have left, however late it did\n"
    "  --fraction F             after the closed loop an open loop at F × the rate it reached\n"
    "  --warmup N               N messages of each direction before, not measured: links and\n"
    "                           connections are open then\n"
    "  --timeout S              when nothing comes for S seconds the rest is lost (5)\n"
    "  --settle S               idle: wait before the memory is read (3)\n"
    "Report:\n"
    "  --pid PID[,PID…]         of the relay: its CPU time by thread and its memory\n"
    "  --progress               a line on stderr while it runs (default on a terminal)\n"
    "  --json                   one JSON object on stdout instead of the table\n"
    "To measure others (bench/compare):\n"
    "  --sip-name NAME          of the one SIP domain, as the XMPP side knows it\n"
    "  --user-suffix TEXT       behind each user of the SIP side: '*sip.bench' for Kamailio\n"
    "  --component ADDR:PORT, --component-secret S   be a component (XEP-0114) of an XMPP server\n"
    "                           instead of the SIP side, drive xmpp-sip only\n"
    "For --print-config: --workers N, --egress N (1, 1), --relay-certificate, --relay-key FILE\n"
    "\n"
    "Exit status 0: every message ended as it should. A run by hand:\n"
    "  tools/dev-certificates dev relay.bench \"partner.bench,*.bench,trunk.bench\"\n"
    "  set -- --certificate dev/partner.bench.pem --key dev/partner.bench.key --ca dev/ca.pem\n"
    "  passerelle-bench --print-config \"$@\" --relay-certificate dev/relay.bench.pem \\\n"
    "      --relay-key dev/relay.bench.key > relay.yaml\n"
    "  passerelle -c relay.yaml & relay=$!\n"
    "  passerelle-bench \"$@\" --pid $relay --drive duplex --count 100000\n"
    "  passerelle-bench \"$@\" --pid $relay --drive xmpp-sip --seconds 10 --fraction 0.5\n"
    "  passerelle-bench \"$@\" --pid $relay --drive idle --streams 1000\n";

enum bench_option {
    OPT_DRIVE = 256, OPT_RELAY, OPT_RELAY_SIP, OPT_LISTEN, OPT_LISTEN_SIP, OPT_TRANSPORT,
    OPT_CERTIFICATE, OPT_KEY, OPT_CA, OPT_XMPP_DOMAINS, OPT_SIP_DOMAINS, OPT_SIP_NAME,
    OPT_USER_SUFFIX, OPT_COMPONENT, OPT_COMPONENT_SECRET, OPT_STREAMS, OPT_USERS, OPT_SIZE,
    OPT_COUNT, OPT_SECONDS, OPT_WINDOW, OPT_RATE, OPT_FRACTION, OPT_WARMUP, OPT_TIMEOUT,
    OPT_SETTLE, OPT_PID, OPT_PROGRESS, OPT_JSON, OPT_WORKERS, OPT_EGRESS,
    OPT_RELAY_CERTIFICATE, OPT_RELAY_KEY, OPT_PRINT_CONFIG, OPT_DEMO
};

static const struct option options_table[] = {
    {"drive", 1, NULL, OPT_DRIVE}, {"relay", 1, NULL, OPT_RELAY},
    {"relay-sip", 1, NULL, OPT_RELAY_SIP}, {"listen", 1, NULL, OPT_LISTEN},
    {"listen-sip", 1, NULL, OPT_LISTEN_SIP}, {"transport", 1, NULL, OPT_TRANSPORT},
    {"certificate", 1, NULL, OPT_CERTIFICATE}, {"key", 1, NULL, OPT_KEY},
    {"ca", 1, NULL, OPT_CA}, {"xmpp-domains", 1, NULL, OPT_XMPP_DOMAINS},
    {"sip-domains", 1, NULL, OPT_SIP_DOMAINS}, {"sip-name", 1, NULL, OPT_SIP_NAME},
    {"user-suffix", 1, NULL, OPT_USER_SUFFIX}, {"component", 1, NULL, OPT_COMPONENT},
    {"component-secret", 1, NULL, OPT_COMPONENT_SECRET}, {"streams", 1, NULL, OPT_STREAMS},
    {"users", 1, NULL, OPT_USERS}, {"size", 1, NULL, OPT_SIZE}, {"count", 1, NULL, OPT_COUNT},
    {"seconds", 1, NULL, OPT_SECONDS}, {"window", 1, NULL, OPT_WINDOW},
    {"rate", 1, NULL, OPT_RATE}, {"fraction", 1, NULL, OPT_FRACTION},
    {"warmup", 1, NULL, OPT_WARMUP}, {"timeout", 1, NULL, OPT_TIMEOUT},
    {"settle", 1, NULL, OPT_SETTLE},
    {"pid", 1, NULL, OPT_PID}, {"progress", 0, NULL, OPT_PROGRESS}, {"json", 0, NULL, OPT_JSON},
    {"workers", 1, NULL, OPT_WORKERS}, {"egress", 1, NULL, OPT_EGRESS},
    {"relay-certificate", 1, NULL, OPT_RELAY_CERTIFICATE},
    {"relay-key", 1, NULL, OPT_RELAY_KEY}, {"print-config", 0, NULL, OPT_PRINT_CONFIG},
    {"demo", 0, NULL, OPT_DEMO}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
};

static bool options_number(const char *text, unsigned low, unsigned high, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < low || value > high)
        return false;
    *out = (unsigned)value;
    return true;
}

static bool options_real(const char *text, double high, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out > 0 && *out <= high;
}

/* The index of `text` among `count` names, or -1. */
static int options_choice(const char *text, const char *const *names, int count)
{
    int i = 0;
    while (i < count && strcmp(text, names[i]) != 0)
        i++;
    return i < count ? i : -1;
}

static bool options_drive(struct bench_options *options, const char *text)
{
    static const char *const names[] = {"xmpp-sip", "sip-xmpp", "duplex", "idle"};
    int choice = options_choice(text, names, 4);
    if (choice == 3)
        options->command = BENCH_IDLE;
    else if (choice >= 0)
        options->load.drive = (enum load_drive)choice;
    return choice >= 0;
}

static bool options_transport(struct load_options *load, const char *text)
{
    static const char *const names[] = {"udp", "tcp", "tls"};
    int choice = options_choice(text, names, 3);
    if (choice >= 0)
        load->transport = (enum sip_transport)choice;
    return choice >= 0;
}

static bool options_set_load(struct bench_options *options, int option, const char *text)
{
    struct load_options *load = &options->load;
    switch (option) {
    case OPT_DRIVE: return options_drive(options, text);
    case OPT_RELAY: return net_address_parse(&load->relay_xmpp, text, 5269) == 0;
    case OPT_RELAY_SIP: return net_address_parse(&load->relay_sip, text, 5060) == 0;
    case OPT_LISTEN: return net_address_parse(&load->own_xmpp, text, 15269) == 0;
    case OPT_LISTEN_SIP: return net_address_parse(&load->own_sip, text, 5080) == 0;
    case OPT_TRANSPORT: return options_transport(load, text);
    case OPT_CERTIFICATE: load->certificate = text; return true;
    case OPT_KEY: load->key = text; return true;
    case OPT_CA: load->ca = text; return true;
    case OPT_XMPP_DOMAINS: return options_number(text, 1, 20000, &load->xmpp_domains);
    case OPT_SIP_DOMAINS: return options_number(text, 1, 100000, &load->sip_domains);
    case OPT_SIP_NAME: load->sip_name = text; return strlen(text) < 64;
    case OPT_USER_SUFFIX: load->user_suffix = text; return strlen(text) < 64;
    case OPT_COMPONENT: return net_address_parse(&load->component, text, 5347) == 0;
    case OPT_COMPONENT_SECRET: load->component_secret = text; return true;
    case OPT_STREAMS: return options_number(text, 1, LOAD_STREAM_MAX, &load->streams);
    case OPT_USERS: return options_number(text, 1, LEDGER_USER_MAX, &load->users);
    case OPT_SIZE: return options_number(text, 1, 8000, &load->size);
    case OPT_TIMEOUT: return options_number(text, 1, 600, &load->timeout_s);
    default: return false;
    }
}

static bool options_set(struct bench_options *options, int option, const char *text)
{
    struct load_phase *phase = &options->phase;
    switch (option) {
    case OPT_COUNT: return options_number(text, 1, 100000000, &phase->count);
    case OPT_SECONDS:
        phase->count = 100000000;
        return options_real(text, 3600, &phase->seconds);
    case OPT_WINDOW: return options_number(text, 1, 10000000, &phase->window);
    case OPT_RATE: return options_real(text, 1e7, &phase->rate);
    case OPT_FRACTION: return options_real(text, 10, &options->fraction);
    case OPT_WARMUP: return options_number(text, 1, 1000000, &options->warmup);
    case OPT_SETTLE: return options_real(text, 600, &options->settle_s);
    case OPT_PID: return process_list_parse(&options->processes, text);
    case OPT_PROGRESS: options->progress = true; return true;
    case OPT_JSON: options->json = true; return true;
    case OPT_WORKERS: return options_number(text, 1, 16, &options->workers);
    case OPT_EGRESS: return options_number(text, 1, 16, &options->egress);
    case OPT_RELAY_CERTIFICATE: options->relay_certificate = text; return true;
    case OPT_RELAY_KEY: options->relay_key = text; return true;
    case OPT_PRINT_CONFIG: options->command = BENCH_CONFIG; return true;
    case OPT_DEMO: options->command = BENCH_DEMO; return true;
    case 'h': options->command = BENCH_HELP; return true;
    default: return options_set_load(options, option, text);
    }
}

static bool options_fit(const struct bench_options *options)
{
    const char *problem = NULL;
    const struct load_options *load = &options->load;
    bool plays = options->command != BENCH_CONFIG && options->command != BENCH_HELP;
    if (plays && (load->certificate == NULL || load->key == NULL || load->ca == NULL))
        problem = "--certificate, --key and --ca are needed: SASL EXTERNAL shows a certificate";
    else if (options->command == BENCH_CONFIG &&
             (options->relay_certificate == NULL || options->relay_key == NULL))
        problem = "--print-config needs --relay-certificate and --relay-key";
    else if (options->command == BENCH_IDLE && options->processes.count == 0)
        problem = "--drive idle needs --pid";
    else if (options->fraction > 0 && options->phase.rate > 0)
        problem = "--fraction measures the peak itself: leave --rate away";
    else if (load->component_secret != NULL &&
             (load->sip_name == NULL || load->drive != LOAD_XMPP_TO_SIP))
        problem = "a component needs --sip-name and the drive xmpp-sip";
    if (problem != NULL)
        fprintf(stderr, "passerelle-bench: %s\n", problem);
    return problem == NULL;
}

bool bench_options_read(struct bench_options *options, int argc, char **argv)
{
    *options = (struct bench_options){
        .load = {.user_suffix = "", .xmpp_domains = 4, .sip_domains = 1, .streams = 4, .users = 64, .size = 300,
                 .timeout_s = 5},
        .phase = {.count = 20000, .window = 256},
        .settle_s = 3, .workers = 1, .egress = 1, .progress = isatty(STDERR_FILENO) != 0};
    bool good = options_set(options, OPT_RELAY, "127.0.0.1:5269") &&
                options_set(options, OPT_RELAY_SIP, "127.0.0.1:5060") &&
                options_set(options, OPT_LISTEN, "127.0.0.1:15269") &&
                options_set(options, OPT_LISTEN_SIP, "127.0.0.1:5080");
    for (int c; good && (c = getopt_long(argc, argv, "h", options_table, NULL)) != -1;) {
        good = c != '?' && options_set(options, c, optarg);
        if (!good && c != '?')
            fprintf(stderr, "passerelle-bench: bad value for %s: %s\n", argv[optind - 2],
                    optarg);
    }
    if (good && optind < argc && strcmp(argv[optind], "floor") == 0) {
        options->command = BENCH_FLOOR;
        optind++;
    }
    if (good && optind < argc) {
        fprintf(stderr, "passerelle-bench: unexpected argument: %s\n", argv[optind]);
        good = false;
    }
    return good && options_fit(options);
}

void bench_options_help(void)
{
    fputs(options_usage, stdout);
}
