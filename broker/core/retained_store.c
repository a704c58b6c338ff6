/* SPDX-License-Identifier: MIT
 *
 * Retained values in the store; see retained_store.h. */
#include "retained_store.h"

#include "session.h"
#include "wire.h"

#include "store.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MS     100u
#define NO_SPACE_MS  1000u
#define SERIAL_BYTES 8u
#define NUMBER_KEY   (1u + 8u)
/* Longer topics have a number for a key. */
#define TOPIC_KEY_MAX (STORE_KEY_MAX - 1u)

/* A topic whose value is to be put, is on the way, or has a number. */
struct kept {
    struct table_link link;
    TAILQ_ENTRY(kept) dirty;
    TAILQ_ENTRY(kept) all;
    struct core *core;
    uint64_t number; /* 0: the topic is the key */
    bool is_dirty, is_on_its_way;
    size_t topic_bytes;
    uint8_t topic[];
};
TAILQ_HEAD(kept_list, kept);

struct retained_store {
    struct core *core;
    struct table table;
    struct kept_list all, dirty;
    struct retained_store_stats stats;
    uint64_t seed;
    uint64_t last_number;
    uint64_t retry_ms; /* nothing is put before */
    bool scanning, scanned;
    bool logged; /* since the last one that was written */
};

/* ---- bytes --------------------------------------------------------------- */

static void
put_u64(uint8_t *dst, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        dst[i] = (uint8_t)(value >> 8 * (7 - i));
    }
}

static uint64_t
get_u64(const uint8_t *src)
{
    return (uint64_t)wire_u32(src) << 32 | wire_u32(src + 4);
}

static size_t
key_of(const struct kept *kept, uint8_t key[STORE_KEY_MAX])
{
    if (kept->number != 0) {
        key[0] = 'n';
        put_u64(key + 1, kept->number);
        return NUMBER_KEY;
    }
    key[0] = 't';
    memcpy(key + 1, kept->topic, kept->topic_bytes);
    return 1 + kept->topic_bytes;
}

/* ---- topics -------------------------------------------------------------- */

static struct kept *
kept_find(struct retained_store *store, struct broker_bytes topic)
{
    uint64_t hash = table_hash(topic.data, topic.len, store->seed);
    struct table_link *link = table_first(&store->table, hash);
    for (; link != NULL; link = table_next(&store->table, link)) {
        struct kept *kept = table_entry(link, struct kept, link);
        if (kept->topic_bytes == topic.len &&
            memcmp(kept->topic, topic.data, topic.len) == 0) {
            return kept;
        }
    }
    return NULL;
}

/* NULL if memory is out. */
static struct kept *
kept_new(struct retained_store *store, struct broker_bytes topic)
{
    struct kept *kept = calloc(1, sizeof *kept + topic.len);
    if (kept == NULL) {
        return NULL;
    }
    kept->core = store->core;
    kept->topic_bytes = topic.len;
    memcpy(kept->topic, topic.data, topic.len);
    if (!table_insert(&store->table, &kept->link,
            table_hash(topic.data, topic.len, store->seed))) {
        free(kept);
        return NULL;
    }
    if (topic.len > TOPIC_KEY_MAX) {
        kept->number = ++store->last_number;
    }
    TAILQ_INSERT_TAIL(&store->all, kept, all);
    return kept;
}

static void
kept_free(struct retained_store *store, struct kept *kept)
{
    if (kept->is_dirty) {
        TAILQ_REMOVE(&store->dirty, kept, dirty);
    }
    TAILQ_REMOVE(&store->all, kept, all);
    table_remove(&store->table, &kept->link);
    free(kept);
}

static const struct retained_value *
value_of(const struct kept *kept)
{
    struct topic_node *node = topic_tree_find(
        &kept->core->retained.tree, kept->topic, kept->topic_bytes);
    return node == NULL || !node->has_value ? NULL : topic_node_value(node);
}

static void
mark(struct retained_store *store, struct kept *kept)
{
    if (!kept->is_dirty) {
        kept->is_dirty = true;
        TAILQ_INSERT_TAIL(&store->dirty, kept, dirty);
    }
}

