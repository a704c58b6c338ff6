/* SPDX-License-Identifier: MIT
 *
 * brokerctl store verify: reads everything, and names what does not hold.
 *
 * Messages that are missing are damage too, unless the store knows that they
 * were lost: it counts what it had to leave out when it was opened after that.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "say.h"
#include "store_action.h"
#include "sys.h"

struct verify {
    struct catalogue catalogue;
    struct out *out;
    bool json;
    bool no_memory;
    uint64_t missing, lost_before, set_aside;
};

/* ---- telling ------------------------------------------------------------- */

static const char *
name_of(const struct verify *verify, uint32_t number)
{
    const struct catalogue_stream *stream =
        catalogue_find(&verify->catalogue, number);

    return stream != NULL ? stream->info.name : NULL;
}

/* An object on a line; `whole`: all of it could be made. */
static bool
print_json(struct verify *verify, json_t *object, bool whole)
{
    const bool ok = whole && sys_print_json(verify->out, object);

    json_decref(object);
    verify->no_memory |= !ok;
    return ok;
}

static bool
set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool
set_number(json_t *object, const char *key, uint64_t value)
{
    return set(object, key, json_integer((json_int_t)value));
}

static bool
set_where(const struct verify *verify, json_t *object,
    const struct inspect_where *where)
{
    const char *name = name_of(verify, where->stream);

    return set(object, "file", json_string(where->file)) &&
           (where->table == NULL ||
               set(object, "table", json_string(where->table))) &&
           (where->commit == 0 ||
               (set_number(object, "commit", where->commit) &&
                   set_number(object, "offset", where->offset))) &&
           (where->stream == 0 ||
               set_number(object, "stream_number", where->stream)) &&
           (name == NULL || set(object, "stream", json_string(name))) &&
           (where->first_seq == 0 ||
               set_number(object, "first_sequence", where->first_seq)) &&
           (where->last_seq == 0 ||
               set_number(object, "last_sequence", where->last_seq));
}

/* "word  place  stream ORDERS, 7 to 9  text". */
static bool
tell(struct verify *verify, const char *word, const struct inspect_where *where,
    const char *text)
{
    const char *name = name_of(verify, where->stream);
    char place[STORE_PLACE_MAX];

    if (verify->json) {
        json_t *object = json_object();
        const bool whole = set(object, "found", json_string(word)) &&
                           set_where(verify, object, where) &&
                           set(object, "text", json_string(text));

        return print_json(verify, object, whole);
    }
    out_printf(verify->out, "%-8s %s: ", word, store_place(where, place));
    if (name != NULL) {
        out_text(verify->out, "stream ");
        out_peer_name(verify->out, name, strlen(name));
        if (where->first_seq != 0) {
            out_printf(verify->out, ", %" PRIu64, where->first_seq);
        }
        if (where->last_seq > where->first_seq) {
            out_printf(verify->out, " to %" PRIu64, where->last_seq);
        }
        out_text(verify->out, ": ");
    }
    out_printf(verify->out, "%s\n", text);
    return out_failed(verify->out) == 0;
}

/* ---- looking ------------------------------------------------------------- */

static bool
file_cb(void *arg, const char *name, uint64_t bytes, bool set_aside)
{
    struct verify *verify = arg;
    const struct inspect_where where = {.place = INSPECT_JOURNAL, .file = name};
    char text[64];

    if (!set_aside) {
        return true;
    }
    verify->set_aside++;
    (void)snprintf(text, sizeof text,
        "%" PRIu64 " bytes that were set aside before", bytes);
    return tell(verify, "aside", &where, text);
}

static bool
stream_cb(void *arg, const struct inspect_where *where,
    const struct store_stream_info *info)
{
    struct verify *verify = arg;

    (void)where;
    return catalogue_add(&verify->catalogue, info);
}

/* Checking is the library's: it happens to what somebody asks for. */
static bool
records_cb(void *arg, const struct inspect_where *where, uint32_t stream,
    const struct store_run *run)
{
    (void)arg;
    (void)where;
    (void)stream;
    (void)run;
    return true;
}

static bool
value_cb(void *arg, const struct inspect_where *where,
    const struct store_value *value)
{
    (void)arg;
    (void)where;
    (void)value;
    return true;
}

