/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The checks of the settings above the tenants, and the small checks that all share. */
#include "core/config_schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/breaker.h"
#include "core/log.h"
#include "net/digest.h"
#include "net/tls.h"
#include "proto/limits.h"

void *config_check_alloc(struct config_load *load, size_t count, size_t size)
{
    assert(size > 0);
    if (count > SIZE_MAX / 2 / size)
        return NULL;
    void *block = arena_alloc(load->arena, count > 0 ? count * size : 1);
    if (block != NULL)
        memset(block, 0, count * size);
    return block;
}

char *config_check_copy(struct config_load *load, const char *text)
{
    if (text == NULL)
        return NULL;
    /* The arena keeps a NUL behind each copy, and the snapshot may hand it out as writable. */
    struct span copy = arena_copy(load->arena, span_of(text));
    return (char *)(uintptr_t)copy.data;
}

bool config_check_number(struct config_load *load, const struct config_file *file,
                         const char *key, unsigned value, unsigned min, unsigned max)
{
    if (value < min || value > max)
        return config_mark_fail(load, file, key, "%u is out of range; give %u to %u", value,
                                min, max);
    return true;
}

bool config_check_choice(struct config_load *load, const struct config_file *file,
                         const char *key, const char *text, const char *const *choices,
                         unsigned *out)
{
    char all[200];
    size_t used = 0;
    for (unsigned i = 0; text != NULL && choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0) {
            *out = i;
            return true;
        }
        int size =
            snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "", choices[i]);
        used += size > 0 ? (size_t)size : 0;
        assert(used < sizeof(all));
    }
    return text == NULL ||
           config_mark_fail(load, file, key, "unknown value '%s'; give one of %s", text, all);
}

char *config_check_join(struct config_load *load, const struct config_file *file,
                        const char *name)
{
    char *whole = config_file_path(file, name);
    char *path = config_check_copy(load, whole);
    free(whole);
    return path;
}

