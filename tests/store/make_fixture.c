/* SPDX-License-Identifier: MIT
 *
 * Writes the store that fixture.h describes into a folder, which is not there:
 *
 *     store-fixture FOLDER
 *
 * It ends without closing it, so that a part stays in the journal. */
#include "fixture.h"
#include "local.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct maker {
    struct store *store;
    struct store_port *port;
    struct store_result result;
    bool came;
};

static void
nothing(void *arg)
{
    (void)arg;
}

static uint64_t
now_ms(void *arg)
{
    (void)arg;
    return FIXTURE_TIME;
}

static void
open_store(struct maker *maker, const char *directory)
{
    char why[200] = "";
    const struct store_local_options options = {.directory = directory,
        .journal_bytes = 16384,
        .memory_bytes = 1 << 20,
        .reserve_bytes = 1,
        .now_ms = now_ms,
        .manual = true};
    const struct store_port_hooks hooks = {.wake = nothing, .room = nothing};
    maker->store = store_local_open(&options, why, sizeof why);
    if (maker->store == NULL) {
        fprintf(stderr, "store-fixture: %s\n", why);
        exit(1);
    }
    maker->port = store_port_open(maker->store, &hooks);
}

static void
done(void *arg, const struct store_result *result)
{
    struct maker *maker = arg;
    maker->result = *result;
    maker->came = true;
}

static void
wait_for(struct maker *maker, enum store_status called, enum store_status want)
{
    maker->came = false;
    store_tick(maker->port);
    while (store_local_step(maker->store)) {
    }
    store_poll(maker->port);
    if (called != STORE_OK || !maker->came || maker->result.status != want) {
        fprintf(stderr, "store-fixture: something was refused\n");
        exit(1);
    }
}

static uint32_t
make(struct maker *maker, const char *name, const struct store_limits *limits)
{
    wait_for(
        maker, store_ensure(maker->port, name, limits, done, maker), STORE_OK);
    return maker->result.stream;
}

static void
append(struct maker *maker, uint32_t stream, uint64_t id, uint32_t number,
    enum store_status want)
{
    uint8_t record[8192];
    model_record_write(id, record);
    const struct store_append one = {.stream = stream,
        .records = record,
        .bytes = model_record_bytes(id),
        .count = 1,
        .expects_last = want == STORE_CONFLICT,
        .expected_last = UINT64_MAX,
        .publisher = FIXTURE_PUBLISHER,
        .publisher_bytes = number != 0 ? strlen(FIXTURE_PUBLISHER) : 0,
        .number = number,
        .time_ms = FIXTURE_TIME + id * 1000};
    wait_for(maker, store_append(maker->port, &one, done, maker), want);
}

static void
put(struct maker *maker, enum store_space space, const char *key,
    const char *text)
{
    const struct store_value value = {.space = space,
        .key = key,
        .key_bytes = strlen(key),
        .data = text,
        .bytes = text != NULL ? strlen(text) : 0};
    wait_for(maker, store_put(maker->port, &value, 1, done, maker), STORE_OK);
}

int
main(int argc, char **argv)
{
    struct maker maker = {.store = NULL};
    const struct store_limits none = {0};
    const struct store_limits few = {
        .max_records = FIXTURE_KEPT, .max_bytes = 100000};
    if (argc != 2) {
        fprintf(stderr, "usage: store-fixture FOLDER\n");
        return 2;
    }
    open_store(&maker, argv[1]);
    uint32_t orders = make(&maker, "orders", &none);
    uint32_t removed = make(&maker, "removed", &none);
    uint32_t shorter = make(&maker, "short", &few);
    append(&maker, removed, 1, 0, STORE_OK);
    wait_for(&maker, store_remove(maker.port, removed, done, &maker), STORE_OK);
    for (uint32_t id = 1; id <= FIXTURE_TABLES; id++) {
        append(&maker, orders, id, id, STORE_OK);
    }
    put(&maker, STORE_SPACE_RETAINED, "tables", "in the tables");
    put(&maker, STORE_SPACE_RETAINED, "changed", "old");
    put(&maker, STORE_SPACE_CONSUMER, "deleted", "x");
    store_port_close(maker.port);
    store_close(maker.store);
    open_store(&maker, argv[1]);
    for (uint32_t id = FIXTURE_TABLES + 1; id <= FIXTURE_ORDERS; id++) {
        append(&maker, orders, id, id, STORE_OK);
    }
    append(&maker, orders, 999, FIXTURE_REFUSED, STORE_CONFLICT);
    append(&maker, orders, FIXTURE_ORDERS + 1, FIXTURE_LAST, STORE_OK);
    for (uint32_t id = 101; id <= 100 + FIXTURE_SHORT; id++) {
        append(&maker, shorter, id, 0, STORE_OK);
    }
    wait_for(&maker,
        store_trim(maker.port, orders, FIXTURE_TRIMMED + 1, done, &maker),
        STORE_OK);
    put(&maker, STORE_SPACE_RETAINED, "journal", "in the journal");
    put(&maker, STORE_SPACE_RETAINED, "changed", "new");
    put(&maker, STORE_SPACE_CONSUMER, "deleted", NULL);
    _exit(0); /* as if it had been killed */
}
