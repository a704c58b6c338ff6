/* SPDX-License-Identifier: MIT
 *
 * The brokerd wire codec: frames to structs and back (PROTOCOL.md version 1).
 *
 * Pure functions over bytes. Nothing here does I/O, allocates, logs, reads a
 * clock or keeps state between calls, so every function may be called from any
 * thread and from any context, on different data, at the same time.
 *
 * Decoding happens in two steps. broker_frame_decode() finds one whole frame
 * in a buffer; broker_<type>_decode() then reads the body of that frame. All
 * pointers in decoded structs are views into the caller's buffer: they are
 * valid as long as those bytes are, and nobody frees them.
 *
 * Encoding is one step: broker_<type>_size() says exactly how many bytes the
 * whole frame takes, header included, and broker_<type>_encode() writes exactly
 * that many. encode(decode(frame)) gives back the same bytes.
 *
 * Outputs are written on success only.
 */
#ifndef BROKER_CODEC_H
#define BROKER_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BROKER_API        __attribute__((visibility("default")))
#define BROKER_MUST_CHECK __attribute__((warn_unused_result))
#else
#define BROKER_API
#define BROKER_MUST_CHECK
#endif

/* ---- results ------------------------------------------------------------- */

/* Every result of both libraries, and every code on the wire. The list, with
 * texts and remedies, is <broker/errors.def>. Codes from 101 to 699 travel in
 * ERROR, GOAWAY and NOTICE frames (PROTOCOL.md section 7). */
enum broker_status {
    BROKER_OK = 0,
    BROKER_MORE = 1, /* incomplete: not an error, more bytes are needed */
#define BROKER_ERROR(name, code, class, retry, text, remedy)                   \
    BROKER_E_##name = (code),
#define BROKER_ERROR_RESERVED(name, code, text) BROKER_E_##name = (code),
#include <broker/errors.def>
};

enum broker_error_class {
    BROKER_CLASS_NONE = 0, /* not an error, or not known */
    BROKER_CLASS_REQUEST = 1,
    BROKER_CLASS_SUBSCRIPTION = 2,
    BROKER_CLASS_CONNECTION = 3,
    BROKER_CLASS_NOTICE = 4,
    BROKER_CLASS_LOCAL = 5,
};

/* The name of a code, as in errors.def ("BAD_TOPIC"), what it means and what
 * to do about it. Never NULL; static text. An unknown code gives "UNKNOWN". */
BROKER_API const char *broker_status_name(unsigned code);
BROKER_API const char *broker_status_text(unsigned code);
BROKER_API const char *broker_status_remedy(unsigned code);
BROKER_API enum broker_error_class broker_status_class(unsigned code);
/* True if the same request may succeed later (column "retry"). */
BROKER_API bool broker_status_may_retry(unsigned code);

/* ---- constants of the wire ----------------------------------------------- */

#define BROKER_PROTOCOL_VERSION 1
#define BROKER_HEADER_BYTES     12
#define BROKER_BODY_BYTES_MAX   0xFFFFFFu /* the length field's top byte is 0 */
#define BROKER_BODY_BYTES_MIN   65536u    /* smallest limit a peer may state */
#define BROKER_SESSION_BYTES    16
#define BROKER_PING_BYTES       8
#define BROKER_GROUP_BYTES_MAX  255
#define BROKER_NAME_BYTES_MAX   255

/* Frame types; the list is <broker/frames.def> (PROTOCOL.md section 4). */
enum broker_frame_type {
#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    BROKER_FRAME_##name = (type),
#define BROKER_FRAME_RESERVED(name, type, summary) BROKER_FRAME_##name = (type),
#include <broker/frames.def>
};

/* Types from here on may be skipped by a receiver that does not know them. */
#define BROKER_FRAME_SKIPPABLE 0x8000u

/* Header flags. The low byte is structural: a bit that the frame type does not
 * define is refused. The high byte holds hints: unknown ones are ignored. */
#define BROKER_FLAGS_STRUCTURAL 0x00FFu
enum broker_publish_flags {
    BROKER_PUBLISH_RETAIN = 0x0001, /* keep as the topic's last value */
    BROKER_PUBLISH_RETRY = 0x0002,  /* sent before, on an earlier connection */
};
enum broker_puback_flags { BROKER_PUBACK_DUPLICATE = 0x0001 };
enum broker_batch_flags { BROKER_BATCH_RETRY = 0x0002 };
enum broker_unsubscribe_flags { BROKER_UNSUBSCRIBE_DRAIN = 0x0001 };
enum broker_context_flags { BROKER_CONTEXT_RETAINED = 0x0001 };

