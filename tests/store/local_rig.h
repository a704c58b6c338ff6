/* SPDX-License-Identifier: MIT
 *
 * A local store in a directory of its own, and what its callbacks said. */
#ifndef BROKER_TESTS_STORE_LOCAL_RIG_H
#define BROKER_TESTS_STORE_LOCAL_RIG_H

#include "local.h"

#define RIG_READ_MAX 4096u

struct rig_read {
    bool done;
    enum store_status status;
    uint64_t first, last, count, bytes, next, damaged, runs;
    uint64_t seqs[RIG_READ_MAX]; /* of the records */
    uint64_t times[RIG_READ_MAX];
    uint32_t tags[RIG_READ_MAX]; /* what rig_record() was given */
};

struct rig_value {
    bool done;
    enum store_status status;
    size_t bytes;
    char text[64];
    unsigned int count; /* of a scan */
    char keys[512];     /* of a scan, a blank behind each */
};

struct rig {
    char directory[64];
    struct store_local_options options;
    struct store *store;
    struct store_port *port;
    uint64_t now_ms;
    unsigned int answered; /* changes */
    unsigned int rooms;
    struct store_result last;
    struct store_result results[1024];
    char log[4096];
};

/* Manual, with a clock that stands still, small files and tables. */
void rig_init(struct rig *rig);
void rig_open(struct rig *rig);
/* Closed as it should be, or as if the process had died (files as they are). */
void rig_close(struct rig *rig);
void rig_crash(struct rig *rig);
void rig_fini(struct rig *rig);
/* Everything that there is to do. */
void rig_settle(struct rig *rig);

/* A record of so many bytes with a tag in it. */
void rig_record(uint8_t *dst, size_t bytes, uint32_t tag);

uint32_t rig_ensure(
    struct rig *rig, const char *name, const struct store_limits *limits);
/* Records of 100 bytes each with tags from `tag` on. */
enum store_status rig_append(
    struct rig *rig, uint32_t stream, uint32_t count, uint32_t tag);
enum store_status rig_append_full(struct rig *rig, struct store_append *append,
    size_t record_bytes, uint32_t tag);
struct rig_read rig_read(
    struct rig *rig, uint32_t stream, uint64_t from, size_t max_bytes);
struct rig_value rig_get(
    struct rig *rig, enum store_space space, const char *key);
struct rig_value rig_scan(struct rig *rig, enum store_space space);
enum store_status rig_put(
    struct rig *rig, enum store_space space, const char *key, const char *text);
struct store_stream_info rig_info(const struct rig *rig, uint32_t stream);
struct store_stats rig_stats(const struct rig *rig);
/* All that was put into the table in memory goes to disk. */
void rig_checkpoint(struct rig *rig);

void rig_read_done(void *arg, const struct store_batch *batch);
void rig_change_done(void *arg, const struct store_result *result);

#endif
