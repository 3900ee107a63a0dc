/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/proxy_header.h"

#include <string.h>

#define HEAD_SIZE 16

/* §2.2: the signature, then version and command, family and protocol, and the length of what
   follows. */
static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 }; /* both of version 2 */
enum { FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 };
enum { ADDRESSES_TCP4 = 12, ADDRESSES_TCP6 = 36 }; /* source, target and both ports */

static uint16_t read_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void read_tcp4(union net_address *source, const uint8_t *at)
{
    source->v4.sin_family = AF_INET;
    memcpy(&source->v4.sin_addr, at, 4);
    net_address_set_port(source, read_u16(at + 8));
}

static void read_tcp6(union net_address *source, const uint8_t *at)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(at, mapped, sizeof(mapped)) == 0) {
        source->v4.sin_family = AF_INET;
        memcpy(&source->v4.sin_addr, at + sizeof(mapped), 4);
    } else {
        source->v6.sin6_family = AF_INET6;
        memcpy(&source->v6.sin6_addr, at, 16);
    }
    net_address_set_port(source, read_u16(at + 32));
}

static bool is_known(uint8_t command, uint8_t family, size_t length)
{
    if (command == COMMAND_LOCAL)
        return true; /* whatever it says of addresses is to be ignored */
    return command == COMMAND_PROXY && ((family == FAMILY_TCP4 && length >= ADDRESSES_TCP4) ||
                                        (family == FAMILY_TCP6 && length >= ADDRESSES_TCP6));
}

enum proxy_header_result proxy_header_read(struct proxy_header *header, const uint8_t *data,
                                           size_t size)
{
    size_t signed_size = size < sizeof(signature) ? size : sizeof(signature);
    if (memcmp(data, signature, signed_size) != 0)
        return PROXY_HEADER_BROKEN;
    if (size < HEAD_SIZE)
        return PROXY_HEADER_MORE;
    uint8_t command = data[12], family = data[13];
    size_t length = read_u16(data + 14);
    if (!is_known(command, family, length) || HEAD_SIZE + length > PROXY_HEADER_SIZE_MAX)
        return PROXY_HEADER_BROKEN;
    if (size < HEAD_SIZE + length)
        return PROXY_HEADER_MORE;
    *header =
        (struct proxy_header){.size = HEAD_SIZE + length, .is_local = command == COMMAND_LOCAL};
    if (!header->is_local && family == FAMILY_TCP4)
        read_tcp4(&header->source, data + HEAD_SIZE);
    else if (!header->is_local)
        read_tcp6(&header->source, data + HEAD_SIZE);
    return PROXY_HEADER_DONE;
}