/* Feature bits of HELLO and WELCOME (PROTOCOL.md section 3.4). */
#define BROKER_FEATURE_STREAMS UINT64_C(0x1)

enum broker_sender {
    BROKER_SENDER_CLIENT,
    BROKER_SENDER_SERVER,
    BROKER_SENDER_BOTH
};

/* What a PUBACK promises (PROTOCOL.md section 5.2). */
enum broker_level {
    BROKER_LEVEL_ROUTED = 1, /* queued to the matching subscriptions */
    BROKER_LEVEL_STORED = 2, /* reserved: survives a crash of the broker */
    BROKER_LEVEL_SYNCED = 3, /* stored in a stream: survives loss of power */
};

/* What happens to a subscription whose connection falls behind
 * (PROTOCOL.md section 5.6). */
enum broker_overflow {
    BROKER_OVERFLOW_DEFAULT = 0,
    BROKER_OVERFLOW_DROP_OLDEST = 1,
    BROKER_OVERFLOW_DROP_NEWEST = 2,
    BROKER_OVERFLOW_CONFLATE = 3,
    BROKER_OVERFLOW_DISCONNECT = 4,
    BROKER_OVERFLOW_BLOCK = 5,
};

enum broker_subscribe_options {
    BROKER_SUBSCRIBE_NO_RETAINED = 0x01, /* no retained values at the start */
};

/* Why messages are missing (GAP, PROTOCOL.md section 5.7). */
enum broker_gap_reason {
    BROKER_GAP_OVERFLOW = 1,
    BROKER_GAP_TOO_LARGE = 2,
    BROKER_GAP_MEMORY = 3,
    BROKER_GAP_EXPIRED = 4,    /* of a stream, like TRIMMED and DAMAGED */
    BROKER_GAP_TRIMMED = 5,    /* a limit or a purge took them */
    BROKER_GAP_PERMISSION = 6, /* reserved */
    BROKER_GAP_CONFLATED = 7,
    BROKER_GAP_DAMAGED = 8, /* their checksum failed */
};

/* Where reading a stream begins (CONSUME, PROTOCOL.md section 4.16). */
enum broker_start {
    BROKER_START_CURSOR = 0,   /* where the durable consumer stands */
    BROKER_START_FIRST = 1,    /* the first message that there is */
    BROKER_START_LAST = 2,     /* the last one */
    BROKER_START_NEW = 3,      /* only new ones */
    BROKER_START_SEQUENCE = 4, /* from this sequence on */
    BROKER_START_TIME = 5,     /* from this time on, ms since 1970 UTC */
    BROKER_START_AGO = 6,      /* from so many ms ago on */
    BROKER_START_COUNT = 7,    /* the last so many */
};
enum broker_consume_options {
    BROKER_CONSUME_END = 0x01, /* what is there, not what comes later */
};

/* How a durable consumer is acknowledged (PROTOCOL.md section 5.14). */
enum broker_ack_mode {
    BROKER_ACK_READER = 0, /* not a consumer */
    BROKER_ACK_NONE = 1,
    BROKER_ACK_CUMULATIVE = 2,
    BROKER_ACK_EACH = 3,
};

/* Extension tags (PROTOCOL.md section 3.3). Bit 15 on the wire means that a
 * receiver which does not know the tag must refuse the frame; it is not part of
 * the number. */
#define BROKER_TAG_CRITICAL 0x8000u
enum broker_tag {
    BROKER_TAG_NAME = 0x0001,           /* UTF-8, 1 to 255 bytes */
    BROKER_TAG_TEXT = 0x0002,           /* UTF-8, for a person */
    BROKER_TAG_REPLY_TO = 0x0003,       /* a topic */
    BROKER_TAG_HEADER = 0x0004,         /* u16 key length, key, value */
    BROKER_TAG_LIMIT = 0x0005,          /* u64, the limit that was reached */
    BROKER_TAG_RETRY_AFTER_MS = 0x0006, /* u32 */
    BROKER_TAG_TOPIC = 0x0007,          /* the topic that an error is about */
    BROKER_TAG_USER = 0x0008,           /* UTF-8, 1 to 255 bytes */
    BROKER_TAG_AUTH_METHOD = 0x0009,    /* UTF-8, 1 to 255 bytes */
    BROKER_TAG_AUTH_DATA = 0x000A,      /* the secret, any bytes */
    BROKER_TAG_TTL_MS = 0x0010,         /* u64, not 0 */
    BROKER_TAG_DELIVER_AT = 0x0011,     /* u64, ms since 1970 UTC, not 0 */
    BROKER_TAG_EXPECTED_LAST_SEQUENCE = 0x0012, /* u64 */
    BROKER_TAG_STREAM = 0x0020,                 /* UTF-8, 1 to 255 bytes */
    BROKER_TAG_SEQUENCE = 0x0021,               /* u64 */
};

