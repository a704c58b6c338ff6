/* SPDX-License-Identifier: MIT
 *
 * See transport.h.
 */
#include "transport.h"

#include <errno.h>

void
transport_init(struct transport *transport)
{
    *transport = (struct transport){.fd = -1};
}

void
transport_close(struct transport *transport)
{
    tls_free(transport->tls);
    if (transport->fd >= 0) {
        sock_close(transport->fd);
    }
    transport_init(transport);
}

int
transport_connect(
    struct transport *transport, const struct sock_address *address)
{
    transport_init(transport);
    return sock_connect(address, &transport->fd);
}

bool
transport_secure(struct transport *transport, const struct tls_config *config,
    const char *host, char why[TEXT_MAX])
{
    transport->tls = tls_new(config, host, transport->fd, why);
    return transport->tls != NULL;
}

enum tls_progress
transport_handshake(struct transport *transport)
{
    return tls_handshake(transport->tls);
}

bool
transport_is_plain(const struct transport *transport)
{
    return transport->tls == NULL;
}

ssize_t
transport_read(struct transport *transport, void *data, size_t len)
{
    return transport->tls == NULL ? sock_read(transport->fd, data, len)
                                  : tls_read(transport->tls, data, len);
}

ssize_t
transport_write(
    struct transport *transport, const struct iovec *vectors, size_t count)
{
    if (transport->tls == NULL) {
        return sock_write(transport->fd, vectors, count);
    }
    ssize_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = vectors[i].iov_base;
        size_t len = vectors[i].iov_len, done = 0;
        while (done < len) {
            ssize_t n = tls_write(transport->tls, data + done, len - done);
            if (n < 0) {
                return sum > 0 ? sum : -1;
            }
            done += (size_t)n;
            sum += n;
        }
    }
    return sum;
}

bool
transport_may_have_more(
    const struct transport *transport, size_t n, size_t room)
{
    /* TLS gives a record at a time, and its end is seen by asking only. */
    return transport->tls != NULL || n == room;
}

bool
transport_shutdown_write(struct transport *transport)
{
    if (transport->tls != NULL) {
        return tls_shutdown_write(transport->tls);
    }
    sock_shutdown_write(transport->fd);
    return true;
}

bool
transport_has_input(const struct transport *transport)
{
    return transport->tls != NULL && tls_has_input(transport->tls);
}

bool
transport_wants_write(const struct transport *transport)
{
    return transport->tls != NULL && tls_wants_write(transport->tls);
}

bool
transport_write_wants_room(const struct transport *transport)
{
    return transport->tls == NULL || tls_write_wants_room(transport->tls);
}

const char *
transport_reason(const struct transport *transport)
{
    return transport->tls == NULL ? "" : tls_reason(transport->tls);
}
