/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stats socket under whatever a client may write, in one piece or torn: every answer ends
 * with an empty line, and the relay's side is never stuck.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/config_schema.h"
#include "core/control.h"
#include "fuzz.h"

static struct config config;
static struct config_tenant tenant;
static struct config_domain domain = {"sip.example", "sip.example"};
static struct stats *stats[2];
static struct control *control;
static char path[64];

static void open_once(void)
{
    char error[200];
    unsigned present;
    if (control != NULL)
        return;
    (void)snprintf(path, sizeof(path), "/tmp/passerelle-fuzz-%d.sock", (int)getpid());
    tenant = (struct config_tenant){.name = "one", .domains = &domain, .domain_count = 1};
    config = (struct config){.path = "(fuzz)",
                             .worker_count = 1,
                             .egress_count = 1,
                             .stats_socket = path,
                             .tenants = &tenant,
                             .tenant_count = 1};
    CHECK(config_index_open(&config) == 0 && config_index_reserve(&config, 1) == 0);
    CHECK(config_index_add(&config, CONFIG_SCOPE_NAME, tenant.name, 0, &present));
    for (size_t i = 0; i < 2; i++)
        CHECK((stats[i] = stats_open(1)) != NULL);
    const struct control_options options = {
        .config = &config, .stats = stats, .stats_count = 2};
    CHECK(control_open(&control, &options, error, sizeof(error)) == 0);
}

static int connected(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[1u << 20];
    struct span input = span_make(data, size);
    size_t piece = fuzz_choice(&input) % 64 + 1, used = 0;
    open_once();
    stats_error(stats[0], &(struct stats_trouble){.event = "fuzz",
                                                 .trace = 1,
                                                 .tenant = input,
                                                 .partner = input,
                                                 .reason = input});
    int fd = connected();
    bool ended = false, shut = false;
    for (unsigned turn = 0; !ended; turn++) {
        size_t part = input.size < piece ? input.size : piece;
        CHECK(turn < 100000);
        if (part > 0) {
            ssize_t n = send(fd, input.data, part, MSG_NOSIGNAL);
            input = span_from(input, n > 0 ? (size_t)n : errno == EAGAIN ? 0 : input.size);
        } else if (!shut) {
            shut = true;
            CHECK(shutdown(fd, SHUT_WR) == 0 || errno == ENOTCONN);
        }
        control_turn(control, 0);
        ssize_t got = recv(fd, answer + used, sizeof(answer) - used, 0);
        ended = got == 0 || (got < 0 && errno != EAGAIN);
        used += got > 0 ? (size_t)got : 0;
        if (used > sizeof(answer) / 2)
            break;
    }
    CHECK(!ended || used == 0 || (used >= 2 && memcmp(answer + used - 2, "\n\n", 2) == 0) ||
          (used == 1 && answer[0] == '\n'));
    (void)close(fd);
    control_turn(control, 0);
    return 0;
}
