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
#include "core/tenant_file.h"

#define FILE_SIZE_MAX     ((size_t)256 << 20)
#define INCLUDED_FILE_MAX 65536

/* Reads everything of an open file; NULL with errno set. */
static char *file_read_all(int fd, size_t *size, uint64_t *stamp)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return NULL;
    *stamp = config_stamp_status(0, &status);
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

static int file_name(struct config_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    file->path = strdup(path);
    file->folder =
        slash != NULL ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("");
    return file->path != NULL && file->folder != NULL ? 0 : -ENOMEM;
}

static int file_open(struct config_load *load, struct config_file *file, const char *path)
{
    if (file_name(file, path) != 0)
        return -ENOMEM;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0) {
        file->text = file_read_all(fd, &file->size, &file->stamp);
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

char *config_file_path(const struct config_file *file, const char *name)
{
    bool is_whole = name[0] == '/' || file->folder[0] == '\0';
    char *path = NULL;
    int size =
        asprintf(&path, "%s%s%s", is_whole ? "" : file->folder, is_whole ? "" : "/", name);
    return size >= 0 ? path : NULL;
}

int config_include_filter(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' &&
           ((size > 5 && strcmp(entry->d_name + size - 5, ".yaml") == 0) ||
            (size > 4 && strcmp(entry->d_name + size - 4, ".yml") == 0));
}

/* Room for more files behind those that are there. */
static int files_reserve(struct config_load *load, size_t count)
{
    struct config_file *files =
        realloc(load->files, (load->file_count + count) * sizeof(*files));
    if (files == NULL)
        return -ENOMEM;
    load->files = files;
    memset(files + load->file_count, 0, count * sizeof(*files));
    return 0;
}

static int include_one(struct config_load *load, const char *folder, const char *name)
{
    struct config_file *file = &load->files[load->file_count++];
    char *path = NULL;
    int rc =
        asprintf(&path, "%s/%s", folder, name) >= 0 ? file_open(load, file, path) : -ENOMEM;
    free(path);
    if (rc != 0)
        return rc;
    if (!config_schema_load(load, file))
        return -EINVAL;
    const struct raw_file *raw = file->raw;
    const char *key = raw->global != NULL         ? "global"
                      : raw->xmpp != NULL         ? "xmpp"
                      : raw->sip != NULL          ? "sip"
                      : raw->dns != NULL          ? "dns"
                      : raw->include != NULL      ? "include"
                      : raw->tenants_file != NULL ? "tenants_file"
                                                  : NULL;
    if (key != NULL) {
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
    struct config_input *folder = &load->include;
    struct dirent **entries = NULL;
    *folder = (struct config_input){config_check_join(load, main_file, include), true, 0};
    if (folder->path == NULL)
        return -ENOMEM;
    folder->stamp = config_stamp_folder(folder->path);
    int count = scandir(folder->path, &entries, config_include_filter, alphasort);
    if (count < 0) {
        (void)config_mark_fail(load, main_file, "include", "cannot read the directory '%s': %s",
                               include, strerror(errno));
        return -EINVAL;
    }
    int rc = count <= INCLUDED_FILE_MAX ? files_reserve(load, (size_t)count) : -EINVAL;
    if (count > INCLUDED_FILE_MAX)
        (void)config_mark_fail(load, main_file, "include", "'%s' has more than %d files: put some "
                               "together, or the tenants into a tenants_file",
                               include, INCLUDED_FILE_MAX);
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = include_one(load, folder->path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/* The name of the tenants file, malloced; NULL with an error when its key is wrong. */
static char *tenants_path(struct config_load *load)
{
    static const char prefix[] = "sqlite:";
    const struct config_file *main_file = &load->files[0];
    const char *text = main_file->raw->tenants_file;
    size_t size = sizeof(prefix) - 1;
    if (strncmp(text, prefix, size) != 0 || text[size] == '\0') {
        (void)config_mark_fail(load, main_file, "tenants_file",
                               "'%s' is no file of tenants; write sqlite:PATH", text);
        return NULL;
    }
    return config_file_path(main_file, text + size);
}

static int tenants_read(struct config_load *load, struct config_file *file)
{
    struct tenant_file *tenants = load->tenants;
    char problem[300] = "";
    int rc = 0;
    file->is_tenants_file = true;
    file->stamp = config_stamp_path(0, file->path);
    if (tenants == NULL)
        rc = tenant_file_open(&tenants, file->path, TENANT_FILE_READ, problem, sizeof(problem));
    if (rc == 0) {
        rc = tenant_file_text(tenants, &file->text, &file->size);
        if (rc != 0)
            (void)snprintf(problem, sizeof(problem), "%s: %s", file->path,
                           tenant_file_problem(tenants));
    }
    if (rc != 0)
        (void)config_mark_fail(load, &load->files[0], "tenants_file", "%s%s", problem,
                               rc == -ENOENT ? "; make it with passerellectl tenant add" : "");
    if (load->tenants == NULL)
        tenant_file_close(&tenants);
    return rc;
}

static int tenants_open(struct config_load *load)
{
    if (load->files[0].raw->tenants_file == NULL)
        return 0;
    char *path = tenants_path(load);
    if (path == NULL)
        return load->error[0] != '\0' ? -EINVAL : -ENOMEM;
    int rc = files_reserve(load, 1);
    if (rc == 0) {
        struct config_file *file = &load->files[load->file_count++];
        rc = file_name(file, path);
        if (rc == 0)
            rc = tenants_read(load, file);
        if (rc == 0 && !config_schema_load(load, file))
            rc = -EINVAL;
    }
    free(path);
    return rc;
}

/* What was read, for who wants to know whether it has changed since. */
static bool keep_inputs(struct config_load *load)
{
    struct config *config = load->config;
    config->inputs = config_check_alloc(load, load->file_count + 1, sizeof(*config->inputs));
    bool kept = config->inputs != NULL;
    for (size_t i = 0; i < load->file_count && kept && !config->is_embedded; i++) {
        struct config_input *input = &config->inputs[config->input_count++];
        input->path = config_check_copy(load, load->files[i].path);
        input->stamp = load->files[i].stamp;
        kept = input->path != NULL;
    }
    if (kept && load->include.path != NULL)
        config->inputs[config->input_count++] = load->include;
    return kept;
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
    if (rc == 0)
        rc = tenants_open(load);
    if (rc != 0)
        return rc;
    load->config->path = config_check_copy(load, load->files[0].path);
    if (load->config->path == NULL || !keep_inputs(load) || !config_check_settings(load) ||
        !config_tenant_all(load))
        return load->error[0] != '\0' ? -EINVAL : -ENOMEM;
    config_slot_close(load);
    return config_index_finish(load->config);
}

static void file_free(struct config_file *file)
{
    config_schema_free(file);
    free(file->text);
    free(file->path);
    free(file->folder);
}

static void load_fini(struct config_load *load)
{
    config_slot_close(load);
    for (size_t i = 0; i < load->file_count; i++)
        file_free(&load->files[i]);
    free(load->files);
}

int config_read(struct config **config, const struct config_source *source, char *error,
                size_t error_size)
{
    assert(config != NULL);
    assert(error_size > 0);
    struct config_load load = {.previous = source->previous,
                               .checks_certificates = source->checks_certificates,
                               .tenants = source->tenants,
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

int config_outline(struct config_outline *outline, const char *path, char *error,
                   size_t error_size)
{
    struct config_file file = {0};
    struct config_load load = {
        .files = &file, .file_count = 1, .error = error, .error_size = error_size};
    *outline = (struct config_outline){0};
    error[0] = '\0';
    int rc = file_open(&load, &file, path);
    if (rc == 0 && !config_schema_load(&load, &file))
        rc = -EINVAL;
    if (rc == 0) {
        const struct raw_global *global = file.raw->global;
        const char *name = global != NULL ? global->stats_socket : NULL;
        outline->stats_socket =
            config_file_path(&file, name != NULL ? name : CONFIG_STATS_SOCKET);
        if (file.raw->tenants_file != NULL)
            outline->tenants_file = tenants_path(&load);
        bool whole = outline->stats_socket != NULL &&
                     (outline->tenants_file != NULL) == (file.raw->tenants_file != NULL);
        rc = whole ? 0 : (error[0] != '\0' ? -EINVAL : -ENOMEM);
    }
    if (rc != 0)
        config_outline_free(outline);
    file_free(&file);
    return rc;
}

void config_outline_free(struct config_outline *outline)
{
    free(outline->tenants_file);
    free(outline->stats_socket);
    *outline = (struct config_outline){0};
}

void config_close(struct config **config)
{
    if (*config == NULL)
        return;
    config_index_close(&(*config)->index);
    free(*config);
    *config = NULL;
}
