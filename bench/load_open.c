/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "bench/greedy.h"
#include "bench/half_open.h"
#include "bench/rogue.h"
#include "net/clock.h"
#include "net/digest.h"

#define LOAD_OPEN_TIMEOUT_NS 15000000000ull /* without one more stream becoming ready */
#define LOAD_FILES_ELSE      64             /* descriptors that are no stream's */
#define LOAD_OPENING_MAX     64             /* streams that negotiate at the same time */

int load_open_stream(struct load *load, unsigned i)
{
    const struct load_options *options = &load->options;
    unsigned spread = options->sip_domains / options->streams;
    const char *prefix = options->prefix != NULL ? options->prefix : "";
    char from[64], to[64];
    snprintf(from, sizeof(from), "%sx%u.bench", prefix, i % options->xmpp_domains);
    snprintf(to, sizeof(to), "%ss%u.bench", prefix,
             i * (spread > 0 ? spread : 1) % options->sip_domains);
    if (options->sip_name != NULL)
        snprintf(to, sizeof(to), "%s", options->sip_name);
    int status =
        bench_stream_connect(&load->out[i], load->ring, &options->relay_xmpp, from, to);
    load->out[i].context = load;
    load->out[i].managed = options->managed;
    load_index_add(&load->index, &load->out[i]);
    return status;
}

bool load_far_ready(const struct load *load)
{
    return load->options.component_secret != NULL ? load->component.ready
                                                  : sip_side_ready(&load->sip);
}

