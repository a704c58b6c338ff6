/* SPDX-License-Identifier: MIT
 *
 * Addresses of brokers as text: "tcp://host:port", "tls://host:port" and
 * "unix:///path"
 * (PROTOCOL.md section 2.2). Pure, like codec.h: no look-ups, no sockets.
 */
#ifndef BROKER_ADDRESS_H
#define BROKER_ADDRESS_H

#include <broker/codec.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BROKER_DEFAULT_PORT     "4655"
#define BROKER_DEFAULT_TLS_PORT "4656"
#define BROKER_SOCKET_NAME      "brokerd.sock"
#define BROKER_ADDRESS_TEXT_MAX                                                \
    280 /* room for any formatted address, with NUL */

enum broker_address_kind {
    BROKER_ADDRESS_TCP,
    BROKER_ADDRESS_UNIX,
    BROKER_ADDRESS_TLS, /* TLS over TCP */
};

/* Plain data; nothing to free. */
struct broker_address {
    enum broker_address_kind kind;
    char host[256]; /* TCP, TLS: name or number, an IPv6 one without [] */
    char port[6];   /* TCP, TLS: decimal, "0" to "65535" */
    char path[108]; /* UNIX: absolute, fits sockaddr_un with its NUL */
};

/* Read `text`: "tcp://host:port", "tcp://host" (default port),
 * "tcp://[v6]:port", the same with tls://, "unix:///absolute/path". BROKER_OK
 * and *out, or BROKER_E_BAD_ADDRESS and, if `why` is not NULL, *why = a static
 * sentence that says what is wrong with it and what is right. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_address_parse(
    const char *text, struct broker_address *out, const char **why);

/* Write it as text, NUL-terminated; what parse reads back as the same. Returns
 * `dst`. `cap` must be at least BROKER_ADDRESS_TEXT_MAX. */
BROKER_API const char *broker_address_format(
    const struct broker_address *address, char *dst, size_t cap);

/* The UNIX socket that brokerd and its clients use when nothing else is said:
 * <runtime_dir>/brokerd.sock, or /run/brokerd.sock if runtime_dir is NULL or
 * empty. Pass getenv("XDG_RUNTIME_DIR"). BROKER_E_BAD_ADDRESS if the path is
 * relative or too long. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_address_default(
    const char *runtime_dir, struct broker_address *out);

#ifdef __cplusplus
}
#endif

#endif
