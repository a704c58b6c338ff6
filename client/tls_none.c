/* SPDX-License-Identifier: MIT
 *
 * In place of tls.c in a library that is built without TLS; see tls.h. No
 * struct tls is ever made, so the functions that take one are not called.
 */
#include "tls.h"

#include <errno.h>

bool
tls_is_available(void)
{
    return false;
}

struct tls *
tls_new(const struct tls_config *config, const char *host, int fd,
    char why[TEXT_MAX])
{
    (void)config;
    (void)host;
    (void)fd;
    text_format(why, "this library was built without TLS");
    return NULL;
}

void
tls_free(struct tls *tls)
{
    (void)tls;
}

enum tls_progress
tls_handshake(struct tls *tls)
{
    (void)tls;
    return TLS_FAILED;
}

ssize_t
tls_read(struct tls *tls, void *data, size_t len)
{
    (void)tls;
    (void)data;
    (void)len;
    errno = EPROTO;
    return -1;
}

ssize_t
tls_write(struct tls *tls, const void *data, size_t len)
{
    (void)tls;
    (void)data;
    (void)len;
    errno = EPROTO;
    return -1;
}

bool
tls_shutdown_write(struct tls *tls)
{
    (void)tls;
    return true;
}

bool
tls_has_input(const struct tls *tls)
{
    (void)tls;
    return false;
}

bool
tls_wants_write(const struct tls *tls)
{
    (void)tls;
    return false;
}

bool
tls_write_wants_room(const struct tls *tls)
{
    (void)tls;
    return false;
}

const char *
tls_reason(const struct tls *tls)
{
    (void)tls;
    return "";
}