/* ---- frames -------------------------------------------------------------- */

/* A view of bytes that somebody else owns. data may be NULL when len is 0. */
struct broker_bytes {
    const uint8_t *data;
    size_t len;
};

/* What a receiver accepts. Fill it with BROKER_LIMITS_DEFAULT and then with
 * what WELCOME says. */
struct broker_limits {
    uint32_t max_body_bytes;   /* BROKER_BODY_BYTES_MIN.._MAX */
    uint16_t max_topic_bytes;  /* topic names and filters, in bytes */
    uint16_t max_topic_levels; /* topic names and filters, in levels */
};
#define BROKER_LIMITS_DEFAULT                                                  \
    {                                                                          \
        BROKER_BODY_BYTES_MAX, 1024, 64                                        \
    }

struct broker_frame {
    uint16_t type;  /* enum broker_frame_type, or a skippable unknown one */
    uint16_t flags; /* as received; unknown hints included */
    uint32_t id;
    struct broker_bytes body;
};

/* What frames.def says of a type. */
struct broker_frame_info {
    const char *name;
    uint16_t type;
    uint16_t flags;
    enum broker_sender senders;
    uint32_t min_body_bytes;
    uint32_t max_body_bytes; /* 0: the negotiated limit */
    bool reserved;
    const char *summary;
};

/* What frames.def says of `type`, or NULL if it says nothing. Static. */
BROKER_API const struct broker_frame_info *broker_frame_info(uint16_t type);

/* The n-th row of frames.def in its order, or NULL past the end. Static. */
BROKER_API const struct broker_frame_info *broker_frame_info_at(size_t n);

/* Find one whole frame at the start of src[0..len) (PROTOCOL.md section 3).
 *
 * BROKER_OK: *out is set and *n is the number of bytes of the frame.
 * BROKER_MORE: *n is the number of bytes that are needed in all, counted from
 *   src, before it is worth calling again; always greater than len.
 * Any error leaves *out alone. The header is checked before the body is waited
 * for, in this order:
 *   BROKER_E_BAD_START         first byte not 0; *n is 0. Fatal.
 *   BROKER_E_UNSUPPORTED_TYPE  type unknown or reserved, below
 *                              BROKER_FRAME_SKIPPABLE
 *   BROKER_E_BAD_FLAGS         undefined structural bit. Fatal.
 *   BROKER_E_TOO_LARGE         longer than limits->max_body_bytes
 *   BROKER_E_MALFORMED         shorter or longer than the type allows. Fatal.
 * For every error but BAD_START, *n is the size of the whole frame, which a
 * receiver may skip to keep the connection, and broker_header_decode() gives
 * the id to answer to. A skippable type that is not known is BROKER_OK.
 */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_frame_decode(
    const struct broker_limits *limits, const uint8_t *src, size_t len,
    struct broker_frame *out, size_t *n);

/* Read the four header fields from src[0..BROKER_HEADER_BYTES) and judge
 * nothing. */
struct broker_header {
    uint32_t body_bytes;
    uint16_t type;
    uint16_t flags;
    uint32_t id;
};
BROKER_API void broker_header_decode(
    const uint8_t src[BROKER_HEADER_BYTES], struct broker_header *out);
BROKER_API void broker_header_encode(
    const struct broker_header *header, uint8_t dst[BROKER_HEADER_BYTES]);

/* ---- extension fields (tag, length, value) ------------------------------- */

struct broker_tlv {
    uint16_t tag; /* without BROKER_TAG_CRITICAL */
    bool critical;
    struct broker_bytes value;
};

/* Take the first field off *rest. BROKER_OK: *out is set and *rest moved on.
 * BROKER_MORE: *rest was empty, there are no more. BROKER_E_MALFORMED: what is
 * left is not a field; *rest is unchanged. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_tlv_next(
    struct broker_bytes *rest, struct broker_tlv *out);

/* The value of the first field with `tag`: true and *value set, or false. */
BROKER_API bool broker_tlv_find(
    struct broker_bytes tlvs, uint16_t tag, struct broker_bytes *value);

