/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams between servers for fuzz targets: what the rules may allow as proof. */
#ifndef PASSERELLE_TESTS_FUZZ_S2S_H
#define PASSERELLE_TESTS_FUZZ_S2S_H

#include "fuzz_xml.h"
#include "proto/s2s.h"

/* The choice of an input is an index of it: a new set goes in the place of a repeated one. */
static const unsigned fuzz_s2s_proofs[] = {S2S_PROOF_TLS,
                                           S2S_PROOF_EXTERNAL,
                                           S2S_PROOF_DIALBACK,
                                           S2S_PROOF_ALL,
                                           S2S_PROOF_CLEAR,
                                           S2S_PROOF_NONE,
                                           S2S_PROOF_CLEAR | S2S_PROOF_DIALBACK,
                                           S2S_PROOF_TLS};

#endif
