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

static bool
is_name(const char *text)
{
    size_t n = strlen(text);
    return n >= 1 && n <= BROKER_NAME_BYTES_MAX &&
           broker_utf8_check((struct broker_bytes){(const uint8_t *)text, n});
}

static bool
is_secret(const char *text)
{
    size_t n = strlen(text);
    return n >= 1 && n <= CREDENTIALS_SECRET_BYTES_MAX;
}

/* PROTOCOL.md 5.10, and what TLS needs. */
static enum broker_status
check_security(const struct broker_client_options *options)
{
    int secrets = (options->password != NULL) + (options->token != NULL);
    if (secrets != (options->user_name != NULL)) {
        return invalid("user_name and one of password and token go together");
    }
    if (options->user_name != NULL && !is_name(options->user_name)) {
        return invalid("user_name must be UTF-8 of 1 to 255 bytes");
    }
    if ((options->password != NULL && !is_secret(options->password)) ||
        (options->token != NULL && !is_secret(options->token))) {
        return invalid("password and token must be of 1 to 16384 bytes");
    }
    if (options->tls_key_file != NULL &&
        options->tls_certificate_file == NULL) {
        return invalid("tls_key_file needs tls_certificate_file");
    }
    if (options->tls_server_name != NULL &&
        !is_name(options->tls_server_name)) {
        return invalid("tls_server_name must be of 1 to 255 bytes");
    }
    return BROKER_OK;
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
    return check_security(options);
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
        if (client->addresses[i].kind == BROKER_ADDRESS_TLS &&
            !tls_is_available()) {
            text_format(new_error_text,
                "'%s' cannot be used: this library was built without TLS",
                text);
            return BROKER_E_INVALID_ARGUMENT;
        }
    }
    client->address_count = count;
    return BROKER_OK;
}

/* False: no memory. A NULL stays NULL. */
static bool
copy_text(char **dst, const char *text)
{
    *dst = text == NULL ? NULL : strdup(text);
    return *dst != NULL || text == NULL;
}

enum broker_status
options_security(
    const struct broker_client_options *options, struct broker_client *client)
{
    struct tls_config *tls = &client->tls;
    tls->accept_any_certificate = options->tls_accept_any_certificate;
    bool is_copied =
        copy_text(&tls->ca_file, options->tls_ca_file) &&
        copy_text(&tls->certificate_file, options->tls_certificate_file) &&
        copy_text(&tls->key_file, options->tls_key_file) &&
        copy_text(&tls->server_name, options->tls_server_name);
    if (is_copied && options->user_name != NULL) {
        is_copied = credentials_init(&client->credentials, options->user_name,
            options->password, options->token);
    }
    if (!is_copied) {
        text_format(new_error_text, "no memory for a new client");
        return BROKER_E_NO_MEMORY;
    }
    return BROKER_OK;
}

void
options_free_copies(struct broker_client *client)
{
    credentials_fini(&client->credentials);
    free(client->tls.ca_file);
    free(client->tls.certificate_file);
    free(client->tls.key_file);
    free(client->tls.server_name);
    free(client->addresses);
}
