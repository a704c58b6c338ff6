/* SPDX-License-Identifier: MIT
 *
 * See resolve.h. Two own a look-up: who started it and its thread; the one that
 * lets go last frees it.
 */
#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_MAX 256
#define PORT_MAX 8

struct resolve {
    pthread_mutex_t lock;
    unsigned owners;
    bool done;
    int wake_fd;
    char host[HOST_MAX], port[PORT_MAX];
    struct resolve_result result;
};

static void
look_up(
    const char *host, const char *port, int flags, struct resolve_result *out)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags,
    };
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host, port, &hints, &list);
    *out = (struct resolve_result){0};
    if (error != 0) {
        out->error = gai_strerror(error);
        return;
    }
    for (struct addrinfo *one = list;
         one != NULL && out->count < RESOLVE_ADDRESSES_MAX;
         one = one->ai_next) {
        struct sock_address *address = &out->addresses[out->count];
        if (one->ai_addrlen <= sizeof address->as) {
            memcpy(&address->as, one->ai_addr, one->ai_addrlen);
            address->len = one->ai_addrlen;
            out->count++;
        }
    }
    freeaddrinfo(list);
    if (out->count == 0) {
        out->error = "no usable address";
    }
}

bool
resolve_number(const char *host, const char *port, struct resolve_result *out)
{
    struct resolve_result result;
    look_up(host, port, AI_NUMERICHOST, &result);
    if (result.count == 0) {
        return false;
    }
    *out = result;
    return true;
}

static void
release(struct resolve *resolve)
{
    (void)pthread_mutex_lock(&resolve->lock);
    bool last = --resolve->owners == 0;
    (void)pthread_mutex_unlock(&resolve->lock);
    if (last) {
        (void)close(resolve->wake_fd);
        (void)pthread_mutex_destroy(&resolve->lock);
        free(resolve);
    }
}

static void *
resolve_thread(void *argument)
{
    struct resolve *resolve = argument;
    struct resolve_result result;
    look_up(resolve->host, resolve->port, 0, &result);
    (void)pthread_mutex_lock(&resolve->lock);
    resolve->result = result;
    resolve->done = true;
    (void)pthread_mutex_unlock(&resolve->lock);
    uint64_t one = 1;
    /* Fails only if it is full, and then it wakes as well. */
    ssize_t n = write(resolve->wake_fd, &one, sizeof one);
    (void)n;
    release(resolve);
    return NULL;
}

/* With all signals blocked: they are for the program's own threads. */
static int
start_thread(struct resolve *resolve)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, resolve_thread, resolve);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

struct resolve *
resolve_start(const char *host, const char *port, int wake_fd)
{
    struct resolve *resolve = calloc(1, sizeof *resolve);
    if (resolve == NULL) {
        return NULL;
    }
    memcpy(resolve->host, host, strnlen(host, HOST_MAX - 1));
    memcpy(resolve->port, port, strnlen(port, PORT_MAX - 1));
    resolve->owners = 2;
    resolve->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 0);
    if (resolve->wake_fd < 0) {
        goto fail;
    }
    int error = pthread_mutex_init(&resolve->lock, NULL);
    if (error == 0) {
        error = start_thread(resolve);
    }
    if (error != 0) {
        (void)close(resolve->wake_fd);
        errno = error;
        goto fail;
    }
    return resolve;
fail:
    free(resolve);
    return NULL;
}

bool
resolve_is_done(struct resolve *resolve, struct resolve_result *out)
{
    (void)pthread_mutex_lock(&resolve->lock);
    bool done = resolve->done;
    if (done) {
        *out = resolve->result;
    }
    (void)pthread_mutex_unlock(&resolve->lock);
    return done;
}

void
resolve_drop(struct resolve *resolve)
{
    if (resolve != NULL) {
        release(resolve);
    }
}
