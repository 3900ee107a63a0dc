/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What s2s_in.c (header, features, proofs), s2s_in_bidi.c (streams that go both ways) and
   s2s_in_sm.c (stream management) share. */
#ifndef PASSERELLE_PROTO_S2S_IN_PRIV_H
#define PASSERELLE_PROTO_S2S_IN_PRIV_H

#include "proto/s2s_in.h"

/* An element of stream management came. */
void s2s_in_sm(struct s2s_in *in, const struct xml_node *node, struct writer *writer,
               struct s2s_action *action);
/* <bidi/> came: the peer wants the stream to go both ways. */
void s2s_in_bidi(struct s2s_in *in, const struct xml_node *node, struct s2s_action *action);

#endif
