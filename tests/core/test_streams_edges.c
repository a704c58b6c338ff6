/* SPDX-License-Identifier: MIT
 *
 * Definitions of streams as they are written and read, changes that fail half
 * way, and purges of streams with holes. PROTOCOL.md section 5.13. */
#include "stream_say.h"

#include "memory.h"
#include "memory_internal.h"
#include "session.h"
#include "streams_internal.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TWO        2
#define HEAD_BYTES 30u /* of a definition */

static const char adds[] = "$sys/stream/add";
static const char edits[] = "$sys/stream/edit";
static const char removes[] = "$sys/stream/remove";
static const char named[] = "{\"name\":\"S\"}";

/* ---- definitions --------------------------------------------------------- */

Test(stream_definition, names)
{
    static const char *const good[] = {
        "A", "Z", "a", "z", "0", "9", ".", "_", "-", "Az09._-"};
    static const char *const bad[] = {
        "", "@", "[", "`", "{", "/", ":", "A b", "\xc3\xa4"};
    char longest[257];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(stream_name_is_valid(say_text(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(stream_name_is_valid(say_text(bad[i])), "%s", bad[i]);
    }
    memset(longest, 'n', sizeof longest);
    longest[256] = '\0';
    cr_assert_not(stream_name_is_valid(say_text(longest)));
    longest[255] = '\0';
    cr_assert(stream_name_is_valid(say_text(longest)));
}

static struct stream_definition *
definition_of(const char *name, const char *a, const char *b,
    const struct store_limits *limits)
{
    struct broker_bytes filters[] = {say_text(a), say_text(b)};
    struct stream_definition *definition = stream_definition_new(
        say_text(name), filters, b == NULL ? 1 : 2, limits);
    cr_assert_not_null(definition);
    return definition;
}

Test(stream_definition, what_makes_two_equal)
{
    static const struct {
        const char *name, *a, *b;
        struct store_limits limits;
        bool equal;
    } cases[] = {
        {"S", "a", "b", {1, 2, 3, false}, true},
        {"S", "b", "a", {1, 2, 3, false}, true},
        {"T", "a", "b", {1, 2, 3, false}, false},
        {"ST", "a", "b", {1, 2, 3, false}, false},
        {"S", "a", NULL, {1, 2, 3, false}, false},
        {"S", "a", "c", {1, 2, 3, false}, false},
        {"S", "a", "bb", {1, 2, 3, false}, false},
        {"S", "a", "b", {9, 2, 3, false}, false},
        {"S", "a", "b", {1, 9, 3, false}, false},
        {"S", "a", "b", {1, 2, 9, false}, false},
        {"S", "a", "b", {1, 2, 3, true}, false},
    };
    struct stream_definition *first =
        definition_of(cases[0].name, cases[0].a, cases[0].b, &cases[0].limits);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream_definition *other = definition_of(
            cases[i].name, cases[i].a, cases[i].b, &cases[i].limits);
        cr_assert_eq(
            stream_definition_equals(first, other), cases[i].equal, "%zu", i);
        free(other);
    }
    free(first);
}

/* Whatever stands there, it is read as it was written or not at all. */
Test(stream_definition, bytes_that_are_not_one)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{0, 1}, {1, 2}, {2, 2}, {3, 2}, {28, 1}, {29, 0}, {29, 1},
        {29, 3}, {29, 65}, {30, 1}, {31, 9}, {32, '$'}, {32, 0xff}};
    const struct store_limits limits = {1, 2, 3, true};
    struct stream_definition *definition =
        definition_of("S", "ab", "c", &limits);
    struct stream_definition *out;
    bool is_removing;
    size_t bytes;
    uint8_t *saved = stream_definition_save(definition, true, &bytes);
    cr_assert_not_null(saved);
    cr_assert_eq(bytes, HEAD_BYTES + 7);
    for (size_t len = 0; len < bytes; len++) {
        cr_assert_eq(stream_definition_load(
                         definition->name, saved, len, &out, &is_removing),
            STREAM_LOAD_INVALID);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t right = saved[wrong[i].at];
        saved[wrong[i].at] = wrong[i].value;
        cr_assert_eq(stream_definition_load(
                         definition->name, saved, bytes, &out, &is_removing),
            STREAM_LOAD_INVALID, "%zu", i);
        saved[wrong[i].at] = right;
    }
    cr_assert_eq(stream_definition_load(
                     say_text("no name"), saved, bytes, &out, &is_removing),
        STREAM_LOAD_INVALID);
    cr_assert_eq(stream_definition_load(
                     definition->name, saved, bytes, &out, &is_removing),
        STREAM_LOADED);
    cr_assert(is_removing);
    cr_assert(stream_definition_equals(definition, out));
    free(out);
    free(saved);
    free(definition);
}

/* ---- loading ------------------------------------------------------------- */

