/* SPDX-License-Identifier: MIT
 *
 * The rig of the contract: opening, waiting, and changes; see contract.h. */
#include "contract.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 30000

static int64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the rig ------------------------------------------------------------- */

static void
wake(void *arg)
{
    struct contract_port *port = arg;
    uint64_t one = 1;
    ssize_t n = write(port->event, &one, sizeof one);
    (void)n;
}

static void
room(void *arg)
{
    struct contract_port *port = arg;
    cr_assert(port->polling, "`room` outside store_poll()");
    port->rooms++;
}

static void
open_all(struct contract *rig)
{
    rig->store = contract_engine.open(rig);
    cr_assert_not_null(rig->store);
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        struct contract_port *port = &rig->ports[i];
        port->rig = rig;
        port->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        cr_assert(port->event >= 0);
        const struct store_port_hooks hooks = {
            .wake = wake, .room = room, .arg = port};
        port->port = store_port_open(rig->store, &hooks);
        cr_assert_not_null(port->port);
    }
}

static void
close_all(struct contract *rig, bool crash)
{
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        store_port_close(rig->ports[i].port);
        rig->ports[i].port = NULL;
    }
    contract_engine.end(rig, crash);
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        close(rig->ports[i].event);
    }
}

struct contract *
contract_new_with(uint64_t in_flight_bytes)
{
    struct contract *rig = calloc(1, sizeof *rig);
    cr_assert_not_null(rig);
    rig->in_flight_bytes = in_flight_bytes;
    open_all(rig);
    return rig;
}

struct contract *
contract_new(void)
{
    return contract_new_with(0);
}

void
contract_free(struct contract *rig)
{
    close_all(rig, false);
    contract_engine.clean(rig);
    free(rig);
}

void
contract_reopen(struct contract *rig, bool crash)
{
    close_all(rig, crash);
    open_all(rig);
}

static void
work(struct contract *rig)
{
    while (contract_engine.work != NULL && contract_engine.work(rig)) {
    }
}

/* Poll the ports that were woken. False: none was. */
static bool
poll_woken(struct contract *rig)
{
    bool any = false;
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        struct contract_port *port = &rig->ports[i];
        uint64_t woken;
        if (port->port != NULL &&
            read(port->event, &woken, sizeof woken) == sizeof woken) {
            port->polling = true;
            store_poll(port->port);
            port->polling = false;
            any = true;
        }
    }
    return any;
}

static void
tick_all(struct contract *rig)
{
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        if (rig->ports[i].port != NULL) {
            store_tick(rig->ports[i].port);
        }
    }
}

void
contract_settle(struct contract *rig, bool tick)
{
    bool any;
    do {
        if (tick) {
            tick_all(rig);
        }
        work(rig);
        any = poll_woken(rig);
    } while (any);
}

static void
sleep_until_woken(struct contract *rig)
{
    struct pollfd fds[CONTRACT_PORTS];
    for (unsigned i = 0; i < CONTRACT_PORTS; i++) {
        fds[i] = (struct pollfd){.fd = rig->ports[i].event, .events = POLLIN};
    }
    (void)poll(fds, CONTRACT_PORTS, 1000);
}

void
contract_wait(struct contract *rig, const bool *flag)
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    for (;;) {
        contract_settle(rig, true);
        if (*flag) {
            return;
        }
        cr_assert(contract_engine.work == NULL && now_ms() < deadline,
            "an answer does not come");
        sleep_until_woken(rig);
    }
}

/* ---- records ------------------------------------------------------------- */

static void
put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

struct contract_records
contract_records(uint64_t id, uint32_t count, uint32_t body)
{
    size_t each = STORE_RECORD_MIN + body;
    struct contract_records records = {
        .data = malloc(each * count), .bytes = each * count, .count = count};
    cr_assert_not_null(records.data);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *record = records.data + i * each;
        put_u32(record, body);
        put_u32(record + 4, (uint32_t)((id + i) >> 32));
        put_u32(record + 8, (uint32_t)(id + i));
        memset(record + 12, (uint8_t)(id + i), body);
    }
    return records;
}

struct store_append
contract_append_of(uint32_t stream, uint64_t id, uint32_t count)
{
    struct contract_records records =
        contract_records(id, count, (uint32_t)(id % 50));
    return (struct store_append){.stream = stream,
        .records = records.data,
        .bytes = records.bytes,
        .count = count,
        .time_ms = CONTRACT_TIME};
}

/* ---- changes ------------------------------------------------------------- */

void
contract_begin(
    struct contract *rig, struct contract_answer *answer, unsigned port)
{
    memset(answer, 0, sizeof *answer);
    answer->port = &rig->ports[port];
    rig->inside_call = true;
}

void
contract_end_call(struct contract *rig)
{
    rig->inside_call = false;
}

void
contract_done(void *arg, const struct store_result *result)
{
    struct contract_answer *answer = arg;
    cr_assert(answer->port->polling, "a callback outside store_poll()");
    cr_assert_not(answer->port->rig->inside_call, "inside a call");
    cr_assert_not(answer->came, "a second callback");
    answer->came = true;
    answer->order = ++answer->port->rig->answers;
    answer->result = *result;
}

