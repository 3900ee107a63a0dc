/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Configurations: a mistake is answered with a sentence, and what is accepted can be used. */
#include <sys/mman.h>
#include <unistd.h>

#include "core/config.h"
#include "fuzz.h"

static void check_config(const struct config *config)
{
    size_t next = 0;
    union net_address source;
    CHECK(config->worker_count > 0 && config->egress_count > 0);
    CHECK(config->worker_count + config->egress_count < 64);
    CHECK((config->parcel_count & (config->parcel_count - 1)) == 0);
    CHECK(config->stanza_size_max >= STANZA_SIZE_MIN);
    CHECK(config->stanza_size_max <= STANZA_SIZE_MAX);
    CHECK(config->dialback_secret != NULL && config->dialback_secret[0] != '\0');
    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        CHECK(tenant->index == i && tenant->domain_count > 0);
        for (size_t j = 0; j < tenant->domain_count; j++) {
            const struct config_domain *domain = &tenant->domains[j];
            CHECK(config_find_tenant(config, span_of(domain->unicode)) == tenant);
            CHECK(config_find_tenant_ascii(config, span_of(domain->ascii)) == tenant);
        }
        for (size_t j = 0; j < tenant->trunk_count; j++) {
            CHECK(tenant->trunks[j].index < config->trunk_count);
            CHECK(tenant->trunks[j].tenant == i);
            CHECK(j == 0 || tenant->trunks[j - 1].priority <= tenant->trunks[j].priority);
        }
        (void)config_partner_allowed(config, tenant, SPAN("xmpp.example"));
    }
    for (size_t i = 0; i < config->partner_count; i++)
        CHECK(config_find_partner(config, span_of(config->partners[i].domains[0].unicode)) !=
              NULL);
    CHECK(net_address_parse_host(&source, "127.0.0.1", 5060) == 0);
    while (config_next_trunk_from(config, &source, &next) != NULL)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], error[512] = "";
    struct config *config = NULL;
    int fd = memfd_create("config", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (config_open(&config, path, error, sizeof(error)) == 0) {
        check_config(config);
        config_close(&config);
    } else {
        CHECK(config == NULL);
        CHECK(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
    }
    (void)close(fd);
    return 0;
}
