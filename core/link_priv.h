/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What link.c (its life), link_choice.c (which one of its pair), link_server.c (where the remote
 * server is), link_race.c (which of its addresses), link_adopt.c (whether its partner has opened
 * a stream that will do), link_breaker.c (whether its partner can be reached at all),
 * link_queue.c (what waits for it), link_flow.c (what goes over the stream and how it ended),
 * link_ping.c (pings), link_sm.c (acknowledgements) and link_resume.c (a stream that broke goes
 * on) share.
 */
#ifndef PASSERELLE_CORE_LINK_PRIV_H
#define PASSERELLE_CORE_LINK_PRIV_H

#include "core/link.h"
#include "core/link_pace.h"
#include "core/probe.h"
#include "core/table.h"

enum link_state { LINK_IDLE, LINK_RESOLVING, LINK_CONNECTING };

struct parcel_list {
    struct parcel *head, *tail;
    unsigned count;
};

/* Of the link's stream, while its stanzas are counted (XEP-0198). */
struct link_sm {
    struct sm_sender sender;
    bool asked;          /* an <r/> is out */
    uint32_t asked_at;   /* what was sent by then */
    uint32_t again;      /* of the stanzas sent, the last ones: to be written again */
    bool is_broken;      /* it is to be resumed … */
    uint64_t until_ms;   /* … by then */
    struct intake *intake; /* … and what the other side sent on it, where it went both ways */
    uint64_t adopted; /* the ticket of the intake of a stream that the other side opened, and that
                         only it can resume; 0: it is ours */
    uint32_t max_s;      /* for how long; 0: not said */
    char id[SM_ID_SIZE]; /* by which the stream can be resumed; empty: it cannot */
};

struct link_spread;

#define LINK_RACE_MAX 8 /* connections begun at a time */

/* Connections of which the first that stands will be the link's. */
struct link_race {
    uint64_t next_ms; /* when one more is begun; UINT64_MAX: not before one fails */
    struct link_runner {
        struct session *session;
        unsigned target; /* index into the answer */
    } runners[LINK_RACE_MAX];
    unsigned count;
};

/* What DNS is asked for: direct TLS (XEP-0368), and the others (RFC 6120 §3.2.1). */
#define LINK_SERVICE_DIRECT   "_xmpps-server._tcp"
#define LINK_SERVICE_STARTTLS "_xmpp-server._tcp"

/* What a stanza needs comes first: of thousands of links it is fetched for each. */
struct link {
    uint32_t magic;
    enum link_state state;
    struct worker *worker;
    struct probe *probe; /* whose link it is: it carries nothing; NULL: a link for traffic */
    struct table_node node; /* by its pair, in worker->links; not of a probe or an asker */
    struct link_spread *spread; /* over which senders are spread; NULL: it is the only one */
    unsigned number;            /* of the links of its pair, from 0 */
    struct session *session;
    uint32_t queue_max;     /* by the rules; 0: none is given */
    unsigned waiting_shown; /* of its stanzas that wait, in the statistics */
    struct parcel_list queue;       /* stanzas not yet written; first those to be written again */
    struct parcel_list later;       /* IQs not yet written, which go behind the messages … */
    unsigned passed;                /* … of which so many have passed them */
    struct parcel_list verify;      /* db:verify not yet written */
    struct parcel_list asked;       /* db:verify and requests without an answer */
    struct parcel_list unconfirmed; /* written stanzas whose outcome is open */
    struct parcel_list fleeting; /* written, nobody waits for their outcome, not yet sent, or
                                    not acknowledged where that is counted */
    unsigned covered;               /* of them, before the ping in flight */
    bool pinging, ready;            /* ready: this session was good for stanzas */
    uint64_t ping, ping_deadline_ms; /* the one in flight */
    uint64_t forget_ms;              /* without anything to do until then */
    uint32_t deliver_timeout_ms, confirm_timeout_ms; /* by the rules */
    struct timer timer;
    struct link_pace pace; /* of its stream */
    struct link_sm sm;
    struct link_race race;
    struct census_partner *counted; /* the partner among whose streams its own counts */
    struct link *asks_for; /* which has this one for db:verify only; NULL: it is of its own … */
    struct link *asker;    /* … and may have one, beside a stream that the partner opened */
    struct s2s_domain local, remote;
    char remote_ascii[RESOLVER_NAME_SIZE];
    unsigned service_count; /* of the question; 0: the configuration names the host */
    bool has_direct;        /* the first of them, or that host, is direct TLS */
    struct resolver_answer *answer; /* while a stream is sought */
    uint32_t left;   /* of its targets, those to be tried: a set of bits */
    unsigned target; /* the one `session` is connected to, or the last one begun with */
    char other_host[RESOLVER_NAME_SIZE]; /* to go to instead; empty: none */
    uint16_t other_port;
    bool sent_away; /* it was followed once in this try */
    bool elsewhere; /* the targets are of the other host */
    bool no_external; /* in this round a server ended the stream as it refused our certificate */
    bool is_patient; /* DNS is asked once more, and every address is waited for */
    bool is_partners_fault; /* that no stream came of this try: other pairs would have none */
    bool was_alone;         /* nor another one of its pair stood when it gave up */
    unsigned failures;
    uint64_t backoff_until_ms;
    enum stanza_error last_fault;
    char reason[480];
};

