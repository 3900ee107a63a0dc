/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs a fuzz target over the files of the folders named, without libFuzzer. */
#include <dirent.h>
#include <limits.h>

#include "fuzz.h"

static int replay(const char *path)
{
    static uint8_t data[1u << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    fprintf(stderr, "%s\n", path); /* so that a crash names its file */
    struct span exact = fuzz_copy(span_make(data, size));
    (void)LLVMFuzzerTestOneInput((const uint8_t *)exact.data, exact.size);
    fuzz_free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;
        if (folder == NULL) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        while ((entry = readdir(folder)) != NULL) {
            char path[PATH_MAX];
            if (entry->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            if (replay(path) < 0)
                return EXIT_FAILURE;
            count++;
        }
        (void)closedir(folder);
    }
    printf("%u inputs\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
