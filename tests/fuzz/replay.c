/* SPDX-License-Identifier: Apache-2.0
 * Runs a fuzz target once over every file named, and every file of folders named: `fuzz_x FILE|FOLDER ...`. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int run(const char *path);

static int run_folder(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), ran = 0;

    for (int i = 0; i < n; i++) {
        char inner[4096];

        if (names[i]->d_name[0] != '.' &&
            snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name) < (int)sizeof inner)
            ran += run(inner);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return ran;
}

/* Inputs run; ends the program when one cannot be read: a corpus that is not there must not pass. */
static int run(const char *path)
{
    struct stat st;
    FILE *f;
    uint8_t *data;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return run_folder(path);
    f = fopen(path, "rb");
    data = malloc(f && st.st_size > 0 ? (size_t)st.st_size : 1); /* its own block: the sanitizer sees the end */
    if (!f || !data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    int ran = 0;

    for (int i = 1; i < argc; i++)
        ran += run(argv[i]);
    printf("%s: %d inputs\n", slash ? slash + 1 : argv[0], ran);
    return 0;
}