/* The same for all links of a pair. */
static inline uint64_t link_pair_hash(struct span local, struct span remote)
{
    return thread_hash(thread_hash(0, local), remote);
}
/* A link in no table; NULL: no memory, or no domain that DNS could know. */
struct link *link_make(struct worker *worker, struct span local, struct span remote) MUST_USE;
/* link_choice.c: the first link of this pair on this worker, by its number; NULL: there is
   none. */
struct link *link_find(struct worker *worker, struct span local, struct span remote);
/* The next one of its pair; NULL behind the last. */
struct link *link_next(const struct link *link);
/* The one that is to take the parcel: NULL: it has to be opened, with this number. */
struct link *link_choose(struct worker *worker, const struct parcel *parcel,
                         unsigned *number) MUST_USE;
/* Makes one for traffic, which there is not yet: who has something for the pair finds it. NULL
   as link_make. */
struct link *link_open(struct worker *worker, struct span local, struct span remote,
                       unsigned number) MUST_USE;
/* It is found no more. */
void link_choice_close(struct link *link);
/* Takes over how many links the rules allow. */
void link_choice_reload(struct link *link);
/* Of a link with a spread: it has taken a parcel; has it no more; has written it. */
void link_choice_enter(const struct link *link, const struct parcel *parcel);
void link_choice_leave(const struct link *link, const struct parcel *parcel);
void link_choice_wrote(const struct link *link, const struct parcel *parcel);
/* Another one of its pair that has a stream or seeks one; NULL: there is none. */
struct link *link_choice_other(const struct link *link);
/* All that waits for this link, which has no stream, waits for the other one, and so does what
   its senders write next. */
void link_choice_pass(struct link *link, struct link *other);
/* How much waits for the other links of its pair, and how much of theirs is not confirmed; sets
   `is_slow` where the partner reads one of them slowly. */
unsigned link_choice_waiting(const struct link *link, unsigned *unread, bool *is_slow);
/* Has it nothing to do, and is it one more than the rules allow by now? */
bool link_choice_is_surplus(const struct link *link);
/* Does another stream of its pair go both ways, or is to? */
bool link_choice_is_heard(const struct link *link);
/* How many streams its pair may have. */
unsigned link_choice_streams(const struct link *link);
/* … and has, where it may have several. */
unsigned link_choice_standing(const struct link *link);
/* link_queue.c */
void link_push(struct parcel_list *list, struct parcel *parcel);
/* The first one; NULL when the list is empty. */
struct parcel *link_pop(struct parcel_list *list);
/* Takes `parcel`, which stands behind `previous` (NULL: first). */
void link_unhook(struct parcel_list *list, struct parcel *previous, struct parcel *parcel);
/* `more`, which is used up, stands before what is in `list`. */
void link_prepend(struct parcel_list *list, struct parcel_list *more);
/* What is in `more`, which is used up, goes between what is in `list`, the older one first, but
   behind what is to be written again; the order within each stays. */
void link_queue_merge(struct parcel_list *list, struct parcel_list *more);
/* How many stanzas and verifications wait to be written. */
unsigned link_waiting(const struct link *link);
/* Takes over what the rules say of the queue, and how long things may take. */
void link_take_rules(struct link *link);
/* Does so much wait that this one is refused? */
bool link_queue_is_full(const struct link *link, const struct parcel *parcel);
/* Puts it behind those of its kind. */
void link_queue_take(struct link *link, struct parcel *parcel);
/* Does no stanza wait? */
bool link_queue_is_empty(const struct link *link);
/* Sees to it that the stanza to be written next is the first of the queue. */
void link_queue_choose(struct link *link);
/* All that waits fails: stanzas with `error`, verifications with `verdict`. */
void link_queue_fail(struct link *link, enum stanza_error error, enum stanza_error verdict);
/* Has the statistics say how many wait now. */
void link_queue_show(struct link *link);
/* The parcel goes home with its outcome. */
void link_finish(struct link *link, struct parcel *parcel, enum outcome_kind kind);
void link_finish_failed(struct link *link, struct parcel *parcel, enum stanza_error error,
                        struct span text);
/* All of the list fail with the link's reason. */
void link_fail_list(struct link *link, struct parcel_list *list, enum stanza_error error);
/* Sees to it that the timer comes no later than the earliest deadline of what waits, or when an
   unused link is to be forgotten. */
void link_arm(struct link *link);
/* No stream is possible now: everybody who waits is told why. */
void link_give_up(struct link *link, enum stanza_error error);
/* There is something to be said over a stream. */
bool link_wants_stream(const struct link *link);
/* link_adopt.c: what DNS says is known: has the partner opened a stream that goes both ways, and
   will it do? Then it is the link's, and nothing is tried any more. */
