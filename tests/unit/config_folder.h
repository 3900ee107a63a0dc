/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder for tests of the configuration, with the files that the defaults name; parts of a
   good file; and what a bad one must be answered with. */
#ifndef PASSERELLE_TESTS_CONFIG_FOLDER_H
#define PASSERELLE_TESTS_CONFIG_FOLDER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/config.h"

static inline void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* Every test runs in a folder of its own with the files that the defaults name. */
static inline int enter_folder(void **state)
{
    char folder[] = "/tmp/passerelle-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    *state = strdup(folder);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("dev", 0700), 0);
    assert_int_equal(mkdir("more", 0700), 0);
    write_file("dev/ca.pem", "ca", 0644);
    write_file("dev/xmpp.pem", "certificate", 0644);
    write_file("dev/xmpp.key", "key", 0600);
    write_file("dev/open.key", "key", 0644);
    return 0;
}

static inline int leave_folder(void **state)
{
    char command[200];
    assert_int_equal(chdir("/"), 0);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
    assert_int_equal(system(command), 0);
    free(*state);
    return 0;
}

static inline struct config *opened(const char *path)
{
    struct config *config = NULL;
    char error[600];
    int rc = config_open(&config, path, error, sizeof(error));
    if (rc != 0)
        fail_msg("%s", error);
    assert_non_null(config);
    return config;
}

/* Parts of a good file, to be varied. */
#define XMPP                                                                                   \
    "xmpp:\n"                                                                                  \
    "  certificate: dev/xmpp.pem\n"                                                            \
    "  key: dev/xmpp.key\n"
#define TENANT                                                                                 \
    "tenants:\n"                                                                               \
    "  - domains: [a.example]\n"                                                               \
    "    trunks: [{uri: 'sip:192.0.2.1'}]\n"

struct refusal {
    const char *text;
    const char *line_and_key; /* "4: key" behind the file's name */
    const char *words;        /* part of the sentence */
};

static inline void check_refusal(const struct refusal *refusal)
{
    struct config *config = NULL;
    char error[600], start[200];
    write_file("bad.yaml", refusal->text, 0644);
    int rc = config_open(&config, "bad.yaml", error, sizeof(error));
    if (rc != -EINVAL || config != NULL)
        fail_msg("accepted (%d):\n%s", rc, refusal->text);
    (void)snprintf(start, sizeof(start), "bad.yaml:%s", refusal->line_and_key);
    if (strncmp(error, start, strlen(start)) != 0 || strstr(error, refusal->words) == NULL)
        fail_msg("'%s' should be '%s: …%s'", error, start, refusal->words);
}

static inline void check_refusals(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_refusal(&refusals[i]);
}

#endif
