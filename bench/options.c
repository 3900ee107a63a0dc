/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/half_open.h"
#include "bench/report_beside.h"
#include "bench/rogue.h"

#define SOAK_SECONDS 600
#define SOAK_EVERY_S 3   /* from fault to fault */
#define SOAK_RATE    200 /* messages a second, of each direction */
#define SOAK_PEERS   4   /* slow ones, and hostile ones */

enum bench_option {
    OPT_FIRST = 256,
#define OPTION(constant, name, value) constant,
#include "bench/options.def"
#undef OPTION
};

static const struct option options_table[] = {
#define OPTION(constant, name, value) {name, value, NULL, constant},
#include "bench/options.def"
#undef OPTION
    {"help", 0, NULL, 'h'},
    {NULL, 0, NULL, 0},
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

/* A configuration is asked for whatever the drive that will need it. */
static void options_choose(struct bench_options *options, enum bench_command command)
{
    if (options->command != BENCH_CONFIG)
        options->command = command;
}

static bool options_drive(struct bench_options *options, const char *text)
{
    static const char *const names[] = {"xmpp-sip", "sip-xmpp", "duplex",
                                        "idle",     "churn",    "handshake"};
    int choice = options_choice(text, names, 6);
    if (choice >= 0 && choice <= LOAD_DUPLEX)
        options->load.drive = (enum load_drive)choice;
    else if (choice == 3)
        options_choose(options, BENCH_IDLE);
    else if (choice > 3)
        options_choose(options, BENCH_CHURN);
    options->handshake = choice == 5;
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

static bool options_tls(struct load_options *load, const char *text)
{
    static const char *const names[] = {"any", "1.2", "1.3"};
    int choice = options_choice(text, names, 3);
    if (choice >= 0)
        load->tls = (enum tls_version)choice;
    return choice >= 0;
}

static bool options_greedy_by(struct load_options *load, const char *text)
{
    static const char *const names[] = {"stream", "pairs", "sip"};
    int choice = options_choice(text, names, 3);
    if (choice >= 0)
        load->greedy_by = (enum load_greedy_by)choice;
    return choice >= 0;
}

static bool options_text(struct load_options *load, const char *text)
{
    static const char *const names[] = {"ascii", "utf8"};
    int choice = options_choice(text, names, 2);
    load->utf8 = choice == 1;
    return choice >= 0;
}

static bool options_seed(struct choice_options *choice, const char *text)
{
    char *end;
    errno = 0;
    choice->seed = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
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
    case OPT_TLS: return options_tls(load, text);
    case OPT_XMPP_DOMAINS: return options_number(text, 1, 20000, &load->xmpp_domains);
    case OPT_SIP_DOMAINS: return options_number(text, 1, 100000, &load->sip_domains);
    case OPT_SIP_NAME: load->sip_name = text; return strlen(text) < 64;
    case OPT_USER_SUFFIX: load->user_suffix = text; return strlen(text) < 64;
    case OPT_COMPONENT: return net_address_parse(&load->component, text, 5347) == 0;
    case OPT_COMPONENT_SECRET: load->component_secret = text; return true;
    case OPT_STREAMS: return options_number(text, 1, LOAD_STREAM_MAX, &load->streams);
    case OPT_USERS: return options_number(text, 1, LEDGER_USER_MAX, &load->users);
    case OPT_STREAM_MANAGEMENT: load->managed = true; return true;
    case OPT_SIZE: return choice_parse_sizes(&load->choice, text);
    case OPT_TEXT: return options_text(load, text);
    case OPT_SPREAD: return choice_parse_spread(&load->choice, text);
    case OPT_SEED: return options_seed(&load->choice, text);
    case OPT_SLOW: return options_number(text, 0, ROGUE_MAX, &load->slow);
    case OPT_HOSTILE: return options_number(text, 0, ROGUE_MAX, &load->hostile);
    case OPT_HALF_OPEN:
        return options_number(text, HALF_OPEN_KINDS, HALF_OPEN_MAX, &load->half_open);
    case OPT_HALF_OPEN_RATE: return options_number(text, 1, 100000, &load->half_open_rate);
    case OPT_ROUNDS: return options_number(text, 1, REPORT_ROUND_MAX, &options->rounds);
    case OPT_GREEDY: return options_number(text, 1, 10000, &load->greedy);
    case OPT_GREEDY_BY: return options_greedy_by(load, text);
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
    case OPT_MINUTES: return options_real(text, 30.0 * 24 * 60, &options->minutes);
    case OPT_EVERY: return options_real(text, 3600, &options->every_s);
    case OPT_STATS: options->stats = text; return true;
    case OPT_MESSAGES: return options_number(text, 1, 100000, &options->messages);
    case OPT_WINDOW: return options_number(text, 1, 10000000, &phase->window);
    case OPT_RATE: return options_real(text, 1e7, &phase->rate);
    case OPT_RAMP: return options_real(text, 60000, &options->ramp_ms);
    case OPT_STEP: return options_real(text, 3600, &options->step_s);
    case OPT_RATE_MAX: return options_real(text, 1e7, &options->rate_max);
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

/* Both ways, an open loop, peers of both families. */
static void options_complete_soak(struct bench_options *options)
{
    struct load_options *load = &options->load;
    struct load_phase *phase = &options->phase;
    load->drive = LOAD_DUPLEX;
    if (load->slow + load->hostile == 0)
        load->slow = load->hostile = SOAK_PEERS;
    if (options->minutes > 0)
        phase->seconds = options->minutes * 60;
    if (phase->seconds == 0)
        phase->seconds = SOAK_SECONDS;
    if (options->every_s == 0)
        options->every_s = SOAK_EVERY_S;
    if (phase->rate == 0)
        phase->rate = SOAK_RATE;
    phase->count = UINT32_MAX / 4;
    phase->window = UINT32_MAX;
}

/* What follows from other options. */
static void options_complete(struct bench_options *options)
{
    struct load_options *load = &options->load;
    bool churn = options->command == BENCH_CHURN;
    load->size = choice_mean_size(&load->choice);
    if (options->handshake)
        options->messages = 0;
    if (options->command == BENCH_SOAK)
        options_complete_soak(options);
    if (options->phase.count == 0)
        options->phase.count = churn ? 1000 : 20000;
    /* A user is at one place, so that the order of its messages counts. */
    if (churn && load->users < load->streams)
        load->users = load->streams;
}

static bool options_fit(const struct bench_options *options)
{
    const char *problem = NULL;
    const struct load_options *load = &options->load;
    bool plays = options->command != BENCH_CONFIG && options->command != BENCH_HELP;
    unsigned beside = load->slow + load->hostile + load->greedy + load->half_open;
    if (plays && (load->certificate == NULL || load->key == NULL || load->ca == NULL))
        problem = "--certificate, --key and --ca are needed: SASL EXTERNAL shows a certificate";
    else if (options->command == BENCH_CONFIG &&
             (options->relay_certificate == NULL || options->relay_key == NULL))
        problem = "--print-config needs --relay-certificate and --relay-key";
    else if (options->command == BENCH_IDLE && options->processes.count == 0)
        problem = "--drive idle needs --pid";
    else if (options->fraction > 0 && options->phase.rate > 0)
        problem = "--fraction measures the peak itself: leave --rate away";
    else if (plays && options->ramp_ms > 0 &&
             (options->command != BENCH_LOAD || options->fraction > 0 ||
              options->phase.seconds > 0))
        problem =
            "--ramp is for xmpp-sip, sip-xmpp and duplex, and takes --step, not --seconds "
            "or --fraction";
    else if (options->command != BENCH_SOAK &&
             (options->minutes > 0 || options->every_s > 0 || options->stats != NULL))
        problem = "--minutes, --every and --stats are for soak";
    else if (load->greedy > 0 && load->slow + load->hostile + load->half_open > 0)
        problem = "--greedy is played alone: leave --slow, --hostile, --half-open and soak away";
    else if (load->half_open > 0 &&
             (load->slow + load->hostile > 0 || (plays && options->phase.seconds <= 0)))
        problem = "--half-open needs --seconds and is played without --slow, --hostile and soak";
    else if (plays && beside > 0 &&
             options->command != BENCH_SOAK &&
             (options->command != BENCH_LOAD || options->ramp_ms > 0 || options->fraction > 0))
        problem = "--slow, --hostile and --greedy are for xmpp-sip, sip-xmpp and duplex, as is "
                  "--half-open, the first two for soak, without --ramp and --fraction";
    else if (load->sip_name != NULL && beside > 0)
        problem = "--slow, --hostile, --greedy, --half-open and soak play against a relay: leave "
                  "--sip-name away";
    else if (load->component_secret != NULL &&
             (load->sip_name == NULL || load->drive != LOAD_XMPP_TO_SIP ||
              options->command == BENCH_CHURN))
        problem = "a component needs --sip-name and the drive xmpp-sip";
    if (problem != NULL)
        fprintf(stderr, "passerelle-bench: %s\n", problem);
    return problem == NULL;
}

bool bench_options_read(struct bench_options *options, int argc, char **argv)
{
    *options = (struct bench_options){.load = {.user_suffix = "",
                                               .xmpp_domains = 4,
                                               .sip_domains = 1,
                                               .streams = 4,
                                               .users = 64,
                                               .half_open_rate = HALF_OPEN_RATE,
                                               .timeout_s = 5},
                                      .phase = {.window = 256},
                                      .messages = 10,
                                      .step_s = 2,
                                      .rounds = 1,
                                      .rate_max = 1e6,
                                      .settle_s = 3,
                                      .workers = 1,
                                      .egress = 1,
                                      .progress = isatty(STDERR_FILENO) != 0};
    bool good = options_set(options, OPT_RELAY, "127.0.0.1:5269") &&
                options_set(options, OPT_RELAY_SIP, "127.0.0.1:5060") &&
                options_set(options, OPT_LISTEN, "127.0.0.1:15269") &&
                options_set(options, OPT_LISTEN_SIP, "127.0.0.1:5080") &&
                options_set(options, OPT_SIZE, "300") && options_set(options, OPT_SEED, "1");
    for (int c; good && (c = getopt_long(argc, argv, "h", options_table, NULL)) != -1;) {
        good = c != '?' && options_set(options, c, optarg);
        if (!good && c != '?')
            fprintf(stderr, "passerelle-bench: bad value for %s: %s\n", argv[optind - 2],
                    optarg);
    }
    if (good && optind < argc) {
        static const char *const names[] = {"floor", "soak"};
        static const enum bench_command commands[] = {BENCH_FLOOR, BENCH_SOAK};
        int command = options_choice(argv[optind], names, 2);
        if (command >= 0) {
            options_choose(options, commands[command]);
            optind++;
        }
    }
    if (good && optind < argc) {
        fprintf(stderr, "passerelle-bench: unexpected argument: %s\n", argv[optind]);
        good = false;
    }
    options_complete(options);
    return good && options_fit(options);
}
