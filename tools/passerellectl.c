/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks a running relay through its stats socket and prints the answer, tables aligned. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COLUMN_MAX 32

static const char usage[] =
    "usage: passerellectl [-s SOCKET] [--json] COMMAND…\n"
    "\n"
    "  -s, --socket SOCKET  the relay's stats socket (global.stats_socket); default\n"
    "                       ./passerelle.sock\n"
    "  -j, --json           JSON instead of a table, for show\n"
    "  -h, --help           this text\n"
    "\n"
    "Commands:\n"
    "  show info|stat|sess|tenants|trunks|errors\n"
    "  metrics                                 everything as Prometheus text\n"
    "  set log-level error|warn|info|debug\n"
    "  reload                                  has the relay read its configuration again\n"
    "  help                                    what the relay says to each of them\n"
    "\n"
    "Status: 0 answered, 1 not reachable or refused, 2 wrong options.\n";

static int fail(const char *what, const char *name)
{
    fprintf(stderr, "passerellectl: %s %s: %s\n", what, name, strerror(errno));
    return -1;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail("cannot use", path);
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return fail("cannot reach the relay at", path);
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

static int run(const char *path, const char *command)
{
    int fd = connect_to(path);
    if (fd < 0)
        return EXIT_FAILURE;
    size_t size = 0;
    char *answer = NULL;
    if (send(fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command) &&
        shutdown(fd, SHUT_WR) == 0)
        answer = read_answer(fd, &size);
    (void)close(fd);
    if (answer == NULL || size == 0) {
        fprintf(stderr, "passerellectl: no answer from %s\n", path);
        free(answer);
        return EXIT_FAILURE;
    }
    size_t widths[COLUMN_MAX] = {0};
    bool is_error = strncmp(answer, "error:", 6) == 0;
    walk_table(answer, widths, NULL);
    walk_table(answer, widths, is_error ? stderr : stdout);
    free(answer);
    return is_error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *path = "./passerelle.sock";
    bool as_json = false;
    for (int option; (option = getopt_long(argc, argv, "s:jh", options, NULL)) != -1;) {
        if (option == 's')
            path = optarg;
        else if (option == 'j')
            as_json = true;
        else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? EXIT_SUCCESS : 2;
        }
    }
    char command[1000];
    size_t used = 0;
    bool appends = as_json && optind < argc && strcmp(argv[optind], "show") == 0;
    for (int i = optind; i < argc + (appends ? 1 : 0); i++) {
        const char *word = i < argc ? argv[i] : "json";
        int size = snprintf(command + used, sizeof(command) - used, "%s%s", used > 0 ? " " : "",
                            word);
        if (size < 0 || (size_t)size >= sizeof(command) - used - 1)
            return 2;
        used += (size_t)size;
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    command[used] = '\n';
    command[used + 1] = '\0';
    return run(path, command);
}
