/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration: read from YAML by libcyaml, checked, then an immutable snapshot that every
 * thread reads without a lock. Strings are NUL-terminated and owned by the snapshot. Domains
 * are held twice: as prepared U-labels (XMPP's spelling) and as A-labels (DNS, TLS, SIP).
 *
 * A snapshot may take the place of another (core/reload.h). A tenant whose name was there
 * before keeps its index, and so does a trunk of such a tenant with the same URI and identity,
 * which keeps its serial, too. New ones get an index that nothing had in the snapshot before,
 * so that what is still under way for who had it earlier never meets them.
 */
#ifndef PASSERELLE_CORE_CONFIG_H
#define PASSERELLE_CORE_CONFIG_H

#include <stddef.h>
#include <stdio.h>

#include "core/rules.h"
#include "net/address.h"
#include "proto/jid.h"
#include "proto/service_iq.h"
#include "proto/sip_message.h"

struct config_domain {
    char *unicode;
    char *ascii;
};

struct config_network {
    union net_address address;
    unsigned prefix_size;
};

/* The addresses to listen on that are behind a proxy, and who the proxies are. */
struct config_proxies {
    union net_address *listen;
    size_t listen_count;
    struct config_network *sources;
    size_t source_count;
};

#define CONFIG_WARNING_MAX 20

/* What each request asks for of its tenant stands in one line of the caches: with thousands of
   them it is fetched for each request. Of a trunk it comes first. */
#define CONFIG_LINE_SIZE 64
#define CONFIG_NEAR_SIZE 27
#define CONFIG_NEAR_NONE 255

struct config_trunk {
    uint32_t index;  /* over all tenants, below config.trunk_slots */
    uint32_t serial; /* no other trunk ever has it in this process */
    uint32_t tenant; /* its index */
    enum sip_transport transport;
    uint16_t port;                  /* 0: by RFC 3263 */
    bool locate;                    /* find targets by RFC 3263 instead of a fixed address */
    bool any_transport;             /* not said: DNS chooses among those we listen on */
    struct config_network *sources; /* who may send requests by UDP or TCP */
    size_t source_count;
    char *identity;              /* A-label the TLS peer must prove; default: host */
    char *host;                  /* literal or name */
    char *name;                  /* the URI as written, for people */
    unsigned priority;           /* lower first */
    unsigned options_interval_s; /* keep-alive; 0: off */
};

enum partner_policy { PARTNER_OPEN, PARTNER_LIST, PARTNER_CLOSED };
/* What the configuration calls them; NULL at the end. */
extern const char *const config_policy_names[];

/* What one tenant agrees with one partner. */
struct config_pair {
    struct config_domain domain;
    struct rules rules;
};

struct config_tenant {
    _Alignas(CONFIG_LINE_SIZE) uint32_t index; /* below config.tenant_slots */
    uint32_t first_trunk;        /* the index of trunks[0], and the first of the networks that */
    uint8_t near_source[16];     /* may send for it, in IPv6 spelling: see config_is_near */
    struct config_trunk *trunks; /* sorted by priority */
    uint8_t near_prefix_size; /* CONFIG_NEAR_NONE: there is no such network */
    uint8_t trunk_count;
    uint8_t policy;                    /* enum partner_policy */
    bool has_users;                    /* user_count > 0 */
    bool users_allowed;                /* may those talk with XMPP users who are not listed? */
    char near_domain[CONFIG_NEAR_SIZE]; /* the first domain, where there is room for it */
    /* The second line. */
    size_t user_count, user_allow_count;
    char **users; /* the listed ones, as prepared bare JIDs: first those who may */
    char *name;   /* no other tenant has it */
    struct config_domain *domains;
    size_t domain_count;
    char *certificate, *key;        /* PEM files; NULL: xmpp.certificate */
    uint64_t stamp;                 /* of these files: another one after a renewal */
    struct config_domain *partners; /* allowed, for PARTNER_LIST */
    size_t partner_count;
    struct config_pair *pairs;
    size_t pair_count;
    struct rules rules;
};

/* A domain of a partner may be a wildcard: "*.example.org" stands for every name with exactly
   one more label in front, as in certificates (RFC 6125 §6.4.3). A name of its own goes before.
 */
struct config_partner {
    struct config_domain *domains; /* the first is what it is called by */
    size_t domain_count;
    char *host;    /* override instead of SRV; NULL: none */
    uint16_t port; /* of the override; 0: 5269 */
    bool direct_tls;
    struct rules rules;
};

/* A file that was read, or the folder of those that are included. */
struct config_input {
    char *path;
    bool is_folder;
    uint64_t stamp; /* when it was read */
};

struct config {
    struct config_input *inputs;
    size_t input_count;
    char *path; /* where it was read; "(embedded)" for the defaults */
    bool is_embedded;
    uint32_t snapshot; /* 1, and one more for each that takes the place of another */
    unsigned worker_count, egress_count, parcel_count; /* per thread */
    char *stats_socket;
    int log_level, log_format; /* enum log_level, enum log_format */
    bool watch;                /* changed files are read without being told */
    /* xmpp */
    union net_address *starttls_listen, *direct_listen;
    size_t starttls_listen_count, direct_listen_count;
    struct config_proxies xmpp_proxies;
    char *certificate, *key, *ca_file;
    char *crl; /* file or directory of CRLs; NULL: none */
    uint64_t stamp;        /* of these files, when they were read */
    char *dialback_secret; /* generated at start when not configured */
    bool secret_is_generated;
    size_t stanza_size_max;
    unsigned connect_timeout_ms, connect_delay_ms;
    unsigned breaker_pairs;      /* that fail until their partner's breaker opens; 0: never */
    unsigned sessions_max, sessions_per_address_max;
    unsigned certificates_max;  /* of tenants, that each thread keeps ready */
    bool stream_management;     /* XEP-0198 */
    unsigned resume_timeout_ms; /* 0: streams are not resumed */
    struct service_identity identity;
    struct rules rules;
    /* sip */
    union net_address *udp_listen, *tcp_listen, *tls_listen;
    size_t udp_listen_count, tcp_listen_count, tls_listen_count;
    struct config_proxies sip_proxies;
    char *sip_host; /* sent-by name or address; NULL: the listener's address */
    char *sip_certificate, *sip_key, *sip_ca_file; /* NULL: the xmpp ones */
    char *sip_crl;                                 /* likewise */
    uint64_t sip_stamp;                            /* of the files that SIP uses */
    unsigned recipient_queue_max;                  /* messages waiting for one recipient */
    unsigned sip_t1_ms;
    /* Connections: TCP and TLS set-up together; a message that has begun; nothing at all. */
    unsigned sip_setup_timeout_ms, sip_message_timeout_ms, sip_idle_timeout_ms;
    unsigned sip_connections_per_address_max; /* accepted ones, per thread */
    unsigned sip_answered_max; /* answers kept for retransmissions over UDP, per thread */
    /* dns */
    char *dns_server, *dns_trust_anchor, *dns_hosts_file;
    bool dns_allow_special;
    unsigned dns_timeout_ms;
    /* store */
    char *store_path; /* NULL: nothing is kept beyond the process */
    unsigned consents_max;

    /* When the first of the CRLs, and of the OCSP responses that are stapled by the common
       certificates, is to be renewed: seconds since the epoch; 0: there is none. */
    int64_t crl_end_s, staple_end_s;
    int64_t crl_next_end_s; /* of the CRLs that had not come to it when they were read */

    struct config_tenant *tenants;
    size_t tenant_count, trunk_count;
    size_t tenant_slots, trunk_slots; /* above every index */
    uint32_t trunk_serial;            /* the last one that was given */
    bool has_quotas;                  /* some rule limits messages */
    bool has_partner_quotas;          /* … of a partner */
    bool has_unverified;              /* some partner may be public_unverified */
    struct config_partner *partners;
    size_t partner_count;
    const char **warnings; /* "file:line: key: what may not be what was meant" */
    size_t warning_count;  /* of them; no more than CONFIG_WARNING_MAX */
    size_t warnings_left_out;
    struct config_index *index; /* hash tables for the lookups below */
};

/* Reads and checks `path` (NULL: the embedded defaults). On failure returns -errno (-EINVAL for
   a mistake in it) and fills `error` with "file:line: key: what is wrong and how to mend it".
 */
int config_open(struct config **config, const char *path, char *error,
                size_t error_size) MUST_USE;
void config_close(struct config **config);

struct tenant_file;

struct config_source {
    const char *path;              /* NULL: the embedded defaults */
    const struct config *previous; /* whose place it is to take; NULL: none */
    /* Every certificate and key is opened; else those that `previous` had before they changed.
     */
    bool checks_certificates;
    /* Read instead of the tenants file that is configured: it, with changes that are not
       committed. NULL: none. */
    struct tenant_file *tenants;
};
/* The same with more to say. */
int config_read(struct config **config, const struct config_source *source, char *error,
                size_t error_size) MUST_USE;
/* What must be known before the tenants are there; malloced. */
struct config_outline {
    char *tenants_file; /* NULL: none is configured */
    char *stats_socket;
};
/* Of the main file alone; its form is checked, its content is not. Errors as config_open. */
int config_outline(struct config_outline *outline, const char *path, char *error,
                   size_t error_size) MUST_USE;
void config_outline_free(struct config_outline *outline);

/* The stamps of all files that were read, and of the certificates: when they were read, and as
   they are. They differ when another load would find something else. */
uint64_t config_stamp_read(const struct config *config);
uint64_t config_stamp_now(const struct config *config);
/* The names of all these files, one after the other: *next starts at 0; NULL ends. */
const char *config_next_file(const struct config *config, size_t *next, bool *is_folder);

/* What a running relay cannot change is set back to what `previous`, whose place it takes,
   says; the keys that differed are listed, at most `max` of them. -ENOMEM, else how many. */
int config_keep_fixed(struct config *config, const struct config *previous, const char **keys,
                      int max) MUST_USE;
/* Each warning in a line behind "warning: "; `out` NULL: in the log instead. */
void config_tell_warnings(const struct config *config, FILE *out);
/* The commented text of the embedded defaults (`passerelle --defaults`). */
const char *config_defaults(void);

_Static_assert(offsetof(struct config_tenant, user_count) == CONFIG_LINE_SIZE,
               "one line for a message");

/* Lookups by prepared U-label domain (XMPP side) or lower-case A-label (SIP side). O(1). */
const struct config_tenant *config_find_tenant(const struct config *config, struct span domain);
const struct config_tenant *config_find_tenant_ascii(const struct config *config,
                                                     struct span domain);
const struct config_partner *config_find_partner(const struct config *config,
                                                 struct span domain);
/* May this tenant talk with this remote domain (prepared)? */
bool config_partner_allowed(const struct config *config, const struct config_tenant *tenant,
                            struct span domain);
/* The rules between a tenant (NULL: not known yet) and a remote domain (prepared; empty: one
   that has not said its name), each place that has some. */
struct rules_stack config_rules(const struct config *config, const struct config_tenant *tenant,
                                struct span domain);
/* May this user of the tenant (prepared) talk with XMPP users? */
bool config_user_allowed(const struct config *config, const struct config_tenant *tenant,
                         const struct jid *user);
/* May this address send requests by UDP or TCP for the first trunk? Most do. False: others of
   its networks, or of the tenant's trunks, may yet have it. */
bool config_is_near(const struct config_tenant *tenant, const union net_address *source);
const struct config_tenant *config_find_named(const struct config *config, struct span name);
/* As people say it: by its name, or by one of its domains in any writing. */
const struct config_tenant *config_find_said(const struct config *config, struct span word);
/* What logs and rows call it; empty for no tenant. */
static inline struct span config_tenant_name(const struct config_tenant *tenant)
{
    return tenant != NULL ? span_of(tenant->name) : SPAN_NONE;
}
/* The keys with addresses to listen on: "xmpp.listen" and its addresses, which the
   configuration owns. None of a transport stands twice. */
struct config_listeners {
    const char *key;
    const union net_address *addresses;
    size_t count;
    bool is_stream;
};
#define CONFIG_LISTENERS_COUNT 5
void config_listeners(const struct config *config,
                      struct config_listeners out[CONFIG_LISTENERS_COUNT]);
/* Is this address to listen on behind a proxy? Is this peer one of the proxies? */
bool config_is_proxied(const struct config_proxies *proxies,
                       const union net_address *listener);
bool config_is_proxy(const struct config_proxies *proxies, const union net_address *peer);
/* By their index; NULL when there is none. */
const struct config_tenant *config_tenant_at(const struct config *config, uint32_t index);
const struct config_trunk *config_trunk_at(const struct config *config, uint32_t index);
/* The tenants' trunks that allow requests from this address over UDP or TCP: calls back are
   avoided by iteration: *next starts at 0; NULL ends. */
const struct config_trunk *config_next_trunk_from(const struct config *config,
                                                  const union net_address *source,
                                                  size_t *next);

#endif