/* Bytes that one field with `value_len` bytes of value takes. */
BROKER_API size_t broker_tlv_size(size_t value_len);

/* Append one field at dst[*pos..cap) and move *pos on. `tag` may have
 * BROKER_TAG_CRITICAL set. BROKER_E_NO_SPACE: it does not fit, nothing written.
 * BROKER_E_INVALID_ARGUMENT: the value is longer than 65535 bytes. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_tlv_put(uint8_t *dst,
    size_t cap, size_t *pos, uint16_t tag, struct broker_bytes value);
BROKER_API BROKER_MUST_CHECK enum broker_status broker_tlv_put_u32(
    uint8_t *dst, size_t cap, size_t *pos, uint16_t tag, uint32_t value);
BROKER_API BROKER_MUST_CHECK enum broker_status broker_tlv_put_u64(
    uint8_t *dst, size_t cap, size_t *pos, uint16_t tag, uint64_t value);
/* A user header: BROKER_TAG_HEADER with key and value (section 3.3).
 * BROKER_E_INVALID_ARGUMENT as well for a key that is empty, longer than 255
 * bytes or not UTF-8. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_header_put(uint8_t *dst,
    size_t cap, size_t *pos, struct broker_bytes key,
    struct broker_bytes value);

/* Take the next user header off *rest, skipping other fields. BROKER_OK,
 * BROKER_MORE when there is none left, or BROKER_E_MALFORMED. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_header_next(
    struct broker_bytes *rest, struct broker_bytes *key,
    struct broker_bytes *value);

/* Read a 4 or 8 byte value; false if it has another size. */
BROKER_API bool broker_tlv_u32(struct broker_bytes value, uint32_t *out);
BROKER_API bool broker_tlv_u64(struct broker_bytes value, uint64_t *out);

/* ---- messages ------------------------------------------------------------
 *
 * Each has a decode, a size and an encode function with the same contract.
 *
 * decode: `frame` must come from broker_frame_decode() and be of that type.
 *   BROKER_E_MALFORMED   lengths do not add up, a reserved field is not zero,
 *                        a value is out of its range
 *   BROKER_E_UNKNOWN_TAG a critical extension field is not known
 *   and the codes named at the struct.
 * size: bytes of the whole frame, header included. 0 if the struct does not fit
 *   the wire: a length or an enum is too large, a topic, filter, batch or list
 *   of ids or ranges is empty, `flags` has a structural bit that the type does
 *   not define, or fields of CONSUME and of what belongs to it contradict each
 *   other.
 * encode: BROKER_OK and *n = size; BROKER_E_NO_SPACE if cap < size;
 *   BROKER_E_INVALID_ARGUMENT if size is 0. Contents (topic syntax, UTF-8, the
 *   frames of a batch, the ends of a range) are not judged by encode: use the
 *   check functions below.
 */
#define BROKER_MESSAGE_FUNCTIONS(name)                                         \
    BROKER_API BROKER_MUST_CHECK enum broker_status broker_##name##_decode(    \
        const struct broker_frame *frame, struct broker_##name *out);          \
    BROKER_API size_t broker_##name##_size(const struct broker_##name *m);     \
    BROKER_API BROKER_MUST_CHECK enum broker_status broker_##name##_encode(    \
        const struct broker_##name *m, uint8_t *dst, size_t cap, size_t *n)

/* BROKER_E_BAD_MAGIC if it does not begin with "BRK1". */
struct broker_hello {
    uint32_t id;
    uint8_t version_min, version_max;
    uint64_t features;
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint8_t session[BROKER_SESSION_BYTES]; /* all zero: give me a new one */
    struct broker_bytes tlvs;              /* NAME */
};
BROKER_MESSAGE_FUNCTIONS(hello);

struct broker_welcome {
    uint32_t id; /* of HELLO */
    uint8_t version;
    uint64_t features;
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint32_t max_subscriptions;
    uint16_t max_topic_bytes;
    uint16_t max_topic_levels;
    uint32_t last_publish; /* highest number settled in this session, or 0 */
    uint8_t session[BROKER_SESSION_BYTES];
    uint8_t boot[BROKER_SESSION_BYTES]; /* differs after a broker restart */
    struct broker_bytes tlvs;           /* NAME */
};
BROKER_MESSAGE_FUNCTIONS(welcome);

