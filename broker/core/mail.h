/* SPDX-License-Identifier: MIT
 *
 * Mail: what the cores of several worker threads say to each other.
 *
 * A letter is a small record; its kind says which member of the union holds.
 * Letters travel in bags, in the order of writing, and whoever gets the bag
 * owns it and what its letters point to, as far as the comment at the kind
 * says so. A pointer in a letter is never followed by the receiver unless the
 * comment says that what it points to does not change any more; it goes back
 * to its sender as a ticket. Loans of blocks that are no longer needed travel
 * in the bag too.
 *
 * Plain data. Who writes and reads which letter: exchange.c sorts them.
 */
#ifndef BROKER_CORE_MAIL_H
#define BROKER_CORE_MAIL_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attachment;
struct block;
struct capture_order;
struct claim;
struct group_remote;
struct interest;
struct making;
struct question;
struct seat;
struct settled;
struct wait;

#define SCHEDULE_KEY_MAX 40u

enum letter_kind {
    /* forward.c: messages. */
    LETTER_RUN,    /* a run of frames for the receiver's subscriptions */
    LETTER_RESULT, /* what became of (a part of) a run; to its sender */
    LETTER_RETAIN, /* to home: a message to be retained and routed */
    /* interest.c: subscriptions. The interest's filter may be read. */
    LETTER_INTEREST,    /* the sender wants this filter */
    LETTER_ENTERED,     /* and now gets it, or memory was out */
    LETTER_DISINTEREST, /* and wants it no more */
    LETTER_FORGOTTEN,   /* and the receiver of that knows it no more */
    LETTER_LOAD,        /* how busy the sender's members of a group are */
    LETTER_COLLECT,     /* to home: the retained values of a filter, which
                           may be read and written into the making */
    LETTER_COLLECTED,
    /* claim.c: session ids. */
    LETTER_CLAIM, /* to home: this id belongs to my session from now on */
    LETTER_GRANT, /* it does; or memory is out, or somebody newer came */
    LETTER_TAKE,  /* from home: give the id up */
    LETTER_LEAVE, /* to home: it is given up */
    LETTER_LEFT,  /* and home will not name this claim again */
    /* question.c: what home answers for all. The question goes there and comes
     * back; who has it may read and write it. */
    LETTER_QUESTION,
    LETTER_ANSWER,
    /* captures.c: streams. The order may be read. */
    LETTER_CAPTURE,  /* from home: capture, or no more */
    LETTER_CAPTURED, /* that was done, or memory was out */
    /* scheduling.c. */
    LETTER_SCHEDULED, /* to home: a message for later is in the store */
    /* attachment.c, consumer_seats.c: durable consumers. Of an attachment and
     * of a seat the other side may read what stands above the line. */
    LETTER_ATTACH,   /* to home: this attachment wants a seat */
    LETTER_ATTACHED, /* it has got one, or why not */
    LETTER_TAKEN,    /* to home: room for so many more bytes */
    LETTER_DELIVERY, /* from home: frames */
    LETTER_SETTLE,   /* to home: what was acknowledged, given back, ... */
    LETTER_DETACH,   /* to home: the seat will not be named again */
    LETTER_DETACHED, /* and the attachment neither */
    LETTER_ENDED,    /* from home: the consumer is no more */
    /* exchange.c. */
    LETTER_CREDIT, /* so many bytes of the receiver's runs were processed */
    LETTER_SHED,   /* memory is out: drop what is queued for the slowest */
    /* hold.c: subscribers that chose to block publishers. */
    LETTER_FULL, /* your session published to mine, which is full */
    LETTER_ROOM, /* mine has room again */
};

struct letter {
    enum letter_kind kind;
    union {
        struct letter_run {
            struct block *block; /* a loan; one reference of it */
            const uint8_t *data; /* within what the loan keeps alive */
            size_t bytes;
            struct wait *wait; /* of the sender; NULL: nobody waits */
            union {
                struct interest *pick;   /* pick_count 1 */
                struct interest **picks; /* more; on the heap, the letter's */
            };
            uint64_t publisher_id; /* of its session; 0: the broker itself */
            uint32_t messages;
            uint32_t index; /* of the first message in the wait */
            uint32_t pick_count;
            bool plain;   /* for the plain subscriptions */
            bool request; /* LETTER_RETAIN: has a REPLY_TO */
            bool stored;  /* LETTER_RETAIN: in a stream */
        } run;
        struct letter_result {
            struct wait *wait;
            uint32_t index, count;
            uint32_t matched, refused;
            enum broker_status status;
            bool final; /* there is nothing more to come of this run */
        } result;
        struct letter_interest {
            struct interest *interest;   /* of the subscriber */
            struct group_remote *remote; /* of the publisher's side */
            uint64_t load, processed;
            uint32_t members;
            bool entered;
        } interest;
        struct letter_claim {
            struct claim *claim;
            struct identity *identity; /* home's */
            uint32_t last_publish, unsure_publish;
            enum broker_status status;
        } claim;
        struct letter_full {
            uint64_t publisher_id; /* of sessions */
            uint64_t full_id;
        } full;
        struct letter_capture {
            struct capture_order *order;
            bool failed;
        } capture;
        struct letter_scheduled {
            uint64_t time_ms;
            uint8_t key_bytes;
            uint8_t key[SCHEDULE_KEY_MAX];
        } scheduled;
        struct letter_attach {
            struct attachment *attachment;
            struct seat *seat;
            uint64_t first_sequence, last_sequence, next_sequence;
            uint32_t window;
            enum broker_ack_mode ack;
            enum broker_status status;
        } attach;
        struct letter_delivery {
            struct block *block; /* a loan; one reference of it */
            const uint8_t *data;
            size_t bytes;
            struct attachment *attachment;
            uint32_t messages;
        } delivery;
        struct letter_settle {
            struct seat *seat;
            struct settled *settled; /* on the heap, the letter's */
            uint32_t count;
        } settle;
        struct letter_taken {
            struct seat *seat;
            uint64_t bytes;
        } taken;
        struct making *making;
        struct question *question;
        uint64_t bytes;
    };
};

struct mailbag {
    struct mailbag *next;   /* for whoever has the bag */
    struct block *returned; /* loans of the receiver, linked through `next` */
    uint64_t run_bytes;     /* of the runs in it */
    uint32_t from;          /* worker */
    uint32_t count, capacity;
    uint32_t done; /* letters that the receiver is through with */
    struct letter letters[];
};

#endif
