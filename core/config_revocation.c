/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tells that certificates are revoked: the CRLs that are configured, and the OCSP responses
 * beside the relay's own certificates. CRLs that cannot be read are a mistake; what is out of
 * date, or not stapled, is told.
 */
#include "core/config_schema.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/crl.h"
#include "net/tls.h"

/* The earliest of the times at which something ends. */
static void end_by(int64_t *end, int64_t time_s)
{
    if (*end == 0 || time_s < *end)
        *end = time_s;
}

static void warn_old(struct config_load *load, const char *key, const struct crl_facts *facts)
{
    char sentence[500], date[32] = "";
    int64_t now = (int64_t)(clock_wall_ms() / 1000);
    time_t end = (time_t)facts->next_update;
    struct tm utc;
    if (now < facts->next_update)
        return;
    if (gmtime_r(&end, &utc) != NULL)
        (void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &utc);
    (void)snprintf(sentence, sizeof(sentence),
                   "'%.300s' should have been renewed by %s UTC: what it names stays revoked, "
                   "what was revoked since is not known",
                   facts->file, date);
    config_mark_warn(load, &load->files[0], key, sentence);
}

bool config_revocation_crl(struct config_load *load, const char *key, const char *text,
                           char **out)
{
    const struct config_file *file = &load->files[0];
    struct crls crls = {0};
    char problem[400];
    *out = NULL;
    if (text == NULL)
        return true;
    *out = config_check_join(load, file, text);
    if (*out == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    bool is_good = crls_add(&crls, *out, problem, sizeof(problem)) == 0 ||
                   config_mark_fail(load, file, key, "cannot take %s", problem);
    for (size_t i = 0; is_good && i < crls.count; i++) {
        const struct crl_facts facts = crls_facts(&crls, i);
        warn_old(load, key, &facts);
        end_by(&load->config->crl_end_s, facts.next_update);
        if (facts.next_update > now_s)
            end_by(&load->config->crl_next_end_s, facts.next_update);
    }
    crls_free(&crls);
    return is_good;
}

void config_revocation_staple(struct config_load *load, const struct config_file *file,
                              const char *key, const char *certificate, const char *ca_file)
{
    struct tls_certificate_facts facts;
    const struct tls_context_options options = {.certificate_file = certificate,
                                                .ca_file = ca_file};
    char sentence[400];
    if (certificate == NULL || tls_certificate_facts(&options, &facts) != 0 ||
        !facts.has_staple)
        return;
    if (facts.unstapled == NULL) {
        end_by(&load->config->staple_end_s, facts.staple_until);
        return;
    }
    (void)snprintf(sentence, sizeof(sentence), "'%.250s.ocsp' is not stapled: %s", certificate,
                   facts.unstapled);
    config_mark_warn(load, file, key, sentence);
}