/* Topic and fields are checked for structure only; broker_topic_check() judges
 * the topic. A REPLY_TO may occur once; HEADER any number of times. */
struct broker_publish {
    uint16_t flags; /* enum broker_publish_flags */
    uint32_t id;    /* 0: no acknowledgement wanted */
    struct broker_bytes topic;
    /* Extension fields: REPLY_TO, HEADER, TTL_MS, DELIVER_AT,
     * EXPECTED_LAST_SEQUENCE. */
    struct broker_bytes headers;
    struct broker_bytes payload;
};
BROKER_MESSAGE_FUNCTIONS(publish);

struct broker_puback {
    uint16_t flags; /* enum broker_puback_flags */
    uint32_t id;    /* the last publish that this acknowledges */
    enum broker_level level;
    uint32_t count;           /* publishes acknowledged: id-count+1 to id */
    uint32_t matched;         /* subscriptions, for each of these publishes */
    uint32_t refused;         /* of matched: could not be queued */
    struct broker_bytes tlvs; /* STREAM, SEQUENCE */
};
BROKER_MESSAGE_FUNCTIONS(puback);

/* At least one whole PUBLISH frame, back to back, each with id 0, without
 * structural flags, and well-formed. For the caller to refuse is an
 * EXPECTED_LAST_SEQUENCE in another than the first, and REPLY_TO and DELIVER_AT
 * in any. Take the frames off with broker_frame_decode(). */
struct broker_publish_batch {
    uint16_t flags; /* enum broker_batch_flags */
    uint32_t id;    /* 0: no acknowledgement wanted */
    uint32_t count; /* of frames; ignored by encode */
    struct broker_bytes frames;
};
BROKER_MESSAGE_FUNCTIONS(publish_batch);

