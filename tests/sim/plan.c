/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/plan.h"

#include <assert.h>
#include <stdio.h>

#define XMPP_PORT 5269
#define SIP_PORT  5060
#define SEND_NS   (20 * SIM_S)

#define FLOOD_WINDOW 16384 /* a narrower path is the bottleneck, not the relay */

static union net_address address_of(const char *prefix, unsigned number, uint16_t port)
{
    char text[32];
    union net_address address;
    snprintf(text, sizeof(text), "%s.%u", prefix, number + 1);
    int rc = net_address_parse_host(&address, text, port);
    assert(rc == 0);
    (void)rc;
    return address;
}

static void draw_network(struct network_faults *faults)
{
    static const uint64_t latencies_ns[] = {50 * SIM_US, 2 * SIM_MS, 40 * SIM_MS, 200 * SIM_MS};
    faults->latency_min_ns = 20 * SIM_US;
    faults->latency_max_ns = latencies_ns[sim_below(4)];
    faults->jitter_ns = sim_chance(500) ? faults->latency_max_ns : 1;
    faults->window = sim_chance(200) ? sim_between(200, 4000) : 65536;
    if (sim_chance(600)) {
        faults->tear = (unsigned)sim_between(50, 1000);
        faults->short_send = (unsigned)sim_between(50, 800);
    }
    if (sim_chance(400)) {
        faults->lose = (unsigned)sim_between(10, 300);
        faults->duplicate = (unsigned)sim_between(0, 200);
        faults->delay = (unsigned)sim_between(0, 300);
    }
    if (sim_chance(150))
        faults->send_refused = (unsigned)sim_between(5, 100);
    if (sim_chance(350))
        faults->reset = (unsigned)sim_between(100, 800);
    if (sim_chance(200))
        faults->stall = (unsigned)sim_between(100, 500);
    if (sim_chance(200))
        faults->refuse = (unsigned)sim_between(50, 400);
    if (sim_chance(150))
        faults->no_socket = (unsigned)sim_between(10, 200);
    if (sim_chance(100))
        faults->black_hole = (unsigned)sim_between(50, 300);
}

static void draw_down(uint64_t *from_ns, uint64_t *until_ns)
{
    if (!sim_chance(150))
        return;
    *from_ns = 1 + sim_below(SEND_NS);
    *until_ns = *from_ns + sim_below(30 * SIM_S);
}

static void take_rules(struct plan_partner *partner, enum rules_need tls, enum rules_need sasl,
                       bool dialback)
{
    struct rules rules = {0};
    struct rules_stack stack = rules_stack_make();
    stack.level[RULES_GLOBAL] = &rules;
    rules_give(&rules, RULE_TLS, tls);
    rules_give(&rules, RULE_SASL, sasl);
    rules_give(&rules, RULE_DIALBACK, dialback);
    partner->tls = tls;
    partner->sasl = sasl;
    partner->dialback = dialback;
    partner->proofs = rules_proofs(&stack);
}

/* Every combination that leaves a way, those with TLS more often; and a server that does
   without TLS where it may. */
static void draw_rules(struct plan_partner *partner)
{
    do {
        enum rules_need tls = sim_chance(600) ? NEED_REQUIRED : (enum rules_need)sim_below(3);
        take_rules(partner, tls, (enum rules_need)sim_below(3), sim_chance(700));
    } while (partner->proofs == S2S_PROOF_NONE);
    bool may_clear = (partner->proofs & S2S_PROOF_CLEAR) != 0;
    partner->knows_tls = !may_clear || sim_chance(500);
    partner->direct_tls &= partner->knows_tls && partner->proofs != S2S_PROOF_CLEAR;
    partner->is_pair = sim_chance(300);
    partner->is_unverified = sim_chance(200);
    partner->keepalive_ms = sim_chance(200) ? 500 : 0;
    partner->demand_ms = sim_chance(150) ? (unsigned)sim_between(1000, 5000) : 0;
}

