/* SPDX-License-Identifier: MIT
 *
 * brokerctl store cat and export: messages of a store. Memory does not grow
 * with the store: what was printed is forgotten.
 */
#include <inttypes.h>
#include <string.h>

#include "message_text.h"
#include "moment.h"
#include "say.h"
#include "store_action.h"

#define OUT_HIGH_BYTES 65536u

struct printing {
    struct catalogue catalogue;
    struct printer *printer; /* NULL: JSON lines with the stream's name */
    struct out *out;
    uint64_t from, count, printed;
    bool json;
    bool gap;
};

/* ---- what is missing ----------------------------------------------------- */

static bool
tell_gap(struct printing *printing, const struct inspect_where *where,
    const char *what, const char *place)
{
    const struct catalogue_stream *stream =
        catalogue_find(&printing->catalogue, where->stream);

    if (where->stream != 0 && (stream == NULL || !stream->wanted)) {
        return true; /* of another stream */
    }
    printing->gap = true;
    if (stream == NULL || where->last_seq < printing->from) {
        say("store: %s: %s", place, what);
    } else {
        say("store: %s: stream %s, %" PRIu64 " to %" PRIu64 ": %s", place,
            stream->info.name, where->first_seq, where->last_seq, what);
        if (printing->json) {
            message_write_damaged_json(printing->out, stream->info.name,
                where->first_seq, where->last_seq);
            out_text(printing->out, "\n");
        }
    }
    return out_failed(printing->out) == 0;
}

static bool
missing_cb(void *arg, const struct inspect_where *where)
{
    char place[STORE_PLACE_MAX];

    return tell_gap(
        arg, where, "messages are missing", store_place(where, place));
}

static bool
damage_cb(void *arg, const struct inspect_where *where, const char *text,
    uint64_t records)
{
    char place[STORE_PLACE_MAX];

    (void)records;
    return tell_gap(arg, where, text, store_place(where, place));
}

/* ---- messages ------------------------------------------------------------ */

static void
print_message(struct printing *printing, const struct catalogue_stream *stream,
    const struct broker_message *message)
{
    if (printing->printer != NULL) {
        printer_message(printing->printer, message);
    } else {
        message_write_stream_json(printing->out, message, stream->info.name);
        out_text(printing->out, "\n");
    }
    if (out_pending(printing->out) > OUT_HIGH_BYTES) {
        out_flush(printing->out);
    }
    printing->printed++;
}

/* One record; its size, or 0 if it is no message. */
static size_t
print_record(struct printing *printing, const struct catalogue_stream *stream,
    const uint8_t *record, size_t left, uint64_t seq, uint64_t time_ms)
{
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_frame frame;
    struct broker_publish publish;
    struct broker_message message = {.sequence = seq, .time_ms = time_ms};
    size_t n = 0;

    if (broker_frame_decode(&limits, record, left, &frame, &n) != BROKER_OK ||
        frame.type != BROKER_FRAME_PUBLISH ||
        broker_publish_decode(&frame, &publish) != BROKER_OK) {
        say("store: stream %s: %" PRIu64 " is no message of this version",
            stream->info.name, seq);
        printing->gap = true;
        return n;
    }
    message.topic = publish.topic;
    message.payload = publish.payload;
    message.fields = publish.headers;
    (void)broker_tlv_find(
        publish.headers, BROKER_TAG_REPLY_TO, &message.reply_to);
    print_message(printing, stream, &message);
    return n;
}

static bool
is_enough(const struct printing *printing)
{
    return (printing->count != 0 && printing->printed >= printing->count) ||
           out_failed(printing->out) != 0;
}

static bool
records_cb(void *arg, const struct inspect_where *where, uint32_t number,
    const struct store_run *run)
{
    struct printing *printing = arg;
    const struct catalogue_stream *stream =
        catalogue_find(&printing->catalogue, number);
    size_t at = 0;

    (void)where;
    if (stream == NULL || !stream->wanted) {
        return true;
    }
    for (uint32_t i = 0; i < run->count && !is_enough(printing); i++) {
        const size_t bytes = print_record(printing, stream, run->records + at,
            run->bytes - at, run->first_seq + i, run->time_ms);

        if (bytes == 0 || bytes > run->bytes - at) {
            break;
        }
        at += bytes;
    }
    return !is_enough(printing);
}

