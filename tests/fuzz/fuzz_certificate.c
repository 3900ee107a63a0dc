/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates: names lie inside the DER, and nobody speaks for a name that is not in it. */
#include "fuzz.h"
#include "net/certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct certificate certificate;
    struct span der = fuzz_copy(span_make(data, size));
    const uint8_t *bytes = (const uint8_t *)der.data;
    if (certificate_read(&certificate, bytes, size) == 0) {
        CHECK(certificate.name_count <= CERTIFICATE_NAME_MAX);
        for (size_t i = 0; i < certificate.name_count; i++) {
            const struct certificate_name *name = &certificate.names[i];
            CHECK(name->text >= der.data && name->text + name->size <= der.data + der.size);
            CHECK(memchr(name->text, '\0', name->size) == NULL);
        }
        CHECK(certificate.limits == NULL ||
              (certificate.limits >= bytes &&
               certificate.limits + certificate.limits_size <= bytes + size));
        CHECK(certificate_permits(&certificate, &certificate) || certificate.limits != NULL);
        (void)certificate_key_is_short(&certificate);
        (void)certificate_signature_is_weak(&certificate);
        char text[300];
        size_t room = size % sizeof(text) + 1;
        certificate_text_subject(&certificate.subject, text, room);
        CHECK(strlen(text) < room);
        certificate_text_names(&certificate, text, room);
        CHECK(strlen(text) < room);
        bool xmpp = certificate_matches_xmpp(&certificate, "xmpp.example", "xmpp.example");
        bool sip = certificate_matches_sip(&certificate, "sip.example");
        CHECK(!xmpp || memmem(data, size, "example", 7) != NULL ||
              memmem(data, size, "EXAMPLE", 7) != NULL || certificate.name_count > 0);
        CHECK(!sip || certificate.name_count > 0);
        CHECK(!certificate_matches_xmpp(&certificate, "example", "example") ||
              memmem(data, size, "*", 1) == NULL || certificate.name_count > 0);
    }
    fuzz_free(der);
    return 0;
}
