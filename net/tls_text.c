/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tls_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM_SIZE_MAX (1u << 22)

void tls_text_free(struct tls_text *text)
{
    if (text->data != NULL)
        explicit_bzero(text->data, text->size);
    free(text->data);
    *text = (struct tls_text){0};
}

static int text_read_all(struct tls_text *text, int fd, size_t room)
{
    while (text->size < room) {
        ssize_t n = read(fd, text->data + text->size, room - text->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        text->size += (size_t)n;
    }
    return -EFBIG;
}

int tls_text_read_most(struct tls_text *text, const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *text = (struct tls_text){.data = malloc(max + 1)};
    int rc = text->data != NULL ? text_read_all(text, fd, max + 1) : -ENOMEM;
    close(fd);
    if (rc < 0) {
        tls_text_free(text);
        return rc;
    }
    uint8_t *shrunk = realloc(text->data, text->size + 1);
    if (shrunk != NULL)
        text->data = shrunk;
    return 0;
}

int tls_text_read(struct tls_text *text, const char *path)
{
    return tls_text_read_most(text, path, PEM_SIZE_MAX);
}
