/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What waits for the stream of a link: db:verify first, which others wait for before they can
 * say anything at all; then messages and their errors, then IQs. As long as the stream takes
 * what comes, there is nothing to choose from. IQs are passed by PASS_MAX messages at most, for
 * a server whose pings are not answered takes the relay for dead.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/link_priv.h"

#define QUEUE_MAX 4096 /* parcels that wait for one link, whatever the rules say */
#define PASS_MAX  16
#define SLOW_PART 4

void link_push(struct parcel_list *list, struct parcel *parcel)
{
    parcel->next = NULL;
    if (list->tail != NULL)
        list->tail->next = parcel;
    else
        list->head = parcel;
    list->tail = parcel;
    list->count++;
}

struct parcel *link_pop(struct parcel_list *list)
{
    struct parcel *parcel = list->head;
    if (parcel == NULL)
        return NULL;
    list->head = parcel->next;
    if (list->head == NULL)
        list->tail = NULL;
    list->count--;
    parcel->next = NULL;
    return parcel;
}

void link_unhook(struct parcel_list *list, struct parcel *previous, struct parcel *parcel)
{
    if (previous == NULL) {
        link_pop(list);
        return;
    }
    previous->next = parcel->next;
    if (list->tail == parcel)
        list->tail = previous;
    list->count--;
    parcel->next = NULL;
}

void link_prepend(struct parcel_list *list, struct parcel_list *more)
{
    if (more->tail == NULL)
        return;
    more->tail->next = list->head;
    list->head = more->head;
    list->tail = list->tail != NULL ? list->tail : more->tail;
    list->count += more->count;
}

void link_queue_merge(struct parcel_list *list, struct parcel_list *more)
{
    struct parcel_list merged = {NULL, NULL, 0};
    while (list->head != NULL || more->head != NULL) {
        bool is_first = more->head == NULL ||
                        (list->head != NULL &&
                         (list->head->is_again || list->head->born_ms <= more->head->born_ms));
        link_push(&merged, link_pop(is_first ? list : more));
    }
    *list = merged;
}

unsigned link_waiting(const struct link *link)
{
    return link->queue.count + link->later.count + link->verify.count;
}

void link_take_rules(struct link *link)
{
    const struct config *config = link->worker->thread->config;
    struct span local = s2s_domain_span(&link->local);
    struct rules_stack rules =
        config_rules(config, config_find_tenant(config, local), s2s_domain_span(&link->remote));
    link->queue_max = rules_value(&rules, RULE_QUEUE_MAX);
    link->deliver_timeout_ms = rules_value(&rules, RULE_DELIVER_TIMEOUT);
    link->confirm_timeout_ms = rules_value(&rules, RULE_CONFIRM_TIMEOUT);
}

/* For one that is slow no more waits than a part of what was left in the pool that the parcel
   is from: as with quotas (core/quota.h), but for less, so that its tenant has room for others.
   Error stanzas and answers are not refused for that: they would be lost. All links of a pair
   together have as much as one. */
bool link_queue_is_full(const struct link *link, const struct parcel *parcel)
{
    unsigned unread = 0;
    bool is_slow = link->pace.slow;
    unsigned waiting = link_waiting(link);
    if (link->spread != NULL)
        waiting += link_choice_waiting(link, &unread, &is_slow);
    bool is_message =
        parcel->kind == PARCEL_STANZA_TO_XMPP && parcel->wants_outcome && !parcel->wants_answer;
    if (waiting >= QUEUE_MAX)
        return true;
    return is_message && ((link->queue_max > 0 && waiting >= link->queue_max) ||
                          (is_slow && waiting + unread > parcel->left / SLOW_PART));
}

void link_queue_take(struct link *link, struct parcel *parcel)
{
    struct parcel_list *list = parcel->kind == PARCEL_VERIFY ? &link->verify
                               : parcel->is_iq               ? &link->later
                                                             : &link->queue;
    link_push(list, parcel);
    if (link->spread != NULL)
        link_choice_enter(link, parcel);
}

bool link_queue_is_empty(const struct link *link)
{
    return link->queue.head == NULL && link->later.head == NULL;
}

void link_queue_choose(struct link *link)
{
    struct parcel_list first = {NULL, NULL, 0};
    if (link->later.head == NULL)
        return;
    if (link->queue.head != NULL && link->passed < PASS_MAX) {
        link->passed++;
        return;
    }
    link->passed = 0;
    link_push(&first, link_pop(&link->later));
    link_prepend(&link->queue, &first);
}

void link_queue_fail(struct link *link, enum stanza_error error, enum stanza_error verdict)
{
    link_fail_list(link, &link->queue, error);
    link_fail_list(link, &link->later, error);
    link_fail_list(link, &link->verify, verdict);
}

void link_queue_show(struct link *link)
{
    unsigned waiting = link_waiting(link);
    if (waiting == link->waiting_shown)
        return;
    stats_add(link->worker->thread->stats, STAT_XMPP_WAITING,
              (uint64_t)waiting - link->waiting_shown);
    link->waiting_shown = waiting;
}

void link_report(const struct link *link, FILE *out)
{
    fprintf(out, "\t%u\t", link_waiting(link));
    if (link->pace.slow)
        fprintf(out, "%" PRIu32, link->pace.rate);
    else
        fputc('-', out);
    fprintf(out, "\t%u/%u", link->number + 1, link_choice_streams(link));
}
