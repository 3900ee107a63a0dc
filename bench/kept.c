/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/page.h"

static const char kept_usage[] =
    "usage: passerelle-bench report RUN.json… > report.html   a page of 1 to 8 kept reports\n";

static int kept_flush(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_SUCCESS;
    fputs("passerelle-bench: the output cannot be written\n", stderr);
    return EXIT_FAILURE;
}

static int kept_report(int count, char **paths)
{
    static struct document documents[DOCUMENT_MAX];
    if (count < 1 || count > DOCUMENT_MAX) {
        fputs(kept_usage, stderr);
        return EXIT_FAILURE;
    }
    if (!document_open_all(documents, paths, (size_t)count))
        return EXIT_FAILURE;
    page_write(documents, (size_t)count, stdout);
    for (int i = 0; i < count; i++)
        document_close(&documents[i]);
    return kept_flush();
}

bool kept_wanted(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "report") == 0;
}

int kept_run(int argc, char **argv)
{
    return kept_report(argc - 2, argv + 2);
}
