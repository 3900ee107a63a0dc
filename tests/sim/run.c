/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/run.h"

#include <assert.h>

#include "tests/sim/dns.h"
#include "tests/sim/ledger.h"
#include "tests/sim/relay.h"
#include "tests/sim/world.h"

#define TURN_COST_NS (30 * SIM_US) /* a turn takes at most this */
#define DRAIN_NS     (5 * SIM_S)   /* as in core/main.c */
#define PAUSE_MAX_NS (2 * SIM_S)
#define SETTLE_NS    (200 * SIM_S) /* every time-out has passed, unless much waits */
#define SETTLE_MAX   30u           /* times SETTLE_NS */
#define STEP_MAX     3000000u      /* more than this at one go is a livelock */

struct run {
    struct plan plan;
    struct relay relay;
    struct world world;
    uint64_t paused_until_ns[RELAY_THREAD_MAX];
    uint64_t start_ns, steps;
};

/* The world is the thread behind the relay's. */
static bool is_ready(const struct run *run, unsigned i)
{
    return i < run->relay.thread_count ? relay_is_ready(&run->relay, i)
                                       : network_is_ready(run->world.ring);
}

static uint64_t wakes_ns(const struct run *run, unsigned i)
{
    return i < run->relay.thread_count ? relay_wakes_ns(&run->relay, i)
                                       : run->world.ring->wakes_at_ns;
}

static void turn(struct run *run, unsigned i)
{
    sim.is_scheduled = true;
    sim_trace("turn %u", i);
    if (i == run->relay.thread_count)
        world_turn(&run->world);
    else
        relay_turn(&run->relay, i);
    if (i < run->relay.thread_count && sim_chance(run->plan.pause))
        run->paused_until_ns[i] = sim.now_ns + sim_below(PAUSE_MAX_NS);
    relay_control(&run->relay);
    sim.is_scheduled = false;
    run->steps++;
    sim.now_ns += sim_below(TURN_COST_NS);
}

/* When thread `i` can go on. */
static uint64_t ready_ns(const struct run *run, unsigned i)
{
    uint64_t at_ns = is_ready(run, i) ? sim.now_ns : wakes_ns(run, i);
    return at_ns > run->paused_until_ns[i] ? at_ns : run->paused_until_ns[i];
}

/* Lets one thread that can go on have a turn; when none can, time passes. False at `end_ns`. */
static bool step(struct run *run, uint64_t end_ns)
{
    unsigned ready[RELAY_THREAD_MAX], count = 0;
    uint64_t next_ns = UINT64_MAX;
    sim_run_due();
    for (unsigned i = 0; i <= run->relay.thread_count; i++) {
        uint64_t at_ns = ready_ns(run, i);
        if (at_ns <= sim.now_ns)
            ready[count++] = i;
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    if (count > 0) {
        turn(run, ready[sim_below(count)]);
        return sim.now_ns < end_ns;
    }
    next_ns = sim_next_ns() < next_ns ? sim_next_ns() : next_ns;
    sim.now_ns = next_ns < end_ns ? next_ns : end_ns;
    return next_ns < end_ns;
}

static void run_until(struct run *run, uint64_t end_ns)
{
    uint64_t limit = run->steps + STEP_MAX;
    while (step(run, end_ns) && sim.fault[0] == '\0')
        if (run->steps > limit) {
            sim_fail("a livelock: %u turns and no end", STEP_MAX);
            return;
        }
}

static bool is_settled(const struct run *run)
{
    return sim.fault[0] != '\0' ||
           (relay_is_settled(&run->relay) && world_is_settled(&run->world));
}

static void drain(struct run *run)
{
    uint64_t end_ns = sim.now_ns + DRAIN_NS;
    while (sim.fault[0] == '\0' && sim.now_ns < end_ns && !relay_drain(&run->relay))
        (void)step(run, end_ns);
}

static void note_trouble(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->partner_count; i++)
        network_note_trouble(&plan->partners[i].address);
    for (unsigned i = 0; i < plan->tenant_count; i++)
        for (unsigned j = 0; j < plan->tenants[i].trunk_count; j++)
            network_note_trouble(&plan->tenants[i].trunks[j].address);
}

static void restart(struct run *run, const char *folder)
{
    sim_trace("the relay is %s", run->plan.is_killed ? "killed" : "stopped");
    ledger.restarting_ns = sim.now_ns;
    note_trouble(&run->plan);
    if (!run->plan.is_killed)
        drain(run);
    relay_close(&run->relay);
    memset(run->paused_until_ns, 0, sizeof(run->paused_until_ns));
    relay_open(&run->relay, &run->plan, folder);
    run->relay.tenant_told = ledger_tenant;
    note_trouble(&run->plan);
    for (unsigned i = 0; i < run->plan.tenant_count; i++)
        if (ledger.away[i].since_ns > 0)
            ledger_tenant(i, false); /* the configuration of the start has all */
    ledger_restarted();
}

static void open_all(struct run *run, const char *folder)
{
    plan_draw(&run->plan);
    network_open(&run->plan.network, PLAN_RELAY_HOST);
    dns_open(run->plan.dns_fail, run->plan.network.latency_max_ns);
    ledger_open(&run->plan);
    relay_open(&run->relay, &run->plan, folder);
    run->relay.tenant_told = ledger_tenant;
    world_open(&run->world, &run->plan, folder);
}

static void play(struct run *run, const char *folder)
{
    const struct plan *plan = &run->plan;
    if (plan->stops_ns > 0) {
        run_until(run, run->start_ns + plan->stops_ns);
    } else {
        if (plan->restarts_ns > 0) {
            run_until(run, run->start_ns + plan->restarts_ns);
            restart(run, folder);
        }
        run_until(run, run->start_ns + plan->send_ns);
        while (!relay_restore(&run->relay) && sim.fault[0] == '\0')
            run_until(run, sim.now_ns + SIM_MS);
        for (unsigned i = 0; i < SETTLE_MAX && (i == 0 || !is_settled(run)); i++)
            run_until(run, sim.now_ns + SETTLE_NS);
        if (sim.fault[0] == '\0' && !is_settled(run))
            sim_fail("messages or parcels are still out after everything had its time");
        if (sim.fault[0] == '\0')
            ledger_check();
    }
    ledger.is_stopping = true;
    drain(run);
}

void run_one(uint64_t seed, bool is_verbose, const char *folder, struct run_result *result)
{
    static struct run run;
    memset(&run, 0, sizeof(run));
    sim_open(seed, is_verbose);
    run.start_ns = sim.now_ns;
    open_all(&run, folder);
    play(&run, folder);
    if (sim.fault[0] == '\0' && run.plan.stops_ns > 0)
        ledger_check();
    relay_close(&run.relay);
    world_retire(&run.world);
    *result = (struct run_result){
        .hash = sim.hash, .simulated_ns = sim.now_ns - run.start_ns, .steps = run.steps};
    for (unsigned i = 0; i < ledger.count; i++)
        result->messages += ledger.messages[i].was_sent;
    memcpy(result->fault, sim.fault, sizeof(result->fault));
    sim_flush();
    world_close(&run.world);
    network_close();
    sim_close();
}
