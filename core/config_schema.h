/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the configuration, for core/config*.c only: the YAML as libcyaml loads it (the
 * raw_… structures, freed when the snapshot is made), the state of one load, and what its steps
 * offer each other. Control thread.
 */
#ifndef PASSERELLE_CORE_CONFIG_SCHEMA_H
#define PASSERELLE_CORE_CONFIG_SCHEMA_H

#include <sys/stat.h>

#include "core/config.h"
#include "proto/arena.h"

#define CONFIG_KEY_SIZE   160
#define CONFIG_PLACE_SIZE 400

#define CONFIG_STATS_SOCKET "./passerelle.sock" /* when none is configured */

struct raw_list {
    char **item;
    unsigned count;
};

/* The rules of one place. A flag is read as a name: libcyaml would take any word for true. */
struct raw_rules {
#define RAW_NEED(key)                             char *key;
#define RAW_FLAG(key)                             char *key;
#define RAW_LEVEL(key)                            char *key;
#define RAW_REACTION(key)                         char *key;
#define RAW_PARTNER(key)                          char *key;
#define RAW_NUMBER(key)                           unsigned *key;
#define RULE(name, key, kind, fallback, min, max) RAW_##kind(key)
#include "core/rules.def"
#undef RULE
#undef RAW_NEED
#undef RAW_FLAG
#undef RAW_LEVEL
#undef RAW_REACTION
#undef RAW_PARTNER
#undef RAW_NUMBER
};

struct raw_global {
    unsigned *workers, *egress, *parcel_count;
    char *stats_socket, *log_level, *log_format;
    bool *watch;
};

struct raw_identity {
    char *name, *version, *abuse, *admin, *support, *security;
};

struct raw_xmpp {
    struct raw_list listen, listen_direct_tls, proxy_listen, proxy_sources;
    char *certificate, *key, *ca_file, *crl, *dialback_secret;
    unsigned *stanza_size_max, *connect_timeout_ms, *connect_delay_ms, *breaker_pairs;
    unsigned *sessions_max, *sessions_per_address_max, *certificates_max;
    bool *stream_management;
    unsigned *resume_timeout_ms;
    struct raw_identity *identity;
    struct raw_rules rules;
};

struct raw_sip {
    struct raw_list listen_udp, listen_tcp, listen_tls, proxy_listen, proxy_sources;
    char *host, *certificate, *key, *ca_file, *crl;
    unsigned *recipient_queue_max, *t1_ms, *answered_max;
    unsigned *setup_timeout_ms, *message_timeout_ms, *idle_timeout_ms;
    unsigned *connections_per_address_max;
};

struct raw_dns {
    char *server, *trust_anchor, *hosts_file;
    bool allow_special;
    unsigned *timeout_ms;
};

struct raw_store {
    char *path;
    unsigned *consents_max;
};

struct raw_trunk {
    char *uri, *identity;
    unsigned priority;
    unsigned *options_interval;
    struct raw_list sources;
};

struct raw_users {
    char *fallback; /* "default" */
    struct raw_list allow, deny;
};

struct raw_pair {
    char *domain;
    struct raw_rules rules;
};

struct raw_tenant {
    char *name, *certificate, *key, *policy;
    struct raw_list domains, partners;
    struct raw_trunk *trunks;
    unsigned trunk_count;
    struct raw_rules *rules;
    struct raw_pair *pairs;
    unsigned pair_count;
    struct raw_users *users;
};

struct raw_partner {
    char *domain, *host;
    struct raw_list additional_domains;
    unsigned *port;
    bool direct_tls;
    struct raw_rules rules;
};

struct raw_file {
    struct raw_global *global;
    struct raw_xmpp *xmpp;
    struct raw_sip *sip;
    struct raw_dns *dns;
    struct raw_store *store;
    struct raw_tenant *tenants;
    unsigned tenant_count;
    struct raw_partner *partners;
    unsigned partner_count;
    char *include, *tenants_file;
};

/* One file of the load: YAML, or the tenants file, whose rows are read as YAML. */
struct config_file {
    bool is_tenants_file;
    char *path;   /* for messages */
    char *folder; /* what relative names are relative to; "" for the working directory */
    char *text;
    size_t size;
    uint64_t stamp; /* of the file, before it was read */
    struct raw_file *raw;
};

/* One config_open in progress. files[0] is the main file; included ones and the tenants file
   follow. */