static bool
wanted_cb(void *arg, uint32_t number, uint64_t *from)
{
    const struct printing *printing = arg;
    const struct catalogue_stream *stream =
        catalogue_find(&printing->catalogue, number);

    if (stream == NULL) {
        return false;
    }
    *from = stream->info.first_seq > printing->from ? stream->info.first_seq
                                                    : printing->from;
    return stream->wanted;
}

/* ---- both ---------------------------------------------------------------- */

static bool
want(struct printing *printing, const char *directory, const char *name)
{
    struct catalogue_stream *stream =
        catalogue_find_name(&printing->catalogue, name);

    if (stream == NULL) {
        say("store: %s has no stream \"%s\": see brokerctl store stat %s",
            directory, name, directory);
        return false;
    }
    stream->wanted = true;
    return true;
}

static bool
want_all(struct printing *printing, const struct invocation *invocation)
{
    const char *directory = invocation->arguments[1];

    for (size_t i = 2; i < invocation->argument_count; i++) {
        if (!want(printing, directory, invocation->arguments[i])) {
            return false;
        }
    }
    for (size_t i = 0;
         invocation->argument_count == 2 && i < printing->catalogue.count;
         i++) {
        struct catalogue_stream *stream = printing->catalogue.streams[i];

        stream->wanted = !stream->removed;
    }
    return true;
}

static enum ctl_exit
print(struct printing *printing, const struct invocation *invocation)
{
    const char *directory = invocation->arguments[1];
    const struct inspect_hooks none = {.file = NULL};
    const struct inspect_hooks hooks = {
        .wanted = wanted_cb,
        .records = records_cb,
        .missing = missing_cb,
        .damage = damage_cb,
        .arg = printing,
    };
    struct inspect_summary summary;
    char why[512] = "";

    if (!catalogue_read(&printing->catalogue, directory, &none, &summary, why,
            sizeof why)) {
        return store_complain(why);
    }
    if (printing->catalogue.no_memory) {
        say("store: out of memory");
        return CTL_EXIT_FAILED;
    }
    if (!want_all(printing, invocation)) {
        return CTL_EXIT_FAILED;
    }
    if (!store_inspect(directory, &hooks, &summary, why, sizeof why)) {
        return store_complain(why);
    }
    return printing->gap ? CTL_EXIT_GAP : CTL_EXIT_OK;
}

/* "7", "seq:7" or "first". */
static bool
parse_from(const char *text, uint64_t *from)
{
    struct start start;
    const char *why = "";
    const bool is_number = text[0] >= '0' && text[0] <= '9';
    char padded[40] = "seq:";

    *from = 0;
    if (is_number && strlen(text) < sizeof padded - 5) {
        (void)strcat(padded, text);
        text = padded;
    }
    if (!start_parse(text, &start, &why) ||
        (start.start != BROKER_START_FIRST &&
            start.start != BROKER_START_SEQUENCE)) {
        say("store cat: --from cannot be \"%s\": it is the sequence of a "
            "message, such as 7",
            text);
        return false;
    }
    if (start.start == BROKER_START_SEQUENCE) {
        *from = start.value;
    }
    return true;
}

enum ctl_exit
store_cat(const struct invocation *invocation)
{
    const struct store_settings *settings = invocation->settings;
    struct printer printer;
    struct printing printing = {.printer = &printer,
        .out = invocation->out,
        .count = settings->count,
        .json = settings->printer.json};
    enum ctl_exit code = printer_init(&printer, &settings->printer, invocation);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (settings->from != NULL && !parse_from(settings->from, &printing.from)) {
        code = CTL_EXIT_USAGE;
    } else {
        code = print(&printing, invocation);
    }
    catalogue_fini(&printing.catalogue);
    printer_fini(&printer);
    return code;
}

enum ctl_exit
store_export(const struct invocation *invocation)
{
    struct printing printing = {.out = invocation->out, .json = true};
    const enum ctl_exit code = print(&printing, invocation);

    catalogue_fini(&printing.catalogue);
    return code;
}
