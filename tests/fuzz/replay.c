/* SPDX-License-Identifier: MIT
 *
 * A fuzz target without a fuzzer: runs it once for each file that is named, and
 * for each file in a folder that is named, in the order of their names. A folder
 * that does not exist has no files. It ends as the target does: a broken promise
 * aborts, after the name of the file was printed.
 */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

static unsigned long inputs;

static void
replay(const char *path, long size)
{
    uint8_t *data = malloc((size_t)size + 1);
    FILE *file = fopen(path, "rb");

    FUZZ_REQUIRE(data != NULL && file != NULL, path);
    FUZZ_REQUIRE(fread(data, 1, (size_t)size, file) == (size_t)size, path);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    /* Of exactly its size, for the sanitizer. */
    uint8_t *copy = fuzz_copy(data, (size_t)size);
    (void)LLVMFuzzerTestOneInput(copy, (size_t)size);
    free(copy);
    free(data);
    inputs++;
}

static void
replay_all(const char *path)
{
    struct stat st;
    struct dirent **names = NULL;

    if (stat(path, &st) != 0) {
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        replay(path, (long)st.st_size);
        return;
    }
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inside[PATH_BYTES];
        snprintf(inside, sizeof inside, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            replay_all(inside);
        }
        free(names[i]);
    }
    free(names);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        replay_all(argv[i]);
    }
    printf("%lu inputs\n", inputs);
    return inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
