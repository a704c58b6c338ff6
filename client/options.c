/* SPDX-License-Identifier: MIT
 *
 * Options: defaults, versions of the struct, ranges, addresses. See handle.h.
 */
#include "handle.h"

#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS  5000
#define PUBLISH_TIMEOUT_MS  30000
#define RECONNECT_MIN_MS    50
#define RECONNECT_MAX_MS    5000
#define BUFFER_BYTES        ((size_t)16 << 20)
#define DEFAULT_ADDRESSES   2
#define DEFAULT_TCP_ADDRESS "tcp://127.0.0.1:" BROKER_DEFAULT_PORT
#define HEARTBEAT_MS_MIN    1000 /* PROTOCOL.md 5.8 */
#define HEARTBEAT_MS_MAX    300000

/* Why the last broker_client_new() on this thread failed. */
static _Thread_local char new_error_text[TEXT_MAX];

char *
options_error_text(void)
{
    return new_error_text;
}

void
broker_client_options_init(
    struct broker_client_options *options, size_t options_bytes)
{
    const struct broker_client_options defaults = {
        .options_bytes = options_bytes,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .reconnect = true,
        .reconnect_min_ms = RECONNECT_MIN_MS,
        .reconnect_max_ms = RECONNECT_MAX_MS,
        .buffer_bytes = BUFFER_BYTES,
        .publish_timeout_ms = PUBLISH_TIMEOUT_MS,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .inbox_bytes = BUFFER_BYTES,
    };
    memset(options, 0, options_bytes);
    memcpy(options, &defaults,
        options_bytes < sizeof defaults ? options_bytes : sizeof defaults);
}

void
options_read(const struct broker_client_options *given,
    struct broker_client_options *out)
{
    broker_client_options_init(out, sizeof *out);
    if (given != NULL) {
        size_t n = given->options_bytes < sizeof *out ? given->options_bytes
                                                      : sizeof *out;
        memcpy(out, given, n);
        out->options_bytes = given->options_bytes;
    }
}

static enum broker_status
invalid(const char *what)
{
    text_format(new_error_text, "invalid option: %s", what);
    return BROKER_E_INVALID_ARGUMENT;
}

enum broker_status
options_check(const struct broker_client_options *options)
{
    if (options->options_bytes == 0) {
        return invalid("use broker_client_options_init() first");
    }
    if (options->connect_timeout_ms <= 0) {
        return invalid("connect_timeout_ms must be positive");
    }
    if (options->reconnect_min_ms == 0 ||
        options->reconnect_max_ms < options->reconnect_min_ms) {
        return invalid("reconnect_min_ms must be positive and not above "
                       "reconnect_max_ms");
    }
    if (options->heartbeat_ms != 0 &&
        (options->heartbeat_ms < HEARTBEAT_MS_MIN ||
            options->heartbeat_ms > HEARTBEAT_MS_MAX)) {
        return invalid("heartbeat_ms must be 0 or 1000 to 300000");
    }
    if (options->max_body_bytes < BROKER_BODY_BYTES_MIN ||
        options->max_body_bytes > BROKER_BODY_BYTES_MAX) {
        return invalid("max_body_bytes must be 65536 to 16777215");
    }
    if ((unsigned)options->when_full > BROKER_CLIENT_WHEN_FULL_BLOCK) {
        return invalid("when_full");
    }
    if (options->name != NULL &&
        (strlen(options->name) > BROKER_NAME_BYTES_MAX ||
            !broker_utf8_check((struct broker_bytes){
                (const uint8_t *)options->name, strlen(options->name)}))) {
        return invalid("name must be UTF-8 of 1 to 255 bytes");
    }
    return BROKER_OK;
}

static enum broker_status
bad_address(const char *text, const char *why)
{
    text_format(new_error_text, "invalid address '%s': %s", text, why);
    return BROKER_E_BAD_ADDRESS;
}

/* PROTOCOL.md 2.2. */
static enum broker_status
addresses_default(struct broker_client *client)
{
    const char *why = "";
    const char *folder = getenv("XDG_RUNTIME_DIR");
    if (broker_address_default(folder, &client->addresses[0]) != BROKER_OK) {
        return bad_address(
            folder, "XDG_RUNTIME_DIR must be absolute and short");
    }
    client->address_count = DEFAULT_ADDRESSES;
    enum broker_status status =
        broker_address_parse(DEFAULT_TCP_ADDRESS, &client->addresses[1], &why);
    return status == BROKER_OK ? BROKER_OK
                               : bad_address(DEFAULT_TCP_ADDRESS, why);
}

enum broker_status
options_addresses(
    const struct broker_client_options *options, struct broker_client *client)
{
    bool given = options->addresses != NULL && options->address_count > 0;
    size_t count = given ? options->address_count : DEFAULT_ADDRESSES;
    client->addresses = calloc(count, sizeof *client->addresses);
    if (client->addresses == NULL) {
        return BROKER_E_NO_MEMORY;
    }
    if (!given) {
        return addresses_default(client);
    }
    for (size_t i = 0; i < count; i++) {
        const char *why = "";
        const char *text = options->addresses[i];
        if (text == NULL) {
            return bad_address("NULL", "give a string");
        }
        if (broker_address_parse(text, &client->addresses[i], &why) !=
            BROKER_OK) {
            return bad_address(text, why);
        }
    }
    client->address_count = count;
    return BROKER_OK;
}
