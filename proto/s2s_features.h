/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a server offers in its stream features (RFC 6120 §4.3.2), as far as the relay knows it.
   Pure. */
#ifndef PASSERELLE_PROTO_S2S_FEATURES_H
#define PASSERELLE_PROTO_S2S_FEATURES_H

#include "proto/writer.h"
#include "proto/xml_node.h"

#define NS_DIALBACK_FEATURE "urn:xmpp:features:dialback"
#define NS_BIDI_FEATURE     "urn:xmpp:features:bidi"
#define NS_BIDI             "urn:xmpp:bidi"
#define NS_LIMITS           "urn:xmpp:stream-limits:0"
#define S2S_MECHANISM_MAX   8 /* that are kept by name */

struct s2s_features {
    bool starttls, starttls_required;
    bool external; /* among the SASL mechanisms */
    bool dialback, sm, bidi;
    uint32_t max_bytes, idle_seconds; /* XEP-0478; 0: not said */
    unsigned mechanism_count;
    struct span mechanisms[S2S_MECHANISM_MAX]; /* into the tree */
};

/* Reads <stream:features/>. */
void s2s_features_read(struct s2s_features *features, const struct xml_node *node);
/* What is told of XEP-0478 in <limits/> below `node`; 0: nothing. */
void s2s_limits_read(const struct xml_node *node, uint32_t *max_bytes, uint32_t *idle_seconds);
/* Writes it with what `features` has; of the SASL mechanisms EXTERNAL only. */
void s2s_features_write(const struct s2s_features *features, struct writer *writer);

#endif
