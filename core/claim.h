/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Are the addresses to listen on free? The threads share their ports (SO_REUSEPORT), and so
 * would a second relay without a word: it would take half of the traffic. So each address must
 * be free of others before the threads start. Main thread.
 */
#ifndef PASSERELLE_CORE_CLAIM_H
#define PASSERELLE_CORE_CLAIM_H

#include "core/config.h"

/* 0, or a negative errno with "key: address (TCP): why" in `error`. None is held afterwards. */
int claim_all(const struct config *config, char *error, size_t error_size) MUST_USE;

#endif
