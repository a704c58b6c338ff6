/* SPDX-License-Identifier: MIT
 *
 * The contract of store.h as tests that hold for every store: contract_*.c are
 * compiled together with one test_contract_ENGINE.c, which says how its store
 * is opened and how it ends.
 *
 * This is the rig: ports that are polled only when they were woken, answers
 * that are counted, and records that tell which ones they are. It checks by
 * itself that a callback comes once, on this thread, inside the store_poll() of
 * its port, and never inside the call that asked for it.
 */
#ifndef BROKER_TESTS_STORE_CONTRACT_H
#define BROKER_TESTS_STORE_CONTRACT_H

#include "store.h"

#include <criterion/criterion.h>

#define CONTRACT_PORTS 3
#define CONTRACT_TIME  UINT64_C(1795392000000) /* of most appends */

struct contract;

struct contract_port {
    struct contract *rig;
    struct store_port *port;
    int event; /* eventfd(2): the port was woken */
    bool polling;
    unsigned rooms; /* how often `room` was called */
};

struct contract {
    struct store *store;
    struct contract_port ports[CONTRACT_PORTS];
    void *place;              /* the engine's */
    uint64_t in_flight_bytes; /* before it is opened; 0: the default */
    bool inside_call;
    unsigned answers; /* that came */
};

/* What test_contract_ENGINE.c defines. */
struct contract_engine {
    /* Open what is at rig->place, or make both. */
    struct store *(*open)(struct contract *rig);
    /* All ports have been closed. `crash`: what is not durable is lost. */
    void (*end)(struct contract *rig, bool crash);
    /* Remove rig->place. */
    void (*clean)(struct contract *rig);
    /* Do a piece of what threads would do; false: there was nothing. NULL: the
     * engine has threads. */
    bool (*work)(struct contract *rig);
    /* The engine's clock shows CONTRACT_TIME until then. */
    void (*set_time)(struct contract *rig, uint64_t now_ms);
    /* From now on there is no space / every write fails. NULL: cannot. */
    void (*no_space)(struct contract *rig, bool on);
    void (*fail)(struct contract *rig);
};
extern const struct contract_engine contract_engine;

/* ---- the rig ------------------------------------------------------------- */

struct contract *contract_new(void);
struct contract *contract_new_with(uint64_t in_flight_bytes);
void contract_free(struct contract *rig);
/* The end and a new start; `crash`: without ado. */
void contract_reopen(struct contract *rig, bool crash);

/* Tick all ports, work and poll until *flag, at most 30 s; then it fails. */
void contract_wait(struct contract *rig, const bool *flag);
/* Work and poll what can be without waiting; `tick`: with store_tick(). */
void contract_settle(struct contract *rig, bool tick);

/* ---- changes ------------------------------------------------------------- */

/* Of one call; zero before. */
struct contract_answer {
    struct contract_port *port;
    bool came;
    unsigned order; /* among all answers of the rig */
    struct store_result result;
};

/* `count` records with ids from `id` on, `body` bytes after the header each. */
struct contract_records {
    uint8_t *data;
    size_t bytes;
    uint32_t count;
};
struct contract_records contract_records(
    uint64_t id, uint32_t count, uint32_t body);

/* An append of such records at CONTRACT_TIME; free `records`. */
struct store_append contract_append_of(
    uint32_t stream, uint64_t id, uint32_t count);
/* Submit it, when there is room, and give its records back. */
void contract_append(struct contract *rig, unsigned port,
    struct store_append append, struct contract_answer *answer);
/* The same, and wait; its result. */
struct store_result contract_store(
    struct contract *rig, struct store_append append);
/* The same, again and again while it is answered with this: for what a store
 * may take a while to see. */
struct store_result contract_store_unless(
    struct contract *rig, struct store_append append, enum store_status not );
/* Store `count` records with ids from `id` on; the last sequence. */
uint64_t contract_fill(
    struct contract *rig, uint32_t stream, uint64_t id, uint32_t count);

/* Make it, or set its limits (NULL: none), and wait. */
uint32_t contract_stream(
    struct contract *rig, const char *name, const struct store_limits *limits);
enum store_status contract_trim(
    struct contract *rig, uint32_t stream, uint64_t first_seq);
enum store_status contract_remove(struct contract *rig, uint32_t stream);
void contract_put(struct contract *rig, unsigned port,
    const struct store_value *values, size_t count,
    struct contract_answer *answer);
/* One of STORE_SPACE_BROKER unless said otherwise. NULL: delete it. */
struct store_value contract_value(const char *key, const char *text);
enum store_status contract_set(
    struct contract *rig, const char *key, const char *text);

/* store_done for answers. */
void contract_done(void *arg, const struct store_result *result);
/* To be called around calls of the store that the rig has no function for. */
void contract_begin(
    struct contract *rig, struct contract_answer *answer, unsigned port);
void contract_end_call(struct contract *rig);

/* ---- reading ------------------------------------------------------------- */

#define CONTRACT_RECORDS 4096

struct contract_record {
    uint64_t seq, time_ms, id;
    size_t bytes;
};

/* Of one read, or of several until the end. */
struct contract_read {
    struct contract_port *port;
    bool came;
    unsigned order;
    enum store_status status;
    uint64_t from, next;
    uint64_t damaged;
    size_t bytes, count, batches;
    struct contract_record records[CONTRACT_RECORDS];
};

/* Ask; zero everything of `read` before. Checks that what comes is in order and
 * intact. */
void contract_ask(struct contract *rig, unsigned port, uint32_t stream,
    uint64_t from, size_t max_bytes, bool follow, struct contract_read *read);
/* All from `from` on. Free it. */
struct contract_read *contract_read_all(
    struct contract *rig, uint32_t stream, uint64_t from);
/* The stream has exactly the records with these ids, in this order. */
void contract_expect_ids(
    struct contract *rig, uint32_t stream, uint64_t first_id, size_t count);
/* Where store_seek_time() says that to read on. */
uint64_t contract_seek(struct contract *rig, uint32_t stream, uint64_t time_ms);
struct store_stream_info contract_info(struct contract *rig, uint32_t stream);

/* ---- values -------------------------------------------------------------- */

struct contract_found {
    struct contract_port *port;
    bool came;
    enum store_status status;
    uint8_t *data; /* NULL: none */
    size_t bytes;
};
/* Ask and wait; free data. */
struct contract_found contract_get(struct contract *rig, enum store_space space,
    const void *key, size_t key_bytes);
/* STORE_SPACE_BROKER has this text under the key; NULL: nothing. */
void contract_expect_value(
    struct contract *rig, const char *key, const char *text);

struct contract_scan {
    struct contract_port *port;
    bool came; /* the end */
    enum store_status status;
    size_t count;
    struct {
        uint8_t bytes[STORE_KEY_MAX];
        size_t length;
        size_t data_bytes;
    } keys[64];
};
struct contract_scan *contract_scan(
    struct contract *rig, enum store_space space);

#endif
