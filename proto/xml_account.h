/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The memory account of one XML stream: a struct memory that counts what it hands out, refuses
 * beyond XML_PARSER_MEMORY_MAX, and can stand behind expat. Owner thread of the stream.
 */
#ifndef PASSERELLE_PROTO_XML_ACCOUNT_H
#define PASSERELLE_PROTO_XML_ACCOUNT_H

#include <stdbool.h>

#include <expat.h>

#include "proto/memory.h"

struct xml_account {
    const struct memory *outer;
    struct memory memory; /* outer, counted */
    size_t held;
    bool refused; /* outer said no, which is not the peer's fault; never cleared here */
};

/* `outer` must outlive the account, which must not move. `held` are bytes taken before. */
void xml_account_init(struct xml_account *account, const struct memory *outer, size_t held);
void *xml_account_take(struct xml_account *account, size_t size)
    __attribute__((warn_unused_result));
void xml_account_give(struct xml_account *account, void *block);
/* Expat's suite has no context: between enter and leave, this thread's expat calls are charged
   to `account`. Not to be nested. */
const XML_Memory_Handling_Suite *xml_account_suite(void);
void xml_account_enter(struct xml_account *account);
void xml_account_leave(void);

#endif