static void draw_partner(struct plan_partner *partner, unsigned i)
{
    static const char *const domains[PLAN_PARTNER_MAX] = {"x0.example", "x1.example",
                                                          "x2.example"};
    *partner = (struct plan_partner){.domain = domains[i],
                                     .address = address_of("10.1.0", i, XMPP_PORT),
                                     .twin_address = address_of("10.3.0", i, XMPP_PORT),
                                     .by_dns = sim_chance(500),
                                     .direct_tls = sim_chance(300),
                                     .answer_ns = sim_chance(300) ? 3 * SIM_S : 5 * SIM_MS};
    if (sim_chance(500))
        partner->twin = (enum plan_twin)sim_below(TWIN_DARK + 1);
    draw_rules(partner);
    partner->bidi = sim_chance(400);
    partner->wants_bidi = partner->bidi && sim_chance(700);
    partner->managed = sim_chance(500);
    partner->resumes = partner->managed && sim_chance(700);
    partner->lags = partner->managed && sim_chance(500);
    if (partner->resumes && sim_chance(500))
        partner->cuts = (unsigned)sim_between(10, 200);
    if (sim_chance(200))
        partner->mute = (unsigned)sim_between(50, 1000);
    if (sim_chance(400))
        partner->refuse = (unsigned)sim_between(20, 500);
    if (sim_chance(100))
        partner->misaddress = (unsigned)sim_between(20, 100);
    if (sim_chance(250))
        partner->reads = (unsigned)sim_between(4000, 40000);
    if (sim_chance(200))
        partner->closes = (unsigned)sim_between(5, 100);
    if (sim_chance(100))
        partner->rubbish = (unsigned)sim_between(5, 50);
    partner->is_impostor = sim_chance(40) && partner->knows_tls;
    if (partner->is_impostor)
        take_rules(partner, NEED_REQUIRED, NEED_REQUIRED, true);
    partner->streams = sim_chance(400) ? (unsigned)sim_between(2, PLAN_STREAM_MAX) : 1;
    if (partner->streams > 1 && sim_chance(300))
        partner->takes = (unsigned)sim_between(1, partner->streams);
    draw_down(&partner->down_from_ns, &partner->down_until_ns);
}

static void draw_trunk(struct plan_trunk *trunk, unsigned tenant, unsigned i)
{
    *trunk = (struct plan_trunk){
        .address = address_of("10.2.0", tenant * PLAN_TRUNK_MAX + i, SIP_PORT),
        .by_dns = sim_chance(300),
        .transport = sim_chance(500)   ? SIP_TRANSPORT_UDP
                     : sim_chance(500) ? SIP_TRANSPORT_TCP
                                       : SIP_TRANSPORT_TLS,
        .answer_ns = sim_chance(200) ? 4 * SIM_S : 2 * SIM_MS,
        .options_interval_s = sim_chance(300) ? 10 : 0};
    if (sim_chance(200))
        trunk->silent = (unsigned)sim_between(10, 200);
    if (sim_chance(400))
        trunk->refuse = (unsigned)sim_between(20, 500);
    if (sim_chance(150))
        trunk->unavailable = (unsigned)sim_between(10, 200);
    if (sim_chance(300))
        trunk->provisional = (unsigned)sim_between(50, 800);
    if (sim_chance(100))
        trunk->misaddress = (unsigned)sim_between(20, 100);
    if (sim_chance(100))
        trunk->rubbish = (unsigned)sim_between(20, 200);
    draw_down(&trunk->down_from_ns, &trunk->down_until_ns);
}

/* As much as the network can carry, in a moment; what would take minutes for each message is
   left to other seeds. */
static void draw_flood(struct plan *plan)
{
    plan->is_flood = true;
    plan->parcels = 128;
    plan->users = PLAN_USER_MAX;
    plan->to_sip = (unsigned)sim_between(100, 700);
    plan->to_xmpp = (unsigned)sim_between(100, 700);
    plan->send_ns = sim_between(SIM_MS, 3 * SIM_S);
    plan->long_text = 0;
    if (plan->network.window < FLOOD_WINDOW)
        plan->network.window = FLOOD_WINDOW;
    for (unsigned i = 0; i < plan->tenant_count; i++) {
        for (unsigned j = 0; j < plan->tenants[i].trunk_count; j++) {
            plan->tenants[i].trunks[j].answer_ns = 2 * SIM_MS;
            plan->tenants[i].trunks[j].silent = 0;
        }
    }
}

/* Nothing breaks, so nothing is an excuse: many users write at once to servers that take
   several streams, or fewer than the relay wants. */