static void
on_ensured(void *arg, const struct store_result *result)
{
    *(enum store_status *)arg = result->status;
}

static void
put_definition(struct rig *rig, const char *name, const char *filter)
{
    const struct store_limits limits = {.max_records = 1};
    struct stream_definition *definition =
        definition_of(name, filter, NULL, &limits);
    size_t bytes;
    uint8_t *saved = stream_definition_save(definition, false, &bytes);
    struct store_value value = {.space = STORE_SPACE_STREAM,
        .key = name,
        .key_bytes = strlen(name),
        .data = saved,
        .bytes = bytes};
    cr_assert_eq(rig_put(rig, &value), STORE_OK);
    free(saved);
    free(definition);
}

Test(streams_edges, what_is_not_understood_is_left_alone)
{
    struct rig rig;
    enum store_status status = STORE_FAILED;
    const struct store_limits none = {0};
    rig_init_spread(&rig, TWO, "", 3);
    put_definition(&rig, "T", "s/x");     /* overlaps with S */
    put_definition(&rig, "OTHER", "o/#"); /* has no records yet */
    struct store_value odd = {.space = STORE_SPACE_STREAM,
        .key = "ODD",
        .key_bytes = 3,
        .data = "odd",
        .bytes = 3};
    cr_assert_eq(rig_put(&rig, &odd), STORE_OK);
    cr_assert_eq(store_ensure(rig.net.ports[0].port, "NOBODYS", &none,
                     on_ensured, &status),
        STORE_OK);
    fake_mail_settle(&rig.net);
    cr_assert_eq(status, STORE_OK);
    for (int i = 0; i < 2; i++) {
        rig_restart(&rig, i == 0);
        cr_assert(core_is_ready(rig.net.core));
        cr_assert_eq(streams_count(rig.net.core), 2);
        cr_assert_eq(rig.net.logged[CORE_EVENT_STORE], 1);
        cr_assert_eq(streams_unknown(rig.net.core), 3);
    }
    rig_fini(&rig);
}

Test(streams_edges, they_are_told_in_the_order_of_their_names)
{
    static const char *const names[] = {"B", "A", "C", "AB", "ABC", "a"};
    static const char *const sorted[] = {"A", "AB", "ABC", "B", "C", "a"};
    struct rig rig;
    const struct stream *stream = NULL;
    rig_init(&rig, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        have_stream(&rig, names[i], names[i], "");
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        stream = streams_next(rig.net.core, stream);
        cr_assert_not_null(stream);
        cr_assert_str_eq(
            (const char *)stream->definition->name.data, sorted[i]);
    }
    cr_assert_null(streams_next(rig.net.core, stream));
    rig_fini(&rig);
}

Test(streams_edges, there_is_a_limit)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    rig.net.core->streams->count += STREAMS_MAX - 1;
    rig_expect_refused(peer, adds, "{\"name\":\"T\",\"topics\":[\"t\"]}",
        BROKER_E_BAD_REQUEST, "1,000");
    rig.net.core->streams->count -= STREAMS_MAX - 1;
    (void)rig_ask(peer, adds, "{\"name\":\"T\",\"topics\":[\"t\"]}");
    rig_fini(&rig);
}

static void
on_refused(void *arg, struct core *core, const struct stream_outcome *outcome)
{
    (void)core;
    cr_assert_not_null(outcome->why);
    *(enum broker_status *)arg = outcome->status;
}

Test(streams_edges, too_many_filters)
{
    struct broker_bytes filters[STREAM_FILTERS_MAX + 1];
    char texts[STREAM_FILTERS_MAX + 1][8];
    struct rig rig;
    enum broker_status status = BROKER_OK;
    rig_init(&rig, 1);
    for (size_t i = 0; i <= STREAM_FILTERS_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "f/%zu", i);
        filters[i] = say_text(texts[i]);
    }
    struct stream_request request = {.verb = STREAM_ADD,
        .name = say_text("S"),
        .filters = filters,
        .filter_count = STREAM_FILTERS_MAX + 1};
    streams_ask(rig.net.core, &request, on_refused, &status);
    cr_assert_eq(status, BROKER_E_BAD_REQUEST);
    rig_fini(&rig);
}

/* ---- changes that fail half way ------------------------------------------ */

/* Ask, let so many commits succeed and the next so many fail. */
static void
ask_and_fail(struct rig *rig, struct fake_peer *peer, const char *topic,
    const char *payload, uint32_t good, uint32_t bad)
{
    rig_set_manual(rig);
    rig_send(peer, topic, payload);
    for (uint32_t i = 0; i < good; i++) {
        cr_assert(store_memory_commit(rig->store));
        fake_mail_settle(&rig->net);
    }
    store_memory_fail(rig->store, STORE_NO_SPACE, bad);
    while (store_memory_commit(rig->store)) {
        fake_mail_settle(&rig->net);
    }
    memory_of(rig->store)->options.auto_commit = true;
    fake_mail_settle(&rig->net);
    fake_take_all(peer);
    bool refused = false;
    struct broker_frame frame;
    while (fake_next(peer, &frame)) {
        cr_assert_neq(frame.type, BROKER_FRAME_PUBLISH);
        refused = refused || frame.type == BROKER_FRAME_ERROR;
    }
    cr_assert(refused);
}

