/* SPDX-License-Identifier: GPL-3.0-or-later */
/* passerelle-bench: options, the relay's CPU and memory, the report. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bench/demo.h"
#include "bench/load.h"
#include "net/clock.h"

static const char bench_usage[] =
    "usage: passerelle-bench [options]\n"
    "       passerelle-bench --print-config [options]   a relay configuration for this load\n"
    "       passerelle-bench --demo [options]           a few messages each way, shown\n"
    "\n"
    "Plays M XMPP domains (x0.bench …) with TLS streams (SASL EXTERNAL) to the relay and N SIP\n"
    "domains (s0.bench …) on one UDP socket, sends messages and follows every one by its number.\n"
    "\n"
    "The three drives (--drive):\n"
    "  xmpp-sip   stanzas on the streams; the SIP side answers each MESSAGE with 200\n"
    "  sip-xmpp   MESSAGE requests over UDP; done when the stanza and the final response came\n"
    "  duplex     both at once\n"
    "\n"
    "  --relay ADDR:PORT        the relay's S2S listener (127.0.0.1:5269)\n"
    "  --relay-sip ADDR:PORT    the relay's SIP UDP listener (127.0.0.1:5060)\n"
    "  --listen ADDR:PORT       where the XMPP partner listens (127.0.0.1:15269)\n"
    "  --listen-sip ADDR:PORT   where the SIP domains are (127.0.0.1:5080)\n"
    "  --certificate, --key, --ca FILE   of the played XMPP domains (PEM)\n"
    "  --xmpp-domains M, --sip-domains N, --streams S, --users U   (4, 1, 4, 64)\n"
    "  --size BYTES             of a stanza or SIP text (300)\n"
    "  --count N                messages of each direction (20000)\n"
    "  --window W               closed loop: at most W in flight (256)\n"
    "  --rate R                 open loop: R messages a second, latency from the intended time\n"
    "  --timeout S              without progress for S seconds the rest is lost (5)\n"
    "  --pid PID                of the relay, for its CPU and memory\n"
    "  --json                   one JSON object instead of the table\n";

enum bench_option {
    OPT_DRIVE = 256, OPT_RELAY, OPT_RELAY_SIP, OPT_LISTEN, OPT_LISTEN_SIP, OPT_CERTIFICATE,
    OPT_KEY, OPT_CA, OPT_XMPP_DOMAINS, OPT_SIP_DOMAINS, OPT_STREAMS, OPT_USERS, OPT_SIZE,
    OPT_COUNT, OPT_WINDOW, OPT_RATE, OPT_TIMEOUT, OPT_PID, OPT_JSON, OPT_PRINT_CONFIG, OPT_DEMO, OPT_HELP
};

static const struct option bench_options[] = {
    {"drive", 1, NULL, OPT_DRIVE}, {"relay", 1, NULL, OPT_RELAY},
    {"relay-sip", 1, NULL, OPT_RELAY_SIP}, {"listen", 1, NULL, OPT_LISTEN},
    {"listen-sip", 1, NULL, OPT_LISTEN_SIP}, {"certificate", 1, NULL, OPT_CERTIFICATE},
    {"key", 1, NULL, OPT_KEY}, {"ca", 1, NULL, OPT_CA},
    {"xmpp-domains", 1, NULL, OPT_XMPP_DOMAINS}, {"sip-domains", 1, NULL, OPT_SIP_DOMAINS},
    {"streams", 1, NULL, OPT_STREAMS}, {"users", 1, NULL, OPT_USERS},
    {"size", 1, NULL, OPT_SIZE}, {"count", 1, NULL, OPT_COUNT}, {"window", 1, NULL, OPT_WINDOW},
    {"rate", 1, NULL, OPT_RATE}, {"timeout", 1, NULL, OPT_TIMEOUT}, {"pid", 1, NULL, OPT_PID},
    {"json", 0, NULL, OPT_JSON}, {"print-config", 0, NULL, OPT_PRINT_CONFIG},
    {"demo", 0, NULL, OPT_DEMO}, {"help", 0, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
};

struct bench {
    struct load_options load;
    long pid;
    bool json, print_config, demo;
};

static bool bench_number(const char *text, unsigned low, unsigned high, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < low || value > high)
        return false;
    *out = (unsigned)value;
    return true;
}

static bool bench_drive(const char *text, enum load_drive *drive)
{
    static const char *const names[] = {"xmpp-sip", "sip-xmpp", "duplex"};
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *drive = (enum load_drive)i;
            return true;
        }
    }
    return false;
}

static bool bench_set(struct bench *bench, int option, const char *text)
{
    struct load_options *load = &bench->load;
    unsigned pid;
    char *end;
    switch (option) {
    case OPT_DRIVE: return bench_drive(text, &load->drive);
    case OPT_RELAY: return net_address_parse(&load->relay_xmpp, text, 5269) == 0;
    case OPT_RELAY_SIP: return net_address_parse(&load->relay_sip, text, 5060) == 0;
    case OPT_LISTEN: return net_address_parse(&load->own_xmpp, text, 15269) == 0;
    case OPT_LISTEN_SIP: return net_address_parse(&load->own_sip, text, 5080) == 0;
    case OPT_CERTIFICATE: load->certificate = text; return true;
    case OPT_KEY: load->key = text; return true;
    case OPT_CA: load->ca = text; return true;
    case OPT_XMPP_DOMAINS: return bench_number(text, 1, 10000, &load->xmpp_domains);
    case OPT_SIP_DOMAINS: return bench_number(text, 1, 10000, &load->sip_domains);
    case OPT_STREAMS: return bench_number(text, 1, LOAD_STREAM_MAX, &load->streams);
    case OPT_USERS: return bench_number(text, 1, LOAD_USER_MAX, &load->users);
    case OPT_SIZE: return bench_number(text, 1, 8000, &load->size);
    case OPT_COUNT: return bench_number(text, 1, 100000000, &load->count);
    case OPT_WINDOW: return bench_number(text, 1, 1000000, &load->window);
    case OPT_RATE: load->rate = strtod(text, &end); return *end == '\0' && load->rate > 0;
    case OPT_TIMEOUT: return bench_number(text, 1, 600, &load->timeout_s);
    case OPT_PID:
        if (!bench_number(text, 1, 1u << 30, &pid))
            return false;
        bench->pid = pid;
        return true;
    case OPT_JSON: bench->json = true; return true;
    case OPT_DEMO: bench->demo = true; return true;
    case OPT_PRINT_CONFIG: bench->print_config = true; return true;
    default: return false;
    }
}

/* ---- the relay process ---- */

