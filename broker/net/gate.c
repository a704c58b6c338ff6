/* SPDX-License-Identifier: MIT
 *
 * Who may come in; see gate.h. */
#include "gate.h"

#include "access.h"
#include "accounts.h"
#include "log.h"
#include "server_internal.h"
#include "verifier.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Who a peer is where nobody has to show it. */
#define ANONYMOUS "anonymous"

struct gate {
    pthread_mutex_t mutex; /* of `access` */
    struct access *access; /* NULL: nobody is asked who he is */
    struct accounts accounts;
    struct verifier *verifier;
    bool clear_secrets;
};

/* ---- what the socket says ------------------------------------------------ */

static bool
is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 =
            (const struct sockaddr_in6 *)(const void *)address;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) &&
                   in6->sin6_addr.s6_addr[12] == 127);
    }
    return address->ss_family == AF_UNIX;
}

/* Can nobody on the way read along? */
static bool
is_private(const struct conn *conn)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    return conn_is_tls(conn) ||
           (getpeername(conn_fd(conn), (struct sockaddr *)&peer, &len) == 0 &&
               is_loopback(&peer));
}

/* A UNIX socket knows which account its peer had when it connected. */
static void
ask_socket(const struct conn *conn, struct gate_pass *pass)
{
    struct sockaddr_storage own = {0};
    socklen_t own_len = sizeof own;
    struct ucred peer;
    socklen_t len = sizeof peer;
    int fd = conn_fd(conn);
    if (getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
        own.ss_family == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        pass->is_unix = true;
        pass->uid = peer.uid;
        pass->gid = peer.gid;
    }
}

/* ---- letting in ---------------------------------------------------------- */

static struct access *
current_access(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    struct access *access =
        gate->access == NULL ? NULL : access_ref(gate->access);
    pthread_mutex_unlock(&gate->mutex);
    return access;
}

static struct gate *
gate_of(const struct conn *conn)
{
    return conn_worker(conn)->server->gate;
}

static struct access_identity
identity_of(const struct gate_pass *pass, const char *user)
{
    struct access_identity identity = {
        .is_unix = pass->is_unix, .uid = pass->uid, .gid = pass->gid};
    memcpy(identity.user, user, strnlen(user, sizeof identity.user - 1));
    return identity;
}

/* `access` NULL: with all rights. */
static void
admit(struct conn *conn, const struct access *access, const char *user)
{
    struct gate_pass *pass = conn_pass(conn);
    struct session *session = conn_session(conn);
    struct account *account = accounts_get(&gate_of(conn)->accounts, user);
    struct rights *rights = NULL;
    if (access != NULL && account != NULL) {
        struct access_identity identity = identity_of(pass, user);
        rights = access_rights(access, &identity);
    }
    if (account == NULL || (access != NULL && rights == NULL)) {
        account_unref(account);
        session_deny(session, BROKER_E_INTERNAL, "out of memory");
        return;
    }
    pass->is_admitted = true;
    pass->is_asked = access != NULL;
    server_conn_admitted(conn_worker(conn)->server);
    session_admit(session, account, rights);
}

/* ---- by what HELLO said -------------------------------------------------- */

static void
ask_verifier(struct conn *conn, struct access *access, const char *user,
    struct broker_bytes secret)
{
    struct verification *verification =
        verification_new(user, secret.data, secret.len);
    if (verification == NULL) {
        session_deny(conn_session(conn), BROKER_E_INTERNAL, "out of memory");
        return;
    }
    verification->worker = conn_worker(conn);
    verification->conn = conn;
    verification->access = access_ref(access);
    verification->method = ACCESS_PASSWORD;
    conn_pass(conn)->verification = verification;
    if (!verifier_ask(gate_of(conn)->verifier, verification)) {
        conn_pass(conn)->verification = NULL;
        verification_free(verification);
        session_deny(conn_session(conn), BROKER_E_TOO_MANY_CONNECTIONS,
            "too many passwords are being checked");
    }
}

static void
finish(struct conn *conn, const struct access *access, const char *user,
    enum access_verdict verdict)
{
    struct session *session = conn_session(conn);
    switch (verdict) {
    case ACCESS_GRANTED:
        conn_pass(conn)->is_unix = false; /* it is who it says */
        admit(conn, access, user);
        break;
    case ACCESS_REFUSED:
        session_deny(session, BROKER_E_AUTH_FAILED, NULL);
        break;
    case ACCESS_NO_MEMORY:
        session_deny(session, BROKER_E_INTERNAL, "out of memory");
        break;
    }
}

/* Views to strings; false if one is too long, which no user's name is. */
static bool
copy_text(struct broker_bytes bytes, char *dst, size_t cap)
{
    if (bytes.len >= cap) {
        return false;
    }
    memcpy(dst, bytes.data, bytes.len);
    dst[bytes.len] = '\0';
    return true;
}

static void
check_credentials(struct conn *conn, struct access *access,
    const struct core_credentials *credentials)
{
    struct session *session = conn_session(conn);
    char user[ACCESS_NAME_BYTES_MAX + 1];
    char word[16];
    enum access_method method;
    if (!copy_text(credentials->method, word, sizeof word) ||
        !access_method_parse(word, &method)) {
        session_deny(session, BROKER_E_AUTH_FAILED,
            "no such method; there are password and token");
    } else if (!gate_of(conn)->clear_secrets && !is_private(conn)) {
        session_deny(session, BROKER_E_AUTH_FAILED,
            "secrets are not taken from other machines without TLS: use "
            "tls://");
    } else if (!copy_text(credentials->user, user, sizeof user)) {
        session_deny(session, BROKER_E_AUTH_FAILED, NULL);
    } else if (method == ACCESS_PASSWORD) {
        ask_verifier(conn, access, user, credentials->secret);
    } else {
        finish(conn, access, user,
            access_verify(access, user, method, credentials->secret.data,
                credentials->secret.len));
    }
}

