/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target: any bytes as a configuration file. What is accepted must
 * resolve, print, and read back without an error.
 */
#include <stdlib.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct config_machine machine = {
    .memory_bytes = 8 * CONFIG_GIB,
    .max_files = UINT64_MAX,
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config config;
    struct config again;
    char *text = NULL;
    size_t text_len = 0;
    static FILE *nowhere;

    if (nowhere == NULL && (nowhere = fopen("/dev/null", "w")) == NULL) {
        abort();
    }
    config_init(&config);
    if (config_read_text(
            &config, "fuzz.conf", (const char *)data, len, nowhere) == 0 &&
        config_resolve(&config, &machine, nowhere) == 0) {
        FILE *out = open_memstream(&text, &text_len);
        config_answer(&config, CONFIG_PRINT_EFFECTIVE, out);
        fclose(out);
        config_init(&again);
        if (config_read_text(&again, "again", text, text_len, stderr) != 0 ||
            config_resolve(&again, &machine, stderr) != 0) {
            abort();
        }
        config_fini(&again);
        free(text);
    }
    config_fini(&config);
    return 0;
}