bool link_adopt(struct link *link);
/* Will its partner perhaps resume the stream that broke? Meanwhile no other one is opened. */
bool link_awaits(const struct link *link);
/* … or is there one of its partner's that may soon be taken? */
bool link_holds(const struct link *link);
/* Nobody has resumed it in time. */
void link_await_end(struct link *link);
/* The link that a db:verify of this pair goes by; NULL: no memory. */
struct link *link_asker(struct link *link);
/* It has none any more, and is none. */
void link_asker_close(struct link *link);
/* link_flow.c: its stream is good for stanzas. */
void link_become_ready(struct link *link);
/* After another configuration was taken. */
void link_reload(struct link *link);
/* link_server.c: finds the remote server and gets a stream to it. */
void link_start(struct link *link);
/* It neither has a stream nor seeks one: none of it counts any more (core/census.h). */
void link_uncount(struct link *link);
/* Tries the next target. A round that began without all addresses is followed by one with all;
   senders are told `error` when there is none left. */
void link_connect_next(struct link *link, enum stanza_error error);
/* Goes to the other host that the server has named. */
void link_go_away(struct link *link);
/* link_race.c: all targets of the answer are to be tried. */
void link_race_set(struct link *link);
/* Begins the next connection, if there is one to begin; race.count says whether any is open. */
void link_race_next(struct link *link);
/* This one failed, if it is one of the race. */
void link_race_leave(struct link *link, const struct session *session);
/* This one stands and is the link's; the others are closed. */
void link_race_won(struct link *link, struct session *session);
/* All are closed; the link hears of none. */
void link_race_stop(struct link *link, struct span reason);
/* The target of this session is to be tried once more. */
void link_race_again(struct link *link, const struct session *session);
/* link_breaker.c: no stream came of a try; senders are told `error`. */
void link_breaker_failed(struct link *link, enum stanza_error error);
/* A stream of this pair is authenticated. */
void link_breaker_worked(const struct link *link);
/* link_sm.c: a stanza was written: its number. */
uint32_t link_sm_sent(struct link *link);
/* Asks for an acknowledgement of what was written, once for all of it. */
void link_sm_ask(struct link *link);
/* The other side says that it has all before h. False: that cannot be, and the stream is closed. */
bool link_sm_acked(struct link *link, uint32_t h);
/* Stanzas nobody waits for are kept until they are acknowledged, but not for ever. */
void link_sm_shed(struct link *link);
/* When there will be one to let go; UINT64_MAX: not known. */
uint64_t link_sm_shed_ms(const struct link *link);
/* The stream is over, and what was unacknowledged has its outcome. */
void link_sm_end(struct link *link);
/* What was written and has no outcome ends with the stream, or waits again in the queue. */
void link_unconfirmed_lost(struct link *link, const struct session *session);
/* Writes the first of the queue; false when the stream takes no more now. */
bool link_write(struct link *link);
/* link_ping.c: writes a ping with a new id, which it returns; 0: the stream takes no more. */
uint64_t link_write_ping(struct link *link);
/* Writes one when it is due. One at a time stands for all that was written before it (XEP-0199
   §4.4), and shows how far the other side has read. */
void link_ping(struct link *link);
/* Does this link wait for the answer to that ping? */
bool link_ping_is_known(const struct link *link, uint64_t ping);
/* The number in the id of a ping of ours; 0: it is none. */
uint64_t link_ping_read(struct span id);
/* Whether what the partner says is read: looked up at most once for a row of stanzas, as those
   who stand still may be many. {0} before the first. */
struct link_hearing {
    bool is_known, is_deaf;
};
/* May one more stanza of the row go? Perhaps when a ping is before it. */
bool link_has_room(struct link *link, struct link_hearing *hearing);
/* What the answer to a ping, or that there was none in time, says of how fast the other side
   reads; read_ms: since then we have read what it says without a stop. */
void link_ping_answered(struct link *link, uint64_t ping, uint64_t read_ms);
void link_ping_late(struct link *link);
/* It has answered pings and does so no more, while it is told nothing new. */
bool link_is_stalled(const struct link *link);
/* It has answered pings on this stream and does so no more, nor does it acknowledge: its host has
   gone without a word, or it does not reach us. */
bool link_is_lost(const struct link *link);
/* link_resume.c: a counted stream broke, or the other side ended it: what was written and has no
   outcome waits for it to be resumed, or ends when it cannot be. */
void link_resume_later(struct link *link, struct session *session);
/* What a new connection is to resume; empty: nothing. */
struct span link_resume_id(const struct link *link);
/* The other side has resumed it behind h (S2S_SM_RESUMED), or not (S2S_SM_REFUSED). */
void link_resumed(struct link *link, const struct s2s_action *action);
/* The stream that the partner has opened is the link's now: it goes on with the numbers of what
   was sent on it, or on the one that it resumes. */
void link_resume_adopted(struct link *link);
/* Writes again what is missing, as far as the stream takes it. */
void link_resume_write(struct link *link);
/* It is not resumed: everything that waited for that has its outcome, or goes as new. */
void link_resume_end(struct link *link);

#endif
