/* SPDX-License-Identifier: MIT
 *
 * The rig of the contract: reading records and values; see contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

/* ---- records ------------------------------------------------------------- */

static uint64_t
get_number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void
take_run(struct contract_read *read, const struct store_run *run)
{
    const uint8_t *record = run->records;
    const uint8_t *end = record + run->bytes;
    cr_assert_gt(run->count, 0);
    for (uint32_t i = 0; i < run->count; i++) {
        cr_assert((size_t)(end - record) >= STORE_RECORD_MIN);
        size_t body = (size_t)get_number(record, 4);
        cr_assert((size_t)(end - record) - STORE_RECORD_MIN >= body);
        uint64_t id = get_number(record + 4, 8);
        for (size_t k = 0; k < body; k++) {
            cr_assert_eq(record[STORE_RECORD_MIN + k], (uint8_t)id);
        }
        cr_assert_lt(read->count, CONTRACT_RECORDS);
        read->records[read->count++] =
            (struct contract_record){.seq = run->first_seq + i,
                .time_ms = run->time_ms,
                .id = id,
                .bytes = STORE_RECORD_MIN + body};
        record += STORE_RECORD_MIN + body;
    }
    cr_assert(record == end, "a run has more bytes than its records");
    read->bytes += run->bytes;
}

static void
read_done(void *arg, const struct store_batch *batch)
{
    struct contract_read *read = arg;
    uint64_t from = read->from;
    uint64_t time_ms = 0;
    cr_assert(read->port->polling, "a callback outside store_poll()");
    cr_assert_not(read->port->rig->inside_call, "inside a call");
    cr_assert_not(read->came, "a second callback");
    read->came = true;
    read->order = ++read->port->rig->answers;
    read->status = batch->status;
    read->next = batch->next;
    read->damaged += batch->damaged;
    read->batches += batch->run_count != 0 ? 1 : 0;
    for (size_t i = 0; i < batch->run_count; i++) {
        const struct store_run *run = &batch->runs[i];
        cr_assert_geq(run->first_seq, from, "not in order, or before `from`");
        cr_assert_geq(run->time_ms, time_ms);
        take_run(read, run);
        from = run->first_seq + run->count;
        time_ms = run->time_ms;
    }
    if (batch->run_count != 0) {
        cr_assert_geq(batch->next, from);
    }
}

void
contract_ask(struct contract *rig, unsigned port, uint32_t stream,
    uint64_t from, size_t max_bytes, bool follow, struct contract_read *read)
{
    read->port = &rig->ports[port];
    read->from = from;
    read->came = false;
    rig->inside_call = true;
    cr_assert_eq(store_read(read->port->port, stream, from, max_bytes, follow,
                     read_done, read),
        STORE_OK);
    rig->inside_call = false;
}

struct contract_read *
contract_read_all(struct contract *rig, uint32_t stream, uint64_t from)
{
    struct contract_read *read = calloc(1, sizeof *read);
    size_t before;
    cr_assert_not_null(read);
    read->next = from;
    do {
        before = read->batches;
        contract_ask(rig, 0, stream, read->next, 4096, false, read);
        contract_wait(rig, &read->came);
    } while (read->status == STORE_OK && read->batches != before);
    return read;
}

void
contract_expect_ids(
    struct contract *rig, uint32_t stream, uint64_t first_id, size_t count)
{
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(read->status, STORE_OK);
    cr_assert_eq(
        read->count, count, "%zu records, not %zu", read->count, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(read->records[i].id, first_id + i);
    }
    cr_assert_eq(read->damaged, 0);
    free(read);
}

uint64_t
contract_seek(struct contract *rig, uint32_t stream, uint64_t time_ms)
{
    struct contract_read *read = calloc(1, sizeof *read);
    cr_assert_not_null(read);
    read->port = &rig->ports[0];
    rig->inside_call = true;
    cr_assert_eq(
        store_seek_time(rig->ports[0].port, stream, time_ms, read_done, read),
        STORE_OK);
    rig->inside_call = false;
    contract_wait(rig, &read->came);
    cr_assert_eq(read->status, STORE_OK);
    cr_assert_eq(read->count, 0);
    uint64_t next = read->next;
    free(read);
    return next;
}

struct store_stream_info
contract_info(struct contract *rig, uint32_t stream)
{
    struct store_stream_info info;
    memset(&info, 0xAA, sizeof info);
    cr_assert(store_stream_info(rig->ports[0].port, stream, &info));
    cr_assert_eq(info.stream, stream);
    return info;
}

/* ---- values -------------------------------------------------------------- */

static void
found_done(void *arg, enum store_status status, const struct store_value *value)
{
    struct contract_found *found = arg;
    cr_assert(found->port->polling, "a callback outside store_poll()");
    cr_assert_not(found->port->rig->inside_call, "inside a call");
    cr_assert_not(found->came, "a second callback");
    found->came = true;
    found->status = status;
    if (status == STORE_OK) {
        found->bytes = value->bytes;
        found->data = malloc(value->bytes + 1);
        cr_assert_not_null(found->data);
        if (value->bytes != 0) {
            memcpy(found->data, value->data, value->bytes);
        }
        found->data[value->bytes] = 0;
    }
}

struct contract_found
contract_get(struct contract *rig, enum store_space space, const void *key,
    size_t key_bytes)
{
    struct contract_found found = {.port = &rig->ports[0]};
    rig->inside_call = true;
    cr_assert_eq(store_get(rig->ports[0].port, space, key, key_bytes,
                     found_done, &found),
        STORE_OK);
    rig->inside_call = false;
    contract_wait(rig, &found.came);
    return found;
}

void
contract_expect_value(struct contract *rig, const char *key, const char *text)
{
    struct contract_found found =
        contract_get(rig, STORE_SPACE_BROKER, key, strlen(key));
    if (text == NULL) {
        cr_assert_eq(found.status, STORE_NOT_FOUND, "%s is there", key);
        return;
    }
    cr_assert_eq(found.status, STORE_OK, "%s is not there", key);
    cr_assert_eq(found.bytes, strlen(text));
    cr_assert_str_eq((const char *)found.data, text);
    free(found.data);
}

static void
scan_done(void *arg, enum store_status status, const struct store_value *value)
{
    struct contract_scan *scan = arg;
    cr_assert(scan->port->polling, "a callback outside store_poll()");
    cr_assert_not(scan->port->rig->inside_call, "inside a call");
    cr_assert_not(scan->came, "a callback after the end");
    scan->status = status;
    if (value == NULL || value->key == NULL) {
        scan->came = true;
        return;
    }
    cr_assert_lt(scan->count, 64);
    cr_assert_leq(value->key_bytes, STORE_KEY_MAX);
    memcpy(scan->keys[scan->count].bytes, value->key, value->key_bytes);
    scan->keys[scan->count].length = value->key_bytes;
    scan->keys[scan->count].data_bytes = value->bytes;
    scan->count++;
}

struct contract_scan *
contract_scan(struct contract *rig, enum store_space space)
{
    struct contract_scan *scan = calloc(1, sizeof *scan);
    cr_assert_not_null(scan);
    scan->port = &rig->ports[0];
    rig->inside_call = true;
    cr_assert_eq(
        store_scan(rig->ports[0].port, space, scan_done, scan), STORE_OK);
    rig->inside_call = false;
    contract_wait(rig, &scan->came);
    return scan;
}
