/* SPDX-License-Identifier: MIT
 *
 * brokerctl store stat: what a store holds. One JSON object is made, and shown
 * as it is or as tables.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "say.h"
#include "store_action.h"
#include "sys.h"
#include "view.h"

/* One space of keys. Whether a key of the journal is in the tables too is not
 * looked up: both are shown. */
struct space {
    uint64_t values, bytes;
    uint64_t set, deleted; /* by the journal, not in the tables yet */
};

struct stat_run {
    struct catalogue catalogue;
    json_t *files;
    json_t *publishers; /* of the journal, as keys */
    uint64_t publisher_count;
    struct space spaces[STORE_SPACES];
    bool no_memory;
};

/* ---- looking ------------------------------------------------------------- */

static bool
set_number(json_t *object, const char *key, uint64_t value)
{
    return json_object_set_new(object, key, json_integer((json_int_t)value)) ==
           0;
}

static bool
set_text(json_t *object, const char *key, const char *text)
{
    return json_object_set_new(object, key, json_string(text)) == 0;
}

static bool
file_cb(void *arg, const char *name, uint64_t bytes, bool set_aside)
{
    struct stat_run *run = arg;
    json_t *file = json_object();
    const bool ok =
        set_text(file, "name", name) && set_number(file, "bytes", bytes) &&
        json_object_set_new(file, "set_aside", json_boolean(set_aside)) == 0;

    if (!ok || json_array_append_new(run->files, file) != 0) {
        run->no_memory = true;
    }
    return !run->no_memory;
}

static bool
value_cb(void *arg, const struct inspect_where *where,
    const struct store_value *value)
{
    struct stat_run *run = arg;

    if ((unsigned)value->space >= STORE_SPACES) {
        return true;
    }
    struct space *space = &run->spaces[value->space];

    if (where->place == INSPECT_TABLES) {
        space->values++;
        space->bytes += value->key_bytes + value->bytes;
    } else {
        space->set += value->data != NULL;
        space->deleted += value->data == NULL;
    }
    return true;
}

static bool
publisher_cb(void *arg, const struct inspect_where *where, const void *name,
    size_t name_bytes, uint32_t number)
{
    static const char digits[] = "0123456789abcdef";
    struct stat_run *run = arg;
    char key[STORE_PUBLISHER_MAX * 2 + 1];
    const uint8_t *bytes = name;

    (void)number;
    if (where->place == INSPECT_TABLES) {
        run->publisher_count++;
        return true;
    }
    for (size_t i = 0; i < name_bytes && i < STORE_PUBLISHER_MAX; i++) {
        key[2 * i] = digits[bytes[i] >> 4];
        key[2 * i + 1] = digits[bytes[i] & 15];
        key[2 * i + 2] = '\0';
    }
    if (json_object_set_new(run->publishers, key, json_true()) != 0) {
        run->no_memory = true;
    }
    return !run->no_memory;
}

static bool
damage_cb(void *arg, const struct inspect_where *where, const char *text,
    uint64_t records)
{
    char place[STORE_PLACE_MAX];

    (void)arg;
    (void)records;
    say("store: %s: %s", store_place(where, place), text);
    return true;
}

/* ---- the object ---------------------------------------------------------- */

static bool
add_store(json_t *answer, const struct inspect_summary *summary)
{
    json_t *tables = json_object();
    json_t *journal = json_object();
    bool ok = set_number(answer, "format", summary->version) &&
              json_object_set_new(
                  answer, "in_use", json_boolean(summary->in_use)) == 0 &&
              set_number(answer, "damage", summary->damages) &&
              set_number(answer, "set_aside", summary->set_aside) &&
              set_number(tables, "last_commit", summary->applied) &&
              set_number(tables, "bytes", summary->tables_bytes) &&
              set_number(tables, "free_bytes", summary->tables_free_bytes) &&
              set_number(journal, "files", summary->journal_files) &&
              set_number(journal, "bytes", summary->journal_bytes) &&
              set_number(journal, "batches", summary->batches) &&
              set_number(journal, "first_commit", summary->first_batch) &&
              set_number(journal, "last_commit", summary->last) &&
              json_object_set_new(
                  journal, "torn_tail", json_boolean(summary->torn_tail)) == 0;

    ok = json_object_set_new(answer, "tables", tables) == 0 && ok;
    return json_object_set_new(answer, "journal", journal) == 0 && ok;
}

