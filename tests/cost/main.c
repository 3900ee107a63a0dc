/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * passerelle-cost: the load generator (bench) and the relay's own threads over the simulated
 * network (tests/sim) without its faults, always the same, for callgrind to count the relay's
 * instructions. tests/cost/run starts it and reads what callgrind wrote.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "bench/config.h"
#include "bench/load.h"
#include "core/log.h"
#include "net/digest.h"
#include "tests/cost/count.h"
#include "tests/sim/dns.h"
#include "tests/sim/relay.h"

#define LATENCY_NS  (20 * SIM_US) /* of the loopback, about */
#define ROUND_NS    (200 * SIM_US)
#define WARM_WINDOW 64
#define REST_NS     (33 * SIM_S) /* 64*T1 (RFC 3261 §17.2.2): what is kept is forgotten */

static const char usage[] =
    "usage: passerelle-cost FILE [option of passerelle-bench]...\n"
    "\n"
    "Relays --warmup messages, then --count (callgrind's part 1), then twice --count (part 2)\n"
    "through the relay of the configuration FILE, all in one process without a kernel: the\n"
    "generator of passerelle-bench, the network of passerelle-sim. tests/cost/run is its "
    "user.\n";

struct cost {
    struct relay relay;
    struct load load;
    struct bench_options options;
    uint64_t turns[2]; /* of workers, of egress threads, in this phase */
};

/* One turn for every thread of the relay that has something to do; false when none has. */
static bool turn_all(struct cost *cost)
{
    struct relay *relay = &cost->relay;
    bool any = false;
    sim.is_scheduled = true;
    for (unsigned i = 0; i < relay->thread_count; i++) {
        if (!relay_is_ready(relay, i))
            continue;
        any = true;
        cost->turns[relay->threads[i].worker == NULL]++;
        count_on();
        relay_turn(relay, i);
        count_off();
    }
    sim.is_scheduled = false;
    return any;
}

/* When something happens next: an event of the network, or a thread that wakes by itself. */
static uint64_t next_ns(const struct relay *relay)
{
    uint64_t at_ns = sim_next_ns();
    for (unsigned i = 0; i < relay->thread_count; i++)
        if (relay_wakes_ns(relay, i) < at_ns)
            at_ns = relay_wakes_ns(relay, i);
    return at_ns;
}

/* The relay's time is the generator's time to wait, and its turn takes a round too. Threads
   have their turns one after the other, and what they send in one round arrives before the
   next, so that batches are as large as they are when every thread is busy. */
static void meanwhile(void *context, const struct ring *ring, uint64_t end_ns)
{
    struct cost *cost = context;
    if (end_ns < sim.now_ns + ROUND_NS)
        end_ns = sim.now_ns + ROUND_NS;
    do {
        uint64_t at_ns = turn_all(cost) ? sim.now_ns + ROUND_NS : next_ns(&cost->relay);
        sim.now_ns = at_ns < end_ns ? at_ns : end_ns;
        sim_run_due();
    } while (ring->words.first == NULL && sim.now_ns < end_ns);
}

/* expat salts its hash tables with it: the same salt costs the same. */
ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    (void)flags;
    digest_random(out, size);
    return (ssize_t)size;
}

static void open_network(struct cost *cost)
{
    struct network_faults none = {.latency_min_ns = LATENCY_NS,
                                  .latency_max_ns = LATENCY_NS,
                                  .window = (size_t)1 << 20,
                                  .takes_all = true};
    sim_open(1, false);
    network_open(&none, "127.0.0.1");
    network.meanwhile = meanwhile;
    network.meanwhile_context = cost;
    dns_open(0, LATENCY_NS);
}

static int explain(const struct cost *cost, int status)
{
    const char *problem = cost->load.problem;
    fprintf(stderr, "passerelle-cost: %s\n",
            problem[0] != '\0' ? problem : strerrordesc_np(-status));
    return status;
}

static bool is_clean(const struct ledger *ledger)
{
    return ledger_lost(ledger) == 0 && ledger->resent == 0 && ledger->repeated == 0 &&
           ledger->failed + ledger->duplicated + ledger->reordered + ledger->contradicted == 0;
}

/* Opens what a first message opens, not all of it at once: nothing shall be sent again. */
static int warm_up(struct cost *cost)
{
    unsigned window = cost->options.phase.window;
    struct load_phase phase = {.count = cost->options.warmup,
                               .window = window < WARM_WINDOW ? window : WARM_WINDOW};
    int status = load_run(&cost->load, &phase);
    if (status != 0)
        return explain(cost, status);
    load_rest(&cost->load, REST_NS);
    return 0;
}

/* Relays so many messages, and forgets them. */
static int run_phase(struct cost *cost, uint32_t count, const char *name)
{
    struct load_phase phase = {.count = count, .window = cost->options.phase.window};
    memset(cost->turns, 0, sizeof(cost->turns));
    int status = load_run(&cost->load, &phase);
    if (status != 0)
        return explain(cost, status);
    uint64_t turns[2] = {cost->turns[0], cost->turns[1]};
    load_rest(&cost->load, REST_NS);
    if (!is_clean(&cost->load.to_sip) || !is_clean(&cost->load.to_xmpp)) {
        fprintf(stderr, "passerelle-cost: messages were lost, resent or refused\n");
        return -EPROTO;
    }
    count_dump(name);
    printf("{\"messages\":%" PRIu32 ",\"worker_turns\":%" PRIu64 ",\"egress_turns\":%" PRIu64
           "}\n",
           count, turns[0], turns[1]);
    return 0;
}

static int run_all(struct cost *cost)
{
    const struct bench_options *options = &cost->options;
    int status = load_open(&cost->load, &options->load);
    if (status == 0)
        status = load_connect(&cost->load);
    if (status != 0)
        return explain(cost, status);
    status = warm_up(cost);
    count_start();
    if (status == 0)
        status = run_phase(cost, options->phase.count, "once");
    if (status == 0)
        status = run_phase(cost, 2 * options->phase.count, "twice");
    return status;
}

int main(int argc, char **argv)
{
    static struct cost cost; /* large */
    if (argc < 2 || argv[1][0] == '-') {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (!bench_options_read(&cost.options, argc - 1, argv + 1) || tls_start() != 0)
        return EXIT_FAILURE;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    open_network(&cost);
    relay_open_file(&cost.relay, argv[1]);
    int status = run_all(&cost);
    network.meanwhile = NULL;
    load_close(&cost.load);
    relay_close(&cost.relay);
    sim_flush();
    network_close();
    sim_close();
    tls_stop();
    if (sim.fault[0] != '\0')
        fprintf(stderr, "passerelle-cost: %s\n", sim.fault);
    return status == 0 && sim.fault[0] == '\0' ? EXIT_SUCCESS : EXIT_FAILURE;
}
