/* SPDX-License-Identifier: MIT
 *
 * Who the client says it is, and the secret that proves it (PROTOCOL.md 5.10):
 * kept for as long as the handle lives, because each connection says it again,
 * and wiped then. The secret goes into HELLO and nowhere else: no text, no log.
 */
#ifndef BROKER_CLIENT_CREDENTIALS_H
#define BROKER_CLIENT_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/codec.h>

/* Before WELCOME a frame is at most 65,536 bytes. */
#define CREDENTIALS_SECRET_BYTES_MAX ((size_t)16384)

struct credentials {
    char user[BROKER_NAME_BYTES_MAX + 1]; /* "": none are given */
    const char *method;                   /* static */
    uint8_t *secret;
    size_t secret_bytes;
};

/* Copies; exactly one of the secrets is not NULL. False: no memory. */
bool credentials_init(struct credentials *credentials, const char *user,
    const char *password, const char *token);
/* Wipes. Also for zeros. */
void credentials_fini(struct credentials *credentials);

bool credentials_are_given(const struct credentials *credentials);

/* Bytes that their fields take, 0 if none are given; and append them at
 * dst[*pos..cap), which has room. */
size_t credentials_size(const struct credentials *credentials);
void credentials_put(const struct credentials *credentials, uint8_t *dst,
    size_t cap, size_t *pos);

#endif