static bool
publisher_cb(void *arg, const struct inspect_where *where, const void *name,
    size_t name_bytes, uint32_t number)
{
    (void)arg;
    (void)where;
    (void)name;
    (void)name_bytes;
    (void)number;
    return true;
}

static bool
damage_cb(void *arg, const struct inspect_where *where, const char *text,
    uint64_t records)
{
    (void)records;
    return tell(arg, "damaged", where, text);
}

static bool
missing_cb(void *arg, const struct inspect_where *where)
{
    struct verify *verify = arg;
    struct catalogue_stream *stream =
        catalogue_find(&verify->catalogue, where->stream);
    const uint64_t count = where->last_seq - where->first_seq + 1;
    char text[64];

    if (stream != NULL && stream->missing + count <= stream->info.damaged) {
        stream->missing += count;
        verify->lost_before += count;
        (void)snprintf(
            text, sizeof text, "%" PRIu64 " messages were lost before", count);
        return tell(verify, "lost", where, text);
    }
    verify->missing += count;
    (void)snprintf(
        text, sizeof text, "%" PRIu64 " messages are missing", count);
    return tell(verify, "missing", where, text);
}

/* ---- the end ------------------------------------------------------------- */

static bool
sum_up_json(
    struct verify *verify, const struct inspect_summary *summary, bool good)
{
    json_t *object = json_object();
    const bool whole =
        set(object, "good", json_boolean(good)) &&
        set_number(object, "damage", summary->damages) &&
        set_number(object, "missing", verify->missing) &&
        set_number(object, "lost_before", verify->lost_before) &&
        set_number(object, "set_aside", verify->set_aside) &&
        set_number(object, "streams", summary->streams) &&
        set_number(object, "messages", summary->records) &&
        set_number(object, "bytes", summary->bytes) &&
        set_number(object, "values", summary->values) &&
        set_number(object, "publishers", summary->publishers) &&
        set_number(object, "last_commit", summary->last) &&
        set(object, "in_use", json_boolean(summary->in_use)) &&
        set(object, "torn_tail", json_boolean(summary->torn_tail));

    return print_json(verify, object, whole);
}

static void
sum_up(const struct verify *verify, const struct inspect_summary *summary,
    bool good)
{
    struct out *out = verify->out;

    if (summary->torn_tail) {
        out_text(out, "note     the journal ends in a batch that is not whole, "
                      "as after a crash: nobody was told that it is stored\n");
    }
    out_printf(out,
        "%s %" PRIu64 " streams, %" PRIu64 " messages (%" PRIu64
        " bytes), %" PRIu64 " values, %" PRIu64
        " publishers, commits up to %" PRIu64 "%s\n",
        good ? "good    " : "bad     ", summary->streams, summary->records,
        summary->bytes, summary->values, summary->publishers, summary->last,
        summary->in_use ? "; a broker is running on it" : "");
}

enum ctl_exit
store_verify(const struct invocation *invocation)
{
    const struct store_settings *settings = invocation->settings;
    struct verify verify = {
        .out = invocation->out, .json = settings->printer.json};
    const struct inspect_hooks hooks = {
        .file = file_cb,
        .stream = stream_cb,
        .records = records_cb,
        .missing = missing_cb,
        .value = value_cb,
        .publisher = publisher_cb,
        .damage = damage_cb,
        .arg = &verify,
    };
    struct inspect_summary summary;
    enum ctl_exit code = CTL_EXIT_OK;
    char why[512] = "";

    if (!store_inspect(
            invocation->arguments[1], &hooks, &summary, why, sizeof why)) {
        code = store_complain(why);
    } else {
        const bool good = summary.damages == 0 && verify.missing == 0;

        if (!verify.json) {
            sum_up(&verify, &summary, good);
        } else if (!sum_up_json(&verify, &summary, good)) {
            verify.no_memory = true;
        }
        code = good ? CTL_EXIT_OK : CTL_EXIT_FAILED;
    }
    if (verify.no_memory || verify.catalogue.no_memory) {
        say("store: out of memory");
        code = CTL_EXIT_FAILED;
    }
    catalogue_fini(&verify.catalogue);
    return code;
}
