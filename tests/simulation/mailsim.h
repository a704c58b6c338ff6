/* SPDX-License-Identifier: MIT
 *
 * The random simulation of several workers whose mail takes its time: clients
 * say things, and input, output and mail of each worker move on in any order
 * that exchange.h allows. simulate_mail.c takes random steps, mailsim_say.c
 * says things, mailsim_read.c reads what comes, mailsim_check.c looks at the
 * whole. Everything follows from the seed.
 *
 * There is no exact model here, because what the broker does depends on how
 * long mail takes. Checked is what must hold however long that is: each frame
 * against what the client knows, and between the epochs of a world, when
 * everything has been delivered, all of them together. Clients know of each
 * other what a bystander would who sees what they say and what they are told:
 * `now` counts these events.
 */
#ifndef BROKER_TESTS_MAILSIM_H
#define BROKER_TESTS_MAILSIM_H

#include "fake_net.h"
#include "program.h"
#include "reader.h"

#define MAILSIM_CLIENTS       7
#define MAILSIM_CONNS         160 /* in the life of a world */
#define MAILSIM_IDENTITIES    8
#define MAILSIM_BROKER        MAILSIM_IDENTITIES /* as a publisher */
#define MAILSIM_SUBSCRIPTIONS 512
#define MAILSIM_MESSAGES      2048
#define MAILSIM_TOPICS        6
#define MAILSIM_FILTERS       8
#define MAILSIM_GROUPS        2
#define MAILSIM_PLAIN         MAILSIM_GROUPS /* in no group */
#define MAILSIM_ASKED         1024

/* When it happened; 0: not yet. */
typedef uint32_t mailsim_time;

struct mailsim_bits {
    uint64_t words[MAILSIM_MESSAGES / 64];
};

static inline bool
mailsim_has(const struct mailsim_bits *bits, uint32_t i)
{
    return (bits->words[i / 64] >> i % 64 & 1) != 0;
}

static inline void
mailsim_set(struct mailsim_bits *bits, uint32_t i)
{
    bits->words[i / 64] |= (uint64_t)1 << i % 64;
}

enum mailsim_fate {
    MAILSIM_UNKNOWN, /* said, and perhaps processed */
    MAILSIM_ROUTED,  /* certainly */
    MAILSIM_REFUSED,
};

/* A message that a client says, or that the broker answers with. */
struct mailsim_message {
    uint8_t *frame; /* as it is delivered; flags and id of the first saying */
    size_t bytes;
    uint32_t publisher; /* identity */
    uint32_t topic;
    uint32_t conn; /* that said it last */
    uint32_t id;
    mailsim_time said, answered;
    uint32_t matched, refused; /* as PUBACK said */
    uint32_t receipts; /* live, by subscriptions that were made before */
    enum mailsim_fate fate;
    uint16_t group_receipts; /* a bit for each filter and group */
    bool retain, request, echo;
    bool clears;   /* removes the retained value */
    bool received; /* by anybody */
    bool settled;  /* its number is not above that in WELCOME */
    bool given_up; /* it will not be said again */
};

/* What was said and is to be answered, in this order. */
enum mailsim_kind {
    MAILSIM_HELLO,
    MAILSIM_PUBLISH,
    MAILSIM_UNNUMBERED, /* not to be answered, but processed in this place */
    MAILSIM_OTHER,      /* nor that */
    MAILSIM_RESAID,     /* a number that was settled: DUPLICATE */
    MAILSIM_BAD_PUBLISH,
    MAILSIM_PING,
    MAILSIM_SUBSCRIBE,
    MAILSIM_BAD_SUBSCRIBE,
    MAILSIM_UNSUBSCRIBE,
    MAILSIM_DRAIN, /* answered when the queue is empty */
    MAILSIM_BAD_UNSUBSCRIBE,
};

struct mailsim_asked {
    enum mailsim_kind kind;
    uint32_t which; /* message or subscription, or an id */
    size_t end;     /* in all that was said on the connection */
    uint64_t mark;  /* mail that was posted by then */
};

struct mailsim_subscription {
    uint32_t conn, id, filter, group;
    enum broker_overflow overflow;
    bool no_retained, drains, ended;
    mailsim_time asked, made, left, unmade; /* SUBACK, UNSUBACK were read */
    uint32_t retained_announced, retained_received;
    uint64_t received_count, gap_count;
    uint64_t certainly_missing; /* before what was received */
    struct mailsim_bits received;
    uint32_t last[MAILSIM_BROKER][MAILSIM_TOPICS]; /* message + 1 */
    uint32_t value[MAILSIM_TOPICS]; /* the last with RETAIN; message + 1 */
};

