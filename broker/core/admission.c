/* SPDX-License-Identifier: MIT
 *
 * From HELLO to WELCOME; see admission.h. */
#include "admission.h"

#include "session.h"

#include <stdlib.h>
#include <string.h>

/* A HELLO that is not answered yet. */
struct admission {
    uint32_t hello_id;
    uint8_t wanted[BROKER_SESSION_BYTES]; /* session id */
};

static bool
is_zero(const uint8_t id[BROKER_SESSION_BYTES])
{
    static const uint8_t zero[BROKER_SESSION_BYTES];
    return memcmp(id, zero, sizeof zero) == 0;
}

/* Take the session id over from whoever had it. False if memory is out. */
static bool
take_identity(
    struct session *session, const uint8_t wanted[BROKER_SESSION_BYTES])
{
    struct core *core = session->core;
    uint8_t id[BROKER_SESSION_BYTES];
    memcpy(id, wanted, sizeof id);
    while (is_zero(id)) {
        core->hooks.random(core->hooks.arg, id, sizeof id);
    }
    struct identity *identity = identity_take(
        &core->identities, id, session_owner(session), core->now_ms);
    if (identity == NULL) {
        return false;
    }
    struct session *before = identity->session;
    identity->session = session;
    session->identity = identity;
    session->last_publish = identity->last_publish;
    if (before != NULL) {
        session->last_publish = before->last_publish;
        before->identity = NULL;
        session_close_now(before, BROKER_E_SESSION_TAKEN);
    }
    return true;
}

static void
open_session(struct session *session, const struct admission *admission)
{
    bool pending = false;
    bool ok = session->remote == NULL
                  ? take_identity(session, admission->wanted)
                  : claim_begin(session, admission->wanted, admission->hello_id,
                        &pending);
    if (!ok) {
        session_fail(session, BROKER_E_INTERNAL, admission->hello_id,
            BROKER_FRAME_HELLO);
    } else if (pending) {
        session->remote->is_suspended = true;
    } else {
        session_open(session, admission->hello_id);
    }
}

/* ---- with authentication ------------------------------------------------- */

/* The receive block lives on, under other connections' bytes, and a secret has
 * no business in it any more. Nobody else refers to these bytes: they are in
 * the intake of this session, in a frame that has no message. */
static void
wipe(struct broker_bytes secret)
{
    if (secret.len > 0) {
        explicit_bzero((uint8_t *)(uintptr_t)secret.data, secret.len);
    }
}

static void
authenticate(struct session *session, const struct broker_hello *hello)
{
    struct core *core = session->core;
    struct core_credentials credentials = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    (void)broker_tlv_find(hello->tlvs, BROKER_TAG_USER, &credentials.user);
    (void)broker_tlv_find(
        hello->tlvs, BROKER_TAG_AUTH_METHOD, &credentials.method);
    (void)broker_tlv_find(
        hello->tlvs, BROKER_TAG_AUTH_DATA, &credentials.secret);
    hold_begin(session, HOLD_ADMISSION);
    core->hooks.authenticate(session->owner, &credentials);
    wipe(credentials.secret);
}

void
admission_begin(struct session *session, const struct broker_hello *hello)
{
    struct admission admission = {.hello_id = hello->id};
    memcpy(admission.wanted, hello->session, sizeof admission.wanted);
    if (session->core->hooks.authenticate == NULL) {
        open_session(session, &admission);
        return;
    }
    session->admission = malloc(sizeof *session->admission);
    if (session->admission == NULL) {
        session_fail(session, BROKER_E_INTERNAL, hello->id, BROKER_FRAME_HELLO);
        return;
    }
    *session->admission = admission;
    authenticate(session, hello);
}

void
session_admit(
    struct session *session, struct account *account, struct rights *rights)
{
    const struct core_options *options = &session->core->options;
    struct admission *admission = session->admission;
    if (admission == NULL || session->state != SESSION_HANDSHAKE) {
        account_unref(account);
        rights_unref(rights);
        return;
    }
    session->admission = NULL;
    session->rights = rights;
    if (account != NULL &&
        !account_connect(account, options->max_user_connections)) {
        account_unref(account);
        session_deny_hello(session, BROKER_E_TOO_MANY_CONNECTIONS,
            admission->hello_id,
            "too many connections of one user (max_user_connections)");
    } else {
        session->account = account;
        open_session(session, admission);
    }
    free(admission);
    hold_end(session, HOLD_ADMISSION);
}

void
session_deny(struct session *session, enum broker_status code, const char *text)
{
    struct admission *admission = session->admission;
    if (admission == NULL || session->state != SESSION_HANDSHAKE) {
        return;
    }
    session->admission = NULL;
    session->core->totals.denied_connections++;
    session_deny_hello(session, code, admission->hello_id, text);
    free(admission);
    hold_end(session, HOLD_ADMISSION);
}

void
admission_cancel(struct session *session)
{
    free(session->admission);
    session->admission = NULL;
    if (session->account != NULL) {
        account_disconnect(session->account);
        account_unref(session->account);
        session->account = NULL;
    }
    rights_unref(session->rights);
    session->rights = NULL;
}
