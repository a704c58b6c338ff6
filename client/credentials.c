/* SPDX-License-Identifier: MIT
 *
 * See credentials.h.
 */
#include "credentials.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
credentials_init(struct credentials *credentials, const char *user,
    const char *password, const char *token)
{
    const char *secret = password != NULL ? password : token;
    size_t n = strlen(secret);
    *credentials = (struct credentials){
        .method = password != NULL ? "password" : "token",
        .secret = malloc(n),
        .secret_bytes = n,
    };
    if (credentials->secret == NULL) {
        return false;
    }
    memcpy(credentials->secret, secret, n);
    (void)snprintf(credentials->user, sizeof credentials->user, "%s", user);
    return true;
}

void
credentials_fini(struct credentials *credentials)
{
    if (credentials->secret != NULL) {
        explicit_bzero(credentials->secret, credentials->secret_bytes);
        free(credentials->secret);
    }
    *credentials = (struct credentials){.secret = NULL};
}

bool
credentials_are_given(const struct credentials *credentials)
{
    return credentials->user[0] != '\0';
}

size_t
credentials_size(const struct credentials *credentials)
{
    if (!credentials_are_given(credentials)) {
        return 0;
    }
    return broker_tlv_size(strlen(credentials->user)) +
           broker_tlv_size(strlen(credentials->method)) +
           broker_tlv_size(credentials->secret_bytes);
}

/* Critical: a broker that knows no users must not take the client for one whom
 * it asked nothing. */
static void
put(uint8_t *dst, size_t cap, size_t *pos, enum broker_tag tag,
    const void *data, size_t len)
{
    enum broker_status status =
        broker_tlv_put(dst, cap, pos, (uint16_t)(tag | BROKER_TAG_CRITICAL),
            (struct broker_bytes){data, len});
    assert(status == BROKER_OK);
    (void)status;
}

void
credentials_put(const struct credentials *credentials, uint8_t *dst, size_t cap,
    size_t *pos)
{
    if (!credentials_are_given(credentials)) {
        return;
    }
    put(dst, cap, pos, BROKER_TAG_USER, credentials->user,
        strlen(credentials->user));
    put(dst, cap, pos, BROKER_TAG_AUTH_METHOD, credentials->method,
        strlen(credentials->method));
    put(dst, cap, pos, BROKER_TAG_AUTH_DATA, credentials->secret,
        credentials->secret_bytes);
}
