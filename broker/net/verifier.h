/* SPDX-License-Identifier: MIT
 *
 * Checking secrets away from the threads that serve connections: hashing a
 * password takes some hundredths of a second and 64 MiB, on purpose. One thread
 * does it, one secret after the other, so that a crowd of guesses costs one CPU
 * at most. The verdict comes back through the worker's mailbox.
 */
#ifndef BROKER_NET_VERIFIER_H
#define BROKER_NET_VERIFIER_H

#include "access.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct conn;
struct verifier;
struct worker;

/* One question. The verifier reads it, and writes the verdict, until it is in
 * the worker's mailbox again; `conn` is the worker's at all times. */
struct verification {
    struct verification *next;
    struct worker *worker;
    struct conn *conn;      /* NULL: it is gone */
    _Atomic bool forgotten; /* the same, for the verifier */
    struct access *access;
    enum access_method method;
    enum access_verdict verdict;
    char user[ACCESS_NAME_BYTES_MAX + 1];
    size_t secret_bytes;
    unsigned char secret[];
};

/* NULL: no memory, or no thread. */
struct verifier *verifier_new(void);
/* What was not begun is given back without a verdict. NULL is allowed. */
void verifier_free(struct verifier *verifier);

/* Take a copy of the secret; NULL if memory is out. */
struct verification *verification_new(
    const char *user, const void *secret, size_t secret_bytes);
/* Wipes the secret. */
void verification_free(struct verification *verification);

/* Ask. False: too many are waiting; it is still the caller's then. */
#define VERIFIER_WAITING_MAX 1024
bool verifier_ask(struct verifier *verifier, struct verification *verification);

#endif
