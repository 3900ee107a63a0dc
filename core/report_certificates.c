/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the relay shows of itself in TLS, and by which CRLs it judges others: as the files are now. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/report.h"
#include "net/clock.h"
#include "net/crl.h"
#include "net/tls.h"

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ms() / 1000);
}

static void put_row(FILE *out, const char *key, const char *file, const char *whose,
                    const char *count, int64_t end_s, const char *state)
{
    char date[32] = "-";
    time_t end = (time_t)end_s;
    struct tm utc;
    if (end_s != 0 && gmtime_r(&end, &utc) != NULL)
        (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc);
    fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", key, file, whose, count, date, state);
}

/* Names come out of certificates: nothing in them may look like another column. */
static void clean(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static void certificate_rows(FILE *out, const char *key, const struct tls_context_options *files)
{
    struct tls_certificate_facts facts;
    char response[4096];
    if (files->certificate_file == NULL)
        return;
    int rc = tls_certificate_facts(files, &facts);
    if (rc < 0) {
        put_row(out, key, files->certificate_file, "-", "-", 0, strerror(-rc));
        return;
    }
    clean(facts.subject);
    put_row(out, key, files->certificate_file, facts.subject, "-", facts.not_after,
            facts.not_after <= now_s() ? "it has expired" : "good");
    if (!facts.has_staple)
        return;
    (void)snprintf(response, sizeof(response), "%s.ocsp", files->certificate_file);
    put_row(out, key, response, facts.subject, "-", facts.staple_until,
            facts.unstapled != NULL ? facts.unstapled : "stapled");
}

static void crl_rows(FILE *out, const char *key, const char *path)
{
    struct crls crls = {0};
    char problem[400], issuer[256], count[24];
    if (path == NULL)
        return;
    if (crls_add(&crls, path, problem, sizeof(problem)) != 0)
        put_row(out, key, path, "-", "-", 0, problem);
    for (size_t i = 0; i < crls.count; i++) {
        const struct crl_facts facts = crls_facts(&crls, i);
        certificate_text_subject(&facts.issuer, issuer, sizeof(issuer));
        clean(issuer);
        (void)snprintf(count, sizeof(count), "%zu", facts.count);
        put_row(out, key, facts.file != NULL ? facts.file : path, issuer, count,
                facts.next_update,
                facts.next_update <= now_s() ? "old: it counts, but is to be renewed" : "good");
    }
    crls_free(&crls);
}

static void common_rows(const struct config *config, FILE *out)
{
    const char *sip_ca = config->sip_ca_file != NULL ? config->sip_ca_file : config->ca_file;
    certificate_rows(out, "xmpp.certificate",
                     &(struct tls_context_options){.certificate_file = config->certificate,
                                                   .ca_file = config->ca_file});
    certificate_rows(out, "sip.certificate",
                     &(struct tls_context_options){.certificate_file = config->sip_certificate,
                                                   .ca_file = sip_ca});
    crl_rows(out, "xmpp.crl", config->crl);
    crl_rows(out, "sip.crl", config->sip_crl);
}

bool report_certificates(const struct config *config, struct span tenant, FILE *out,
                         const char **error)
{
    if (tenant.size == 0) {
        common_rows(config, out);
        return true;
    }
    const struct config_tenant *found = config_find_named(config, tenant);
    if (found == NULL) {
        *error = "error: there is no tenant of this name; show tenants lists them\n";
        return false;
    }
    certificate_rows(out, "tenants[].certificate",
                     &(struct tls_context_options){.certificate_file = found->certificate,
                                                   .ca_file = config->ca_file});
    return true;
}