Test(streams_edges, adding_fails_half_way)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    ask_and_fail(
        &rig, peer, adds, "{\"name\":\"S\",\"topics\":[\"s/#\"]}", 1, 1);
    cr_assert_eq(streams_count(rig.net.core), 0);
    rig_restart(&rig, true);
    cr_assert_eq(streams_count(rig.net.core), 0);
    have_stream(&rig, "S", "s/#", "");
    rig_fini(&rig);
}

Test(streams_edges, editing_fails_half_way)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, ",\"max_messages\":5", 3);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    ask_and_fail(
        &rig, peer, edits, "{\"name\":\"S\",\"max_messages\":1}", 1, 1);
    for (int i = 0; i < 2; i++) {
        const struct stream *stream = streams_find(rig.net.core, say_text("S"));
        cr_assert_not_null(stream);
        cr_assert_eq(stream->definition->limits.max_records, 5);
        cr_assert_eq(rig_messages(&rig, "S"), 3);
        rig_restart(&rig, true);
    }
    rig_fini(&rig);
}

/* Its records could not be removed: nobody sees it, until that is asked for
 * again. */
Test(streams_edges, removing_fails_half_way)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 3);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    ask_and_fail(&rig, peer, removes, named, 1, 1);
    cr_assert_null(streams_find(rig.net.core, say_text("S")));
    cr_assert_null(streams_next(rig.net.core, NULL));
    rig_expect_refused(
        peer, edits, named, BROKER_E_UNKNOWN_STREAM, "no stream S");
    rig_expect_refused(peer, adds, "{\"name\":\"S\",\"topics\":[\"x\"]}",
        BROKER_E_NAME_IN_USE, "being removed");
    (void)rig_ask(peer, removes, named);
    cr_assert_eq(store_next_stream(rig.net.ports[0].port, 0), 0);
    rig_fini(&rig);
}

Test(streams_edges, a_start_ends_what_failed)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 3);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    ask_and_fail(&rig, peer, removes, named, 1, 1);
    rig_restart(&rig, true);
    cr_assert_eq(store_next_stream(rig.net.ports[0].port, 0), 0);
    have_stream(&rig, "S", "x", "");
    rig_fini(&rig);
}

/* ---- purging ------------------------------------------------------------- */

/* So many, whatever sequences they get. */
static void
publish_some(struct rig *rig, uint32_t count)
{
    struct fake_peer *peer = rig_open(&rig->net, 0);
    for (uint32_t i = 0; i < count; i++) {
        rig_publish(peer, "s/0", 1);
    }
    fake_drop(peer);
}

Test(streams_edges, purging_keeps_what_it_is_told)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 8);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"keep\":8}");
    cr_assert_eq(rig_messages(&rig, "S"), 8);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"before\":3}");
    cr_assert_eq(rig_messages(&rig, "S"), 6);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"before\":99}");
    cr_assert_eq(rig_messages(&rig, "S"), 0);
    publish_some(&rig, 2);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"keep\":0}");
    cr_assert_eq(rig_messages(&rig, "S"), 0);
    rig_fini(&rig);
}

Test(streams_edges, purging_one_with_holes)
{
    struct rig rig;
    rig_init(&rig, TWO);
    have_stream(&rig, "S", "s/#", ",\"discard\":\"new\"");
    memory_of(rig.store)->options.gap_percent = 50;
    publish_some(&rig, 20);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"keep\":7}");
    cr_assert_eq(rig_messages(&rig, "S"), 7);
    publish_some(&rig, 20); /* its own limits are back */
    cr_assert_eq(rig_messages(&rig, "S"), 27);
    rig_fini(&rig);
}

Test(streams_edges, purging_without_space)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 3);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    rig_expect_refused(
        peer, "$sys/stream/purge", named, BROKER_E_DISK_FULL, NULL);
    cr_assert_eq(rig_messages(&rig, "S"), 3);
    rig_fini(&rig);
}

Test(streams_edges, every_limit_is_edited)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    const char *reply = rig_ask(
        peer, edits, "{\"name\":\"S\",\"max_age_ms\":5000,\"max_bytes\":7000}");
    cr_assert(strstr(reply, "\"max_bytes\":7000"), "%s", reply);
    cr_assert(strstr(reply, "\"max_age_ms\":5000"), "%s", reply);
    rig_fini(&rig);
}
