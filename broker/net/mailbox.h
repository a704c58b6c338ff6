/* SPDX-License-Identifier: MIT
 *
 * A worker's mailbox: the one thing that other threads may touch. Bags of mail
 * between cores, accepted connections, and orders to the worker. Putting
 * something into an empty mailbox wakes its owner up, once.
 *
 * What keeps it bounded: bags by the credit of the exchange (core/exchange.h),
 * connections by max_connections. Knows nothing of what is in a bag.
 */
#ifndef BROKER_NET_MAILBOX_H
#define BROKER_NET_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mailbag;
struct tls;
struct verification;

/* A connection that was accepted for this worker. */
struct arrival {
    struct arrival *next;
    struct tls *tls; /* that it is to use, a reference; NULL: none */
    uint64_t id;
    int fd;
    bool reject; /* turn it away with TOO_MANY_CONNECTIONS */
    char peer[];
};

struct mailbox {
    pthread_mutex_t mutex;
    int wake; /* eventfd(2) */
    struct mailbag *bags, *last_bag;
    struct arrival *arrivals, *last_arrival;
    struct verification *verifications; /* in no order */
    unsigned orders;                    /* bits, of the owner's choosing */
    _Atomic bool woken;                 /* since it was emptied last */
};

/* What was in it; the caller owns it all. */
struct mail {
    struct mailbag *bags;
    struct arrival *arrivals;
    struct verification *verifications;
    unsigned orders;
};

/* False if the system has no eventfd(2) for it; errno says why. */
bool mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox);

/* Any thread. The mailbox owns what is put into it. */
void mailbox_put_bags(struct mailbox *mailbox, struct mailbag *bags);
void mailbox_put_arrival(struct mailbox *mailbox, struct arrival *arrival);
void mailbox_put_verification(
    struct mailbox *mailbox, struct verification *verification);
void mailbox_order(struct mailbox *mailbox, unsigned orders);

/* The owner: is there something? */
static inline bool
mailbox_has_mail(const struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->woken, memory_order_acquire);
}

/* The owner: take everything, in the order of putting. */
struct mail mailbox_take(struct mailbox *mailbox);

#endif
