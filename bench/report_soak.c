/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_soak.h"

#include <stdio.h>

#include "bench/report_json.h"
#include "bench/report_rogue.h"

static const char *const report_ways[RELAY_DIRECTIONS] = {"xmpp-sip", "sip-xmpp"};

void report_soak_fault(void *context, const struct soak_note *note)
{
    const struct fault *fault = &note->fault;
    (void)context;
    fprintf(stderr, "\r\033[K%8.1f s  %s", (double)fault->at_ns / 1e9, fault_name(fault->kind));
    if (note->target[0] != '\0')
        fprintf(stderr, ", %s", note->target);
    if (fault_lasts(fault->kind))
        fprintf(stderr, ", for %.1f s", (double)(fault->end_ns - fault->at_ns) / 1e9);
    fputc('\n', stderr);
}

static double report_share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* ---- text ---- */

static void report_faults_text(const struct soak *soak)
{
    puts("fault           happened  what");
    for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++) {
        if (soak->counts[kind] > 0)
            printf("%-15s %8u  %s\n", fault_name(kind), soak->counts[kind],
                   fault_sentence(kind));
    }
}

static void report_verdict_text(const char *way, const struct judge_verdict *verdict)
{
    printf("verdict   %s: %u delivered, %u refused with an error", way, verdict->delivered,
           verdict->refused);
    for (enum judge_fault fault = 0; fault < JUDGE_FAULTS; fault++) {
        for (enum judge_cause cause = 0; cause < JUDGE_CAUSES; cause++) {
            if (verdict->excused[fault][cause] > 0)
                printf("; %u %s, as %s", verdict->excused[fault][cause],
                       judge_fault_name(fault), judge_cause_sentence(cause));
        }
    }
    for (enum judge_fault fault = 0; fault < JUDGE_FAULTS; fault++) {
        if (verdict->unexplained[fault] > 0)
            printf("; UNEXPLAINED: %u %s, first #%u", verdict->unexplained[fault],
                   judge_fault_name(fault), verdict->first[fault]);
    }
    putchar('\n');
}

static void report_balance_text(const struct soak *soak)
{
    for (unsigned i = 0; i < RELAY_DIRECTIONS; i++) {
        const struct relay_flow *flow = &soak->end.flows[i];
        printf(
            "relay     %s: %llu accepted = %llu delivered + %llu handed over + %llu failed + "
            "%llu dropped + %llu in flight\n",
            report_ways[i], (unsigned long long)flow->accepted,
            (unsigned long long)flow->delivered, (unsigned long long)flow->handed_over,
            (unsigned long long)flow->failed, (unsigned long long)flow->dropped,
            (unsigned long long)relay_flow_in_flight(flow));
    }
    const struct relay_stats *end = &soak->end;
    printf(
        "          %llu reloads; %llu errors and answers that no stream could take; %llu XMPP "
        "sessions at the end, %llu at most\n",
        (unsigned long long)end->reloads, (unsigned long long)end->answers_lost,
        (unsigned long long)end->sessions, (unsigned long long)soak->sessions_most);
    printf("          a call of io_uring carried %.1f operations and brought %.1f completions; "
           "of %llu datagrams %.0f %% left in batches of %.1f\n",
           report_share(end->ring_submissions, end->ring_enters),
           report_share(end->ring_completions, end->ring_enters),
           (unsigned long long)end->datagrams, report_share(end->batched, end->datagrams) * 100,
           report_share(end->batched, end->batches));
}

static void report_soak_text(const struct soak *soak, const struct bench_options *options,
                             const struct usage *usage)
{
    printf("soak: seed %llu, a fault every %g s; %u streams of ours came again\n",
           (unsigned long long)options->load.choice.seed, options->every_s, soak->reopened);
    report_faults_text(soak);
    report_rogue_table(soak->load);
    report_verdict_text(report_ways[0], &soak->to_sip);
    report_verdict_text(report_ways[1], &soak->to_xmpp);
    if (soak->ended_by_relay > 0)
        printf("UNEXPLAINED: %u connections of ours were ended by the relay, the first: %s\n",
               soak->ended_by_relay, soak->ending);
    if (soak->options.processes->count > 0)
        printf("relay     %s; resident %+.0f KiB a minute behind the first fifth; descriptors: "
               "%u at the start, %u at most, %u at the end\n",
               soak->relay_died ? "DIED" : "lives", series_slope(&usage->series),
               soak->files_start, soak->files_most, soak->files_end);
    if (soak->options.stats != NULL)
        report_balance_text(soak);
    else
        puts("relay     its counters were not asked: --stats SOCKET");
}