static void
count_error(struct retained_store *store, enum broker_status status)
{
    struct core *core = store->core;
    store->stats.errors++;
    if (!store->logged) {
        store->logged = true;
        core->hooks.log(core->hooks.arg, CORE_EVENT_STORE, NULL, status,
            "a retained value could not be stored");
    }
}

void
retained_store_changed(struct core *core, struct broker_bytes topic)
{
    struct retained_store *store = core->retained_store;
    if (store == NULL) {
        return;
    }
    struct kept *kept = kept_find(store, topic);
    if (kept == NULL) {
        kept = kept_new(store, topic);
    }
    if (kept == NULL) {
        count_error(store, BROKER_E_MEMORY);
        return;
    }
    mark(store, kept);
}

/* ---- putting ------------------------------------------------------------- */

static void
on_put(void *arg, const struct store_result *result)
{
    struct kept *kept = arg;
    struct retained_store *store = kept->core->retained_store;
    kept->is_on_its_way = false;
    if (result->status == STORE_OK) {
        store->logged = false;
    } else {
        count_error(store, durable_status((int)result->status));
    }
    if (result->status == STORE_NO_SPACE) {
        mark(store, kept); /* it passes */
        store->retry_ms = kept->core->now_ms + NO_SPACE_MS;
    }
    bool keeps_number = kept->number != 0 && value_of(kept) != NULL;
    if (!kept->is_dirty && !keeps_number) {
        kept_free(store, kept);
    }
}

/* False: not now. */
static bool
put(struct retained_store *store, struct kept *kept)
{
    const struct retained_value *value = value_of(kept);
    uint8_t key[STORE_KEY_MAX];
    struct store_value put = {.space = STORE_SPACE_RETAINED, .key = key};
    uint8_t *bytes = NULL;
    put.key_bytes = key_of(kept, key);
    if (value != NULL) {
        put.bytes = SERIAL_BYTES + value->frame->fill;
        bytes = malloc(put.bytes);
        if (bytes == NULL) {
            return false;
        }
        put_u64(bytes, value->serial);
        memcpy(bytes + SERIAL_BYTES, value->frame->data, value->frame->fill);
        put.data = bytes;
    }
    enum store_status status =
        store_put(store->core->options.store, &put, 1, on_put, kept);
    free(bytes);
    if (status == STORE_AGAIN || status == STORE_MEMORY) {
        return false;
    }
    TAILQ_REMOVE(&store->dirty, kept, dirty);
    kept->is_dirty = false;
    kept->is_on_its_way = status == STORE_OK;
    if (status != STORE_OK) {
        count_error(store, durable_status((int)status));
    }
    return true;
}

static void
put_all(struct retained_store *store)
{
    struct kept *kept;
    struct kept *next;
    for (kept = TAILQ_FIRST(&store->dirty); kept != NULL; kept = next) {
        next = TAILQ_NEXT(kept, dirty);
        if (!kept->is_on_its_way && !put(store, kept)) {
            store->retry_ms = store->core->now_ms + RETRY_MS;
            break;
        }
    }
}

/* ---- loading ------------------------------------------------------------- */

/* Is it what was put? Then the topic is a view into it. */
static bool
read_frame(const uint8_t *src, size_t len, struct broker_bytes *topic)
{
    static const struct broker_limits all = {
        BROKER_BODY_BYTES_MAX, UINT16_MAX, UINT16_MAX};
    struct broker_frame frame;
    struct broker_publish publish;
    size_t n;
    if (broker_frame_decode(&all, src, len, &frame, &n) != BROKER_OK ||
        n != len || frame.type != BROKER_FRAME_PUBLISH ||
        broker_publish_decode(&frame, &publish) != BROKER_OK ||
        broker_topic_check(&all, publish.topic) != BROKER_OK) {
        return false;
    }
    *topic = publish.topic;
    return true;
}

