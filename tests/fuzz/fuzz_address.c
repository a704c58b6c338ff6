/* SPDX-License-Identifier: MIT
 *
 * Addresses: what is read must survive being written and read again.
 */
#include "fuzz.h"

#include <broker/address.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct broker_address address, again;
    char formatted[BROKER_ADDRESS_TEXT_MAX];
    const char *why = NULL;
    char *text = malloc(size + 1);

    FUZZ_REQUIRE(text != NULL, "memory");
    if (size != 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (broker_address_parse(text, &address, &why) == BROKER_OK) {
        broker_address_format(&address, formatted, sizeof formatted);
        FUZZ_REQUIRE(
            broker_address_parse(formatted, &again, NULL) == BROKER_OK &&
                memcmp(&address, &again, sizeof address) == 0,
            "an address changes when it is written and read");
    } else {
        FUZZ_REQUIRE(why != NULL, "no reason");
    }
    if (broker_address_default(text, &address) == BROKER_OK) {
        FUZZ_REQUIRE(address.path[0] == '/' &&
                         memchr(address.path, '\0', sizeof address.path),
            "the default path is not a path");
    }
    free(text);
    return 0;
}
