/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The negotiation matrix of Skype for Business' XMPP gateway, cell by cell as its
   administrators know it. */
#ifndef PASSERELLE_TESTS_MATRIX_H
#define PASSERELLE_TESTS_MATRIX_H

#include "core/rules.h"

#define SASL   S2S_PROOF_EXTERNAL
#define TLS_DB S2S_PROOF_DIALBACK
#define TCP_DB S2S_PROOF_CLEAR

struct matrix_cell {
    enum rules_need sasl;
    bool dialback;
    enum rules_need tls;
    unsigned proofs; /* 0: invalid */
    bool warns;
};

static const struct matrix_cell matrix[] = {
    {NEED_REQUIRED, true, NEED_REQUIRED, SASL, false},
    {NEED_REQUIRED, true, NEED_OPTIONAL, SASL | TLS_DB | TCP_DB, true},
    {NEED_REQUIRED, true, NEED_NOT_SUPPORTED, TCP_DB, true},
    {NEED_REQUIRED, false, NEED_REQUIRED, SASL, false},
    {NEED_REQUIRED, false, NEED_OPTIONAL, SASL, true},
    {NEED_REQUIRED, false, NEED_NOT_SUPPORTED, 0, false},
    {NEED_OPTIONAL, true, NEED_REQUIRED, SASL | TLS_DB, false},
    {NEED_OPTIONAL, true, NEED_OPTIONAL, SASL | TLS_DB | TCP_DB, true},
    {NEED_OPTIONAL, true, NEED_NOT_SUPPORTED, TCP_DB, true},
    {NEED_OPTIONAL, false, NEED_REQUIRED, SASL, false},
    {NEED_OPTIONAL, false, NEED_OPTIONAL, SASL, true},
    {NEED_OPTIONAL, false, NEED_NOT_SUPPORTED, 0, false},
    {NEED_NOT_SUPPORTED, true, NEED_REQUIRED, TLS_DB, false},
    {NEED_NOT_SUPPORTED, true, NEED_OPTIONAL, TLS_DB | TCP_DB, false},
    {NEED_NOT_SUPPORTED, true, NEED_NOT_SUPPORTED, TCP_DB, false},
    {NEED_NOT_SUPPORTED, false, NEED_REQUIRED, 0, false},
    {NEED_NOT_SUPPORTED, false, NEED_OPTIONAL, 0, false},
    {NEED_NOT_SUPPORTED, false, NEED_NOT_SUPPORTED, 0, false},
};

#define MATRIX_SIZE (sizeof(matrix) / sizeof(matrix[0]))

#endif
