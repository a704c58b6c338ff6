/* SPDX-License-Identifier: MIT
 *
 * The random simulation: a world of clients around one broker, and a model that
 * knows what each of them must receive. simulate.c takes random steps,
 * sim_say.c says things, sim_world.c chooses limits and makes links, time and
 * memory fail, sim_model.c says what a processed frame means, sim_read.c checks
 * what comes out, sim_check.c what must hold of all together. Everything
 * follows from the seed.
 *
 * The model is exact for plain subscriptions: each has the list of messages
 * that it matches, and what comes out of the core, messages and gaps together,
 * has to be that list, in order. Where a subscription conflates it is not
 * worked out when the queue is full: gaps may stand before what is missing, but
 * never behind it nor before what came earlier of the same topic; what they
 * count is what is missing in the end; and of each topic the newest comes or is
 * said to be lost. Which member of a queue group gets a message is the core's
 * choice; there it is checked that one member does.
 *
 * Input and output of a client move in pieces of any size, whenever its turn
 * comes, so links delay and are overtaken by each other. A link may also stall,
 * trickle or die without a word; time may jump; an allocation may fail. In a
 * step in which one may, a single frame is fed, so that what became of it can
 * be seen from the core's own counters; the model goes on from there. So it
 * does where input waits because a subscriber is full.
 */
#ifndef BROKER_TESTS_SIM_H
#define BROKER_TESTS_SIM_H

#include "fake_net.h"
#include "program.h"
#include "reader.h"

#define SIM_CLIENTS       6
#define SIM_IDENTITIES    8
#define SIM_SUBSCRIPTIONS 24 /* of one connection, ended ones included */
#define SIM_MESSAGES      4096
#define SIM_TOPICS        8
#define SIM_FILTERS       12
#define SIM_GROUPS        2
#define SIM_ACTS          2048
/* A queue of this size, half full, has room for all that the publisher has sent
 * before it waits. */
#define SIM_BLOCK_BYTES_MIN 20000
#define SIM_BLOCK_FEED      2048

/* A message that was said, or that the broker makes as an answer. */
struct sim_message {
    uint8_t *frame;
    size_t bytes;
    uint32_t publisher; /* identity; SIM_IDENTITIES: the broker */
    uint32_t topic;
    uint16_t flags;
    uint32_t id;
    size_t payload_bytes;
    uint32_t order;  /* in which the core routed it; 0: not yet */
    uint32_t origin; /* that it says again; itself: it is the first */
    enum broker_status refusal; /* that the frame itself calls for */
    bool request;
    bool processed; /* whatever the answer; of an origin */
    bool said_again;
    bool answered;             /* PUBACK came, and is exact */
    bool unsure;               /* who could take it is not known exactly */
    uint32_t matched, refused; /* as PUBACK says */
    uint32_t receipts;         /* live, by subscriptions */
    uint32_t excused;          /* of who was lost or left before it came */
    uint64_t group_matches;    /* bit filter * SIM_GROUPS + group */
    uint64_t group_receipts;
};

enum sim_expect {
    SIM_EXPECT_ACK,
    SIM_EXPECT_DUPLICATE,
    SIM_EXPECT_ERROR,
};

/* What a numbered publish must be answered with, and in this order. */
struct sim_answer {
    uint32_t id;
    enum sim_expect expect;
    enum broker_status code;
    uint32_t matched;
    uint32_t message;
    bool inexact;  /* somebody was disconnected meanwhile */
    bool deprived; /* an allocation failed: the code may be MEMORY */
};

struct sim_match {
    uint32_t message;
    bool retained;
    bool came; /* to a subscription that conflates */
};

struct sim_subscription {
    uint32_t id;
    uint32_t filter, group; /* group SIM_GROUPS: plain */
    enum broker_overflow overflow;
    struct sim_match *matched;
    uint32_t matched_count, matched_capacity;
    uint32_t next; /* of matched: received or reported missing so far */
    uint64_t received, missing;
    uint64_t bytes; /* of frames received or reported missing */
    /* If it conflates it is open which messages are missing until later ones
     * come. */
    uint64_t conflated; /* of missing: reported to be so */
    uint64_t passed;    /* of missing: turned out by what came after them */
    uint32_t last_of[SIM_TOPICS];    /* 1 + its index in matched */
    uint64_t missing_at[SIM_TOPICS]; /* when that came */
    uint32_t retained_count;
    bool processed;    /* the core has seen SUBSCRIBE */
    bool matching;     /* and it is in the index */
    bool acknowledged; /* SUBACK came */
    bool unsubscribed; /* the core has seen UNSUBSCRIBE */
    bool drain;
    bool ended;   /* UNSUBACK came */
    bool excused; /* what it has not got by now is counted in `excused` */
};

