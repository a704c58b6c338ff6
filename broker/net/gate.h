/* SPDX-License-Identifier: MIT
 *
 * The gate: who may come in, as which user, with which rights. It finds out who
 * a peer is from its account (UNIX socket), its certificate (TLS) or what its
 * HELLO said, and tells the session (core.h: session_admit, session_deny).
 * PROTOCOL.md section 5.10.
 *
 * What is known of users is one struct access, which a reload replaces as a
 * whole. Functions are for the thread of the connection's worker, but where
 * said otherwise. Knows nothing of frames.
 */
#ifndef BROKER_NET_GATE_H
#define BROKER_NET_GATE_H

#include "core.h"

#include <stdbool.h>
#include <stdint.h>

struct access;
struct conn;
struct gate;
struct verification;

struct gate_options {
    struct access *access; /* a reference to take over; NULL: nobody is asked */
    bool clear_secrets;    /* take secrets without TLS from other machines */
    uint64_t seed;         /* that nobody can guess */
};

/* NULL after logging why not; the reference is given back then. Main thread. */
struct gate *gate_new(const struct gate_options *options);
/* Begin to end: no verdict comes after this but through mailboxes. Main thread,
 * once no worker runs. */
void gate_stop(struct gate *gate);
void gate_free(struct gate *gate);

/* Hook of the core: the HELLO of this connection was understood. */
void gate_authenticate(void *conn, const struct core_credentials *credentials);

/* A verdict came. Frees it. */
void gate_on_verdict(struct verification *verification);

/* Other users and rules from now on; takes over the reference. Main thread.
 * Then every worker looks at each of its connections anew. */
void gate_set_access(struct gate *gate, struct access *access);
void gate_review(struct conn *conn);

/* What a connection keeps of it. All zero: not let in yet. */
struct gate_pass {
    struct verification *verification; /* on its way; NULL: none is */
    uint32_t uid, gid;
    bool is_unix; /* the user follows from uid */
    bool is_admitted;
    bool is_asked; /* it had to show who it is */
};

/* The connection ends. */
void gate_forget(struct conn *conn);

#endif