bool config_check_path(struct config_load *load, const struct config_file *file,
                       const char *key, const char *text, bool is_private, char **out)
{
    *out = NULL;
    if (text == NULL)
        return true;
    char *path = config_check_join(load, file, text);
    if (path == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    struct stat status;
    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        return config_mark_fail(load, file, key,
                                "cannot read '%s': %s; for development make it with "
                                "tools/dev-certificates",
                                path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return config_mark_fail(load, file, key, "'%s' is not a file", path);
    /* The group may read: so Debian keeps keys for ssl-cert. */
    if (is_private && (status.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)
        return config_mark_fail(
            load, file, key, "the private key '%s' is open to others (mode %o); chmod 640 it",
            path, (unsigned)status.st_mode & 0777u);
    *out = path;
    return true;
}

bool config_check_certificate(struct config_load *load, const struct config_file *file,
                              const char *key, const char *const pair[2], bool changed)
{
    char problem[300];
    if (pair[0] == NULL || !(changed || load->checks_certificates) ||
        tls_certificate_check(pair[0], pair[1], problem, sizeof(problem)) == 0)
        return true;
    return config_mark_fail(load, file, key, "%s", problem);
}

struct config_listen {
    union net_address **address;
    size_t *count;
};

static bool check_listen(struct config_load *load, const char *name,
                         const struct raw_list *list, uint16_t port, struct config_listen out)
{
    const struct config_file *file = &load->files[0];
    *out.address = config_check_alloc(load, list->count, sizeof(**out.address));
    if (*out.address == NULL)
        return config_mark_fail(load, file, name, "out of memory");
    for (unsigned i = 0; i < list->count; i++) {
        char key[CONFIG_KEY_SIZE];
        (void)snprintf(key, sizeof(key), "%s[%u]", name, i);
        union net_address *address = &(*out.address)[i];
        if (net_address_parse(address, list->item[i], port) != 0 ||
            net_address_port(address) == 0)
            return config_mark_fail(load, file, key,
                                    "'%s' is no address to listen on; write 192.0.2.1:%u or "
                                    "\"[2001:db8::1]:%u\" with a port from 1 to 65535",
                                    list->item[i], (unsigned)port, (unsigned)port);
    }
    *out.count = list->count;
    return true;
}

/* One number of the file: where it was read, where it goes, its default and its range. */
struct check_row {
    const char *key;
    const unsigned *given;
    unsigned *out;
    unsigned fallback, min, max;
};

static bool check_rows(struct config_load *load, const struct check_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct check_row *row = &rows[i];
        *row->out = row->given != NULL ? *row->given : row->fallback;
        if (!config_check_number(load, &load->files[0], row->key, *row->out, row->min,
                                 row->max))
            return false;
    }
    return true;
}
#define CHECK_ROWS(load, rows) check_rows((load), (rows), sizeof(rows) / sizeof((rows)[0]))

static bool check_global(struct config_load *load, const struct raw_global *raw)
{
    const struct config_file *file = &load->files[0];
    struct config *config = load->config;
    const struct check_row rows[] = {
        {"global.workers", raw->workers, &config->worker_count, 1, 1, 16},
        {"global.egress", raw->egress, &config->egress_count, 1, 1, 16},
        {"global.parcel_count", raw->parcel_count, &config->parcel_count, 1024, 128, 65536},
    };
    if (!CHECK_ROWS(load, rows))
        return false;
    if ((config->parcel_count & (config->parcel_count - 1)) != 0)
        return config_mark_fail(load, file, "global.parcel_count",
                                "%u is not a power of two; give for example 1024",
                                config->parcel_count);
    unsigned level = LOG_LEVEL_INFO, format = LOG_FORMAT_LOGFMT;
    if (!config_check_choice(load, file, "global.log_level", raw->log_level, log_level_names,
                             &level) ||
        !config_check_choice(load, file, "global.log_format", raw->log_format, log_format_names,
                             &format))
        return false;
    config->watch = raw->watch != NULL && *raw->watch;
    config->log_level = (int)level;
    config->log_format = (int)format;
    const char *path = raw->stats_socket != NULL ? raw->stats_socket : CONFIG_STATS_SOCKET;
    config->stats_socket = config_check_join(load, file, path);
    /* sun_path holds 107 characters and a NUL (unix(7)). */
    if (config->stats_socket == NULL || config->stats_socket[0] == '\0' ||
        strlen(config->stats_socket) > 107)
        return config_mark_fail(load, file, "global.stats_socket",
                                "a socket path has 1 to 107 characters");
    return true;
}

static bool check_identity(struct config_load *load, const struct raw_identity *raw)
{
    static const struct raw_identity none = {0};
    if (raw == NULL)
        raw = &none;
    struct service_identity *identity = &load->config->identity;
    const struct {
        const char *text;
        struct span *out;
    } rows[] = {{raw->name != NULL ? raw->name : "Passerelle", &identity->name},
                {raw->version, &identity->version},
                {raw->abuse, &identity->abuse},
                {raw->admin, &identity->admin},
                {raw->support, &identity->support},
                {raw->security, &identity->security}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        *rows[i].out =
            span_of(config_check_copy(load, rows[i].text != NULL ? rows[i].text : ""));
    return true;
}

static bool check_secret(struct config_load *load, const char *secret)
{
    if (secret != NULL && strlen(secret) < 16)
        return config_mark_fail(load, &load->files[0], "xmpp.dialback_secret",
                                "too short; give 16 characters or more, or leave the key out");
    const struct config *before = load->previous;
    load->config->secret_is_generated = secret == NULL;
    /* One that was made up at the start stays: dialback may be under way. */
    if (secret == NULL && before != NULL && before->secret_is_generated)
        secret = before->dialback_secret;
    if (secret != NULL) {
        load->config->dialback_secret = config_check_copy(load, secret);
        return load->config->dialback_secret != NULL;
    }
    /* XEP-0185 §3: a secret that is not shared between servers is random for each start. */
    uint8_t random[DIGEST_SIZE];
    char text[2 * DIGEST_SIZE + 1] = "";
    digest_random(random, sizeof(random));
    struct writer writer = writer_make(text, sizeof(text) - 1);
    writer_put_hex(&writer, random, sizeof(random));
    load->config->dialback_secret = config_check_copy(load, text);
    return load->config->dialback_secret != NULL;
}

static bool check_xmpp_certificate(struct config_load *load)
{
    struct config *config = load->config;
    const struct config *before = load->previous;
    config->stamp = config_stamp_xmpp(config);
    return config_check_certificate(load, &load->files[0], "xmpp.certificate",
                                    (const char *const[]){config->certificate, config->key},
                                    before != NULL && before->stamp != config->stamp);
}

_Static_assert(BREAKER_PAIRS_MAX == 64, "the row of xmpp.breaker_pairs says so");

static bool check_xmpp(struct config_load *load, const struct raw_xmpp *raw)
{
    const struct config_file *file = &load->files[0];
    struct config *config = load->config;
    unsigned stanza_size = 0;
    const struct check_row rows[] = {
        {"xmpp.stanza_size_max", raw->stanza_size_max, &stanza_size, STANZA_SIZE_DEFAULT,
         STANZA_SIZE_MIN, STANZA_SIZE_MAX},
        {"xmpp.connect_timeout_ms", raw->connect_timeout_ms, &config->connect_timeout_ms, 10000,
         100, 120000},
        /* RFC 8305 §5, §8. */
        {"xmpp.connect_delay_ms", raw->connect_delay_ms, &config->connect_delay_ms, 250, 10,
         2000},
        {"xmpp.breaker_pairs", raw->breaker_pairs, &config->breaker_pairs, 5, 0, 64},
        {"xmpp.resume_timeout_ms", raw->resume_timeout_ms, &config->resume_timeout_ms, 60000, 0,
         3600000},
        {"xmpp.sessions_max", raw->sessions_max, &config->sessions_max, 10000, 1, 1000000},
        {"xmpp.sessions_per_address_max", raw->sessions_per_address_max,
         &config->sessions_per_address_max, 100, 1, 1000000},
        {"xmpp.certificates_max", raw->certificates_max, &config->certificates_max, 1024, 1,
         65536},
    };
    if (!CHECK_ROWS(load, rows))
        return false;
    config->stanza_size_max = stanza_size;
    config->stream_management = raw->stream_management == NULL || *raw->stream_management;
    if (raw->certificate == NULL || raw->key == NULL)
        return config_mark_fail(load, file, raw->key == NULL ? "xmpp.key" : "xmpp.certificate",
                                "is missing; name the PEM files of the relay");
    return check_listen(load, "xmpp.listen", &raw->listen, 5269,
                        (struct config_listen){&config->starttls_listen,
                                               &config->starttls_listen_count}) &&
           check_listen(
               load, "xmpp.listen_direct_tls", &raw->listen_direct_tls, 5270,
               (struct config_listen){&config->direct_listen, &config->direct_listen_count}) &&
           check_listen(
               load, "xmpp.proxy_listen", &raw->proxy_listen, 5269,
               (struct config_listen){&config->xmpp_proxies.listen,
                                      &config->xmpp_proxies.listen_count}) &&
           config_network_proxy(load, "xmpp", "xmpp.listen nor in xmpp.listen_direct_tls",
                                &raw->proxy_sources, &config->xmpp_proxies) &&
           config_check_path(load, file, "xmpp.certificate", raw->certificate, false,
                             &config->certificate) &&
           config_check_path(load, file, "xmpp.key", raw->key, true, &config->key) &&
           config_check_path(load, file, "xmpp.ca_file", raw->ca_file, false,
                             &config->ca_file) &&
           check_xmpp_certificate(load) && check_secret(load, raw->dialback_secret) &&
           check_identity(load, raw->identity) &&
           config_rules_read(load, file, "xmpp", &raw->rules, &config->rules);
}

static bool check_sip_certificate(struct config_load *load)
{
    struct config *config = load->config;
    const struct config *before = load->previous;
    config->sip_stamp = config_stamp_sip(config, config->stamp);
    return config_check_certificate(
        load, &load->files[0], "sip.certificate",
        (const char *const[]){config->sip_certificate, config->sip_key},
        before != NULL && before->sip_stamp != config->sip_stamp);
}

static bool check_sip(struct config_load *load, const struct raw_sip *raw)
{
    const struct config_file *file = &load->files[0];
    struct config *config = load->config;
    const struct check_row rows[] = {
        {"sip.recipient_queue_max", raw->recipient_queue_max, &config->recipient_queue_max, 64,
         1, 10000},
        {"sip.t1_ms", raw->t1_ms, &config->sip_t1_ms, 500, 10, 10000},
        {"sip.setup_timeout_ms", raw->setup_timeout_ms, &config->sip_setup_timeout_ms, 10000,
         100, 120000},
        {"sip.message_timeout_ms", raw->message_timeout_ms, &config->sip_message_timeout_ms,
         30000, 100, 300000},
        {"sip.idle_timeout_ms", raw->idle_timeout_ms, &config->sip_idle_timeout_ms, 600000,
         1000, 86400000},
        {"sip.connections_per_address_max", raw->connections_per_address_max,
         &config->sip_connections_per_address_max, 64, 1, 4096},
        {"sip.answered_max", raw->answered_max, &config->sip_answered_max, SIP_ANSWERED_DEFAULT,
         1024, 16777216},
    };
    if (!CHECK_ROWS(load, rows))
        return false;
    if ((raw->certificate == NULL) != (raw->key == NULL))
        return config_mark_fail(load, file, raw->key == NULL ? "sip.key" : "sip.certificate",
                                "is missing; certificate and key belong together");
    config->sip_host = config_check_copy(load, raw->host);
    return check_listen(
               load, "sip.listen_udp", &raw->listen_udp, 5060,
               (struct config_listen){&config->udp_listen, &config->udp_listen_count}) &&
           check_listen(
               load, "sip.listen_tcp", &raw->listen_tcp, 5060,
               (struct config_listen){&config->tcp_listen, &config->tcp_listen_count}) &&
           check_listen(
               load, "sip.listen_tls", &raw->listen_tls, 5061,
               (struct config_listen){&config->tls_listen, &config->tls_listen_count}) &&
           check_listen(load, "sip.proxy_listen", &raw->proxy_listen, 5060,
                        (struct config_listen){&config->sip_proxies.listen,
                                               &config->sip_proxies.listen_count}) &&
           config_network_proxy(load, "sip", "sip.listen_tcp nor in sip.listen_tls",
                                &raw->proxy_sources, &config->sip_proxies) &&
           config_check_path(load, file, "sip.certificate", raw->certificate, false,
                             &config->sip_certificate) &&
           config_check_path(load, file, "sip.key", raw->key, true, &config->sip_key) &&
           config_check_path(load, file, "sip.ca_file", raw->ca_file, false,
                             &config->sip_ca_file) &&
           check_sip_certificate(load);
}

static bool check_dns(struct config_load *load, const struct raw_dns *raw)
{
    const struct config_file *file = &load->files[0];
    struct config *config = load->config;
    const struct check_row rows[] = {
        {"dns.timeout_ms", raw->timeout_ms, &config->dns_timeout_ms, 10000, 100, 60000},
    };
    if (!CHECK_ROWS(load, rows))
        return false;
    config->dns_server = config_check_copy(load, raw->server);
    config->dns_allow_special = raw->allow_special;
    return config_check_path(load, file, "dns.trust_anchor", raw->trust_anchor, false,
                             &config->dns_trust_anchor) &&
           config_check_path(load, file, "dns.hosts_file", raw->hosts_file, false,
                             &config->dns_hosts_file);
}

/* The file is made when the relay starts: here it need not be there. */
static bool check_store(struct config_load *load, const struct raw_store *raw)
{
    const struct config_file *file = &load->files[0];
    struct config *config = load->config;
    const struct check_row rows[] = {
        {"store.consents_max", raw->consents_max, &config->consents_max, CONSENTS_DEFAULT, 1000,
         16777216},
    };
    if (!CHECK_ROWS(load, rows))
        return false;
    if (raw->path == NULL)
        return true;
    config->store_path = config_check_join(load, file, raw->path);
    return config->store_path != NULL ||
           config_mark_fail(load, file, "store.path", "out of memory");
}

bool config_check_settings(struct config_load *load)
{
    static const struct raw_global global = {0};
    static const struct raw_xmpp xmpp = {0};
    static const struct raw_sip sip = {0};
    static const struct raw_dns dns = {0};
    static const struct raw_store store = {0};
    assert(load->file_count > 0);
    const struct raw_file *raw = load->files[0].raw;
    assert(raw != NULL);
    return check_global(load, raw->global != NULL ? raw->global : &global) &&
           check_xmpp(load, raw->xmpp != NULL ? raw->xmpp : &xmpp) &&
           check_sip(load, raw->sip != NULL ? raw->sip : &sip) &&
           config_network_listeners(load) &&
           check_dns(load, raw->dns != NULL ? raw->dns : &dns) &&
           check_store(load, raw->store != NULL ? raw->store : &store);
}