enum sim_act_kind {
    SIM_HELLO,
    SIM_SUBSCRIBE,
    SIM_UNSUBSCRIBE,
    SIM_UNSUBSCRIBE_UNKNOWN,
    SIM_PUBLISH,
    SIM_OTHER,
    SIM_GOAWAY,
};

/* A frame that was said; the model hears of it when its last byte was fed. */
struct sim_act {
    enum sim_act_kind kind;
    size_t end; /* in all that the client has said */
    uint32_t which;
    enum broker_status refusal; /* of other frames than PUBLISH */
    bool drain;
};

enum sim_link {
    SIM_LINK_GOOD,
    SIM_LINK_STALLED,  /* the peer reads nothing */
    SIM_LINK_TRICKLES, /* a byte at a time, both ways */
    SIM_LINK_DEAD,     /* nothing comes any more, and nobody was told */
};

struct sim_client {
    struct fake_peer *peer; /* NULL: not connected */
    uint32_t identity;
    struct say out;
    size_t said, fed; /* bytes: in all, and of those fed */
    struct sim_act acts[SIM_ACTS];
    uint32_t act_count, act_next;
    struct sim_subscription subscriptions[SIM_SUBSCRIPTIONS];
    uint32_t subscription_count;
    struct sim_answer answers[SIM_MESSAGES];
    uint32_t answer_count, answer_next;
    uint32_t unnumbered_errors; /* that are to come */
    uint32_t other_errors;
    struct sim_reader reader;
    enum sim_link link;
    uint64_t connected_ms, fed_ms, taken_ms;
    uint64_t emptied_ms; /* nothing was left to take */
    uint32_t heartbeat_ms;
    uint32_t last_seen[SIM_IDENTITIES + 1][SIM_TOPICS]; /* order */
    uint64_t publishes_processed;
    uint32_t max_body_bytes;
    uint32_t expect_last_publish; /* in WELCOME */
    bool welcomed, hello_processed;
    bool over;       /* said GOAWAY or half-closed */
    bool stopped;    /* nothing of it matches any more */
    bool lost;       /* what was queued for it was dropped */
    bool dropped;    /* by itself */
    bool late;       /* it took nothing for so long that nobody waits for it */
    bool superseded; /* somebody connects with its session id */
    bool waits;      /* for WELCOME, to say again what it has to */
    bool excused;    /* sim_excuse was called for all that it has */
};

/* What outlives a connection. */
struct sim_identity {
    uint8_t id[BROKER_SESSION_BYTES];
    uint32_t next_number;
    uint32_t settled;            /* highest number processed */
    uint32_t sent[SIM_MESSAGES]; /* the first message of each number */
    bool answered[SIM_MESSAGES]; /* each number */
    bool has_gaps;               /* it did not say again all it should have */
    const struct sim_client *holder; /* NULL: it is gone */
    uint64_t left_ms, left_serial;   /* since then */
};

struct sim {
    struct fake_net net;
    struct random random;
    const struct program *program;
    struct sim_client clients[SIM_CLIENTS];
    struct sim_identity identities[SIM_IDENTITIES];
    struct sim_message messages[SIM_MESSAGES];
    uint32_t message_count;
    uint32_t retained[SIM_TOPICS]; /* message + 1, in retained_order */
    uint64_t retained_serial[SIM_TOPICS];
    uint64_t serial;
    uint32_t order;
    uint64_t leaves; /* of session ids, ever */
    bool memory_is_short;
    bool ample;         /* nothing ever overflows */
    bool forgets;       /* sessions that are known to the core are few */
    bool few;           /* subscriptions are allowed */
    bool blocks;        /* subscribers may choose to; the first client is the
                           only one that publishes, and the only one that does
                           nothing else: so it is known in which order frames
                           that wait are processed */
    bool fails;         /* allocations do, now and then */
    bool failed;        /* some did, ever */
    bool failed_now;    /* in the current step */
    bool somebody_lost; /* since the start of the current feed */
    struct sim_counters {
        uint64_t routed, refused;
    } before; /* the current feed */
};

