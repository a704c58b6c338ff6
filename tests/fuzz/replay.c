/* SPDX-License-Identifier: MIT
 *
 * A fuzz target without a fuzzer: runs it once for each file that is named,
 * each file in a folder that is named, in the order of their names, and each
 * input in a .pack (pack.py). What does not exist has no inputs. It ends as the
 * target does: a broken promise aborts, and the input that did it was named.
 */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

static unsigned long inputs;

static void
run(const char *path, size_t at, const uint8_t *data, size_t size)
{
    printf("%s at %zu: %zu bytes\n", path, at, size);
    fflush(stdout);
    /* Of exactly its size, for the sanitizer. */
    uint8_t *copy = fuzz_copy(data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    inputs++;
}

/* u32 length and so many bytes, again and again. */
static void
run_packed(const char *path, const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        FUZZ_REQUIRE(size - at >= 4, path);
        size_t len = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 |
                     (size_t)data[at + 2] << 8 | data[at + 3];
        at += 4;
        FUZZ_REQUIRE(len <= size - at, path);
        run(path, at, data + at, len);
        at += len;
    }
}

static void
replay(const char *path, size_t size)
{
    uint8_t *data = malloc(size + 1);
    FILE *file = fopen(path, "rb");
    const char *suffix = strrchr(path, '.');

    FUZZ_REQUIRE(data != NULL && file != NULL, path);
    FUZZ_REQUIRE(fread(data, 1, size, file) == size, path);
    fclose(file);
    if (suffix != NULL && strcmp(suffix, ".pack") == 0) {
        run_packed(path, data, size);
    } else {
        run(path, 0, data, size);
    }
    free(data);
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
        replay(path, (size_t)st.st_size);
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
