/* SPDX-License-Identifier: MIT
 *
 * Golden frames: the bytes decode to the values, and the values encode to the
 * bytes. The values of a type are listed once, by one function that visits
 * them; visiting either fills a struct from the vector or compares it to it.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "any_message.h"

#define FILLS_MAX 16

struct visit {
    struct check_report *report;
    const struct vector_record *record;
    bool fill;
    size_t used; /* lines of the record that were visited */
    void *fills[FILLS_MAX];
    size_t fill_count;
};

static const struct vector_line *
visit_line(struct visit *v, const char *key)
{
    const struct vector_line *line = vector_find(v->record, key, 0);

    if (line == NULL) {
        check_that(v->report, v->record->lines, false, "has no %s", key);
        vector_fatal(v->record->lines, "a value is missing");
    }
    v->used++;
    return line;
}

/* Memory that lives as long as the visit. */
static void *
visit_keep(struct visit *v, void *memory)
{
    if (memory == NULL || v->fill_count == FILLS_MAX) {
        vector_fatal(v->record->lines, "out of memory");
    }
    v->fills[v->fill_count++] = memory;
    return memory;
}

/* Filling: the vector's number. Comparing: checks `value` and gives it back. */
static uint64_t
visit_number(struct visit *v, const char *key, uint64_t value)
{
    const struct vector_line *line = visit_line(v, key);
    uint64_t wanted = vector_get_number(line, 1, NULL);

    if (v->fill) {
        return wanted;
    }
    check_that(v->report, v->record->lines, value == wanted,
        "%s is %llu, not %llu", key, (unsigned long long)value,
        (unsigned long long)wanted);
    return value;
}

