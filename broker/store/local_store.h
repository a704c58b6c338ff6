/* SPDX-License-Identifier: MIT
 *
 * What the parts of the local store share. One lock is over all of it; what
 * takes long (writing, syncing, the tables on disk, callbacks) is done without.
 *
 * The way of a change: a function of the port encodes entries into the open
 * group and notes whom to tell (local_change.c). The commit thread takes the
 * group when a port has ticked, writes it as one batch of the journal, syncs,
 * applies its entries to streams, publishers and the active table, and hands
 * the answers to the ports (local_commit.c, local_apply.c). When the active
 * table is full it is frozen, and the table thread brings it into the tables on
 * disk (local_checkpoint.c). What is read comes from the two tables in memory
 * at once, or from disk by way of the table thread (local_read.c,
 * local_job.c). Recovery applies the entries of the journal in the same way.
 *
 * A stream is seen twice: its state is what is durable, `open_...` is that with
 * what is in flight. If a batch cannot be written what is open is set back.
 */
#ifndef BROKER_STORE_LOCAL_STORE_H
#define BROKER_STORE_LOCAL_STORE_H

#include "base.h"
#include "file.h"
#include "journal.h"
#include "local.h"
#include "memtable.h"
#include "publisher.h"

#include <pthread.h>
#include <stdatomic.h>

#define PERIOD_MS        1000u      /* age, space on disk */
#define GROUP_BYTES_MAX  (1u << 30) /* of one batch */
#define NAME_BUCKETS     4096u
#define SCAN_SLICE_BYTES (256u * 1024u)

struct stream_state {
    struct store_limits limits;
    uint64_t first_seq, last_seq;
    uint64_t records, bytes; /* from `counted` on: see local_trim.c */
    uint64_t first_time_ms, last_time_ms;
    uint64_t trimmed, damaged;
};

/* The oldest block on disk: sizes of its records, for trimming. */
struct head {
    size_t count;
    struct head_piece {
        uint64_t first_seq, time_ms;
        uint32_t count;
        const uint32_t *sizes;
    } * pieces;
    uint32_t sizes[];
};

struct stream {
    struct stream *next_by_name;
    uint32_t number;
    bool durable;    /* it is there */
    bool removing;   /* its end is in flight, or it has come */
    bool removed;    /* it has come */
    bool touched[2]; /* it is in that table's list */
    struct stream_state state;
    uint64_t open_last, open_time_ms;
    uint64_t flight_records, flight_bytes;
    struct pieces pieces[2]; /* of the tables in memory */
    uint64_t disk_last;      /* the last sequence that is on disk */
    /* Trimming: what lies before this is not in `records` and `bytes` any
     * more; it is first_seq unless the sizes of what is trimmed are not known
     * yet. */
    uint64_t counted;
    uint64_t cut_piece; /* the piece that `counted` is in, */
    size_t cut_bytes;   /* and how far into it */
    struct head *head;
    bool head_asked;
    bool debt_frozen; /* a checkpoint is taking it off, and says how much */
    uint64_t damaged_below;  /* damage below this has been counted */
    struct waiting *waiting; /* reads that follow */
    size_t name_bytes;
    char name[];
};

enum change_kind {
    CHANGE_APPEND,
    CHANGE_NUMBER, /* of a publisher, and values */
    CHANGE_CREATE,
    CHANGE_LIMITS,
    CHANGE_TRIM,
    CHANGE_REMOVE,
    CHANGE_PUT,
};

/* Whom to tell of a change, and how to undo it. */
struct pending {
    struct local_port *port;
    store_done *done;
    void *arg;
    enum change_kind kind;
    enum store_status status;
    struct stream *stream; /* NULL: none, or it is refused */
    uint32_t number;       /* of the stream */
    uint32_t count;
    uint64_t first_seq, last_seq, time_ms;
    size_t bytes;
    struct publisher *publisher; /* of what is stored or was before; or NULL */
    uint32_t publisher_first, publisher_last, publisher_before;
};

/* A batch on its way. */
struct group {
    struct pending *pendings;
    size_t count, capacity;
    struct chunk *chunk; /* NULL: nothing is to be written */
    size_t start, bytes; /* of the batch in it, with its header */
    uint32_t entries;
    uint64_t flight; /* bytes that are accounted for it */
};

