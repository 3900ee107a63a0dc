/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Stamps: what is seen of a file from outside, which changes when it is written or another one
 * takes its place. A load keeps those of all that it reads, so that later it can be said,
 * without reading anything, whether another load would find something else.
 */
#include "core/config_schema.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/tls.h"

/* FNV-1a. */
static uint64_t stamp_mix(uint64_t stamp, uint64_t part)
{
    return (stamp ^ part) * 1099511628211u;
}

uint64_t config_stamp_status(uint64_t stamp, const struct stat *status)
{
    const uint64_t parts[] = {
        (uint64_t)status->st_dev,          (uint64_t)status->st_ino,
        (uint64_t)status->st_size,         (uint64_t)status->st_mtim.tv_sec,
        (uint64_t)status->st_mtim.tv_nsec, (uint64_t)status->st_ctim.tv_sec,
        (uint64_t)status->st_ctim.tv_nsec};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        stamp = stamp_mix(stamp, parts[i]);
    return stamp;
}

uint64_t config_stamp_path(uint64_t stamp, const char *path)
{
    struct stat status;
    if (path == NULL)
        return stamp;
    return stat(path, &status) == 0 ? config_stamp_status(stamp, &status) : stamp_mix(stamp, 1);
}

uint64_t config_stamp_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, config_include_filter, alphasort);
    uint64_t stamp = 0;
    for (int i = 0; i < count; i++) {
        for (const char *at = entries[i]->d_name; *at != '\0'; at++)
            stamp = stamp_mix(stamp, (unsigned char)*at);
        stamp = stamp_mix(stamp, '/');
        free(entries[i]);
    }
    free(entries);
    return stamp;
}

static uint64_t input_now(const struct config_input *input)
{
    return input->is_folder ? config_stamp_folder(input->path)
                            : config_stamp_path(0, input->path);
}

/* A certificate, the OCSP response beside it (net/staple.h), its key and the authorities. */
static uint64_t files_now(const char *certificate, const char *key, const char *ca_file)
{
    char response[PATH_MAX];
    uint64_t stamp = config_stamp_path(config_stamp_path(0, certificate), key);
    if (certificate != NULL &&
        snprintf(response, sizeof(response), "%s.ocsp", certificate) < PATH_MAX)
        stamp = config_stamp_path(stamp, response);
    return config_stamp_path(stamp, ca_file);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return path != NULL && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A file of CRLs, or each file of a folder. */
static uint64_t crl_now(uint64_t stamp, const char *path)
{
    struct dirent **entries = NULL;
    stamp = config_stamp_path(stamp, path);
    int count = is_folder(path) ? scandir(path, &entries, NULL, alphasort) : 0;
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        if (entries[i]->d_name[0] != '.' &&
            snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name) < PATH_MAX)
            stamp = config_stamp_path(stamp, file);
        free(entries[i]);
    }
    free(entries);
    return stamp;
}

/* Where no authorities are named, those of the system count, and may be renewed as well. */
static const char *authorities(const struct config *config)
{
    return config->ca_file != NULL ? config->ca_file : tls_system_anchors();
}

uint64_t config_stamp_xmpp(const struct config *config)
{
    return crl_now(files_now(config->certificate, config->key, authorities(config)),
                   config->crl);
}

uint64_t config_stamp_sip(const struct config *config, uint64_t xmpp)
{
    return crl_now(files_now(config->sip_certificate, config->sip_key, config->sip_ca_file),
                   config->sip_crl) ^
           xmpp;
}

uint64_t config_stamp_tenant(const struct config_tenant *tenant)
{
    return files_now(tenant->certificate, tenant->key, NULL);
}

uint64_t config_stamp_read(const struct config *config)
{
    uint64_t stamp = stamp_mix(stamp_mix(0, config->stamp), config->sip_stamp);
    for (size_t i = 0; i < config->input_count; i++)
        stamp = stamp_mix(stamp, config->inputs[i].stamp);
    for (size_t i = 0; i < config->tenant_count; i++)
        stamp = stamp_mix(stamp, config->tenants[i].stamp);
    return stamp;
}

uint64_t config_stamp_now(const struct config *config)
{
    uint64_t xmpp = config_stamp_xmpp(config);
    uint64_t stamp = stamp_mix(stamp_mix(0, xmpp), config_stamp_sip(config, xmpp));
    for (size_t i = 0; i < config->input_count; i++)
        stamp = stamp_mix(stamp, input_now(&config->inputs[i]));
    for (size_t i = 0; i < config->tenant_count; i++)
        stamp = stamp_mix(stamp, config_stamp_tenant(&config->tenants[i]));
    return stamp;
}

const char *config_next_file(const struct config *config, size_t *next, bool *is_a_folder)
{
    const char *const common[] = {config->certificate, config->key,
                                  authorities(config), config->sip_certificate,
                                  config->sip_key,     config->sip_ca_file,
                                  config->crl,         config->sip_crl};
    const size_t commons = sizeof(common) / sizeof(common[0]);
    size_t end = config->input_count + commons + 2 * config->tenant_count;
    while (*next < end) {
        size_t at = (*next)++;
        *is_a_folder = at < config->input_count && config->inputs[at].is_folder;
        if (at < config->input_count)
            return config->inputs[at].path;
        at -= config->input_count;
        const struct config_tenant *tenant =
            at >= commons ? &config->tenants[(at - commons) / 2] : NULL;
        const char *path = tenant == NULL            ? common[at]
                           : (at - commons) % 2 == 0 ? tenant->certificate
                                                     : tenant->key;
        if (path != NULL) {
            *is_a_folder = tenant == NULL && is_folder(path);
            return path;
        }
    }
    return NULL;
}
