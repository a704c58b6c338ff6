/* SPDX-License-Identifier: MIT
 *
 * What a store must hold, as a model without files: operations are judged and
 * applied one after the other. After a power cut the store must be what the
 * model is after some number of the operations that were not answered, in their
 * order: world.c finds out which. Knows nothing of how stores work.
 */
#ifndef BROKER_TESTS_STORE_MODEL_H
#define BROKER_TESTS_STORE_MODEL_H

#include "store.h"

#define MODEL_STREAMS    4
#define MODEL_RECORDS    1024 /* of one stream */
#define MODEL_KEYS       12
#define MODEL_PUBLISHERS 3
#define MODEL_KNOWN      16 /* runs of refusals that a store remembers */
#define MODEL_REFUSALS   64
#define MODEL_KEYS_OF_OP 3

enum model_kind {
    MODEL_ENSURE,
    MODEL_REMOVE,
    MODEL_APPEND,
    MODEL_TRIM,
    MODEL_PUT,
};

struct model_op {
    enum model_kind kind;
    unsigned port;
    unsigned stream; /* by name */
    uint32_t number; /* that the stream had when this was asked for */
    uint64_t limit;  /* ensure: max_records */
    uint64_t bound;  /* trim */
    /* append: */
    uint64_t id; /* of the first record */
    uint32_t count;
    int publisher; /* below 0: nobody's */
    uint32_t publish;
    bool batch, is_retry, expects_last;
    uint64_t expected_last;
    /* put, append: these keys get this text; 0: they are deleted */
    unsigned keys[MODEL_KEYS_OF_OP];
    unsigned key_count;
    uint64_t text;
    /* what was answered */
    bool answered;
    struct store_result result;
};

struct model_record {
    uint64_t id, seq; /* seq 0: it was not told */
};

struct model_stream {
    bool exists;
    uint32_t number; /* 0: it was not told */
    uint64_t limit, last_seq;
    size_t count;
    struct model_record records[MODEL_RECORDS];
};

struct model_publisher {
    uint32_t highest; /* 0: none */
    struct {
        uint32_t first, last;
        enum store_status status;
        bool maybe; /* it need not be known any more */
    } refused[MODEL_REFUSALS];
    unsigned refused_count;
    bool forgot; /* there were so many that a store forgets some */
};

struct model_state {
    struct model_stream streams[MODEL_STREAMS];
    uint64_t values[MODEL_KEYS]; /* 0: none */
    struct model_publisher publishers[MODEL_PUBLISHERS];
};

/* What the answer has to be if the disk does not get in the way. */
enum store_status model_judge(
    const struct model_state *state, const struct model_op *op);
/* May a retry that is judged to be refused be a duplicate as well? */
bool model_may_forget(
    const struct model_state *state, const struct model_op *op);
/* May one that was answered before be STORE_UNSURE? */
bool model_may_be_unsure(
    const struct model_state *state, const struct model_op *op);
/* It was answered with this; with STORE_OK and seqs in op->result, or without:
 * they are not known. */
void model_apply(struct model_state *state, const struct model_op *op,
    enum store_status status);

/* The process was started anew: refusals above the highest number that was
 * stored need not be known any more. */
void model_restart(struct model_state *state);

/* Is what was observed this state? False: `why` says what is not. */
bool model_equal(const struct model_state *observed,
    const struct model_state *state, char *why, size_t why_size);

/* Publish number a is above b; 0: there is none. */
bool model_is_above(uint32_t a, uint32_t b);
/* The number that is so much further. */
uint32_t model_number_after(uint32_t number, uint32_t count);

/* Names and contents. */
void model_name(unsigned stream, char name[16]);
void model_key(unsigned key, char name[16]);
/* Bytes of the record with this id, header included, and its contents. */
size_t model_record_bytes(uint64_t id);
void model_record_write(uint64_t id, uint8_t *dst);
/* The id, or 0: it is not one of ours. */
uint64_t model_record_read(const uint8_t *record, size_t bytes);

#endif