/* The files may have changed since: who is gone meanwhile does not come in, and
 * the others do with the rights that they have now. */
static void
finish_by(struct conn *conn, const struct access *access,
    const struct verification *verification)
{
    const struct gate_pass by_name = {.is_unix = false};
    struct access_identity identity = identity_of(&by_name, verification->user);
    bool is_gone = access != NULL && access != verification->access &&
                   !access_knows(access, &identity);
    enum access_verdict verdict = verification->verdict;
    if (verdict == ACCESS_GRANTED && is_gone) {
        verdict = ACCESS_REFUSED;
    }
    finish(conn, access, verification->user, verdict);
}

void
gate_on_verdict(struct verification *verification)
{
    struct conn *conn = verification->conn;
    if (conn != NULL) {
        struct access *access = current_access(gate_of(conn));
        conn_pass(conn)->verification = NULL;
        finish_by(conn, access, verification);
        access_unref(access);
    }
    verification_free(verification);
}

/* ---- by what stands behind the connection -------------------------------- */

static void
check_peer(struct conn *conn, const struct access *access)
{
    const struct gate_pass *pass = conn_pass(conn);
    const char *common_name;
    const char *subject;
    char user[ACCESS_NAME_BYTES_MAX + 1];
    if (pass->is_unix) {
        access_unix_user(access, pass->uid, (uint32_t)geteuid(), user);
        admit(conn, access, user);
    } else if (!conn_certificate(conn, &common_name, &subject)) {
        session_deny(conn_session(conn), BROKER_E_AUTH_REQUIRED, NULL);
    } else if (access_certificate_user(access, common_name, subject, user)) {
        admit(conn, access, user);
    } else {
        session_deny(conn_session(conn), BROKER_E_AUTH_FAILED,
            "this certificate is of no user");
    }
}

static void
admit_anybody(struct conn *conn)
{
    const struct gate_pass *pass = conn_pass(conn);
    char user[sizeof "uid:" + 10] = ANONYMOUS;
    if (pass->is_unix) {
        snprintf(user, sizeof user, "uid:%u", (unsigned)pass->uid);
    }
    admit(conn, NULL, user);
}

void
gate_authenticate(void *owner, const struct core_credentials *credentials)
{
    struct conn *conn = owner;
    struct gate_pass *pass = conn_pass(conn);
    struct access *access = current_access(gate_of(conn));
    ask_socket(conn, pass);
    if (access == NULL) {
        admit_anybody(conn);
    } else if (credentials->user.len > 0) {
        check_credentials(conn, access, credentials);
    } else {
        check_peer(conn, access);
    }
    access_unref(access);
}

void
gate_forget(struct conn *conn)
{
    struct gate_pass *pass = conn_pass(conn);
    if (pass->verification != NULL) {
        pass->verification->conn = NULL;
        atomic_store(&pass->verification->forgotten, true);
        pass->verification = NULL;
    }
    if (!pass->is_admitted) {
        pass->is_admitted = true;
        server_conn_admitted(conn_worker(conn)->server);
    }
}

/* ---- reloading ----------------------------------------------------------- */

void
gate_set_access(struct gate *gate, struct access *access)
{
    pthread_mutex_lock(&gate->mutex);
    struct access *before = gate->access;
    gate->access = access;
    pthread_mutex_unlock(&gate->mutex);
    access_unref(before);
}

void
gate_review(struct conn *conn)
{
    struct gate_pass *pass = conn_pass(conn);
    struct session *session = conn_session(conn);
    struct session_stats stats;
    struct access *access = current_access(gate_of(conn));
    if (!pass->is_admitted || pass->verification != NULL) {
        access_unref(access);
        return;
    }
    session_get_stats(session, &stats);
    struct access_identity identity = identity_of(pass, stats.user);
    if (access == NULL) {
        session_set_rights(session, NULL);
    } else if (!access_knows(access, &identity)) {
        session_expel(session, BROKER_E_AUTH_FAILED);
    } else {
        struct rights *rights = access_rights(access, &identity);
        if (rights == NULL) {
            session_expel(session, BROKER_E_INTERNAL);
        } else {
            session_set_rights(session, rights);
        }
    }
    access_unref(access);
}

/* ---- life ---------------------------------------------------------------- */

struct gate *
gate_new(const struct gate_options *options)
{
    struct gate *gate = calloc(1, sizeof *gate);
    if (gate != NULL) {
        gate->access = options->access;
        gate->clear_secrets = options->clear_secrets;
        pthread_mutex_init(&gate->mutex, NULL);
        (void)accounts_init(&gate->accounts, options->seed);
        gate->verifier = verifier_new();
    } else {
        access_unref(options->access);
    }
    if (gate == NULL || gate->verifier == NULL) {
        log_event(LOG_LEVEL_ERROR, "start-failed", "reason=\"out of memory\"");
        gate_free(gate);
        return NULL;
    }
    return gate;
}

void
gate_stop(struct gate *gate)
{
    verifier_free(gate->verifier);
    gate->verifier = NULL;
}

void
gate_free(struct gate *gate)
{
    if (gate == NULL) {
        return;
    }
    gate_stop(gate);
    access_unref(gate->access);
    accounts_fini(&gate->accounts);
    pthread_mutex_destroy(&gate->mutex);
    free(gate);
}