struct config_load {
    struct config *config;
    const struct config *previous; /* NULL: none */
    bool checks_certificates;
    struct tenant_file *tenants; /* NULL: the one that is configured is opened */
    struct config_slots *slots;
    struct config_input include; /* the folder; its path is NULL when there is none */
    struct arena *arena;
    struct config_file *files;
    size_t file_count;
    char *error;
    size_t error_size;
};

/* config_schema.c: parses file->text into file->raw; false with the error written. */
bool config_schema_load(struct config_load *load, struct config_file *file) MUST_USE;
void config_schema_free(struct config_file *file);
/* The keys of a whole file. */
const struct cyaml_schema_field *config_schema_fields(void);

/* config_mark.c: the line of `key` ("tenants[3].trunks[0].uri") or of its nearest parent. */
unsigned config_mark_line(struct span text, const char *key);
/* The first syntax error: its line and sentence, or 0 when libyaml finds none. */
unsigned config_mark_syntax(struct span text, char *problem, size_t problem_size);
/* Writes "file:line: key: sentence" and returns false, for `return config_mark_fail(…)`. */
bool config_mark_fail(struct config_load *load, const struct config_file *file, const char *key,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Notes "file:line: key: sentence" in the snapshot, unless there are too many already. */
void config_mark_warn(struct config_load *load, const struct config_file *file, const char *key,
                      const char *sentence);
/* Writes where a line, or a key, is: "file:line", or "file: tenant 'name'" for a row of the
   tenants file; returns what is left of the key then. */
const char *config_mark_at(const struct config_file *file, unsigned line, const char *key,
                           char *place, size_t place_size);
const char *config_mark_place(const struct config_file *file, const char *key, char *place,
                              size_t place_size);

/* config.c: what a file calls `name`, malloced: relative names start at its folder. */
char *config_file_path(const struct config_file *file, const char *name) MUST_USE;
/* Does scandir take this entry of an included folder? */
struct dirent;
int config_include_filter(const struct dirent *entry);

/* config_stamp.c: mixes a file into a stamp; a path that is NULL changes nothing. */
uint64_t config_stamp_status(uint64_t stamp, const struct stat *status);
uint64_t config_stamp_path(uint64_t stamp, const char *path);
/* Of the names in an included folder. */
uint64_t config_stamp_folder(const char *path);
/* Of the certificate, its OCSP response, key, authorities and CRLs of XMPP and of SIP, and of a
   tenant's certificate, response and key, as these files are now. What SIP does not name is that
   of XMPP, whose stamp is `xmpp`. */
uint64_t config_stamp_xmpp(const struct config *config);
uint64_t config_stamp_sip(const struct config *config, uint64_t xmpp);
uint64_t config_stamp_tenant(const struct config_tenant *tenant);

/* config_check.c: everything above the tenants. */
bool config_check_settings(struct config_load *load) MUST_USE;
/* Opens a certificate and its key; `changed`: not what the snapshot before had. */
bool config_check_certificate(struct config_load *load, const struct config_file *file,
                              const char *key, const char *const pair[2],
                              bool changed) MUST_USE;
/* config_revocation.c: the file or directory of CRLs; each is read, and told when it is old. */
bool config_revocation_crl(struct config_load *load, const char *key, const char *text,
                           char **out) MUST_USE;
/* Tells why the OCSP response beside a certificate is not stapled. */
void config_revocation_staple(struct config_load *load, const struct config_file *file,
                              const char *key, const char *certificate, const char *ca_file);
/* Copies a file name, made relative to the file's folder, and checks that it can be read; a
   private key must be closed to group and others. `text` NULL gives NULL. */
bool config_check_path(struct config_load *load, const struct config_file *file,
                       const char *key, const char *text, bool is_private, char **out) MUST_USE;
bool config_check_number(struct config_load *load, const struct config_file *file,
                         const char *key, unsigned value, unsigned min, unsigned max) MUST_USE;
/* The position of `text` in the NULL-ended `choices`; without a text *out stays as it is. */
bool config_check_choice(struct config_load *load, const struct config_file *file,
                         const char *key, const char *text, const char *const *choices,
                         unsigned *out) MUST_USE;
/* config_file_path in the arena. */
char *config_check_join(struct config_load *load, const struct config_file *file,
                        const char *name) MUST_USE;
/* A NUL-terminated copy in the arena; NULL for NULL. */
char *config_check_copy(struct config_load *load, const char *text);
void *config_check_alloc(struct config_load *load, size_t count, size_t size);

/* config_network.c: a network or an address; false when it is none, which HELP says. */
#define CONFIG_NETWORK_HELP "is no network; write 192.0.2.0/24, 192.0.2.5 or 2001:db8::/32"
bool config_network_read(const char *text, struct config_network *network) MUST_USE;
/* The sockets share their ports (SO_REUSEPORT): of two on one address each would have half of
   what comes, so none may stand twice. */
bool config_network_listeners(struct config_load *load) MUST_USE;
/* After the listeners: who may stand in front of them. `listens` names the keys of the section
   whose addresses may be behind a proxy. */
bool config_network_proxy(struct config_load *load, const char *section, const char *listens,
                          const struct raw_list *sources,
                          struct config_proxies *proxies) MUST_USE;

/* config_tenant.c: the tenants and partners of all files. */
bool config_tenant_all(struct config_load *load) MUST_USE;
/* Prepares the domain of a partner, which may be a wildcard (core/config.h), for both spellings
   (RFC 7622 §3.2, RFC 5891). */
bool config_tenant_partner(struct config_load *load, const struct config_file *file,
                           const char *key, const char *text,
                           struct config_domain *out) MUST_USE;

/* config_users.c: which users of the tenant, whose key is `parent` and whose domains are known,
   may talk with XMPP users. */
bool config_users_read(struct config_load *load, const struct config_file *file,
                       const char *parent, const struct raw_users *raw,
                       struct config_tenant *tenant) MUST_USE;

/* config_rules.c: the rules of one place, whose key is `parent`. */
bool config_rules_read(struct config_load *load, const struct config_file *file,
                       const char *parent, const struct raw_rules *raw,
                       struct rules *out) MUST_USE;
/* The rules of one tenant, for all its partners and for single ones; `parent` is its key. */
bool config_rules_tenant(struct config_load *load, const struct config_file *file,
                         const char *parent, const struct raw_tenant *raw,
                         struct config_tenant *tenant) MUST_USE;
/* When all of them are read: every combination that comes into force leaves a way to prove a
   domain. Those in doubt become warnings. */
bool config_rules_check(struct config_load *load) MUST_USE;
/* config_trunk.c: the trunks of one tenant; `key` is the tenant's. */
bool config_trunk_all(struct config_load *load, const struct config_file *file, const char *key,
                      const struct raw_tenant *raw, struct config_tenant *tenant) MUST_USE;

/* config_slot.c: which places tenants and trunks have in what the threads keep. */
int config_slot_open(struct config_load *load) MUST_USE;
void config_slot_close(struct config_load *load);
/* Gives the tenant its index. Returns what it was before; NULL when it is new. */
const struct config_tenant *config_slot_tenant(struct config_load *load,
                                               struct config_tenant *tenant);
/* Gives its trunks, which are in their order, their indexes and serials. */
void config_slot_trunks(struct config_load *load, struct config_tenant *tenant);

/* config_index.c */
enum config_scope {
    CONFIG_SCOPE_UNICODE, /* value: tenant */
    CONFIG_SCOPE_ASCII,   /* value: tenant */
    CONFIG_SCOPE_PARTNER, /* value: partner */
    CONFIG_SCOPE_NAME,    /* value: tenant */
    CONFIG_SCOPE_USER,    /* a listed user; value: its place in the list */
    /* Of one tenant: config_scope. */
    CONFIG_SCOPE_ALLOWED, /* its list */
    CONFIG_SCOPE_PAIR,    /* value: pair */
    CONFIG_SCOPE_COUNT
};
/* The scope of what only this tenant knows. */
static inline unsigned config_scope(enum config_scope scope, const struct config_tenant *tenant)
{
    return scope + tenant->index * CONFIG_SCOPE_COUNT;
}
/* Makes the index; it owns the arena of the whole snapshot. */
int config_index_open(struct config *config) MUST_USE;
struct arena *config_index_arena(struct config *config);
int config_index_reserve(struct config *config, size_t count) MUST_USE;
/* Adds, or gives the value that is already there in *present and returns false. The text must
   live as long as the snapshot. */
bool config_index_add(struct config *config, unsigned scope, const char *text, unsigned value,
                      unsigned *present);
/* After all tenants: the tables by index and that of trunk sources. */
int config_index_finish(struct config *config) MUST_USE;
void config_index_close(struct config_index **index);

#endif
