/* SPDX-License-Identifier: GPL-3.0-or-later */
/* passerelle-sim: runs seeds, and shows one of them in detail. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "net/tls.h"
#include "tests/sim/certificates.h"
#include "tests/sim/run.h"

static const char usage[] =
    "usage: passerelle-sim [options]\n"
    "\n"
    "Runs the relay's own threads, rings and protocol code against a simulated network, clock\n"
    "and peers, and checks that no message is lost, doubled, reordered or falsely answered.\n"
    "Each seed is another world; the same seed is the same run, byte for byte.\n"
    "\n"
    "  --seeds N      run the seeds 1 to N (default 200)\n"
    "  --first N      begin with seed N instead of 1\n"
    "  --seed N       run this one seed\n"
    "  --twice        run each seed twice and compare the hashes of the traces\n"
    "  -v, --verbose  print the trace, and the relay's log to standard error\n"
    "  -h, --help     print this text and end\n";

struct main_options {
    uint64_t first, count;
    bool is_twice, is_verbose;
};

static bool read_number(const char *text, uint64_t *number)
{
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

static bool read_options(int argc, char **argv, struct main_options *options)
{
    static const struct option known[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},
        {"twice", no_argument, NULL, 't'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool right = true;
    for (int c; (c = getopt_long(argc, argv, "vh", known, NULL)) != -1;) {
        switch (c) {
        case 'n': right = right && read_number(optarg, &options->count); break;
        case 'f': right = right && read_number(optarg, &options->first); break;
        case 's':
            right = right && read_number(optarg, &options->first);
            options->count = 1;
            break;
        case 't': options->is_twice = true; break;
        case 'v': options->is_verbose = true; break;
        case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
        default: right = false;
        }
    }
    return right && optind == argc;
}

/* One seed; true when nothing was wrong. */
static bool run_seed(uint64_t seed, const struct main_options *options, const char *folder,
                     struct run_result *sum)
{
    struct run_result result, again;
    run_one(seed, options->is_verbose, folder, &result);
    sum->messages += result.messages;
    sum->simulated_ns += result.simulated_ns;
    sum->steps += result.steps;
    if (options->is_twice) {
        run_one(seed, false, folder, &again);
        if (again.hash != result.hash) {
            printf("seed %" PRIu64 ": FAILED: two runs differ\n", seed);
            return false;
        }
    }
    if (options->count == 1 || options->is_verbose)
        printf("seed %" PRIu64 ": trace %016" PRIx64 "\n", seed, result.hash);
    if (result.fault[0] == '\0')
        return true;
    printf("seed %" PRIu64 ": FAILED: %s\n", seed, result.fault);
    printf("  once more, in detail: passerelle-sim --seed %" PRIu64 " -v\n", seed);
    return false;
}

int main(int argc, char **argv)
{
    struct main_options options = {.first = 1, .count = 200};
    char folder[] = "/tmp/passerelle-sim.XXXXXX";
    struct run_result sum = {0};
    uint64_t failed = 0;
    if (!read_options(argc, argv, &options)) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (mkdtemp(folder) == NULL || tls_start() != 0) {
        fputs("passerelle-sim: cannot start\n", stderr);
        return EXIT_FAILURE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_setup(options.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    certificates_write(folder);
    for (uint64_t i = 0; i < options.count; i++) {
        failed += !run_seed(options.first + i, &options, folder, &sum);
        if (isatty(STDOUT_FILENO) && !options.is_verbose)
            printf("\r%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed\r", i + 1,
                   options.count, failed);
    }
    certificates_remove(folder);
    (void)rmdir(folder);
    tls_stop();
    printf("%" PRIu64 " seeds, %" PRIu64 " failed: %" PRIu64 " messages in %" PRIu64
           " turns and %" PRIu64 " simulated seconds\n",
           options.count, failed, sum.messages, sum.steps,
           (uint64_t)(sum.simulated_ns / SIM_S));
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
