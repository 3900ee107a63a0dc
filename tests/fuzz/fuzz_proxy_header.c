/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A proxy's header: what is taken lies within the input, names an address, and is not taken
   sooner or later when it comes in pieces. */
#include "fuzz.h"
#include "net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header, cut_header;
    if (size == 0)
        return 0;
    struct span whole = fuzz_copy(span_make(data, size));
    enum proxy_header_result result =
        proxy_header_read(&header, (const uint8_t *)whole.data, size);
    if (result == PROXY_HEADER_DONE) {
        CHECK(header.size <= size && header.size <= PROXY_HEADER_SIZE_MAX);
        CHECK(header.is_local || header.source.any.sa_family == AF_INET ||
              header.source.any.sa_family == AF_INET6);
    }
    CHECK(result != PROXY_HEADER_MORE || size < PROXY_HEADER_SIZE_MAX);
    for (size_t cut = 1; cut < size; cut++) {
        struct span part = fuzz_copy(span_to(whole, cut));
        enum proxy_header_result early =
            proxy_header_read(&cut_header, (const uint8_t *)part.data, cut);
        if (result == PROXY_HEADER_DONE && cut < header.size)
            CHECK(early == PROXY_HEADER_MORE);
        else if (result == PROXY_HEADER_DONE)
            CHECK(early == PROXY_HEADER_DONE && cut_header.size == header.size);
        else
            CHECK(early == PROXY_HEADER_MORE || early == result);
        fuzz_free(part);
    }
    fuzz_free(whole);
    return 0;
}
