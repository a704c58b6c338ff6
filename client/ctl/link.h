/* SPDX-License-Identifier: MIT
 *
 * The connection of a command: makes the client of libbroker-client from the
 * common options, says on standard error what happens to the connection, and
 * turns the library's results into sentences and exit codes.
 *
 * Two ways to use it, as in <broker/client.h>: the blocking calls of the
 * library, or link_turn() in a loop that waits for other descriptors as well.
 */
#ifndef BROKERCTL_LINK_H
#define BROKERCTL_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <broker/client.h>

#include "cmd.h"

/* How long the first connection may take unless --timeout says otherwise. */
#define LINK_TIMEOUT_NS UINT64_C(5000000000)

struct link {
    struct broker_client *client; /* NULL: not open */
    bool verbose;
    bool leaving;     /* closing: the end of the connection is no news */
    uint64_t up_ns;   /* since when it is connected; 0: not yet */
    uint64_t lost_ns; /* since when the connection is gone; 0: it is there */
    uint64_t errors;  /* refusals that no callback of a command was told of */
    enum broker_status error; /* the first of them */
    uint64_t said, said_max;  /* errors and notices */
    bool subscription_ended;  /* one was refused after a reconnect */
    broker_client_gap_fn *on_gap;
    void *user;
};

struct link_options {
    uint64_t timeout_ns;          /* for the first connection */
    bool reconnect;               /* after it was lost */
    broker_client_gap_fn *on_gap; /* or NULL: gaps are said and forgotten */
    void *user;                   /* for on_gap */
    size_t buffer_bytes; /* held for the broker at most; 0: as the library
                            likes */
    uint64_t said_max;   /* errors and notices that are said, the others are
                            only counted; 0: all */
};

/* Connect. CTL_EXIT_OK: link->client is connected, and link_close() or
 * link_drop() is due. Else what went wrong was said, and nothing is due. */
enum ctl_exit link_open(struct link *link, const struct invocation *invocation,
    const struct link_options *options);

/* Leave in an orderly way, everything sent and acknowledged, and free the
 * client. Says what went wrong. */
enum ctl_exit link_close(struct link *link, uint64_t timeout_ns);

/* The same for commands whose work is done or has failed: whatever the broker
 * says to it, and it has little time to, nobody needs to know. Without it the
 * broker would wait for answers to our requests for a while. */
void link_leave(struct link *link);

/* Free the client without ceremony. */
void link_drop(struct link *link);

/* Wait for the client and for `others` until something happens or timeout_ms
 * is over (-1: no limit), then let the client work. others[].revents are set.
 * BROKER_OK, or what ended the client. A signal ends the wait early. */
enum broker_status link_turn(struct link *link, struct pollfd *others,
    size_t other_count, int timeout_ms);

/* The same, but the client rests: nothing is read from the broker. */
void link_wait_only(struct pollfd *others, size_t other_count, int timeout_ms);

/* Say what the library says went wrong, and return the exit code for it. */
enum ctl_exit link_failure(struct link *link, enum broker_status status);

/* The same about something, such as a topic: "what: text". */
enum ctl_exit link_failure_of(
    struct link *link, const char *what, enum broker_status status);

/* The exit code for a result of the library or a code of the broker. */
enum ctl_exit link_exit_code(enum broker_status status);

/* "text" if it is not empty, else the status as a sentence with its remedy,
 * written to dst. */
const char *link_text(
    enum broker_status status, const char *text, char *dst, size_t cap);
#define LINK_TEXT_MAX 512

/* The value of CLOCK_MONOTONIC. */
uint64_t link_now_ns(void);

/* Milliseconds from now until the deadline, rounded up, at least 0 and fit for
 * poll(); -1 for the deadline LINK_NEVER. */
int link_left_ms(uint64_t deadline_ns);
#define LINK_NEVER UINT64_MAX

/* now + timeout, or LINK_NEVER for a timeout of 0. */
uint64_t link_deadline_ns(uint64_t timeout_ns);

#endif
