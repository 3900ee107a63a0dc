/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/contrast.h"
#include "bench/page.h"

static const char kept_usage[] =
    "usage: passerelle-bench report RUN.json… > report.html   a page of 1 to 8 kept reports\n"
    "       passerelle-bench compare A.json B.json            two of them, measure by "
    "measure\n";

static int kept_flush(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_SUCCESS;
    fputs("passerelle-bench: the output cannot be written\n", stderr);
    return EXIT_FAILURE;
}

static bool kept_is_compare(const char *word)
{
    return strcmp(word, "compare") == 0 || strcmp(word, "--compare") == 0;
}

bool kept_wanted(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "report") == 0 || kept_is_compare(argv[1]));
}

int kept_run(int argc, char **argv)
{
    static struct document documents[DOCUMENT_MAX];
    bool compare = kept_is_compare(argv[1]), good = true;
    int count = argc - 2;
    if (count < (compare ? 2 : 1) || count > (compare ? 2 : DOCUMENT_MAX)) {
        fputs(kept_usage, stderr);
        return EXIT_FAILURE;
    }
    if (!document_open_all(documents, argv + 2, (size_t)count))
        return EXIT_FAILURE;
    if (compare)
        good = contrast_write(&documents[0], &documents[1], stdout);
    else
        page_write(documents, (size_t)count, stdout);
    for (int i = 0; i < count; i++)
        document_close(&documents[i]);
    return good ? kept_flush() : EXIT_FAILURE;
}