int load_connect(struct load *load)
{
    unsigned ready = 0, streams = load->options.streams;
    load->now_ns = clock_now_ns();
    uint64_t check_ns = 0, end_ns = load->now_ns + LOAD_OPEN_TIMEOUT_NS;
    while (load->ready < streams || check_ns == 0) {
        /* An XMPP server knows a component's name only while it is there. */
        for (; load_far_ready(load) && load->opened < streams &&
               load->opened - load->ready < LOAD_OPENING_MAX;
             load->opened++) {
            int status = load_open_stream(load, load->opened);
            if (status != 0) {
                snprintf(load->problem, sizeof(load->problem), "stream %u: %s", load->opened,
                         strerror(-status));
                return status;
            }
        }
        load_turn(load, 10000000);
        if (load->ready > ready)
            end_ns = load->now_ns + LOAD_OPEN_TIMEOUT_NS;
        ready = load->ready;
        if (load->now_ns < check_ns && ready < streams)
            continue;
        check_ns = load->now_ns + LOAD_TICK_NS; /* not at every turn: there may be many */
        int status = load_check(load);
        if (status != 0)
            return status;
        if (load->now_ns > end_ns) {
            snprintf(load->problem, sizeof(load->problem), "%u of %u streams are ready%s",
                     ready, streams, load_far_ready(load) ? "" : "; SIP is not");
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static void load_fill_text(struct load *load)
{
    static const char utf8[] = "Grüße, мир! 世界 😀 ẞ é ";
    const char *pattern = load->options.utf8 ? utf8 : "x";
    size_t size = strlen(pattern);
    for (size_t i = 0; i < CHOICE_SIZE_MAX; i++)
        load->text[i] = pattern[i % size];
}

static int load_open_memory(struct load *load)
{
    const struct load_options *options = &load->options;
    assert(options->streams > 0 && options->streams <= LOAD_STREAM_MAX);
    load->out = calloc(options->streams, sizeof(*load->out));
    load->dirty = calloc(options->streams, sizeof(struct bench_stream *));
    load->text = malloc(CHOICE_SIZE_MAX);
    if (load->out == NULL || load->dirty == NULL || load->text == NULL)
        return -ENOMEM;
    if (load_index_open(&load->index, options->streams) != 0 ||
        choice_open(&load->choice, &options->choice, options->users) != 0)
        return -ENOMEM;
    load_fill_text(load);
    load->chance = options->choice.seed;
    digest_random(&load->run, sizeof(load->run));
    return 0;
}

/* One descriptor for each of our streams, one for each of the relay's to us when messages go
   that way, and some. Only with CAP_SYS_RESOURCE the hard limit can be passed. */
static int load_open_files(struct load *load)
{
    struct rlimit files;
    rlim_t need = load->options.streams + LOAD_FILES_ELSE;
    if (load->options.drive != LOAD_XMPP_TO_SIP)
        need += load->options.streams;
    need += load->options.slow + load->options.hostile + load->options.half_open;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return -errno;
    if (files.rlim_cur >= need)
        return 0;
    struct rlimit wanted = {.rlim_cur = need,
                            .rlim_max = files.rlim_max > need ? files.rlim_max : need};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return 0;
    snprintf(load->problem, sizeof(load->problem),
             "%u streams need %llu file descriptors, the hard limit is %llu: raise it (ulimit "
             "-Hn, LimitNOFILE=) or open fewer",
             load->options.streams, (unsigned long long)need,
             (unsigned long long)files.rlim_max);
    return -EMFILE;
}

static int load_open_ring(struct load *load)
{
    const char *cause = "";
    struct ring_options ring = {.socket_max =
                                    2 * LOAD_STREAM_MAX + 64 + load->options.half_open,
                                .receive_buffer_count = 512,
                                .datagram_send_max = 4096,
                                .error_text = &cause};
    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* an open loop is only as good as its clock */
    int status = load_open_files(load);
    if (status != 0)
        return status;
    status = ring_open(&load->ring, &ring);
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "io_uring: %s", cause);
    return status;
}

/* Where messages to SIP end. */
static int load_open_far(struct load *load)
{
    const struct load_options *options = &load->options;
    struct component_options component = {.ring = load->ring,
                                          .server = options->component,
                                          .domain = options->sip_name,
                                          .secret = options->component_secret,
                                          .message = load_on_component,
                                          .context = load};
    struct sip_side_options sip = {.ring = load->ring,
                                   .tls = load->tls,
                                   .transport = options->transport,
                                   .own = options->own_sip,
                                   .relay = options->relay_sip,
                                   .sends = options->drive != LOAD_XMPP_TO_SIP,
                                   .message = load_on_sip,
                                   .context = load};
    return options->component_secret != NULL ? component_open(&load->component, &component)
                                             : sip_side_open(&load->sip, &sip);
}

int load_open(struct load *load, const struct load_options *options)
{
    *load = (struct load){.options = *options, .xmpp_owner = BENCH_OWNER_XMPP_LISTENER};
    int status = load_open_memory(load);
    if (status == 0)
        status = load_open_ring(load);
    if (status != 0)
        return status;
    struct tls_context_options tls = {.certificate_file = options->certificate,
                                      .key_file = options->key,
                                      .ca_file = options->ca,
                                      .version = options->tls};
    status = tls_context_open(&load->tls, &tls, load->problem, sizeof(load->problem));
    if (status != 0)
        return status;
    status =
        ring_listen_stream(load->ring, &options->own_xmpp, &load->xmpp_owner, &load->listener);
    if (status == 0)
        status = load_open_far(load);
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "cannot listen: %s", strerror(-status));
    return status;
}

void load_close(struct load *load)
{
    if (load->ring != NULL)
        ring_close(&load->ring);
    for (unsigned i = 0; i < load->opened; i++)
        bench_stream_close(&load->out[i]);
    for (unsigned i = 0; i < load->in_count; i++) {
        bench_stream_close(load->in[i]);
        free(load->in[i]);
    }
    rogues_close(load->rogues);
    greedy_close(load->greedy);
    half_open_close(load->half_open);
    sip_side_close(&load->sip);
    component_close(&load->component);
    free(load->out);
    free(load->in);
    free(load->dirty);
    load_index_close(&load->index);
    choice_close(&load->choice);
    free(load->text);
    if (load->tls != NULL)
        tls_context_close(&load->tls);
    ledger_fini(&load->to_sip);
    ledger_fini(&load->to_xmpp);
}