struct broker_subscribe {
    uint32_t id; /* the subscription's id, chosen by the client, not 0 */
    enum broker_overflow overflow; /* decoded: any byte, not only those known */
    uint8_t options;               /* enum broker_subscribe_options */
    struct broker_bytes filter;
    struct broker_bytes group; /* empty: no queue group */
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(subscribe);

struct broker_suback {
    uint32_t id;
    enum broker_overflow overflow; /* as granted */
    uint32_t retained;             /* retained values that follow */
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(suback);

struct broker_unsubscribe {
    uint16_t flags; /* enum broker_unsubscribe_flags */
    uint32_t id;
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(unsubscribe);

/* matched = delivered + dropped, always. */
struct broker_unsuback {
    uint32_t id;
    uint64_t matched, delivered, dropped;
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(unsuback);

/* A view of subscription ids as they stand on the wire. */
struct broker_ids {
    const uint8_t *data;
    size_t count;
};
/* The i-th id; i < ids.count. */
BROKER_API uint32_t broker_ids_get(struct broker_ids ids, size_t i);
/* Write `id` as the i-th id of an array of wire ids. */
BROKER_API void broker_ids_set(uint8_t *data, size_t i, uint32_t id);

/* Id in the header is 0. At least one id; none is 0. */
struct broker_context {
    uint16_t flags; /* enum broker_context_flags */
    struct broker_ids ids;
};
BROKER_MESSAGE_FUNCTIONS(context);

/* Id in the header is 0. At least one id; none is 0. count is at least 1. */
struct broker_gap {
    enum broker_gap_reason reason; /* decoded: any byte, not only those known */
    uint64_t count;                /* messages */
    uint64_t bytes;                /* of whole frames */
    struct broker_ids ids;
};
BROKER_MESSAGE_FUNCTIONS(gap);

/* A reader (no consumer; a stream or a filter; a start) or a durable consumer
 * (its name and perhaps a window). */
struct broker_consume {
    uint32_t id;                /* of the subscription */
    struct broker_bytes stream; /* empty: the one that captures the filter */
    struct broker_bytes consumer;
    struct broker_bytes filter; /* empty: all of the stream */
    enum broker_start start;
    uint8_t options; /* enum broker_consume_options */
    uint64_t value;  /* of start */
    uint32_t window; /* messages; 0: as many as the consumer allows */
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(consume);

struct broker_consume_reply {
    uint32_t id;
    uint64_t first_sequence, last_sequence, next_sequence;
    enum broker_ack_mode ack;
    uint32_t window;          /* 0 with BROKER_ACK_READER */
    struct broker_bytes tlvs; /* STREAM */
};
BROKER_MESSAGE_FUNCTIONS(consume_reply);

struct broker_position {
    uint32_t id;
    uint64_t sequence;
    uint64_t time_ms;
    uint32_t count; /* of PUBLISH frames that follow; 0: there are no more,
                     * and time_ms and deliveries are 0 as well */
    uint32_t deliveries;
};
BROKER_MESSAGE_FUNCTIONS(position);

/* A view of ranges of sequences as they stand on the wire. */
struct broker_ranges {
    const uint8_t *data;
    size_t count;
};
#define BROKER_RANGE_BYTES 16
/* The i-th range; i < ranges.count. */
BROKER_API void broker_ranges_get(
    struct broker_ranges ranges, size_t i, uint64_t *first, uint64_t *last);
/* Write the i-th range of an array of wire ranges. */
BROKER_API void broker_ranges_set(
    uint8_t *data, size_t i, uint64_t first, uint64_t last);

enum broker_settle_kind {
    BROKER_ACK_THESE = 1,
    BROKER_ACK_UP_TO = 2,
    BROKER_NACK_AGAIN = 1,
    BROKER_NACK_BURY = 2,
    BROKER_TOUCH_THESE = 1,
};
#define BROKER_NACK_DELAY_DEFAULT 0xFFFFFFFFu

/* ACK, NACK and TOUCH; which one is said by `type`. At least one range. */
struct broker_settle {
    uint16_t type; /* BROKER_FRAME_ACK, _NACK or _TOUCH */
    uint8_t kind;  /* enum broker_settle_kind */
    uint32_t id;   /* of the subscription */
    uint32_t delay_ms;
    struct broker_ranges ranges;
};
BROKER_MESSAGE_FUNCTIONS(settle);

/* PING and PONG; which one is said by `pong`. */
struct broker_ping {
    bool pong;
    uint32_t id;
    uint8_t opaque[BROKER_PING_BYTES];
};
BROKER_MESSAGE_FUNCTIONS(ping);

struct broker_error {
    uint32_t id;         /* of the frame that was refused */
    uint16_t code;       /* enum broker_status, or one not known here */
    uint16_t frame_type; /* of the frame that was refused; 0: none */
    enum broker_error_class error_class; /* REQUEST, SUBSCRIPTION, CONNECTION */
    bool may_retry;
    /* TEXT, LIMIT, RETRY_AFTER_MS, TOPIC, SEQUENCE */
    struct broker_bytes tlvs;
};
BROKER_MESSAGE_FUNCTIONS(error);

struct broker_goaway {
    uint32_t id; /* the last publish number that was processed, or 0 */
    uint16_t code;
    uint32_t retry_after_ms;
    struct broker_bytes tlvs; /* TEXT */
};
BROKER_MESSAGE_FUNCTIONS(goaway);

struct broker_notice {
    uint32_t id;
    uint16_t code;
    struct broker_bytes tlvs; /* TEXT, LIMIT */
};
BROKER_MESSAGE_FUNCTIONS(notice);

#undef BROKER_MESSAGE_FUNCTIONS

/* ---- topics (PROTOCOL.md section 6; MQTT 3.1.1 section 4.7) -------------- */

/* Is it a topic name that may be published to? BROKER_OK or BROKER_E_BAD_TOPIC
 * (empty, too long, too deep, not UTF-8, NUL, + or #). */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_topic_check(
    const struct broker_limits *limits, struct broker_bytes topic);

/* Is it a topic filter? BROKER_OK or BROKER_E_BAD_FILTER. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_filter_check(
    const struct broker_limits *limits, struct broker_bytes filter);

/* Is it a queue group name? BROKER_OK or BROKER_E_BAD_GROUP. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_group_check(
    struct broker_bytes group);

/* Does the filter match the topic? Both must have passed their check. */
BROKER_API bool broker_filter_matches(
    struct broker_bytes filter, struct broker_bytes topic);

/* Does `wide` match every topic that `narrow` matches, however long and deep?
 * Both are filters that have passed their check. */
BROKER_API bool broker_filter_covers(
    struct broker_bytes wide, struct broker_bytes narrow);

/* Is there a topic, however long and deep, that both match? Both are filters
 * that have passed their check. */
BROKER_API bool broker_filters_overlap(
    struct broker_bytes a, struct broker_bytes b);

/* Is it well-formed UTF-8 without NUL? (Unicode 15 table 3-7.) */
BROKER_API bool broker_utf8_check(struct broker_bytes text);

#ifdef __cplusplus
}
#endif

#endif
