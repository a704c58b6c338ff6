/* SPDX-License-Identifier: MIT
 *
 * Mailboxes; see mailbox.h. */
#include "mailbox.h"

#include "mail.h"
#include "verifier.h"

#include <sys/eventfd.h>
#include <unistd.h>

bool
mailbox_init(struct mailbox *mailbox)
{
    *mailbox = (struct mailbox){.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    return mailbox->wake >= 0 && pthread_mutex_init(&mailbox->mutex, NULL) == 0;
}

void
mailbox_fini(struct mailbox *mailbox)
{
    if (mailbox->wake >= 0) {
        close(mailbox->wake);
        pthread_mutex_destroy(&mailbox->mutex);
    }
}

/* With the mutex held. Unlocks it; the owner is woken up outside. */
static void
unlock_and_wake(struct mailbox *mailbox)
{
    bool wake = !mailbox->woken;
    mailbox->woken = true;
    pthread_mutex_unlock(&mailbox->mutex);
    if (wake) {
        (void)eventfd_write(mailbox->wake, 1);
    }
}

void
mailbox_put_bags(struct mailbox *mailbox, struct mailbag *bags)
{
    struct mailbag *last = bags;
    while (last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&mailbox->mutex);
    if (mailbox->bags == NULL) {
        mailbox->bags = bags;
    } else {
        mailbox->last_bag->next = bags;
    }
    mailbox->last_bag = last;
    unlock_and_wake(mailbox);
}

void
mailbox_put_arrival(struct mailbox *mailbox, struct arrival *arrival)
{
    pthread_mutex_lock(&mailbox->mutex);
    if (mailbox->arrivals == NULL) {
        mailbox->arrivals = arrival;
    } else {
        mailbox->last_arrival->next = arrival;
    }
    mailbox->last_arrival = arrival;
    unlock_and_wake(mailbox);
}

void
mailbox_put_verification(
    struct mailbox *mailbox, struct verification *verification)
{
    pthread_mutex_lock(&mailbox->mutex);
    verification->next = mailbox->verifications;
    mailbox->verifications = verification;
    unlock_and_wake(mailbox);
}

void
mailbox_order(struct mailbox *mailbox, unsigned orders)
{
    pthread_mutex_lock(&mailbox->mutex);
    mailbox->orders |= orders;
    unlock_and_wake(mailbox);
}

struct mail
mailbox_take(struct mailbox *mailbox)
{
    eventfd_t ignored;
    (void)eventfd_read(mailbox->wake, &ignored);
    pthread_mutex_lock(&mailbox->mutex);
    struct mail mail = {.bags = mailbox->bags,
        .arrivals = mailbox->arrivals,
        .verifications = mailbox->verifications,
        .orders = mailbox->orders};
    mailbox->bags = mailbox->last_bag = NULL;
    mailbox->arrivals = mailbox->last_arrival = NULL;
    mailbox->verifications = NULL;
    mailbox->orders = 0;
    mailbox->woken = false;
    pthread_mutex_unlock(&mailbox->mutex);
    return mail;
}
