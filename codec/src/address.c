/* SPDX-License-Identifier: MIT
 *
 * Addresses as text (PROTOCOL.md section 2.2). Knows their grammar; whether a
 * name resolves or a socket answers is found out elsewhere.
 */
#include <broker/address.h>

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TCP_PREFIX  "tcp://"
#define TLS_PREFIX  "tls://"
#define UNIX_PREFIX "unix://"

static const char why_scheme[] =
    "an address begins with tcp://, tls:// or unix://, such as "
    "tcp://127.0.0.1:4655 or unix:///run/brokerd.sock";
static const char why_no_host[] =
    "the host is missing: use tcp://host:port, such as tcp://127.0.0.1:4655";
static const char why_host[] =
    "a host has 1 to 255 letters, digits, dots, hyphens or underscores";
static const char why_brackets[] =
    "an IPv6 number stands in brackets: use tcp://[::1]:4655";
static const char why_ipv6[] =
    "there is no valid IPv6 number in the brackets: use tcp://[::1]:4655";
static const char why_port[] =
    "a port is a number from 0 to 65535, and nothing follows it";
static const char why_relative[] =
    "a socket's path is absolute: use three slashes, unix:///path";
static const char why_path_long[] = "a socket's path has at most 107 bytes";
static const char why_directory[] =
    "a socket's path ends in the name of the socket, not in a slash";

/* ---- TCP ----------------------------------------------------------------- */

static const char *
default_port(enum broker_address_kind kind)
{
    return kind == BROKER_ADDRESS_TLS ? BROKER_DEFAULT_TLS_PORT
                                      : BROKER_DEFAULT_PORT;
}

/* "" gives the default; else ":" and a decimal number. */
static bool
port_parse(const char *text, struct broker_address *out)
{
    unsigned value = 0;
    size_t digits;

    if (text[0] == '\0') {
        snprintf(out->port, sizeof out->port, "%s", default_port(out->kind));
        return true;
    }
    digits = strspn(text + 1, "0123456789");
    if (text[0] != ':' || digits < 1 || digits > 5 ||
        text[1 + digits] != '\0') {
        return false;
    }
    for (size_t i = 1; i <= digits; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > UINT16_MAX) {
        return false;
    }
    snprintf(out->port, sizeof out->port, "%u", value);
    return true;
}

static bool
ipv6_is_valid(const char *host)
{
    char number[INET6_ADDRSTRLEN];
    unsigned char wire[16];
    size_t len = strcspn(host, "%");
    const char *zone = host + len;

    if (len >= sizeof number || (zone[0] == '%' && zone[1] == '\0')) {
        return false;
    }
    memcpy(number, host, len);
    number[len] = '\0';
    return inet_pton(AF_INET6, number, wire) == 1;
}

/* "v6]" and what follows. NULL, or what is wrong. */
static const char *
bracketed_parse(const char *text, struct broker_address *out)
{
    size_t len = strcspn(text, "]");

    if (text[len] != ']' || len >= sizeof out->host) {
        return why_ipv6;
    }
    memcpy(out->host, text, len);
    out->host[len] = '\0';
    if (!ipv6_is_valid(out->host)) {
        return why_ipv6;
    }
    return port_parse(text + len + 1, out) ? NULL : why_port;
}

static const char *
tcp_parse(const char *text, struct broker_address *out)
{
    static const char host_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._";
    size_t len = strspn(text, host_chars);
    const char *colon = strchr(text, ':');

    if (text[0] == '[') {
        return bracketed_parse(text + 1, out);
    }
    if (text[0] == '\0' || text[0] == ':') {
        return colon != NULL && strchr(colon + 1, ':') != NULL ? why_brackets
                                                               : why_no_host;
    }
    if (colon != NULL && strchr(colon + 1, ':') != NULL) {
        return why_brackets;
    }
    if (len == 0 || len >= sizeof out->host ||
        (text[len] != '\0' && text[len] != ':' && text[len] != '/')) {
        return why_host;
    }
    memcpy(out->host, text, len);
    out->host[len] = '\0';
    return port_parse(text + len, out) ? NULL : why_port;
}

/* ---- UNIX ---------------------------------------------------------------- */

static const char *
unix_parse(const char *text, struct broker_address *out)
{
    size_t len = strlen(text);

    out->kind = BROKER_ADDRESS_UNIX;
    if (text[0] != '/') {
        return why_relative;
    }
    if (len >= sizeof out->path) {
        return why_path_long;
    }
    if (text[len - 1] == '/') {
        return why_directory;
    }
    memcpy(out->path, text, len + 1);
    return NULL;
}

/* ---- both ---------------------------------------------------------------- */

enum broker_status
broker_address_parse(
    const char *text, struct broker_address *out, const char **why)
{
    /* All of it zero, so that equal addresses are equal bytes. */
    struct broker_address address;
    const char *wrong = why_scheme;

    memset(&address, 0, sizeof address);
    if (strncmp(text, TCP_PREFIX, strlen(TCP_PREFIX)) == 0) {
        address.kind = BROKER_ADDRESS_TCP;
        wrong = tcp_parse(text + strlen(TCP_PREFIX), &address);
    } else if (strncmp(text, TLS_PREFIX, strlen(TLS_PREFIX)) == 0) {
        address.kind = BROKER_ADDRESS_TLS;
        wrong = tcp_parse(text + strlen(TLS_PREFIX), &address);
    } else if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        wrong = unix_parse(text + strlen(UNIX_PREFIX), &address);
    }
    if (wrong != NULL) {
        if (why != NULL) {
            *why = wrong;
        }
        return BROKER_E_BAD_ADDRESS;
    }
    *out = address;
    return BROKER_OK;
}

const char *
broker_address_format(
    const struct broker_address *address, char *dst, size_t cap)
{
    const char *prefix =
        address->kind == BROKER_ADDRESS_TLS ? TLS_PREFIX : TCP_PREFIX;

    assert(cap >= BROKER_ADDRESS_TEXT_MAX);
    if (address->kind == BROKER_ADDRESS_UNIX) {
        snprintf(dst, cap, UNIX_PREFIX "%s", address->path);
    } else if (strchr(address->host, ':') != NULL) {
        snprintf(dst, cap, "%s[%s]:%s", prefix, address->host, address->port);
    } else {
        snprintf(dst, cap, "%s%s:%s", prefix, address->host, address->port);
    }
    return dst;
}

enum broker_status
broker_address_default(const char *runtime_dir, struct broker_address *out)
{
    struct broker_address address;
    size_t len;
    int wanted;

    if (runtime_dir == NULL || runtime_dir[0] == '\0') {
        runtime_dir = "/run";
    }
    len = strlen(runtime_dir);
    while (len > 0 && runtime_dir[len - 1] == '/') {
        len--;
    }
    if (runtime_dir[0] != '/' || len >= sizeof address.path) {
        return BROKER_E_BAD_ADDRESS;
    }
    memset(&address, 0, sizeof address);
    address.kind = BROKER_ADDRESS_UNIX;
    wanted = snprintf(address.path, sizeof address.path, "%.*s/%s", (int)len,
        runtime_dir, BROKER_SOCKET_NAME);
    if (wanted < 0 || (size_t)wanted >= sizeof address.path) {
        return BROKER_E_BAD_ADDRESS;
    }
    *out = address;
    return BROKER_OK;
}