/* Nanoseconds on a CPU of all threads of the relay (schedstat); 0 when unknown. */
static uint64_t bench_cpu_ns(long pid)
{
    char path[320];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%ld/task", pid);
    DIR *directory = pid > 0 ? opendir(path) : NULL;
    if (directory == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/schedstat", pid, entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        fclose(file);
    }
    closedir(directory);
    return sum;
}

static long bench_resident_kib(long pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "VmRSS: %ld", &kib) != 1)
        ;
    fclose(file);
    return kib;
}

/* ---- report ---- */

struct bench_result {
    double seconds, rate, cpu_us, own_cpu;
    long resident_before_kib, resident_after_kib;
    uint32_t lost;
};

static int bench_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts the latencies that arrived to the front of the array; returns how many there are. */
static size_t bench_sort(struct load_ledger *ledger)
{
    size_t n = 0;
    for (uint32_t i = 0; i < ledger->count; i++) {
        if (ledger->latency_ns[i] != 0)
            ledger->latency_ns[n++] = ledger->latency_ns[i];
    }
    qsort(ledger->latency_ns, n, sizeof(uint64_t), bench_compare);
    return n;
}

static double bench_percentile(const struct load_ledger *ledger, size_t n, double p)
{
    size_t index = (size_t)((double)n * p);
    return n == 0 ? 0 : (double)ledger->latency_ns[index < n ? index : n - 1] / 1000;
}

static void bench_print(const char *name, struct load_ledger *ledger, bool json)
{
    size_t n = bench_sort(ledger);
    double seconds = (double)(ledger->end_ns - ledger->first_ns) / 1e9;
    double rate = n > 0 ? (double)n / seconds : 0;
    uint32_t ended = ledger->arrived + ledger->failed;
    uint32_t lost = ledger->sent > ended ? ledger->sent - ended : 0;
    printf(json ? "\"%s\":{\"sent\":%u,\"arrived\":%u,\"failed\":%u,\"lost\":%u,"
                  "\"duplicated\":%u,\"reordered\":%u,\"rate\":%.0f,\"p50_us\":%.0f,"
                  "\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f},"
                : "%-10s %8u %8u %6u %5u %5u %5u %9.0f %8.0f %8.0f %8.0f %8.0f\n",
           name, ledger->sent, ledger->arrived, ledger->failed, lost, ledger->duplicated,
           ledger->reordered, rate, bench_percentile(ledger, n, 0.5),
           bench_percentile(ledger, n, 0.9), bench_percentile(ledger, n, 0.99),
           bench_percentile(ledger, n, 0.999));
}

