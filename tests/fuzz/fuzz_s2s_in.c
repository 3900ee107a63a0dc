/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The receiving side of a stream under whatever a peer may say, in segments parted by NUL: no
 * stanza is let through for a pair that neither a certificate nor a valid dialback answer for
 * this very stream has proved, and what we answer is well-formed.
 */
#include "fuzz_s2s.h"
#include "proto/s2s_in.h"

#define PROVED_MAX (PAIRS_PER_STREAM * 4)

/* What the fuzzer knows to be true, kept apart from the machine. */
struct truth {
    bool certificate; /* of xmpp.example */
    unsigned proofs;
    struct s2s_domain local[PROVED_MAX], remote[PROVED_MAX];
    unsigned proved_count;
    unsigned answers; /* bits: how the next verification ends */
    bool secure;
};

struct side {
    struct truth truth;
    struct account account;
    struct memory memory;
    struct s2s_policy policy;
    struct xml_stream *xml, *mirror;
    struct s2s_in in;
    unsigned id;
    bool mirror_fresh;
};

static bool hosts(void *context, struct span local)
{
    (void)context;
    return span_equal(local, SPAN("sip.example")) || span_equal(local, SPAN("two.example"));
}

static unsigned proofs(void *context, struct span local, struct span remote)
{
    const struct truth *truth = context;
    CHECK(hosts(context, local));
    return span_equal(remote, SPAN("banned.example")) ? S2S_PROOF_NONE : truth->proofs;
}

static bool certified(void *context, struct span remote)
{
    const struct truth *truth = context;
    return truth->certificate && truth->secure && span_equal(remote, SPAN("xmpp.example"));
}

static void prove(struct truth *truth, struct span local, struct span remote)
{
    CHECK(truth->proved_count < PROVED_MAX);
    CHECK(s2s_domain_read(&truth->local[truth->proved_count], local));
    CHECK(s2s_domain_read(&truth->remote[truth->proved_count], remote));
    truth->proved_count++;
}

static bool is_proved(const struct truth *truth, struct span local, struct span remote)
{
    for (unsigned i = 0; i < truth->proved_count; i++)
        if (span_equal(s2s_domain_span(&truth->local[i]), local) &&
            span_equal(s2s_domain_span(&truth->remote[i]), remote))
            return true;
    return false;
}

static void check_pairs(const struct side *side)
{
    CHECK(side->in.pair_count <= PAIRS_PER_STREAM);
    for (unsigned i = 0; i < side->in.pair_count; i++) {
        const struct s2s_pair *one = &side->in.pairs[i];
        if (!one->authorised)
            continue;
        CHECK(is_proved(&side->truth, s2s_domain_span(&one->local),
                        s2s_domain_span(&one->remote)));
        CHECK(!span_equal(s2s_domain_span(&one->remote), SPAN("banned.example")));
    }
}

/* Reads what we wrote as a peer would. */
static void mirror(struct side *side, struct span text)
{
    struct xml_event event;
    if (text.size == 0)
        return;
    if (side->mirror_fresh)
        xml_stream_restart(side->mirror);
    side->mirror_fresh = false;
    enum xml_event_kind kind = fuzz_xml_feed(side->mirror, text, &event);
    while (kind != XML_EVENT_NONE) {
        CHECK(kind != XML_EVENT_ERROR);
        kind = xml_stream_next(side->mirror, &event);
    }
}

static void end(struct side *side, const struct s2s_action *action)
{
    char memory[4096];
    struct writer writer = writer_make(memory, sizeof(memory));
    s2s_in_write_close(&side->in, &writer, action->received ? STREAM_ERROR_NONE : action->error,
                       action->text);
    CHECK(!writer.overflow);
    mirror(side, writer_span(&writer));
}

/* The verification ends: valid, invalid, in error, for an older stream, or never. */
static bool answer_verify(struct side *side, const struct s2s_action *asked)
{
    char memory[4096];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct s2s_action action, answer = *asked;
    struct s2s_domain local, remote;
    unsigned how = side->truth.answers & 7;
    side->truth.answers = side->truth.answers >> 3 | how << 5;
    CHECK(s2s_domain_read(&local, asked->local) && s2s_domain_read(&remote, asked->remote));
    answer.local = s2s_domain_span(&local);
    answer.remote = s2s_domain_span(&remote);
    answer.verdict = how < 3 ? S2S_VALID : how == 3 ? S2S_INVALID : S2S_ERROR;
    answer.fault = STANZA_ERROR_REMOTE_SERVER_NOT_FOUND;
    if (how == 2)
        answer.id = SPAN("older");
    if (how == 7)
        return true;
    if (how < 2)
        prove(&side->truth, answer.local, answer.remote);
    s2s_in_verified(&side->in, &answer, &writer, &action);
    CHECK(!writer.overflow);
    mirror(side, writer_span(&writer));
    CHECK((action.kind == S2S_PAIR_AUTHORISED) <= (how < 2));
    if (action.kind == S2S_CLOSE)
        end(side, &action);
    return action.kind != S2S_CLOSE;
}