static void draw_calm(struct plan *plan)
{
    plan->network = (struct network_faults){.latency_min_ns = 20 * SIM_US,
                                            .latency_max_ns = sim_between(SIM_MS, 8 * SIM_MS),
                                            .jitter_ns = 2 * SIM_MS,
                                            .window = 65536};
    plan->parcels = 1024;
    plan->users = (unsigned)sim_between(2, PLAN_USER_MAX);
    plan->to_xmpp = (unsigned)sim_between(100, 250);
    plan->send_ns = sim_between(SIM_S, 4 * SIM_S);
    plan->confirm_timeout_ms = 5000;
    plan->dns_fail = plan->pause = 0;
    plan->stops_ns = plan->restarts_ns = 0;
    plan->reloads = (unsigned)sim_between(0, 50);
    plan->removes = false;
    for (unsigned i = 0; i < plan->partner_count; i++) {
        struct plan_partner *partner = &plan->partners[i];
        partner->streams = (unsigned)sim_between(2, PLAN_STREAM_MAX);
        partner->takes = sim_chance(500) ? (unsigned)sim_between(1, partner->streams) : 0;
        partner->twin = TWIN_NONE;
        partner->answer_ns = 5 * SIM_MS;
        partner->mute = partner->misaddress = partner->closes = partner->cuts = 0;
        partner->rubbish = 0;
        partner->reads = sim_chance(700) ? (unsigned)sim_between(8000, 30000) : 0;
        partner->down_from_ns = partner->down_until_ns = 0;
    }
    for (unsigned i = 0; i < plan->tenant_count; i++)
        for (unsigned j = 0; j < plan->tenants[i].trunk_count; j++)
            plan->tenants[i].trunks[j].silent = 0;
}

static void draw_quota(struct plan_tenant *tenant)
{
    if (sim_chance(150)) {
        tenant->per_second_max = (unsigned)sim_between(1, 5);
        tenant->burst_max = sim_chance(500) ? (unsigned)sim_between(1, 10) : 0;
    }
    if (sim_chance(150))
        tenant->in_flight_max = (unsigned)sim_between(5, 30);
}

static void draw_peers(struct plan *plan)
{
    static const char *const domains[PLAN_TENANT_MAX] = {"s0.example", "s1.example"};
    plan->partner_count = (unsigned)sim_between(1, PLAN_PARTNER_MAX);
    plan->tenant_count = (unsigned)sim_between(1, PLAN_TENANT_MAX);
    for (unsigned i = 0; i < plan->partner_count; i++)
        draw_partner(&plan->partners[i], i);
    for (unsigned i = 0; i < plan->tenant_count; i++) {
        struct plan_tenant *tenant = &plan->tenants[i];
        tenant->domain = domains[i];
        draw_quota(tenant);
        tenant->trunk_count = (unsigned)sim_between(1, PLAN_TRUNK_MAX);
        for (unsigned j = 0; j < tenant->trunk_count; j++)
            draw_trunk(&tenant->trunks[j], i, j);
    }
}

void plan_draw(struct plan *plan)
{
    static const unsigned parcels[] = {128, 128, 256, 1024};
    *plan = (struct plan){.workers = (unsigned)sim_between(1, 3),
                          .egress = (unsigned)sim_between(1, 3),
                          .parcels = parcels[sim_below(4)],
                          .recipient_queue_max = sim_chance(200) ? 2 : 64,
                          .confirm_timeout_ms = sim_chance(300) ? 1000 : 5000,
                          .deliver_timeout_ms = sim_chance(300) ? 40000 : 25000,
                          .users = (unsigned)sim_between(1, 4),
                          .breaker_pairs = (unsigned)sim_below(3),
                          .to_sip = (unsigned)sim_between(5, 80),
                          .to_xmpp = (unsigned)sim_between(5, 80),
                          .questions = sim_chance(500) ? (unsigned)sim_between(1, 20) : 0,
                          .send_ns = SEND_NS,
                          .long_text = sim_chance(300) ? 50 : 0};
    draw_network(&plan->network);
    if (sim_chance(150))
        plan->dns_fail = (unsigned)sim_between(50, 500);
    if (sim_chance(150))
        plan->pause = (unsigned)sim_between(1, 50);
    draw_peers(plan);
    if (sim_chance(150))
        draw_flood(plan);
    if (sim_chance(150))
        plan->stops_ns = 1 + sim_below(plan->send_ns);
    else if (sim_chance(120))
        plan->restarts_ns = 1 + sim_below(plan->send_ns);
    plan->is_killed = sim_chance(500);
    if (sim_chance(400))
        plan->reloads = (unsigned)sim_between(1, 20);
    plan->removes = plan->reloads > 0 && sim_chance(300);
    if (!plan->is_flood && sim_chance(150))
        draw_calm(plan);
}
