/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(struct writer *writer, struct span bytes)
{
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        unsigned bits = (unsigned)(unsigned char)bytes.data[i] << 16;
        if (left > 1)
            bits |= (unsigned)(unsigned char)bytes.data[i + 1] << 8;
        if (left > 2)
            bits |= (unsigned char)bytes.data[i + 2];
        writer_put_char(writer, digits[bits >> 18]);
        writer_put_char(writer, digits[bits >> 12 & 63]);
        writer_put_char(writer, left > 1 ? digits[bits >> 6 & 63] : '=');
        writer_put_char(writer, left > 2 ? digits[bits & 63] : '=');
    }
}

static int digit_value(char c)
{
    const char *hit = c != '\0' ? strchr(digits, c) : NULL;
    return hit != NULL ? (int)(hit - digits) : -1;
}

bool base64_read(struct span text, char *out, size_t room, size_t *size)
{
    unsigned bits = 0, bit_count = 0;
    size_t used = 0;
    while (text.size > 0 && text.data[text.size - 1] == '=')
        text.size--;
    for (size_t i = 0; i < text.size; i++) {
        int digit = digit_value(text.data[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        bit_count += 6;
        if (bit_count < 8)
            continue;
        bit_count -= 8;
        if (used == room)
            return false;
        out[used++] = (char)(bits >> bit_count & 0xff);
    }
    *size = used;
    return true;
}