#define VISIT(v, type, m, name)                                                \
    ((m)->name = (type)visit_number(v, #name, (uint64_t)(m)->name))

/* The same for bytes. */
static struct broker_bytes
visit_view(struct visit *v, const char *key, struct broker_bytes view)
{
    struct vector_bytes wanted = vector_get_bytes(visit_line(v, key), 1);
    struct broker_bytes filled = {wanted.data, wanted.len};

    if (v->fill) {
        visit_keep(v, wanted.data);
        return filled;
    }
    check_that(v->report, v->record->lines,
        view.len == wanted.len &&
            (view.len == 0 || memcmp(view.data, wanted.data, view.len) == 0),
        "%s differs", key);
    free(wanted.data);
    return view;
}

static void
visit_array(struct visit *v, const char *key, uint8_t *array, size_t len)
{
    struct broker_bytes view = {array, len};

    view = visit_view(v, key, view);
    if (view.len != len) {
        vector_fatal(v->record->lines, "a value has the wrong length");
    }
    if (v->fill) {
        memcpy(array, view.data, len);
    }
}

/* How many numbers a line stands for. */
static size_t
line_numbers(const struct vector_line *line)
{
    size_t count = 0, times;

    for (size_t i = 1; i < line->words; i++) {
        vector_get_number(line, i, &times);
        count += times;
    }
    return count;
}

static struct broker_ids
visit_ids(struct visit *v, struct broker_ids ids)
{
    const struct vector_line *line = visit_line(v, "ids");
    size_t count = line_numbers(line), wrong = 0, times;
    uint8_t *wire;

    check_that(v->report, line, v->fill || ids.count == count,
        "%zu ids, not %zu", ids.count, count);
    wire = visit_keep(v, malloc(count * 4));
    count = 0;
    for (size_t i = 1; i < line->words; i++) {
        uint32_t id = (uint32_t)vector_get_number(line, i, &times);

        for (; times > 0; times--, count++) {
            broker_ids_set(wire, count, id);
            wrong += !v->fill &&
                     (count >= ids.count || broker_ids_get(ids, count) != id);
        }
    }
    check_that(v->report, line, wrong == 0, "%zu ids differ", wrong);
    if (v->fill) {
        ids.data = wire;
        ids.count = count;
    }
    return ids;
}

/* The numbers of the line in pairs. */
static struct broker_ranges
visit_ranges(struct visit *v, struct broker_ranges ranges)
{
    const struct vector_line *line = visit_line(v, "ranges");
    size_t numbers = line_numbers(line), n = 0, wrong = 0, times;
    uint64_t ends[2], found[2];
    uint8_t *wire;

    check_that(v->report, line, numbers % 2 == 0, "half of a range");
    check_that(v->report, line, v->fill || ranges.count == numbers / 2,
        "%zu ranges, not %zu", ranges.count, numbers / 2);
    wire = visit_keep(v, malloc((numbers + 1) / 2 * BROKER_RANGE_BYTES));
    for (size_t i = 1; i < line->words; i++) {
        uint64_t number = vector_get_number(line, i, &times);

        for (; times > 0; times--) {
            ends[n++ % 2] = number;
            if (n % 2 != 0) {
                continue;
            }
            broker_ranges_set(wire, n / 2 - 1, ends[0], ends[1]);
            if (!v->fill && n / 2 <= ranges.count) {
                broker_ranges_get(ranges, n / 2 - 1, &found[0], &found[1]);
                wrong += memcmp(ends, found, sizeof ends) != 0;
            }
        }
    }
    check_that(v->report, line, wrong == 0, "%zu ranges differ", wrong);
    if (v->fill) {
        ranges.data = wire;
        ranges.count = numbers / 2;
    }
    return ranges;
}

/* ---- extension fields ---------------------------------------------------- */

static struct broker_bytes
fill_fields(struct visit *v)
{
    struct broker_bytes fields = {NULL, 0};
    const struct vector_line *line;
    size_t cap = 0;
    uint8_t *wire = NULL;

    for (size_t n = 0; (line = vector_find(v->record, "field", n)); n++) {
        uint16_t tag = (uint16_t)vector_get_number(line, 1, NULL);
        struct vector_bytes value = vector_get_bytes(line, 2);
        struct broker_bytes view = {value.data, value.len};

        v->used++;
        cap += broker_tlv_size(value.len);
        wire = realloc(wire, cap);
        if (wire == NULL ||
            broker_tlv_put(wire, cap, &fields.len, tag, view) != BROKER_OK) {
            vector_fatal(line, "cannot put the field");
        }
        free(value.data);
    }
    check_that(v->report, v->record->lines, fields.len == cap,
        "broker_tlv_size and broker_tlv_put differ");
    if (wire != NULL) {
        fields.data = visit_keep(v, wire);
    }
    return fields;
}

static void
compare_fields(struct visit *v, struct broker_bytes fields)
{
    const struct vector_line *line;
    struct broker_tlv tlv;
    enum broker_status status;

    for (size_t n = 0; (line = vector_find(v->record, "field", n)); n++) {
        uint16_t tag = (uint16_t)vector_get_number(line, 1, NULL);
        struct vector_bytes value = vector_get_bytes(line, 2);

        v->used++;
        status = broker_tlv_next(&fields, &tlv);
        check_that(v->report, line, status == BROKER_OK, "no such field");
        if (status == BROKER_OK) {
            check_that(v->report, line,
                tlv.tag == (tag & ~BROKER_TAG_CRITICAL) &&
                    tlv.critical == ((tag & BROKER_TAG_CRITICAL) != 0),
                "tag is 0x%04x", tlv.tag);
            check_that(v->report, line,
                tlv.value.len == value.len &&
                    (value.len == 0 ||
                        memcmp(tlv.value.data, value.data, value.len) == 0),
                "value differs");
        }
        free(value.data);
    }
    status = broker_tlv_next(&fields, &tlv);
    check_that(v->report, v->record->lines, status == BROKER_MORE,
        "more fields than the vector has");
}

static struct broker_bytes
visit_fields(struct visit *v, struct broker_bytes fields)
{
    if (v->fill) {
        return fill_fields(v);
    }
    compare_fields(v, fields);
    return fields;
}

/* ---- types --------------------------------------------------------------- */

static void
visit_hello(struct visit *v, struct broker_hello *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint8_t, m, version_min);
    VISIT(v, uint8_t, m, version_max);
    VISIT(v, uint64_t, m, features);
    VISIT(v, uint32_t, m, max_body_bytes);
    VISIT(v, uint32_t, m, heartbeat_ms);
    visit_array(v, "session", m->session, sizeof m->session);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_welcome(struct visit *v, struct broker_welcome *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint8_t, m, version);
    VISIT(v, uint64_t, m, features);
    VISIT(v, uint32_t, m, max_body_bytes);
    VISIT(v, uint32_t, m, heartbeat_ms);
    VISIT(v, uint32_t, m, max_subscriptions);
    VISIT(v, uint16_t, m, max_topic_bytes);
    VISIT(v, uint16_t, m, max_topic_levels);
    VISIT(v, uint32_t, m, last_publish);
    visit_array(v, "session", m->session, sizeof m->session);
    visit_array(v, "boot", m->boot, sizeof m->boot);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_ping(struct visit *v, struct broker_ping *m)
{
    bool pong = check_frame_type(v->record) == BROKER_FRAME_PONG;

    check_that(v->report, v->record->lines, v->fill || m->pong == pong,
        "PING and PONG are mixed up");
    m->pong = pong;
    VISIT(v, uint32_t, m, id);
    visit_array(v, "opaque", m->opaque, sizeof m->opaque);
}

static void
visit_error(struct visit *v, struct broker_error *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint16_t, m, code);
    VISIT(v, uint16_t, m, frame_type);
    m->error_class =
        (enum broker_error_class)visit_number(v, "class", m->error_class);
    m->may_retry = visit_number(v, "retry", m->may_retry ? 1 : 0) != 0;
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_goaway(struct visit *v, struct broker_goaway *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint16_t, m, code);
    VISIT(v, uint32_t, m, retry_after_ms);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_notice(struct visit *v, struct broker_notice *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint16_t, m, code);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_publish(struct visit *v, struct broker_publish *m)
{
    VISIT(v, uint16_t, m, flags);
    VISIT(v, uint32_t, m, id);
    m->topic = visit_view(v, "topic", m->topic);
    m->headers = visit_fields(v, m->headers);
    m->payload = visit_view(v, "payload", m->payload);
}

static void
visit_puback(struct visit *v, struct broker_puback *m)
{
    VISIT(v, uint16_t, m, flags);
    VISIT(v, uint32_t, m, id);
    VISIT(v, enum broker_level, m, level);
    VISIT(v, uint32_t, m, count);
    VISIT(v, uint32_t, m, matched);
    VISIT(v, uint32_t, m, refused);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_subscribe(struct visit *v, struct broker_subscribe *m)
{
    VISIT(v, uint32_t, m, id);
    m->filter = visit_view(v, "filter", m->filter);
    m->group = visit_view(v, "group", m->group);
    VISIT(v, enum broker_overflow, m, overflow);
    VISIT(v, uint8_t, m, options);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_suback(struct visit *v, struct broker_suback *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, enum broker_overflow, m, overflow);
    VISIT(v, uint32_t, m, retained);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_unsubscribe(struct visit *v, struct broker_unsubscribe *m)
{
    VISIT(v, uint16_t, m, flags);
    VISIT(v, uint32_t, m, id);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_unsuback(struct visit *v, struct broker_unsuback *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint64_t, m, matched);
    VISIT(v, uint64_t, m, delivered);
    VISIT(v, uint64_t, m, dropped);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_context(struct visit *v, struct broker_context *m)
{
    VISIT(v, uint16_t, m, flags);
    m->ids = visit_ids(v, m->ids);
}

static void
visit_gap(struct visit *v, struct broker_gap *m)
{
    VISIT(v, enum broker_gap_reason, m, reason);
    VISIT(v, uint64_t, m, count);
    VISIT(v, uint64_t, m, bytes);
    m->ids = visit_ids(v, m->ids);
}

static void
visit_publish_batch(struct visit *v, struct broker_publish_batch *m)
{
    VISIT(v, uint16_t, m, flags);
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint32_t, m, count);
    m->frames = visit_view(v, "frames", m->frames);
}

static void
visit_consume(struct visit *v, struct broker_consume *m)
{
    VISIT(v, uint32_t, m, id);
    m->stream = visit_view(v, "stream", m->stream);
    m->consumer = visit_view(v, "consumer", m->consumer);
    m->filter = visit_view(v, "filter", m->filter);
    VISIT(v, enum broker_start, m, start);
    VISIT(v, uint8_t, m, options);
    VISIT(v, uint64_t, m, value);
    VISIT(v, uint32_t, m, window);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_consume_reply(struct visit *v, struct broker_consume_reply *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint64_t, m, first_sequence);
    VISIT(v, uint64_t, m, last_sequence);
    VISIT(v, uint64_t, m, next_sequence);
    VISIT(v, enum broker_ack_mode, m, ack);
    VISIT(v, uint32_t, m, window);
    m->tlvs = visit_fields(v, m->tlvs);
}

static void
visit_position(struct visit *v, struct broker_position *m)
{
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint64_t, m, sequence);
    VISIT(v, uint64_t, m, time_ms);
    VISIT(v, uint32_t, m, count);
    VISIT(v, uint32_t, m, deliveries);
}

static void
visit_settle(struct visit *v, struct broker_settle *m)
{
    uint16_t type = check_frame_type(v->record);

    check_that(v->report, v->record->lines, v->fill || m->type == type,
        "ACK, NACK and TOUCH are mixed up");
    m->type = type;
    VISIT(v, uint32_t, m, id);
    VISIT(v, uint8_t, m, kind);
    VISIT(v, uint32_t, m, delay_ms);
    m->ranges = visit_ranges(v, m->ranges);
}

static void
visit_message(struct visit *v, uint16_t type, union any_message *m)
{
    switch (type) {
#define VISIT_TYPE(TYPE, name)                                                 \
    case BROKER_FRAME_##TYPE:                                                  \
        visit_##name(v, &m->name);                                             \
        break
        VISIT_TYPE(HELLO, hello);
        VISIT_TYPE(WELCOME, welcome);
        VISIT_TYPE(PING, ping);
        VISIT_TYPE(PONG, ping);
        VISIT_TYPE(ERROR, error);
        VISIT_TYPE(GOAWAY, goaway);
        VISIT_TYPE(NOTICE, notice);
        VISIT_TYPE(PUBLISH, publish);
        VISIT_TYPE(PUBACK, puback);
        VISIT_TYPE(SUBSCRIBE, subscribe);
        VISIT_TYPE(SUBACK, suback);
        VISIT_TYPE(UNSUBSCRIBE, unsubscribe);
        VISIT_TYPE(UNSUBACK, unsuback);
        VISIT_TYPE(CONTEXT, context);
        VISIT_TYPE(GAP, gap);
        VISIT_TYPE(PUBLISH_BATCH, publish_batch);
        VISIT_TYPE(CONSUME, consume);
        VISIT_TYPE(CONSUME_REPLY, consume_reply);
        VISIT_TYPE(POSITION, position);
        VISIT_TYPE(ACK, settle);
        VISIT_TYPE(NACK, settle);
        VISIT_TYPE(TOUCH, settle);
    default:
        vector_fatal(v->record->lines, "a type without values");
    }
}

/* ---- checks -------------------------------------------------------------- */

/* All lines but these must have been visited: a key that nobody reads is a
 * mistake in the vector. */
static void
check_all_used(struct visit *v, bool flags_used, bool id_used)
{
    static const char *const common[] = {
        "frame", "hex", "type", "canonical", "flags", "id"};
    size_t count = v->used;

    for (size_t i = 0; i < 6; i++) {
        bool skip = (i == 4 && flags_used) || (i == 5 && id_used);

        for (size_t n = 0; !skip && vector_find(v->record, common[i], n); n++) {
            count++;
        }
    }
    check_that(v->report, v->record->lines, count == v->record->count,
        "has a line that nobody reads");
}

static bool
message_has_id(uint16_t type)
{
    return type != BROKER_FRAME_CONTEXT && type != BROKER_FRAME_GAP;
}

static void
check_golden_decode(struct visit *v, const struct any_type *type,
    const struct broker_frame *frame)
{
    union any_message m;
    enum broker_status status = type->decode(frame, &m);

    check_that(v->report, v->record->lines, status == BROKER_OK,
        "decode gives %s", broker_status_name(status));
    if (status == BROKER_OK) {
        visit_message(v, type->type, &m);
        check_all_used(v, type->keeps_flags, message_has_id(type->type));
    }
}

static void
check_golden_encode(
    struct visit *v, const struct any_type *type, struct vector_bytes wanted)
{
    bool canonical = vector_find(v->record, "canonical", 0) == NULL;
    union any_message m;
    size_t n = 0;
    uint8_t *dst = visit_keep(v, malloc(wanted.len));
    enum broker_status status;

    memset(&m, 0, sizeof m);
    visit_message(v, type->type, &m);
    check_that(v->report, v->record->lines, type->size(&m) == wanted.len,
        "size is %zu, not %zu", type->size(&m), wanted.len);
    status = type->encode(&m, dst, wanted.len, &n);
    check_that(v->report, v->record->lines,
        status == BROKER_OK && n == wanted.len, "encode gives %s",
        broker_status_name(status));
    if (n == wanted.len) {
        check_that(v->report, v->record->lines,
            (memcmp(dst, wanted.data, n) == 0) == canonical,
            canonical ? "the encoded bytes differ"
                      : "is said not to be canonical, but is");
    }
}

static void
check_golden_frame(struct check_report *report,
    const struct vector_record *record, struct vector_bytes bytes, void *arg)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct visit compare = {.report = report, .record = record};
    struct visit fill = {.report = report, .record = record, .fill = true};
    struct broker_frame frame = {0};
    const struct any_type *type;
    size_t n = 0;
    enum broker_status status =
        broker_frame_decode(&limits, bytes.data, bytes.len, &frame, &n);

    (void)arg;
    check_that(report, record->lines, status == BROKER_OK && n == bytes.len,
        "gives %s, %zu bytes of %zu", broker_status_name(status), n, bytes.len);
    if (status != BROKER_OK) {
        return;
    }
    check_that(report, record->lines, frame.type == check_frame_type(record),
        "the type is 0x%04x", frame.type);
    visit_number(&compare, "flags", frame.flags);
    visit_number(&compare, "id", frame.id);
    compare.used = 0;
    type = any_type_find(frame.type);
    if (type == NULL) {
        check_that(report, record->lines,
            broker_frame_info(frame.type) == NULL ||
                broker_frame_info(frame.type)->reserved,
            "the type is known but has no message");
        visit_view(&compare, "body", frame.body);
        return;
    }
    check_golden_decode(&compare, type, &frame);
    check_golden_encode(&fill, type, bytes);
    for (size_t i = 0; i < fill.fill_count; i++) {
        free(fill.fills[i]);
    }
    for (size_t i = 0; i < compare.fill_count; i++) {
        free(compare.fills[i]);
    }
}

void
check_golden(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, check_golden_frame, NULL);
}