static void bench_report(struct load *load, const struct bench *bench,
                         const struct bench_result *result)
{
    if (bench->json)
        putchar('{');
    else
        puts("direction      sent  arrived failed  lost   dup order    msg/s   p50 µs   p90 µs"
             "   p99 µs p99.9 µs");
    if (load->to_sip.count > 0)
        bench_print("xmpp-sip", &load->to_sip, bench->json);
    if (load->to_xmpp.count > 0)
        bench_print("sip-xmpp", &load->to_xmpp, bench->json);
    if (bench->json) {
        printf("\"seconds\":%.3f,\"relay_cpu_us\":%.2f,\"relay_rss_kib\":[%ld,%ld],"
               "\"generator_cpu\":%.2f,\"generator_limited\":%s}\n",
               result->seconds, result->cpu_us, result->resident_before_kib,
               result->resident_after_kib, result->own_cpu,
               result->own_cpu > 0.9 || load->answers_lost > 0 ? "true" : "false");
        return;
    }
    if (bench->pid > 0)
        printf("relay: %.2f µs of CPU a message, resident %ld KiB before and %ld KiB after\n",
               result->cpu_us, result->resident_before_kib, result->resident_after_kib);
    if (result->own_cpu > 0.9 || load->answers_lost > 0)
        printf("note: the generator itself used %.0f %% of its core: the rate is its limit, not "
               "the relay's\n", result->own_cpu * 100);
}

static double bench_own_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int bench_run(const struct bench *bench)
{
    static struct load load; /* large */
    struct bench_result result = {0};
    int status = load_open(&load, &bench->load);
    if (status == 0) {
        result.resident_before_kib = bench_resident_kib(bench->pid);
        uint64_t cpu_ns = bench_cpu_ns(bench->pid), start_ns = clock_now_ns();
        double own_s = bench_own_cpu_s();
        status = load_run(&load);
        result.seconds = (double)(clock_now_ns() - start_ns) / 1e9;
        result.own_cpu = (bench_own_cpu_s() - own_s) / result.seconds;
        uint32_t ended = load.to_sip.arrived + load.to_xmpp.arrived;
        if (ended > 0)
            result.cpu_us = (double)(bench_cpu_ns(bench->pid) - cpu_ns) / 1000 / ended;
        result.resident_after_kib = bench_resident_kib(bench->pid);
        bench_report(&load, bench, &result);
    }
    if (status != 0)
        fprintf(stderr, "passerelle-bench: %s\n",
                load.problem[0] != '\0' ? load.problem
                : status == -ETIMEDOUT ? "no progress: what is missing counts as lost"
                                       : strerror(-status));
    bool clean = status == 0 && load.to_sip.duplicated + load.to_sip.reordered == 0 &&
                 load.to_xmpp.duplicated + load.to_xmpp.reordered == 0;
    load_close(&load);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The tenants and the partners of this load, to be appended to a relay configuration. */
static void bench_print_config(const struct load_options *load)
{
    char address[NET_ADDRESS_TEXT_SIZE], host[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&load->own_sip, address);
    net_address_format_host(&load->own_sip, host);
    puts("tenants:");
    for (unsigned i = 0; i < load->sip_domains; i++)
        printf("  - name: s%u\n    domains: [s%u.bench]\n    policy: open\n"
               "    trunks:\n      - uri: sip:%s;transport=udp\n        sources: [%s]\n", i, i,
               address, host);
    net_address_format_host(&load->own_xmpp, host);
    puts("partners:");
    for (unsigned i = 0; i < load->xmpp_domains; i++)
        printf("  - domain: x%u.bench\n    host: %s\n    port: %u\n", i, host,
               net_address_port(&load->own_xmpp));
}

int main(int argc, char **argv)
{
    struct bench bench = {.load = {.xmpp_domains = 4, .sip_domains = 1, .streams = 4,
                                   .users = 64, .size = 300, .count = 20000, .window = 256,
                                   .timeout_s = 5}};
    bool good = bench_set(&bench, OPT_RELAY, "127.0.0.1:5269") &&
                bench_set(&bench, OPT_RELAY_SIP, "127.0.0.1:5060") &&
                bench_set(&bench, OPT_LISTEN, "127.0.0.1:15269") &&
                bench_set(&bench, OPT_LISTEN_SIP, "127.0.0.1:5080");
    for (int c; good && (c = getopt_long(argc, argv, "h", bench_options, NULL)) != -1;) {
        if (c == 'h' || c == OPT_HELP) {
            fputs(bench_usage, stdout);
            return EXIT_SUCCESS;
        }
        good = bench_set(&bench, c, optarg);
        if (!good)
            fprintf(stderr, "passerelle-bench: bad value for %s\n", argv[optind - 1]);
    }
    if (!good || optind < argc) {
        fputs(bench_usage, stderr);
        return EXIT_FAILURE;
    }
    if (bench.print_config) {
        bench_print_config(&bench.load);
        return EXIT_SUCCESS;
    }
    if (tls_start() != 0)
        return EXIT_FAILURE;
    int status = EXIT_SUCCESS;
    if (!bench.demo)
        status = bench_run(&bench);
    else if (demo_run(&bench.load, "xmpp.example", "sip.example") != 0)
        status = EXIT_FAILURE;
    tls_stop();
    return status;
}