extern const char *const sim_topics[SIM_TOPICS];
extern const char *const sim_filters[SIM_FILTERS];
extern const char *const sim_groups[SIM_GROUPS];
extern const char *const sim_bad_topics[3];

void sim_tell(
    const struct sim *sim, const struct sim_client *client, const char *what);
/* Print the seed and the sentence, and end the program. */
_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- sim_say.c ----------------------------------------------------------- */

bool sim_can_say(const struct sim_client *client);
/* HELLO, and again what was not answered. */
void sim_say_hello(struct sim *sim, struct sim_client *client);
void sim_say_subscribe(struct sim *sim, struct sim_client *client);
void sim_say_bad_subscribe(struct sim *sim, struct sim_client *client);
void sim_say_unsubscribe(struct sim *sim, struct sim_client *client);
void sim_say_burst(struct sim *sim, struct sim_client *client);
/* More refusals than the client may leave unread. */
void sim_say_flood(struct sim *sim, struct sim_client *client);
/* Those above this number that were never answered, in order. */
void sim_say_unanswered(
    struct sim *sim, struct sim_client *client, uint32_t above);
/* Numbers that were said before, known or not. */
void sim_say_again(struct sim *sim, struct sim_client *client);
void sim_say_ping(struct sim *sim, struct sim_client *client);
void sim_say_pong(struct sim *sim, struct sim_client *client, uint32_t id);
void sim_say_goaway(struct sim *sim, struct sim_client *client);

/* ---- sim_world.c --------------------------------------------------------- */

/* Limits and circumstances of the world. */
void sim_world_init(struct sim *sim);
void sim_world_fini(struct sim *sim);
/* Make allocations fail in what follows, now and then; true: from now on to
 * sim_memory_returns only one frame may be fed. */
bool sim_memory_fails(struct sim *sim);
void sim_memory_returns(struct sim *sim);
/* Let time go on, or jump. */
void sim_advance(struct sim *sim, uint64_t ms);
void sim_advance_somewhat(struct sim *sim);
/* Let the link of a client become better or worse. */
void sim_change_link(struct sim *sim, struct sim_client *client);
/* All that is dead must be found in the time of a few heartbeats. */
void sim_bury_dead(struct sim *sim);

/* ---- sim_model.c --------------------------------------------------------- */

/* The topic's frames are refused by the limits of this world. */
bool sim_is_beyond_limits(const struct sim *sim, const char *name);
/* A client is about to be fed. */
void sim_before_feed(struct sim *sim);

/* The core has processed what was fed to the client. */
void sim_apply_fed(struct sim *sim, struct sim_client *client);
/* Keep a frame as a message; returns its number. */
uint32_t sim_keep_message(struct sim *sim, const struct sim_message *message,
    const uint8_t *frame, size_t bytes);
/* The retained values that the filter matches, oldest first. */
uint32_t sim_collect_retained(
    const struct sim *sim, uint32_t filter, uint32_t found[SIM_TOPICS]);

/* ---- sim_check.c --------------------------------------------------------- */

/* Mark those whose queue the core has given up. Before sim_apply_fed. */
void sim_look_for_lost(struct sim *sim);
/* Mark those that match no more, and compare books with the model. After. */
void sim_compare(struct sim *sim);
/* What the subscription, or all of the client, has not got yet will not come,
 * and need not. */
void sim_excuse(struct sim *sim, struct sim_subscription *subscription);
void sim_excuse_all(struct sim *sim, struct sim_client *client);
/* Everything was read by everybody who is to read it: acknowledgements have
 * said who got what. */
void sim_check_acknowledged(struct sim *sim);

/* ---- sim_read.c ---------------------------------------------------------- */

/* Check all frames that have come since the last time. */
void sim_read(struct sim *sim, struct sim_client *client);
/* Everything was read: nothing may be owed any more. */
void sim_check_complete(struct sim *sim, struct sim_client *client);

#endif
