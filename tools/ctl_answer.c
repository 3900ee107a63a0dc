/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_answer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COLUMN_MAX    32
#define LINE_MAX_SIZE 8192 /* of an answer that comes line by line */

/* -1 with errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* Everything until the relay closes; NULL on an error. */
static char *read_answer(int fd, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    char block[16384];
    ssize_t got = 0;
    while (out != NULL && (got = read(fd, block, sizeof(block))) > 0)
        (void)fwrite(block, 1, (size_t)got, out);
    if (out == NULL || fclose(out) != 0 || got < 0) {
        free(text);
        return NULL;
    }
    /* The empty line that ends the answer is for those who keep the connection. */
    if (*size > 1 && text[*size - 1] == '\n' && text[*size - 2] == '\n')
        text[--*size] = '\0';
    return text;
}

/* Columns in characters, not bytes: domains may be U-labels. */
static size_t width_of(const char *field, size_t size)
{
    size_t width = 0;
    for (size_t i = 0; i < size; i++)
        width += ((unsigned char)field[i] & 0xc0) != 0x80;
    return width;
}

/* Measures (out NULL) or prints each field of the table. */
static void walk_table(const char *text, size_t widths[COLUMN_MAX], FILE *out)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, "\t\n");
        size_t width = width_of(text, size);
        bool is_last = text[size] != '\t';
        if (width > widths[column])
            widths[column] = width;
        if (out != NULL)
            fprintf(out, "%.*s%*s%s", (int)size, text,
                    is_last ? 0 : (int)(widths[column] - width + 2), "", is_last ? "\n" : "");
        column = is_last ? 0 : (column + 1 < COLUMN_MAX ? column + 1 : column);
        text += size + (text[size] != '\0');
    }
}

void ctl_table(const char *text, FILE *out)
{
    size_t widths[COLUMN_MAX] = {0};
    walk_table(text, widths, NULL);
    walk_table(text, widths, out);
}

/* A connection on which the command is sent; -1 with errno, 0 then for one that ends at
   once. */
static int send_to(const char *path, const char *command)
{
    int fd = connect_to(path);
    if (fd < 0)
        return -1;
    if (send(fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command) &&
        shutdown(fd, SHUT_WR) == 0)
        return fd;
    (void)close(fd);
    errno = 0;
    return -1;
}

static int tell_silence(const char *path)
{
    fprintf(stderr, "passerellectl: no answer from %s\n", path);
    return EXIT_FAILURE;
}

int ctl_ask(const char *path, const char *command)
{
    int fd = send_to(path, command);
    if (fd < 0)
        return errno != 0 ? -errno : tell_silence(path);
    size_t size = 0;
    char *answer = read_answer(fd, &size);
    (void)close(fd);
    if (answer == NULL || size == 0) {
        free(answer);
        return tell_silence(path);
    }
    bool is_error = strncmp(answer, "error:", 6) == 0;
    ctl_table(answer, is_error ? stderr : stdout);
    free(answer);
    return is_error ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* One line of an answer that comes step by step; true when it is a row that says "failed". */
static bool print_line(const char *line, bool as_json)
{
    size_t widths[COLUMN_MAX] = {11, 6, 6, 21};
    const char *rest = strchr(line, '\t');
    if (strncmp(line, "error:", 6) == 0) {
        fputs(line, stderr);
        return true;
    }
    if (as_json)
        fputs(line, stdout);
    else
        walk_table(line, widths, stdout);
    (void)fflush(stdout);
    return as_json ? strstr(line, "\"result\":\"failed\"") != NULL
                   : rest != NULL && strncmp(rest, "\tfailed\t", 8) == 0;
}

int ctl_follow(const char *path, const char *command, bool as_json)
{
    int fd = send_to(path, command);
    if (fd < 0)
        return errno != 0 ? -errno : tell_silence(path);
    char line[LINE_MAX_SIZE];
    bool has_failed = true;
    FILE *in = fdopen(fd, "r");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL)
        if (line[0] != '\n' && line[0] != ']')
            has_failed = print_line(line, as_json);
        else if (line[0] == ']')
            fputs(line, stdout);
    (void)(in != NULL ? fclose(in) : close(fd));
    return has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