static bool
add_stream(json_t *list, const struct store_stream_info *info)
{
    json_t *stream = json_object();
    const bool ok =
        set_text(stream, "name", info->name) &&
        set_number(stream, "number", info->stream) &&
        set_number(stream, "first_sequence", info->first_seq) &&
        set_number(stream, "last_sequence", info->last_seq) &&
        set_number(stream, "messages", info->records) &&
        set_number(stream, "bytes", info->bytes) &&
        set_number(stream, "first_time_ms", info->first_time_ms) &&
        set_number(stream, "last_time_ms", info->last_time_ms) &&
        set_number(stream, "trimmed", info->trimmed) &&
        set_number(stream, "damaged", info->damaged) &&
        set_number(stream, "max_age_ms", info->limits.max_age_ms) &&
        set_number(stream, "max_bytes", info->limits.max_bytes) &&
        set_number(stream, "max_messages", info->limits.max_records) &&
        set_text(stream, "discard", info->limits.discard_new ? "new" : "old");

    return json_array_append_new(list, stream) == 0 && ok;
}

static bool
add_space(json_t *list, const char *name, const struct space *space)
{
    json_t *entry = json_object();
    const bool ok = set_text(entry, "space", name) &&
                    set_number(entry, "values", space->values) &&
                    set_number(entry, "bytes", space->bytes) &&
                    set_number(entry, "set_in_journal", space->set) &&
                    set_number(entry, "deleted_in_journal", space->deleted);

    return json_array_append_new(list, entry) == 0 && ok;
}

static bool
add_lists(json_t *answer, const struct stat_run *run)
{
    static const char *const names[STORE_SPACES] = {
        [STORE_SPACE_STREAM] = "streams",
        [STORE_SPACE_CONSUMER] = "consumers",
        [STORE_SPACE_RETAINED] = "retained",
        [STORE_SPACE_SCHEDULE] = "scheduled",
        [STORE_SPACE_BROKER] = "broker",
    };
    json_t *streams = json_array();
    json_t *values = json_array();
    json_t *publishers = json_object();
    bool ok =
        set_number(publishers, "tables", run->publisher_count) &&
        set_number(publishers, "journal", json_object_size(run->publishers));

    for (size_t i = 0; i < run->catalogue.count; i++) {
        const struct catalogue_stream *stream = run->catalogue.streams[i];

        ok = ok && (stream->removed || add_stream(streams, &stream->info));
    }
    for (size_t i = 1; i < STORE_SPACES; i++) {
        ok = ok && add_space(values, names[i], &run->spaces[i]);
    }
    ok = json_object_set(answer, "files", run->files) == 0 && ok;
    ok = json_object_set_new(answer, "streams", streams) == 0 && ok;
    ok = json_object_set_new(answer, "values", values) == 0 && ok;
    return json_object_set_new(answer, "publishers", publishers) == 0 && ok;
}

/* ---- showing ------------------------------------------------------------- */

/* Without the lists. */
static bool
show_totals(struct out *out, const json_t *answer)
{
    json_t *totals = json_copy((json_t *)answer);
    bool ok = totals != NULL;

    (void)json_object_del(totals, "files");
    (void)json_object_del(totals, "streams");
    (void)json_object_del(totals, "values");
    ok = ok && view_object(out, totals);
    json_decref(totals);
    return ok;
}

static bool
show(struct out *out, const json_t *answer)
{
    bool ok = show_totals(out, answer);

    out_text(out, "\n");
    ok = ok &&
         view_list(out, answer, "files", "name bytes set_aside", "no files");
    out_text(out, "\n");
    ok = ok && view_list(out, answer, "streams",
                   "name number messages bytes first_sequence last_sequence "
                   "first_time last_time trimmed damaged",
                   "no streams");
    out_text(out, "\n");
    return ok &&
           view_list(out, answer, "values",
               "space values bytes set_in_journal deleted_in_journal", "");
}

static bool
answer(const struct invocation *invocation, const struct stat_run *run,
    const struct inspect_summary *summary)
{
    const struct store_settings *settings = invocation->settings;
    json_t *object = json_object();
    bool ok = set_text(object, "directory", invocation->arguments[1]) &&
              add_store(object, summary) && add_lists(object, run);

    if (ok && settings->printer.json) {
        ok = sys_print_json(invocation->out, object);
    } else if (ok) {
        ok = show(invocation->out, object);
    }
    json_decref(object);
    return ok;
}

enum ctl_exit
store_stat(const struct invocation *invocation)
{
    struct stat_run run = {.files = json_array(), .publishers = json_object()};
    const struct inspect_hooks hooks = {
        .file = file_cb,
        .value = value_cb,
        .publisher = publisher_cb,
        .damage = damage_cb,
        .arg = &run,
    };
    struct inspect_summary summary;
    enum ctl_exit code = CTL_EXIT_OK;
    char why[512] = "";

    if (!catalogue_read(&run.catalogue, invocation->arguments[1], &hooks,
            &summary, why, sizeof why)) {
        code = store_complain(why);
    } else if (run.no_memory || run.catalogue.no_memory ||
               !answer(invocation, &run, &summary)) {
        say("store: out of memory");
        code = CTL_EXIT_FAILED;
    } else if (summary.damages > 0) {
        code = CTL_EXIT_FAILED;
    }
    catalogue_fini(&run.catalogue);
    json_decref(run.files);
    json_decref(run.publishers);
    return code;
}
