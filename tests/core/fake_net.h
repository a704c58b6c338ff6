/* SPDX-License-Identifier: MIT
 *
 * A core with a fake network and a fake clock: connections are byte queues, and
 * time is a number. It keeps the contract of core.h as the real one does, and
 * checks the books of every session when told to. No Criterion in here, so that
 * the simulation and the fuzzer can use it: a broken promise ends the program
 * with a sentence.
 *
 * With options.workers above 1 there are several cores, and connections go to
 * them in turn. What they write to each other is delivered before any function
 * here returns, so that they look like one, unless the test holds mail.
 */
#ifndef BROKER_TESTS_FAKE_NET_H
#define BROKER_TESTS_FAKE_NET_H

#include "core.h"
#include "random.h"
#include "say.h"

#define FAKE_WORKERS_MAX 4

#define FAKE_WALL_MS UINT64_C(1700000000000) /* when its clock began */

struct fake_net {
    struct core *core; /* the first; NULL: memory was out */
    struct core *cores[FAKE_WORKERS_MAX];
    struct fake_mail {
        struct mailbag *first, *last;
        uint64_t posted, read; /* bags, ever */
    } mail[FAKE_WORKERS_MAX];
    bool holds_mail;  /* it waits for fake_mail_step */
    bool home_posted; /* in this turn of a worker */
    uint32_t workers;
    struct store *store; /* the caller's; NULL: there is none, or no more */
    bool crashed;        /* what is under way for the store is no leak */
    struct fake_port {
        struct fake_net *net;
        uint32_t worker;
        struct store_port *port;
        bool woken;
    } ports[FAKE_WORKERS_MAX];
    _Atomic uint64_t shared_bytes;
    uint8_t boot[BROKER_SESSION_BYTES];
    struct core_options options;
    uint64_t now_ms;
    struct random random;
    struct fake_peer *peers;
    uint64_t peer_ids;
    uint64_t digest;    /* of all bytes that any peer received, in order */
    uint64_t logged[8]; /* by enum core_event */
    enum broker_status logged_code;
    /* If set: called with true before the core is entered, with false after. */
    void (*guard)(bool inside);
    /* Says what is wrong and does not return. */
    void (*fail)(const char *problem);
};

struct fake_peer {
    struct fake_net *net;
    struct core *core;
    uint32_t worker;
    struct fake_peer *next;
    struct session *session; /* NULL: the connection is gone */
    bool output_ready;       /* the core has something for it */
    enum session_end end;    /* as last seen */
    uint8_t *received;       /* all bytes that the core sent */
    size_t received_bytes, received_capacity;
    size_t decoded_bytes;
    void *user;
};

/* Options as brokerd has them, with small times. */
struct core_options fake_options(void);

/* Fails to set `core` if memory is out. */
void fake_net_init(struct fake_net *net, const struct core_options *options,
    uint64_t seed, void (*guard)(bool inside));
/* The same with a store, which stays the caller's. */
void fake_net_init_store(struct fake_net *net,
    const struct core_options *options, struct store *store, uint64_t seed,
    void (*guard)(bool inside));
/* The process ends here, for its store: nothing of it is called any more but
 * that its ports are closed, by fake_net_fini. */
void fake_net_crash(struct fake_net *net);
/* Frees all sessions and the core; checks that no memory is left in use. */
void fake_net_fini(struct fake_net *net);

/* The session is NULL if memory is out. */
struct fake_peer *fake_connect(struct fake_net *net);
struct fake_peer *fake_connect_to(struct fake_net *net, uint32_t worker);
/* The connection is gone. The peer stays, for what it has received. */
void fake_drop(struct fake_peer *peer);

/* Let the core receive; returns how much of it, less than len only if memory
 * for receiving is out, or while mail is held and the session wants no
 * input. */
size_t fake_feed(struct fake_peer *peer, const void *bytes, size_t len);
/* Feed what was said, `step` bytes at a time, and forget it. */
void fake_feed_say(struct fake_peer *peer, struct say *say, size_t step);
void fake_end_input(struct fake_peer *peer);

/* Take up to this many bytes of what the core has to send; returns how many. A
 * session that is finished or aborted after it is freed. */
size_t fake_take(struct fake_peer *peer, size_t bytes);
/* Take everything there is. */
void fake_take_all(struct fake_peer *peer);

/* The next whole frame among what was received: false if there is none. It is a
 * view, valid until more is received. */
bool fake_next(struct fake_peer *peer, struct broker_frame *frame);

/* Move the clock on and do what is due. Returns when to call again. */
uint64_t fake_advance(struct fake_net *net, uint64_t ms);

/* Say goodbye to everybody, on all workers. */
void fake_shut_down(struct fake_net *net, uint32_t retry_after_ms);

/* Check the accounts of every session. */
void fake_check(struct fake_net *net);

/* ---- mail (fake_mail.c) -------------------------------------------------- */

/* From now on mail between the workers waits until it is stepped. The order
 * that exchange.h asks of whoever carries it is kept: a worker's mail is posted
 * before a peer takes its output, and read before input that came after it. So
 * fake_feed reads all that waits; fake_feed_said leaves what was posted after
 * the peer said what is fed now. */
void fake_mail_hold(struct fake_net *net);
/* Post and deliver everything until nobody has anything more to say. */
void fake_mail_settle(struct fake_net *net);

/* Deliver the oldest bag that waits for the worker; false if there is none. */
bool fake_mail_step(struct fake_net *net, uint32_t worker);
/* End a turn of the worker: it posts what it wrote. */
void fake_mail_end_turn(struct fake_net *net, uint32_t worker);

/* Nobody is connected, and mail has settled: nothing may be left of what
 * workers had to do with each other. */
void fake_check_exchanges(struct fake_net *net);

/* How much mail was posted to the peer's worker so far. */
uint64_t fake_mail_mark(const struct fake_peer *peer);
/* As fake_feed, of bytes that were said when this was the mark. */
size_t fake_feed_said(
    struct fake_peer *peer, const void *bytes, size_t len, uint64_t mark);

/* What the store has for the worker, and the end of its turn for the store. */
void fake_store_turn(struct fake_net *net, uint32_t worker);
/* Was a port woken since? */
bool fake_store_moved(struct fake_net *net);

/* ---- for fake_net.c and fake_mail.c -------------------------------------- */

void fake_enter(struct fake_net *net);
void fake_leave(struct fake_net *net);
void fake_require(struct fake_net *net, bool good, const char *problem);
/* As the real net does: ask after each thing that happened. */
void fake_look_at_ends(struct fake_net *net);
/* Something happened: unless mail is held, deliver it; look at ends. */
void fake_settle(struct fake_net *net);
/* The core posts what it wrote. */
void fake_post_mail(struct fake_net *net, struct core *core);
/* The hook. */
void fake_post(void *arg, uint32_t worker, struct mailbag *bags);
/* Deliver what was posted to the worker up to this mark. */
void fake_mail_until(struct fake_net *net, uint32_t worker, uint64_t mark);

#endif