/* What a read has come to; its memory is kept until the callback is over. */
struct reading {
    struct store_run *runs;
    size_t run_count, run_capacity;
    struct chunk **chunks;
    size_t chunk_count, chunk_capacity;
    uint8_t *buffer;
    uint64_t next, damaged;
    size_t bytes;
};

/* A read that waits for records to come. */
struct waiting {
    struct waiting *next;
    struct local_port *port;
    uint64_t from;
    size_t max_bytes;
    store_read_done *done;
    void *arg;
};

struct found_value {
    struct found_value *next;
    uint8_t space;
    size_t key_bytes, bytes;
    uint8_t key_data[]; /* the key, then the data */
};

/* A callback that is due. */
struct completion {
    enum completion_kind {
        COMPLETE_CHANGE,
        COMPLETE_READ,
        COMPLETE_VALUE, /* one, or that there is none */
        COMPLETE_SCAN,  /* several; without, the end of the scan */
    } kind;
    void *arg;
    union {
        struct {
            store_done *done;
            struct store_result result;
        } change;
        struct {
            store_read_done *done;
            enum store_status status;
            struct reading *reading; /* NULL: nothing was read */
            uint64_t next;
        } read;
        struct {
            store_value_done *done;
            enum store_status status;
            struct found_value *found;
            struct job *scan; /* goes on behind these; NULL: it ends */
        } value;
    };
};

struct local_port {
    struct store_port port;
    struct local *local;
    struct local_port *next;
    struct store_port_hooks hooks;
    uint64_t references; /* its owner, and what is to be told to it */
    bool closed;
    bool woken;
    bool wants_room, room_due;
    struct completion *due;
    size_t due_count, due_capacity;
    struct completion *running; /* those that store_poll has taken */
    size_t running_capacity;
    uint8_t *checksums; /* of what is being appended; the port's thread */
    size_t checksums_bytes;
};

/* What the table thread is asked to do. */
struct job {
    struct job *next;
    enum job_kind { JOB_READ, JOB_SEEK, JOB_GET, JOB_SCAN, JOB_HEAD } kind;
    struct local_port *port; /* NULL with JOB_HEAD */
    uint32_t stream;
    uint64_t from; /* sequence, or time */
    size_t max_bytes;
    store_read_done *read_done;
    store_value_done *value_done;
    void *arg;
    uint8_t space;
    size_t key_bytes;
    bool started; /* a scan: `key` was the last one */
    uint8_t key[STORE_KEY_MAX];
};

/* A stream as it was when its table was frozen. */
struct row {
    struct stream *stream;
    struct stream_state state;
    bool removed;
    uint64_t counted;
    uint64_t keep_from; /* blocks on disk below this one can go */
    uint64_t debt_records, debt_bytes; /* from `counted` to first_seq */
};

struct checkpoint {
    uint64_t applied;
    uint32_t next_stream;
    struct row *rows;
    size_t row_count;
    uint8_t *publishers; /* entries */
    size_t publishers_bytes;
    uint8_t *forgotten; /* as in struct publishers */
    size_t forgotten_bytes;
};

struct local {
    struct store store;
    struct local *self; /* for those who were given it const */
    pthread_mutex_t lock;
    pthread_cond_t commit_wake, table_wake;
    pthread_t commit_thread, table_thread;
    bool commit_sleeps, table_sleeps;
    bool stopping, table_stopping;
    bool manual;

    struct file_system *files;
    bool owns_files, owns_base;
    struct base *base;
    uint64_t base_bytes; /* on disk, as of the last look */
    int lock_descriptor; /* -1: none */
    uint64_t in_flight_max, table_max, reserve_bytes;
    uint64_t (*now_ms)(void *arg);
    void *now_arg;
    void (*log)(void *arg, enum store_log_level level, const char *event,
        const char *text);
    void *log_arg;

    struct journal journal;
    struct chunk_pool pool;
    struct group groups[2];
    struct group *open;
    bool ticked;
    bool writing;    /* the commit thread, without the lock, to the journal */
    uint64_t flight; /* bytes, of both groups */

    struct stream **streams; /* by number; [0] is NULL */
    uint32_t stream_capacity, next_stream;
    struct stream **names;
    struct publishers publishers;