static enum store_status
try_append(struct contract *rig, unsigned port,
    const struct store_append *append, struct contract_answer *answer)
{
    contract_begin(rig, answer, port);
    enum store_status status =
        store_append(rig->ports[port].port, append, contract_done, answer);
    contract_end_call(rig);
    return status;
}

/* After STORE_AGAIN: until `room` is called. */
static void
wait_for_room(struct contract *rig, unsigned port)
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    unsigned rooms = rig->ports[port].rooms;
    contract_settle(rig, true);
    while (rig->ports[port].rooms == rooms) {
        cr_assert(contract_engine.work == NULL && now_ms() < deadline,
            "`room` is not called");
        sleep_until_woken(rig);
        contract_settle(rig, true);
    }
}

void
contract_append(struct contract *rig, unsigned port, struct store_append append,
    struct contract_answer *answer)
{
    enum store_status status;
    while ((status = try_append(rig, port, &append, answer)) == STORE_AGAIN) {
        wait_for_room(rig, port);
    }
    cr_assert_eq(status, STORE_OK);
    if (append.records != NULL) {
        memset((void *)append.records, 0xAA, append.bytes); /* copied by now */
    }
    free((void *)append.records);
}

struct store_result
contract_store(struct contract *rig, struct store_append append)
{
    struct contract_answer answer;
    contract_append(rig, 0, append, &answer);
    contract_wait(rig, &answer.came);
    return answer.result;
}

struct store_result
contract_store_unless(
    struct contract *rig, struct store_append append, enum store_status not )
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    struct contract_answer answer;
    do {
        struct store_append copy = append;
        uint8_t *records = malloc(append.bytes);
        cr_assert_not_null(records);
        memcpy(records, append.records, append.bytes);
        copy.records = records;
        contract_append(rig, 0, copy, &answer);
        contract_wait(rig, &answer.came);
        contract_settle(rig, true);
        cr_assert_lt(now_ms(), deadline, "status %d stays", (int)not );
    } while (answer.result.status == not );
    free((void *)append.records);
    return answer.result;
}

uint64_t
contract_fill(
    struct contract *rig, uint32_t stream, uint64_t id, uint32_t count)
{
    struct contract_answer *answers = calloc(count, sizeof *answers);
    cr_assert_not_null(answers);
    for (uint32_t i = 0; i < count; i++) {
        contract_append(
            rig, 0, contract_append_of(stream, id + i, 1), &answers[i]);
    }
    uint64_t last_seq = 0;
    for (uint32_t i = 0; i < count; i++) {
        contract_wait(rig, &answers[i].came);
        cr_assert_eq(answers[i].result.status, STORE_OK);
        cr_assert_gt(answers[i].result.first_seq, last_seq);
        last_seq = answers[i].result.last_seq;
    }
    free(answers);
    return last_seq;
}

uint32_t
contract_stream(
    struct contract *rig, const char *name, const struct store_limits *limits)
{
    const struct store_limits none = {0};
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    cr_assert_eq(store_ensure(rig->ports[0].port, name,
                     limits != NULL ? limits : &none, contract_done, &answer),
        STORE_OK);
    contract_end_call(rig);
    contract_wait(rig, &answer.came);
    cr_assert_eq(answer.result.status, STORE_OK);
    cr_assert_neq(answer.result.stream, 0);
    return answer.result.stream;
}

enum store_status
contract_trim(struct contract *rig, uint32_t stream, uint64_t first_seq)
{
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    cr_assert_eq(store_trim(rig->ports[0].port, stream, first_seq,
                     contract_done, &answer),
        STORE_OK);
    contract_end_call(rig);
    contract_wait(rig, &answer.came);
    return answer.result.status;
}

enum store_status
contract_remove(struct contract *rig, uint32_t stream)
{
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    cr_assert_eq(
        store_remove(rig->ports[0].port, stream, contract_done, &answer),
        STORE_OK);
    contract_end_call(rig);
    contract_wait(rig, &answer.came);
    return answer.result.status;
}

void
contract_put(struct contract *rig, unsigned port,
    const struct store_value *values, size_t count,
    struct contract_answer *answer)
{
    contract_begin(rig, answer, port);
    cr_assert_eq(
        store_put(rig->ports[port].port, values, count, contract_done, answer),
        STORE_OK);
    contract_end_call(rig);
}

struct store_value
contract_value(const char *key, const char *text)
{
    return (struct store_value){.space = STORE_SPACE_BROKER,
        .key = key,
        .key_bytes = strlen(key),
        .data = text,
        .bytes = text != NULL ? strlen(text) : 0};
}

enum store_status
contract_set(struct contract *rig, const char *key, const char *text)
{
    const struct store_value value = contract_value(key, text);
    struct contract_answer answer;
    contract_put(rig, 0, &value, 1, &answer);
    contract_wait(rig, &answer.came);
    return answer.result.status;
}
