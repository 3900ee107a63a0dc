/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OCSP responses and CRLs: what they say is within their times, and in the authority's name. One
   byte chooses, two say how long the certificate is, two its authority; behind these the text. */
#include "fuzz.h"
#include "net/crl.h"
#include "net/ocsp.h"

#define NOW 1795738000 /* when the corpus was made */

static struct span take(struct span *input)
{
    size_t size = fuzz_choice(input) << 8;
    size |= fuzz_choice(input);
    struct span part = span_to(*input, size);
    *input = span_from(*input, part.size);
    return part;
}

static void judge_response(struct span text, const struct certificate *certificate,
                           const struct certificate *authority)
{
    const struct ocsp_answer answer =
        ocsp_judge(&(struct ocsp_question){.der = (const uint8_t *)text.data,
                                           .size = text.size,
                                           .certificate = certificate,
                                           .authority = authority,
                                           .now = NOW});
    CHECK(answer.reason != NULL);
    CHECK(answer.verdict == OCSP_UNUSABLE ||
          (answer.next_update + 300 >= NOW && text.size <= OCSP_SIZE_MAX));
    /* Somebody made it for this one. */
    CHECK(answer.verdict == OCSP_UNUSABLE ||
          memmem(text.data, text.size, certificate->serial, certificate->serial_size) != NULL);
}

static void judge_list(struct span text, const struct certificate *certificate,
                       const struct certificate *authority)
{
    struct crls crls = {0};
    const char *problem = NULL;
    const struct tls_text file = {(uint8_t *)(uintptr_t)text.data, text.size};
    int rc = crls_add_text(&crls, &file, &problem);
    CHECK(rc == 0 || problem != NULL);
    for (size_t i = 0; i < crls.count; i++) {
        const struct crl_facts facts = crls_facts(&crls, i);
        CHECK(facts.count <= text.size && facts.bytes <= text.size * 21);
        CHECK(facts.this_update > 0 && facts.next_update > 0);
    }
    enum crl_verdict verdict = crls_judge(&crls, certificate, authority);
    CHECK(verdict == CRL_NONE || crls.count > 0);
    /* A list that is asked again knows who signed it. */
    CHECK(crls_judge(&crls, certificate, authority) == verdict);
    crls_free(&crls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct certificate certificate, authority;
    struct span input = span_make(data, size);
    bool is_list = fuzz_choice(&input) % 2 == 0;
    struct span first = fuzz_copy(take(&input)), second = fuzz_copy(take(&input));
    struct span text = fuzz_copy(input);
    if (certificate_read(&certificate, (const uint8_t *)first.data, first.size) == 0 &&
        certificate_read(&authority, (const uint8_t *)second.data, second.size) == 0) {
        if (is_list)
            judge_list(text, &certificate, &authority);
        else
            judge_response(text, &certificate, &authority);
    }
    fuzz_free(first);
    fuzz_free(second);
    fuzz_free(text);
    return 0;
}