    struct memtable tables[2];
    struct stream **touched[2]; /* streams with something in that table */
    size_t touched_count[2], touched_capacity[2];
    int active;
    bool frozen; /* tables[1 - active] is on its way to disk */
    bool wants_checkpoint;
    struct checkpoint checkpoint;
    uint64_t retry_ms;  /* not before this, what failed for want of space */
    uint64_t period_ms; /* when the next period begins */

    struct job *jobs, **jobs_end;
    unsigned int jobs_in_a_row; /* that were done with nothing else between */
    struct local_port *ports;
    bool no_space;
    bool table_full;   /* the last checkpoint did not find space, */
    bool no_spare;     /* nor did the last file of the journal, */
    bool journal_full; /* nor, within this period, a batch */
    struct store_stats stats;
};

/* ---- local.c ------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) void local_log(const struct local *local,
    enum store_log_level level, const char *event, const char *format, ...);
/* For good: nothing is stored any more. */
void local_fail(struct local *local, const char *what, int error);
void local_set_no_space(struct local *local, const char *what);
/* Something that did not hold; counted and said. */
void local_damage(struct local *local, uint64_t pieces, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void local_close(struct store *store);

/* ---- local_port.c -------------------------------------------------------- */

extern const struct store_operations local_operations;
struct store_port *local_port_open(
    struct store *store, const struct store_port_hooks *hooks);
void local_port_close(struct store_port *port);
void local_poll(struct store_port *port);
void local_port_unref(struct local_port *port);
/* The completion's memory is the port's now. A reference to the port goes with
 * it. */
void local_complete(
    struct local_port *port, const struct completion *completion);
/* One of several; local_completed() behind the last one, so that who is woken
 * finds them all, and the lock about to be free. */
void local_complete_many(
    struct local_port *port, const struct completion *completion);
void local_completed(struct local *local);
void local_give_room(struct local *local);
void local_ask(struct local *local, struct job *job);

/* ---- local_stream.c ------------------------------------------------------ */

struct stream *local_stream(const struct local *local, uint32_t number);
struct stream *local_stream_named(
    const struct local *local, const char *name, size_t name_bytes);
/* NULL: memory is out. Not durable yet. */
struct stream *local_stream_new(
    struct local *local, uint32_t number, const char *name, size_t name_bytes);
void local_stream_free(struct local *local, struct stream *stream);
bool local_touch(struct local *local, struct stream *stream);

/* ---- local_change.c ------------------------------------------------------ */

enum store_status local_ensure(struct store_port *port, const char *name,
    const struct store_limits *limits, store_done *done, void *arg);
enum store_status local_remove(
    struct store_port *port, uint32_t stream, store_done *done, void *arg);
enum store_status local_trim(struct store_port *port, uint32_t stream,
    uint64_t first_seq, store_done *done, void *arg);
enum store_status local_put(struct store_port *port,
    const struct store_value *values, size_t count, store_done *done,
    void *arg);
void local_tick(struct store_port *port);
bool local_has_room(struct store_port *port);

/* ---- local_append.c ------------------------------------------------------ */

enum store_status local_append(struct store_port *port,
    const struct store_append *append, store_done *done, void *arg);

/* ---- local_group.c ------------------------------------------------------- */

/* Would so many bytes be STORE_AGAIN? */
bool group_has_room(const struct local *local, size_t bytes);
/* Room for so many bytes at the end of the open batch; NULL: memory is out. */
uint8_t *group_reserve(struct local *local, size_t bytes);
/* What was reserved holds an entry. */
void group_add(struct local *local, size_t bytes);
struct pending *group_pending(struct local *local, struct local_port *port,
    store_done *done, void *arg, enum change_kind kind);
/* All that is in flight is refused. */
void group_refuse_all(
    struct local *local, struct group *writing, enum store_status status);
/* Tell the ports, and empty it. */
void group_complete(struct local *local, struct group *group);
void group_fini(struct local *local, struct group *group);

/* ---- local_commit.c ------------------------------------------------------ */

void *local_commit_main(void *arg);
/* With the lock held. False: there was nothing. */
bool local_commit_one(struct local *local);
/* Freeze the active table if it can be. */
bool local_rotate(struct local *local);
/* The same, if it is time for it. */
void local_rotate_full(struct local *local);

/* ---- local_apply.c ------------------------------------------------------- */

enum apply_source {
    APPLY_LIVE,    /* encoded by this process */
    APPLY_WHOLE,   /* read back */
    APPLY_DAMAGED, /* read back, and its checksum did not hold */
};
/* Entries are durable. False: memory is out. */
bool local_apply(struct local *local, struct chunk *chunk, const uint8_t *body,
    size_t bytes, enum apply_source source);

/* Records are there of a stream that nothing defines any more. */
struct stream *local_adopt(struct local *local, uint32_t number);

/* ---- local_trim.c -------------------------------------------------------- */

/* First sequences move as the limits say, and counts follow. */
void local_retain(struct local *local, struct stream *stream);
void local_stream_trim(
    struct local *local, struct stream *stream, uint64_t first_seq);
void local_retain_aged(struct local *local);
/* A checkpoint has counted what was trimmed on disk. */
void local_pay_debt(
    struct local *local, struct stream *stream, const struct row *row);

/* ---- local_checkpoint.c -------------------------------------------------- */

/* Write the frozen table. The lock is held, and let go of meanwhile. */
void local_checkpoint(struct local *local);
bool checkpoint_prepare(struct local *local);

/* ---- local_table.c ------------------------------------------------------- */

void *local_table_main(void *arg);
bool local_table_one(struct local *local);
/* Is there space, for all that is known? */
void local_look_for_space(struct local *local);
/* The same before a change, without threads: nobody else would. */
void local_look_by_hand(struct local *local);
void local_wake_table(struct local *local);

/* ---- local_job.c --------------------------------------------------------- */

/* Do it; the lock is held, and let go of meanwhile. */
void local_do_job(struct local *local, struct job *job);

/* ---- local_read.c -------------------------------------------------------- */

enum store_status local_read(struct store_port *port, uint32_t stream,
    uint64_t from, size_t max_bytes, bool follow, store_read_done *done,
    void *arg);
enum store_status local_seek_time(struct store_port *port, uint32_t stream,
    uint64_t time_ms, store_read_done *done, void *arg);
enum store_status local_get(struct store_port *port, enum store_space space,
    const void *key, size_t key_bytes, store_value_done *done, void *arg);
enum store_status local_scan(struct store_port *port, enum store_space space,
    store_value_done *done, void *arg);
bool local_stream_info(const struct store_port *port, uint32_t stream,
    struct store_stream_info *out);
uint32_t local_next_stream(const struct store_port *port, uint32_t after);
void local_get_stats(const struct store *store, struct store_stats *out);
/* Reads that follow this stream, as far as there is something. */
void local_serve_waiting(struct local *local, struct stream *stream);
/* From the tables in memory; what is on disk must lie before. */
bool reading_from_memory(struct local *local, struct stream *stream,
    uint64_t from, size_t max_bytes, struct reading *reading);
/* Of what was read from this sequence on, in the runs from this one on. */
void reading_count_damaged(
    struct reading *reading, uint64_t from, size_t first_run);
bool reading_add_run(struct reading *reading, const struct store_run *run);
void reading_free(struct local *local, struct reading *reading);
/* The first sequence in memory whose time is not before this one, or the one
 * behind the last. */
uint64_t local_seek_memory(const struct stream *stream, uint64_t time_ms);
void local_complete_read(struct local_port *port, store_read_done *done,
    void *arg, enum store_status status, struct reading *reading,
    uint64_t next);

/* ---- local_recover.c ----------------------------------------------------- */

bool local_recover(struct local *local, char *why, size_t why_size);

/* ---- keys of the tables -------------------------------------------------- */

#define BLOCK_KEY_BYTES 12u
static inline void
block_key(uint8_t key[BLOCK_KEY_BYTES], uint32_t stream, uint64_t seq)
{
    put_u32(key, stream);
    put_u64(key + 4, seq);
}

static inline uint64_t
local_now(const struct local *local)
{
    return local->now_ms(local->now_arg);
}

static inline struct local *
local_of(const struct store_port *port)
{
    return ((const struct local_port *)port)->local;
}

#endif