/* Taken, or a stream that is not known. */
static void answer_sm(struct side *side, const struct s2s_action *action)
{
    char memory[4096];
    struct writer writer = writer_make(memory, sizeof(memory));
    unsigned how = side->truth.answers & 3;
    side->truth.answers = side->truth.answers >> 2 | how << 6;
    if (action->kind == S2S_SM_ENABLE)
        s2s_in_sm_enabled(&side->in, &writer, how == 0 ? SPAN("") : SPAN("sm-id"), 60);
    else if (how < 2 && action->sm.id.size < 1000)
        s2s_in_sm_resumed(&side->in, &writer, action->sm.id, how);
    else
        sm_write_failed(&writer, STANZA_ERROR_ITEM_NOT_FOUND);
    CHECK(!writer.overflow);
    mirror(side, writer_span(&writer));
}

/* Stanzas go under TLS, and in clear only where dialback in clear is allowed. */
static bool may_go_on(const struct side *side)
{
    return side->truth.secure || (side->truth.proofs & S2S_PROOF_CLEAR) != 0;
}

/* False at the end of the stream. */
static bool act(struct side *side, const struct s2s_action *action)
{
    switch (action->kind) {
    case S2S_NOTHING:
    case S2S_UNSOLICITED:
    case S2S_PAIR_REFUSED:
    case S2S_ANSWER_VERIFY: return true;
    case S2S_START_TLS:
        CHECK(!side->truth.secure && side->truth.proved_count == 0);
        CHECK(side->truth.proofs != S2S_PROOF_CLEAR);
        side->truth.secure = true;
        s2s_in_tls_done(&side->in);
        side->mirror_fresh = true;
        xml_stream_restart(side->xml);
        return true;
    case S2S_RESTART:
        CHECK(certified(&side->truth, action->remote));
        CHECK((side->truth.proofs & S2S_PROOF_EXTERNAL) != 0);
        prove(&side->truth, action->local, action->remote);
        side->mirror_fresh = true;
        xml_stream_restart(side->xml);
        return true;
    case S2S_PAIR_AUTHORISED:
        CHECK(is_proved(&side->truth, action->local, action->remote) ||
              certified(&side->truth, action->remote));
        prove(&side->truth, action->local, action->remote);
        return side->truth.proved_count < PROVED_MAX / 2;
    case S2S_VERIFY:
        CHECK((side->truth.proofs &
               (side->truth.secure ? S2S_PROOF_DIALBACK : S2S_PROOF_CLEAR)) != 0);
        return answer_verify(side, action) && side->truth.proved_count < PROVED_MAX / 2;
    case S2S_STANZA: CHECK(side->truth.proved_count > 0 && may_go_on(side)); return true;
    case S2S_SM_ENABLE:
    case S2S_SM_RESUME:
        CHECK(side->truth.proved_count > 0 && may_go_on(side) && !side->in.sm_on);
        answer_sm(side, action);
        return true;
    case S2S_SM_REQUEST: CHECK(side->in.sm_on); return true;
    case S2S_SM_ENABLED:
    case S2S_SM_ACKED:
    case S2S_SM_RESUMED:
    case S2S_SM_REFUSED:
    case S2S_SM_FAILED:
    case S2S_NEED_KEY:
    case S2S_VERIFIED:
    case S2S_READY: CHECK(false); return false; /* for the initiating side */
    case S2S_CLOSE: end(side, action); return false;
    }
    return false;
}

/* One segment: all events in it, until the parser is a fresh one. */
static bool feed(struct side *side, struct span text)
{
    static char memory[65536];
    struct xml_event event;
    enum xml_event_kind kind = fuzz_xml_feed(side->xml, text, &event);
    while (kind != XML_EVENT_NONE) {
        struct writer writer = writer_make(memory, sizeof(memory));
        struct s2s_action action;
        if (kind == XML_EVENT_OPEN) {
            char id[16];
            (void)snprintf(id, sizeof(id), "id%u", side->id++);
            s2s_in_set_id(&side->in, span_of(id));
        }
        s2s_in_event(&side->in, &event, &writer, &action);
        if (writer.overflow)
            return false;
        mirror(side, writer_span(&writer));
        bool more = act(side, &action);
        check_pairs(side);
        if (!more)
            return false;
        kind = xml_stream_next(side->xml, &event);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    unsigned choice = fuzz_choice(&input);
    struct side side = {.account = {0, -1}, .mirror_fresh = true};
    side.truth.certificate = (choice & 1) != 0;
    side.truth.secure = (choice & 2) != 0;
    side.truth.proofs = fuzz_s2s_proofs[choice >> 2 & 7];
    side.truth.answers = fuzz_choice(&input);
    side.memory = account_memory(&side.account);
    side.policy = (struct s2s_policy){.context = &side.truth,
                                      .hosts = hosts,
                                      .proofs = proofs,
                                      .certified = certified,
                                      .stream_management = true};
    side.xml = xml_stream_open(&side.memory, NULL);
    side.mirror = xml_stream_open(&side.memory, NULL);
    CHECK(side.xml != NULL && side.mirror != NULL);
    s2s_in_init(&side.in, &side.memory, &side.policy, side.truth.secure);
    bool more = true;
    while (more && input.size > 0) {
        size_t part = span_find(input, '\0');
        more = feed(&side, span_to(input, part));
        input = span_from(input, part + 1);
    }
    s2s_in_fini(&side.in);
    xml_stream_close(&side.xml);
    xml_stream_close(&side.mirror);
    CHECK(side.account.blocks == 0);
    return 0;
}