/* ---- JSON ---- */

static json_t *report_verdict_json(const struct judge_verdict *verdict)
{
    json_t *excused = json_object(), *unexplained = json_object();
    for (enum judge_fault fault = 0; fault < JUDGE_FAULTS; fault++) {
        json_t *causes = json_object();
        for (enum judge_cause cause = 0; cause < JUDGE_CAUSES; cause++) {
            if (verdict->excused[fault][cause] > 0)
                json_object_set_new(causes, judge_cause_name(cause),
                                    json_integer(verdict->excused[fault][cause]));
        }
        json_object_set_new(excused, judge_fault_name(fault), causes);
        json_object_set_new(unexplained, judge_fault_name(fault),
                            json_integer(verdict->unexplained[fault]));
    }
    return json_pack("{s:I, s:I, s:o, s:o}", "delivered", (json_int_t)verdict->delivered,
                     "refused", (json_int_t)verdict->refused, "excused", excused, "unexplained",
                     unexplained);
}

static json_t *report_faults_json(const struct soak *soak)
{
    json_t *faults = json_array();
    for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++)
        json_array_append_new(faults, json_pack("{s:s, s:s, s:I}", "name", fault_name(kind),
                                                "what", fault_sentence(kind), "happened",
                                                (json_int_t)soak->counts[kind]));
    return faults;
}

static json_t *report_log_json(const struct soak *soak)
{
    json_t *log = json_array();
    for (size_t i = 0; i < soak->log_count; i++) {
        const struct fault *fault = &soak->log[i].fault;
        json_array_append_new(
            log, json_pack("{s:f, s:f, s:s, s:s}", "at_s", (double)fault->at_ns / 1e9,
                           "seconds", (double)(fault->end_ns - fault->at_ns) / 1e9, "name",
                           fault_name(fault->kind), "target", soak->log[i].target));
    }
    return log;
}

static json_t *report_flow_balance(const struct relay_flow *flow)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "accepted", (json_int_t)flow->accepted,
                     "delivered", (json_int_t)flow->delivered, "handed_over",
                     (json_int_t)flow->handed_over, "failed", (json_int_t)flow->failed,
                     "dropped", (json_int_t)flow->dropped, "in_flight",
                     (json_int_t)relay_flow_in_flight(flow));
}

static json_t *report_balance_json(const struct soak *soak)
{
    const struct relay_stats *end = &soak->end;
    if (soak->options.stats == NULL)
        return json_null();
    json_t *balance = json_pack(
        "{s:I, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f}}", "reloads", (json_int_t)end->reloads,
        "answers_lost", (json_int_t)end->answers_lost, "sessions", (json_int_t)end->sessions,
        "sessions_most", (json_int_t)soak->sessions_most, "batching", "submissions",
        report_share(end->ring_submissions, end->ring_enters), "completions",
        report_share(end->ring_completions, end->ring_enters), "batched",
        report_share(end->batched, end->datagrams), "batch",
        report_share(end->batched, end->batches));
    for (unsigned i = 0; i < RELAY_DIRECTIONS; i++)
        json_object_set_new(balance, report_ways[i], report_flow_balance(&end->flows[i]));
    return balance;
}

void report_soak(const struct soak *soak, const struct bench_options *options,
                 const struct usage *usage)
{
    if (!options->json) {
        report_soak_text(soak, options, usage);
        return;
    }
    json_t *json =
        json_pack("{s:I, s:f, s:b, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s}", "seed",
                  (json_int_t)options->load.choice.seed, "every_s", options->every_s, "clean",
                  soak_is_clean(soak), "faults", report_faults_json(soak), "log",
                  report_log_json(soak), "xmpp-sip", report_verdict_json(&soak->to_sip),
                  "sip-xmpp", report_verdict_json(&soak->to_xmpp), "balance",
                  report_balance_json(soak), "reopened", (json_int_t)soak->reopened,
                  "ended_by_relay", (json_int_t)soak->ended_by_relay, "ending", soak->ending);
    json_object_set_new(json, "relay",
                        json_pack("{s:b, s:f, s:{s:I, s:I, s:I}}", "lives", !soak->relay_died,
                                  "slope_kib_min", series_slope(&usage->series), "descriptors",
                                  "start", (json_int_t)soak->files_start, "most",
                                  (json_int_t)soak->files_most, "end",
                                  (json_int_t)soak->files_end));
    json_object_set_new(json, "kinds", report_rogue_kinds(soak->load));
    report_member("soak", json);
}