/* A connection. It stays when it is over, for what it knew. */
struct mailsim_conn {
    struct fake_peer *peer;
    uint32_t identity;
    struct say out; /* not yet fed */
    size_t fed;
    struct mailsim_asked asked[MAILSIM_ASKED];
    uint32_t asked_count, answered_count, fed_count;
    uint32_t next_subscription_id;
    uint32_t answered_before; /* number of its session, as it was opened */
    struct sim_reader reader;
    struct mailsim_bits live; /* messages that came live */
    mailsim_time opened;
    mailsim_time over;   /* says nothing more: GOAWAY, half-close, superseded */
    mailsim_time closed; /* the core gives it nothing more */
    bool waits;          /* for WELCOME, to retry */
    bool half_closes, half_closed;
    bool reaches_end; /* of what it said: GOAWAY or half-close */
    bool loses;       /* the core dropped what was queued for it */
    bool dropped;
};

/* A session id, which outlives connections. One that is not known yet may be
 * another each time; there is no order between what those have published. */
struct mailsim_identity {
    uint32_t first_message;
    uint8_t id[BROKER_SESSION_BYTES];
    bool known;
    uint32_t next_number;
    uint32_t answered; /* the highest that was */
};

struct mailsim {
    struct fake_net net;
    struct random random;
    struct mailsim_conn *conns; /* MAILSIM_CONNS */
    uint32_t conn_count;
    uint32_t current[MAILSIM_CLIENTS]; /* conn + 1 */
    struct mailsim_identity identities[MAILSIM_IDENTITIES];
    struct mailsim_message *messages; /* MAILSIM_MESSAGES */
    uint32_t message_count;
    struct mailsim_subscription *subscriptions; /* MAILSIM_SUBSCRIPTIONS */
    uint32_t subscription_count;
    mailsim_time now;
    mailsim_time calm;      /* when everything had been delivered last */
    uint32_t mail_percent;  /* how eager mail is */
    uint32_t lazy_worker;   /* whose mail and turns take longer */
    uint32_t quiet_percent; /* of what would disturb others */
    bool ample;             /* nothing ever overflows */
    bool shutting_down;
    bool deprived; /* allocations fail, and nobody looks at what comes */
    const struct program *program;
};

extern const char *const mailsim_topics[MAILSIM_TOPICS];
extern const char *const mailsim_filters[MAILSIM_FILTERS];
extern const char *const mailsim_groups[MAILSIM_GROUPS];

/* Print the seed and the sentence, and end the program. */
_Noreturn void mailsim_fail(const struct mailsim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mailsim_tell(const struct mailsim *sim, const struct mailsim_conn *conn,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline uint32_t
mailsim_number(const struct mailsim *sim, const struct mailsim_conn *conn)
{
    return (uint32_t)(conn - sim->conns);
}

/* ---- mailsim_say.c ------------------------------------------------------- */

/* Connect the client anew, with some session id, to some worker. */
void mailsim_connect(struct mailsim *sim, uint32_t client);
/* Say something at random; the connection can say things. */
void mailsim_say(struct mailsim *sim, struct mailsim_conn *conn);
bool mailsim_can_say(
    const struct mailsim *sim, const struct mailsim_conn *conn);
void mailsim_say_ping(struct mailsim *sim, struct mailsim_conn *conn);
void mailsim_say_pong(
    struct mailsim *sim, struct mailsim_conn *conn, uint32_t id);
void mailsim_say_publishes(struct mailsim *sim, struct mailsim_conn *conn);
void mailsim_say_goaway(struct mailsim *sim, struct mailsim_conn *conn);
void mailsim_half_close(struct mailsim *sim, struct mailsim_conn *conn);
/* WELCOME came: say again what was not answered. */
void mailsim_say_retries(
    struct mailsim *sim, struct mailsim_conn *conn, uint32_t last_publish);

/* ---- mailsim_read.c ------------------------------------------------------ */

/* Check all frames that have come since the last time. */
void mailsim_read(struct mailsim *sim, struct mailsim_conn *conn);

/* ---- mailsim_check.c ----------------------------------------------------- */

bool mailsim_matches(uint32_t filter, uint32_t topic);

/* After each step: what holds at any time. Notes which connections were
 * closed. */
void mailsim_check(struct mailsim *sim);
/* Everything was delivered. */
void mailsim_check_calm(struct mailsim *sim);
/* Has everything that was asked been answered? */
void mailsim_check_answered(
    const struct mailsim *sim, const struct mailsim_conn *conn);

/* PUBACK of the message came. */
void mailsim_check_outcome(
    const struct mailsim *sim, const struct mailsim_message *message);
/* The message was refused for want of subscribers. */
void mailsim_check_unwanted(
    const struct mailsim *sim, const struct mailsim_message *message);
/* The subscription gets the message: what came before it is there too, or was
 * reported missing. */
void mailsim_check_order(
    struct mailsim *sim, struct mailsim_subscription *s, uint32_t number);

#endif
