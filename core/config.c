/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The story of a load: read the file, its included files, check, index; or say what is wrong.
 */
#include "core/config.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/config_schema.h"
#include "core/log.h"

#define FILE_SIZE_MAX     ((size_t)256 << 20)
#define INCLUDED_FILE_MAX 65536

/* Reads everything of an open file; NULL with errno set. */
static char *file_read_all(int fd, size_t *size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return NULL;
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size > FILE_SIZE_MAX) {
        errno = S_ISREG(status.st_mode) ? EFBIG : EISDIR;
        return NULL;
    }
    size_t room = (size_t)status.st_size;
    char *text = malloc(room + 1);
    *size = 0;
    while (text != NULL && *size < room) {
        ssize_t got = read(fd, text + *size, room - *size);
        if (got <= 0)
            break;
        *size += (size_t)got;
    }
    return text;
}

static int file_open(struct config_load *load, struct config_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    file->path = strdup(path);
    file->folder =
        slash != NULL ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("");
    if (file->path == NULL || file->folder == NULL)
        return -ENOMEM;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0) {
        file->text = file_read_all(fd, &file->size);
        rc = file->text == NULL ? -errno : 0;
        (void)close(fd);
    }
    if (rc != 0)
        (void)snprintf(load->error, load->error_size, "%s: cannot read it: %s", path,
                       strerror(-rc));
    return rc;
}

static int file_open_embedded(struct config_file *file)
{
    file->path = strdup("(embedded)");
    file->folder = strdup("");
    file->text = strdup(config_defaults());
    if (file->path == NULL || file->folder == NULL || file->text == NULL)
        return -ENOMEM;
    file->size = strlen(file->text);
    return 0;
}

static int include_filter(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' &&
           ((size > 5 && strcmp(entry->d_name + size - 5, ".yaml") == 0) ||
            (size > 4 && strcmp(entry->d_name + size - 4, ".yml") == 0));
}

static int include_one(struct config_load *load, const char *folder, const char *name)
{
    struct config_file *file = &load->files[load->file_count++];
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (size < 0 || (size_t)size >= sizeof(path))
        return -ENAMETOOLONG;
    int rc = file_open(load, file, path);
    if (rc != 0)
        return rc;
    if (!config_schema_load(load, file))
        return -EINVAL;
    const struct raw_file *raw = file->raw;
    if (raw->global != NULL || raw->xmpp != NULL || raw->sip != NULL || raw->dns != NULL ||
        raw->include != NULL) {
        const char *key = raw->global != NULL ? "global"
                          : raw->xmpp != NULL ? "xmpp"
                          : raw->sip != NULL  ? "sip"
                          : raw->dns != NULL  ? "dns"
                                              : "include";
        (void)config_mark_fail(load, file, key,
                               "an included file holds tenants and partners only");
        return -EINVAL;
    }
    return 0;
}

static int include_all(struct config_load *load)
{
    const struct config_file *main_file = &load->files[0];
    const char *include = main_file->raw->include;
    if (include == NULL)
        return 0;
    char folder[4096];
    bool is_absolute = include[0] == '/' || main_file->folder[0] == '\0';
    int size = snprintf(folder, sizeof(folder), "%s%s%s", is_absolute ? "" : main_file->folder,
                        is_absolute ? "" : "/", include);
    struct dirent **entries = NULL;
    int count = size > 0 && (size_t)size < sizeof(folder)
                    ? scandir(folder, &entries, include_filter, alphasort)
                    : -1;
    if (count < 0 || count > INCLUDED_FILE_MAX) {
        (void)config_mark_fail(load, main_file, "include", "cannot read the directory '%s': %s",
                               include, strerror(errno));
        return -EINVAL;
    }
    struct config_file *files = realloc(load->files, ((size_t)count + 1) * sizeof(*files));
    int rc = files != NULL ? 0 : -ENOMEM;
    if (files != NULL) {
        load->files = files;
        memset(files + 1, 0, (size_t)count * sizeof(*files));
    }
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = include_one(load, folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int load_run(struct config_load *load, const char *path)
{
    load->files = calloc(1, sizeof(*load->files));
    if (load->files == NULL)
        return -ENOMEM;
    load->file_count = 1;
    load->config->is_embedded = path == NULL;
    int rc = config_index_open(load->config);
    if (rc == 0) {
        load->arena = config_index_arena(load->config);
        rc = config_slot_open(load);
    }
    if (rc == 0)
        rc = path != NULL ? file_open(load, &load->files[0], path)
                          : file_open_embedded(&load->files[0]);
    if (rc != 0)
        return rc;
    if (!config_schema_load(load, &load->files[0]))
        return -EINVAL;
    rc = include_all(load);
    if (rc != 0)
        return rc;
    load->config->path = config_check_copy(load, load->files[0].path);
    if (load->config->path == NULL || !config_check_settings(load) || !config_tenant_all(load))
        return load->error[0] != '\0' ? -EINVAL : -ENOMEM;
    config_slot_close(load);
    return config_index_finish(load->config);
}

static void load_fini(struct config_load *load)
{
    config_slot_close(load);
    for (size_t i = 0; i < load->file_count; i++) {
        config_schema_free(&load->files[i]);
        free(load->files[i].text);
        free(load->files[i].path);
        free(load->files[i].folder);
    }
    free(load->files);
}

int config_read(struct config **config, const struct config_source *source, char *error,
                size_t error_size)
{
    assert(config != NULL);
    assert(error_size > 0);
    struct config_load load = {.previous = source->previous,
                               .checks_certificates = source->checks_certificates,
                               .error = error,
                               .error_size = error_size};
    const char *path = source->path;
    error[0] = '\0';
    *config = NULL;
    load.config = calloc(1, sizeof(*load.config));
    int rc = load.config != NULL ? load_run(&load, path) : -ENOMEM;
    load_fini(&load);
    if (rc == 0) {
        *config = load.config;
        return 0;
    }
    if (error[0] == '\0')
        (void)snprintf(error, error_size, "%s: %s", path != NULL ? path : "(embedded)",
                       strerror(-rc));
    config_close(&load.config);
    return rc;
}

int config_open(struct config **config, const char *path, char *error, size_t error_size)
{
    return config_read(config, &(struct config_source){.path = path}, error, error_size);
}

static void tell_warning(const char *text, FILE *out)
{
    if (out != NULL)
        fprintf(out, "warning: %s\n", text);
    else
        log_event(LOG_LEVEL_WARN, "config.warning", 0, log_text("reason", span_of(text)));
}

void config_tell_warnings(const struct config *config, FILE *out)
{
    char more[60];
    for (size_t i = 0; i < config->warning_count; i++)
        tell_warning(config->warnings[i], out);
    if (config->warnings_left_out == 0)
        return;
    (void)snprintf(more, sizeof(more), "and %zu more like these", config->warnings_left_out);
    tell_warning(more, out);
}

void config_close(struct config **config)
{
    if (*config == NULL)
        return;
    config_index_close(&(*config)->index);
    free(*config);
    *config = NULL;
}