static bool
read_key(const struct store_value *value, struct broker_bytes topic,
    uint64_t *number)
{
    const uint8_t *key = value->key;
    *number = 0;
    if (key[0] == 't') {
        return value->key_bytes - 1 == topic.len &&
               memcmp(key + 1, topic.data, topic.len) == 0;
    }
    if (key[0] != 'n' || value->key_bytes != NUMBER_KEY ||
        topic.len <= TOPIC_KEY_MAX) {
        return false;
    }
    *number = get_u64(key + 1);
    return *number != 0;
}

static bool
load(struct retained_store *store, const struct store_value *value)
{
    const uint8_t *bytes = value->data;
    struct broker_bytes topic;
    uint64_t number;
    if (value->bytes < SERIAL_BYTES ||
        !read_frame(
            bytes + SERIAL_BYTES, value->bytes - SERIAL_BYTES, &topic) ||
        !read_key(value, topic, &number)) {
        return false;
    }
    struct kept *kept = number == 0 ? NULL : kept_find(store, topic);
    if (number != 0) {
        store->last_number =
            number > store->last_number ? number : store->last_number;
        kept = kept == NULL ? kept_new(store, topic) : kept;
        if (kept == NULL) {
            return false;
        }
        kept->number = number;
    }
    return retained_restore(&store->core->retained, topic,
               (struct broker_bytes){
                   bytes + SERIAL_BYTES, value->bytes - SERIAL_BYTES},
               get_u64(bytes)) == BROKER_OK;
}

static void
on_value(void *arg, enum store_status status, const struct store_value *value)
{
    struct retained_store *store = arg;
    struct core *core = store->core;
    if (value != NULL && value->key != NULL) {
        if (!load(store, value) && store->stats.unknown++ == 0) {
            core->hooks.log(core->hooks.arg, CORE_EVENT_STORE, NULL,
                BROKER_E_RETAINED_LIMIT,
                "not all retained values could be loaded");
        }
        return;
    }
    store->scanning = false;
    store->scanned = status == STORE_OK;
    store->retry_ms = core->now_ms + (store->scanned ? 0 : RETRY_MS);
}

static void
scan(struct retained_store *store)
{
    store->stats.unknown = 0;
    store->scanning = store_scan(store->core->options.store,
                          STORE_SPACE_RETAINED, on_value, store) == STORE_OK;
    if (!store->scanning) {
        store->retry_ms = store->core->now_ms + RETRY_MS;
    }
}

/* ---- life ---------------------------------------------------------------- */

struct retained_store *
retained_store_new(struct core *core)
{
    struct retained_store *store = calloc(1, sizeof *store);
    if (store != NULL) {
        store->core = core;
        store->seed = core->seed ^ 7;
        TAILQ_INIT(&store->all);
        TAILQ_INIT(&store->dirty);
    }
    return store;
}

void
retained_store_free(struct retained_store *store)
{
    if (store == NULL) {
        return;
    }
    while (!TAILQ_EMPTY(&store->all)) {
        kept_free(store, TAILQ_FIRST(&store->all));
    }
    table_fini(&store->table);
    free(store);
}

void
retained_store_run(struct core *core)
{
    struct retained_store *store = core->retained_store;
    if (store == NULL || core->now_ms < store->retry_ms) {
        return;
    }
    if (store->scanned) {
        put_all(store);
    } else if (!store->scanning) {
        scan(store);
    }
}

uint64_t
retained_store_due(const struct core *core)
{
    const struct retained_store *store = core->retained_store;
    if (store == NULL || store->scanning ||
        (store->scanned && TAILQ_EMPTY(&store->dirty))) {
        return UINT64_MAX;
    }
    const struct kept *first = TAILQ_FIRST(&store->dirty);
    bool waits = first != NULL && first->is_on_its_way;
    return waits ? UINT64_MAX : store->retry_ms;
}

bool
retained_store_is_ready(const struct core *core)
{
    return core->retained_store == NULL || core->retained_store->scanned;
}

void
retained_store_get_stats(
    const struct core *core, struct retained_store_stats *out)
{
    *out = (struct retained_store_stats){0};
    if (core->retained_store != NULL) {
        *out = core->retained_store->stats;
    }
}
