/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates for tests, made by the openssl command in a directory of their own. */
#ifndef PASSERELLE_TESTS_CERTIFICATES_H
#define PASSERELLE_TESTS_CERTIFICATES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct certificates {
    char directory[64];
};

static inline void certificates_path(const struct certificates *certificates, const char *name,
                                     char path[256])
{
    (void)snprintf(path, 256, "%s/%s", certificates->directory, name);
}

/* Runs a shell command inside the directory; its answer is 0 when all went well. */
static inline int certificates_run(const struct certificates *certificates, const char *command)
{
    char line[4096];
    int n = snprintf(line, sizeof(line), "cd %s && ( %s ) >>log 2>&1", certificates->directory,
                     command);
    return n > 0 && n < (int)sizeof(line) ? system(line) : -1;
}

/* NAME.pem and NAME.key, signed by ISSUER, with the extensions given (lines split by \n). */
static inline int certificates_issue(const struct certificates *certificates, const char *name,
                                     const char *issuer, const char *extensions)
{
    char command[3500];
    int n = snprintf(
        command, sizeof(command),
        "printf '%s\\n' >%s.ext && "
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key "
        "-subj '/CN=cn.example' -out %s.csr && "
        "openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 30 "
        "-extfile %s.ext -out %s.pem",
        extensions, name, name, name, name, issuer, issuer, name, name);
    return n > 0 && n < (int)sizeof(command) ? certificates_run(certificates, command) : -1;
}

/* A root named NAME.pem with NAME.key. */
static inline int certificates_root(const struct certificates *certificates, const char *name)
{
    char command[1024];
    int n = snprintf(command, sizeof(command),
                     "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                     "-keyout %s.key -subj '/CN=%s' -days 30 -out %s.pem "
                     "-addext keyUsage=critical,keyCertSign,cRLSign",
                     name, name, name);
    return n > 0 && n < (int)sizeof(command) ? certificates_run(certificates, command) : -1;
}

static inline int certificates_open(struct certificates *certificates)
{
    (void)snprintf(certificates->directory, sizeof(certificates->directory),
                   "%.40s/certificates.XXXXXX", P_tmpdir);
    return mkdtemp(certificates->directory) != NULL ? 0 : -1;
}

static inline void certificates_close(const struct certificates *certificates)
{
    char line[128];
    (void)snprintf(line, sizeof(line), "rm -r '%s'", certificates->directory);
    if (system(line) != 0)
        fprintf(stderr, "%s stays behind\n", certificates->directory);
}

#endif
