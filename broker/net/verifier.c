/* SPDX-License-Identifier: MIT
 *
 * The thread that checks secrets; see verifier.h. */
#include "verifier.h"

#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct verifier {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct verification *first, *last;
    size_t waiting;
    bool done;
};

struct verification *
verification_new(const char *user, const void *secret, size_t secret_bytes)
{
    struct verification *verification =
        calloc(1, sizeof *verification + secret_bytes);
    if (verification != NULL) {
        strncpy(verification->user, user, sizeof verification->user - 1);
        if (secret_bytes > 0) {
            memcpy(verification->secret, secret, secret_bytes);
        }
        verification->secret_bytes = secret_bytes;
    }
    return verification;
}

void
verification_free(struct verification *verification)
{
    if (verification != NULL) {
        access_unref(verification->access);
        explicit_bzero(verification->secret, verification->secret_bytes);
        free(verification);
    }
}

/* The next one, or NULL at the end. */
static struct verification *
take(struct verifier *verifier)
{
    pthread_mutex_lock(&verifier->mutex);
    while (verifier->first == NULL && !verifier->done) {
        pthread_cond_wait(&verifier->changed, &verifier->mutex);
    }
    struct verification *verification = verifier->done ? NULL : verifier->first;
    if (verification != NULL) {
        verifier->first = verification->next;
        verification->next = NULL;
        verifier->waiting--;
    }
    pthread_mutex_unlock(&verifier->mutex);
    return verification;
}

static void *
verifier_main(void *arg)
{
    struct verifier *verifier = arg;
    struct verification *verification;
    while ((verification = take(verifier)) != NULL) {
        /* Nobody waits for what peers asked who are gone. */
        verification->verdict =
            atomic_load(&verification->forgotten)
                ? ACCESS_REFUSED
                : access_verify(verification->access, verification->user,
                      verification->method, verification->secret,
                      verification->secret_bytes);
        mailbox_put_verification(&verification->worker->mailbox, verification);
    }
    return NULL;
}

/* Signals are the main thread's. */
static bool
start(struct verifier *verifier)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error =
        pthread_create(&verifier->thread, NULL, verifier_main, verifier);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

struct verifier *
verifier_new(void)
{
    struct verifier *verifier = calloc(1, sizeof *verifier);
    if (verifier == NULL) {
        return NULL;
    }
    pthread_mutex_init(&verifier->mutex, NULL);
    pthread_cond_init(&verifier->changed, NULL);
    if (!start(verifier)) {
        free(verifier);
        return NULL;
    }
    return verifier;
}

void
verifier_free(struct verifier *verifier)
{
    if (verifier == NULL) {
        return;
    }
    pthread_mutex_lock(&verifier->mutex);
    verifier->done = true;
    pthread_cond_signal(&verifier->changed);
    pthread_mutex_unlock(&verifier->mutex);
    pthread_join(verifier->thread, NULL);
    while (verifier->first != NULL) {
        struct verification *verification = verifier->first;
        verifier->first = verification->next;
        verification->next = NULL;
        verification->verdict = ACCESS_NO_MEMORY;
        mailbox_put_verification(&verification->worker->mailbox, verification);
    }
    pthread_cond_destroy(&verifier->changed);
    pthread_mutex_destroy(&verifier->mutex);
    free(verifier);
}

bool
verifier_ask(struct verifier *verifier, struct verification *verification)
{
    pthread_mutex_lock(&verifier->mutex);
    bool ok = verifier->waiting < VERIFIER_WAITING_MAX;
    if (ok) {
        if (verifier->first == NULL) {
            verifier->first = verification;
        } else {
            verifier->last->next = verification;
        }
        verifier->last = verification;
        verifier->waiting++;
        pthread_cond_signal(&verifier->changed);
    }
    pthread_mutex_unlock(&verifier->mutex);
    return ok;
}
