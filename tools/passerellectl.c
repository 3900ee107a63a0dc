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

#define COLUMN_MAX    32
#define LINE_MAX_SIZE 8192 /* of an answer that comes line by line */

static const char usage[] =
    "usage: passerellectl [-s SOCKET] [--json] COMMAND…\n"
    "\n"
    "  -s, --socket SOCKET  the relay's stats socket (global.stats_socket); default\n"
    "                       ./passerelle.sock\n"
    "  -j, --json           JSON instead of a table, for show, explain and ping\n"
    "  -h, --help           this text\n"
    "\n"
    "Commands:\n"
    "  show info|stat|sess|tenants|trunks|errors\n"
    "  metrics                                 everything as Prometheus text\n"
    "  set log-level error|warn|info|debug\n"
    "  explain DOMAIN [--tenant NAME]          how DOMAIN is reached, step by step, and what "
    "is wrong\n"
    "  ping TENANT ADDRESS [--from USER] [--message TEXT]\n"
    "                                          pings an XMPP address, or sends it a message\n"
    "  reload                                  has the relay read its configuration again\n"
    "  help                                    what the relay says to each of them\n"
    "\n"
    "Status: 0 answered, 1 not reachable or refused, or explain and ping found a fault,\n"
    "2 wrong options.\n";

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

/* One line of an answer that comes step by step; true when it is a row that says "failed". */
static bool print_line(char *line, bool as_json)
{
    static const size_t widths[COLUMN_MAX] = {11, 6, 6, 21};
    char *words[2] = {line, strchr(line, '\t')};
    if (strncmp(line, "error:", 6) == 0) {
        fputs(line, stderr);
        return true;
    }
    bool has_failed = as_json ? strstr(line, "\"result\":\"failed\"") != NULL
                              : words[1] != NULL && strncmp(words[1], "\tfailed\t", 8) == 0;
    if (as_json)
        fputs(line, stdout);
    else
        walk_table(line, (size_t[COLUMN_MAX]){widths[0], widths[1], widths[2], widths[3]},
                   stdout);
    (void)fflush(stdout);
    return has_failed;
}

/* Prints each line as it comes. The last row is the verdict. */
static int follow(int fd, bool as_json)
{
    char line[LINE_MAX_SIZE];
    bool has_failed = true;
    FILE *in = fdopen(fd, "r");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL)
        if (line[0] != '\n' && line[0] != ']')
            has_failed = print_line(line, as_json);
        else if (line[0] == ']')
            fputs(line, stdout);
    if (in != NULL)
        (void)fclose(in);
    return has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

struct request {
    const char *text; /* a line */
    bool is_followed; /* its answer comes step by step */
    bool as_json;
};

static int run(const char *path, const struct request *request)
{
    int fd = connect_to(path);
    if (fd < 0)
        return EXIT_FAILURE;
    size_t size = 0, command_size = strlen(request->text);
    char *answer = NULL;
    bool is_sent =
        send(fd, request->text, command_size, MSG_NOSIGNAL) == (ssize_t)command_size &&
        shutdown(fd, SHUT_WR) == 0;
    if (is_sent && request->is_followed)
        return follow(fd, request->as_json);
    if (is_sent)
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

/* The command as one line: explain and ping take options, whose words stand behind them. */
struct words {
    char text[1000];
    size_t used;
    bool is_too_long;
};

static void add_word(struct words *words, const char *word)
{
    int size = snprintf(words->text + words->used, sizeof(words->text) - words->used, "%s%s",
                        words->used > 0 ? " " : "", word);
    if (size < 0 || (size_t)size + 2 > sizeof(words->text) - words->used)
        words->is_too_long = true;
    else
        words->used += (size_t)size;
}

static void add_option(struct words *words, const char *name, const char *value)
{
    if (value == NULL)
        return;
    add_word(words, name);
    add_word(words, value);
}

struct options {
    const char *path, *tenant, *from, *message;
    bool as_json;
};

/* EXIT_SUCCESS, or with what the program ends. */
static int read_options(int argc, char **argv, struct options *read)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"tenant", required_argument, NULL, 't'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"message", required_argument, NULL, 'm'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "s:jh", options, NULL)) != -1;) {
        switch (option) {
        case 's': read->path = optarg; break;
        case 'j': read->as_json = true; break;
        case 't': read->tenant = optarg; break;
        case 'f': read->from = optarg; break;
        case 'm': read->message = optarg; break;
        case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
        default: fputs(usage, stderr); return 2;
        }
    }
    if (optind == argc)
        fputs(usage, stderr);
    return optind == argc ? 2 : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {.path = "./passerelle.sock"};
    struct words words = {.used = 0};
    int status = read_options(argc, argv, &options);
    if (status != EXIT_SUCCESS)
        return status;
    const char *command = argv[optind];
    bool explains = strcmp(command, "explain") == 0, pings = strcmp(command, "ping") == 0;
    for (int i = optind; i < argc; i++)
        add_word(&words, argv[i]);
    if (explains)
        add_option(&words, "tenant", options.tenant);
    if (pings)
        add_option(&words, "from", options.from);
    if (options.as_json && (explains || pings || strcmp(command, "show") == 0))
        add_word(&words, "json");
    if (pings)
        add_option(&words, "message", options.message);
    if (words.is_too_long) {
        fputs("passerellectl: the command is too long\n", stderr);
        return 2;
    }
    words.text[words.used] = '\n';
    words.text[words.used + 1] = '\0';
    return run(options.path, &(struct request){words.text, explains || pings, options.as_json});
}
