/* SPDX-License-Identifier: MIT
 *
 * The random simulation: a world of clients around one core, and a model that
 * knows what each of them must receive. simulate.c takes random steps,
 * sim_model.c says what a processed frame means, sim_read.c checks what comes
 * out. Everything follows from the seed.
 *
 * The model is exact for plain subscriptions: each has the list of messages
 * that it matches, and what comes out of the core, messages and gaps together,
 * has to be that list, in order. Which member of a queue group gets a message
 * is the core's choice; there it is checked that one member does.
 */
#ifndef BROKER_TESTS_SIM_H
#define BROKER_TESTS_SIM_H

#include "fake_net.h"

#define SIM_CLIENTS       6
#define SIM_IDENTITIES    8
#define SIM_SUBSCRIPTIONS 24 /* of one connection, ended ones included */
#define SIM_MESSAGES      4096
#define SIM_TOPICS        8
#define SIM_FILTERS       12
#define SIM_GROUPS        2
#define SIM_ACTS          2048

/* A message that was said, or that the broker makes as an answer. */
struct sim_message {
    uint8_t *frame;
    size_t bytes;
    uint32_t publisher; /* identity; SIM_IDENTITIES: the broker */
    uint32_t topic;
    uint16_t flags;
    uint32_t id;
    size_t payload_bytes;
    uint32_t order;          /* in which the core processed it; 0: not yet */
    uint64_t group_receipts; /* bit filter * SIM_GROUPS + group */
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
    bool inexact; /* somebody was disconnected meanwhile */
};

struct sim_match {
    uint32_t message;
    bool retained;
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
    uint32_t retained_count;
    bool processed;    /* the core has seen SUBSCRIBE */
    bool matching;     /* and it is in the index */
    bool acknowledged; /* SUBACK came */
    bool unsubscribed; /* the core has seen UNSUBSCRIBE */
    bool drain;
    bool ended; /* UNSUBACK came */
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
    const char *reply_to;
    enum broker_status refusal; /* that the frame itself calls for */
    bool retry, request, drain;
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
    uint32_t context[SIM_SUBSCRIPTIONS], context_count;
    bool context_retained;
    uint32_t last_seen[SIM_IDENTITIES + 1][SIM_TOPICS]; /* order */
    uint64_t publishes_processed;
    uint32_t max_body_bytes;
    uint32_t expect_last_publish; /* in WELCOME */
    bool welcomed, hello_processed;
    bool over;    /* said GOAWAY or half-closed */
    bool stopped; /* nothing of it matches any more */
    bool lost;    /* what was queued for it was dropped */
    bool goaway_received;
};

/* What outlives a connection. */
struct sim_identity {
    uint8_t id[BROKER_SESSION_BYTES];
    uint32_t next_number;
    uint32_t settled; /* highest number processed */
};

struct sim {
    struct fake_net net;
    struct random random;
    uint64_t seed;
    struct sim_client clients[SIM_CLIENTS];
    struct sim_identity identities[SIM_IDENTITIES];
    struct sim_message messages[SIM_MESSAGES];
    uint32_t message_count;
    uint32_t retained[SIM_TOPICS]; /* message + 1, in retained_order */
    uint64_t retained_serial[SIM_TOPICS];
    uint64_t serial;
    uint32_t order;
    bool memory_is_short;
    bool somebody_lost; /* since the start of the current feed */
    bool verbose;
};

extern const char *const sim_topics[SIM_TOPICS];
extern const char *const sim_filters[SIM_FILTERS];
extern const char *const sim_groups[SIM_GROUPS];
extern const char *const sim_bad_topics[3];

/* Print the seed and the sentence, and end the program. */
_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- sim_model.c --------------------------------------------------------- */

/* The core has processed what was fed to the client. */
void sim_apply_fed(struct sim *sim, struct sim_client *client);
/* Mark those whose queue the core has given up. Before the above. */
void sim_look_for_lost(struct sim *sim);
/* Mark those that match no more, and compare books with the model. After. */
void sim_compare(struct sim *sim);
/* Keep a frame as a message; returns its number. */
uint32_t sim_keep_message(struct sim *sim, const struct sim_message *message,
    const uint8_t *frame, size_t bytes);
/* The retained values that the filter matches, oldest first. */
uint32_t sim_collect_retained(
    const struct sim *sim, uint32_t filter, uint32_t found[SIM_TOPICS]);

/* ---- sim_read.c ---------------------------------------------------------- */

/* Check all frames that have come since the last time. */
void sim_read(struct sim *sim, struct sim_client *client);
/* Everything was read: nothing may be owed any more. */
void sim_check_complete(struct sim *sim, const struct sim_client *client);

#endif
