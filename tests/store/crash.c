/* SPDX-License-Identifier: MIT
 *
 * kill -9 of a process that uses the local store.
 *
 *     store-crash [--rounds N] [--seed S] [--directory D] [--image FILE]
 *
 * A child appends to some streams and tells each answer through a pipe; the
 * parent kills it at a random moment, opens the store, and reads it. Each
 * stream has a publisher, whose numbers are the ids of its records: the next
 * child tries again what had no answer. So each stream must have the ids 1, 2,
 * 3 and so on, all of those that were answered, and none twice.
 *
 * With --image (tests/store/real-power-cut makes one, and needs root) D is
 * where that ext4 image is mounted, and instead of the process alone the file
 * system is shut down: what was not synced is gone. */
#include "../core/random.h"
#include "local.h"
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STREAMS   3
#define IN_FLIGHT 200
#define RETRIES   1000

#define EXT4_SHUTDOWN _IOR('X', 125, uint32_t)

struct note {
    uint32_t stream;
    uint64_t id;
};

struct run {
    char directory[200], store[220];
    struct random random;
    const char *image;          /* NULL: only processes are killed */
    uint64_t answered[STREAMS]; /* the highest id */
    uint64_t found[STREAMS];
    uint64_t rounds, answers;
};

static void
die(const char *what)
{
    fprintf(stderr, "store-crash: %s\n", what);
    exit(1);
}

/* ---- the store ----------------------------------------------------------- */

struct side {
    struct store *store;
    struct store_port *port;
    int event;
    uint32_t streams[STREAMS];
    struct store_result result; /* of ensure */
    bool came;
};

static void
wake(void *arg)
{
    uint64_t one = 1;
    ssize_t n = write(((struct side *)arg)->event, &one, sizeof one);
    (void)n;
}

static void
no_room(void *arg)
{
    (void)arg;
}

static void
turn(struct side *side)
{
    struct pollfd fd = {.fd = side->event, .events = POLLIN};
    uint64_t woken;
    store_tick(side->port);
    (void)poll(&fd, 1, 100);
    ssize_t n = read(side->event, &woken, sizeof woken);
    (void)n;
    store_poll(side->port);
}

static void
ensured(void *arg, const struct store_result *result)
{
    struct side *side = arg;
    side->result = *result;
    side->came = true;
}

static void
open_side(struct side *side, const char *directory)
{
    char why[200] = "";
    const struct store_limits none = {0};
    const struct store_local_options options = {.directory = directory,
        .journal_bytes = 256 * 1024,
        .memory_bytes = 256 * 1024,
        .reserve_bytes = 1};
    memset(side, 0, sizeof *side);
    side->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    side->store = store_local_open(&options, why, sizeof why);
    if (side->store == NULL) {
        die(why);
    }
    const struct store_port_hooks hooks = {
        .wake = wake, .room = no_room, .arg = side};
    side->port = store_port_open(side->store, &hooks);
    for (unsigned i = 0; i < STREAMS; i++) {
        char name[16];
        model_name(i, name);
        side->came = false;
        if (store_ensure(side->port, name, &none, ensured, side) != STORE_OK) {
            die("a stream cannot be made");
        }
        while (!side->came) {
            turn(side);
        }
        side->streams[i] = side->result.stream;
    }
}

static void
close_side(struct side *side)
{
    store_port_close(side->port);
    store_close(side->store);
    close(side->event);
}

/* ---- the child ----------------------------------------------------------- */

struct child {
    struct side side;
    int pipe;
    bool may_fail;
    unsigned in_flight;
};

struct sent {
    struct child *child;
    struct note note;
};

/* A store that has failed refuses: after a power cut that is all right. */
static void
answered(void *arg, const struct store_result *result)
{
    struct sent *sent = arg;
    if (result->status != STORE_OK && result->status != STORE_DUPLICATE) {
        if (sent->child->may_fail) {
            pause();
        }
        die("an append is refused");
    }
    if (write(sent->child->pipe, &sent->note, sizeof sent->note) !=
        (ssize_t)sizeof sent->note) {
        die("the pipe is gone");
    }
    sent->child->in_flight--;
    free(sent);
}

static bool
send_one(struct child *child, unsigned i, uint64_t id, bool is_retry)
{
    uint8_t record[8192];
    char publisher[16];
    struct sent *sent = malloc(sizeof *sent);
    if (sent == NULL) {
        die("no memory");
    }
    *sent = (struct sent){.child = child, .note = {.stream = i, .id = id}};
    model_record_write(id, record);
    model_name(i, publisher);
    const struct store_append append = {.stream = child->side.streams[i],
        .records = record,
        .bytes = model_record_bytes(id),
        .count = 1,
        .publisher = publisher,
        .publisher_bytes = strlen(publisher),
        .number = (uint32_t)id,
        .is_retry = is_retry,
        .time_ms = id};
    if (store_append(child->side.port, &append, answered, sent) != STORE_OK) {
        free(sent);
        return false;
    }
    child->in_flight++;
    return true;
}

static void
run_child(struct run *run, int pipe)
{
    struct child child = {.pipe = pipe, .may_fail = run->image != NULL};
    uint64_t next[STREAMS];
    open_side(&child.side, run->store);
    for (unsigned i = 0; i < STREAMS; i++) {
        next[i] = run->answered[i] + 1;
    }
    for (;;) {
        unsigned i = random_below(&run->random, STREAMS);
        if (child.in_flight < IN_FLIGHT &&
            send_one(
                &child, i, next[i], next[i] <= run->answered[i] + RETRIES)) {
            next[i]++;
        } else {
            turn(&child.side);
        }
        if (random_chance(&run->random, 5)) {
            turn(&child.side);
        }
    }
}

/* ---- the parent ---------------------------------------------------------- */

struct reading {
    bool came, any;
    uint64_t next, last_id;
};

static void
read_done(void *arg, const struct store_batch *batch)
{
    struct reading *reading = arg;
    reading->came = true;
    reading->any = batch->run_count != 0;
    reading->next = batch->next;
    for (size_t r = 0; r < batch->run_count; r++) {
        const uint8_t *record = batch->runs[r].records;
        for (uint32_t i = 0; i < batch->runs[r].count; i++) {
            uint64_t id = reading->last_id + 1;
            size_t bytes = model_record_bytes(id);
            if (model_record_read(record, bytes) != id) {
                fprintf(stderr, "behind id %" PRIu64 ": ", id - 1);
                die("a record is missing, twice there, or damaged");
            }
            reading->last_id = id;
            record += bytes;
        }
    }
    if (batch->damaged != 0) {
        die("records are damaged");
    }
}

static void
check(struct run *run)
{
    struct side side;
    struct store_stats stats;
    open_side(&side, run->store);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct reading reading = {.any = true};
        while (reading.any) {
            reading.came = false;
            if (store_read(side.port, side.streams[i], reading.next, 65536,
                    false, read_done, &reading) != STORE_OK) {
                die("reading is refused");
            }
            while (!reading.came) {
                turn(&side);
            }
        }
        if (reading.last_id < run->answered[i]) {
            fprintf(stderr,
                "stream %u ends at %" PRIu64 ", %" PRIu64 " was answered: ", i,
                reading.last_id, run->answered[i]);
            die("lost");
        }
        run->found[i] = reading.last_id;
    }
    store_get_stats(side.store, &stats);
    if (stats.damaged != 0) {
        die("it tells of damage, and there is none");
    }
    close_side(&side);
}

/* False: there is no more. */
static bool
take_note(struct run *run, int pipe)
{
    struct note note;
    if (read(pipe, &note, sizeof note) != (ssize_t)sizeof note) {
        return false;
    }
    if (note.id != run->answered[note.stream] + 1) {
        die("answers are not in order");
    }
    run->answered[note.stream] = note.id;
    run->answers++;
    return true;
}

/* The pipe must not become full meanwhile. */
static void
let_it_live(struct run *run, int pipe)
{
    struct timespec begin;
    struct timespec now;
    int64_t lifetime_ms = random_between(&run->random, 5, 150);
    int64_t passed_ms = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (passed_ms < lifetime_ms) {
        struct pollfd fd = {.fd = pipe, .events = POLLIN};
        if (poll(&fd, 1, 1) == 1 && !take_note(run, pipe)) {
            die("the child ended by itself");
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed_ms = (now.tv_sec - begin.tv_sec) * 1000 +
                    (now.tv_nsec - begin.tv_nsec) / 1000000;
    }
}

/* As engines of databases test it: the journal of ext4 is not flushed. */
static void
cut_power(const struct run *run)
{
    uint32_t no_log_flush = 2;
    int fd = open(run->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, EXT4_SHUTDOWN, &no_log_flush) != 0) {
        die("the file system cannot be shut down");
    }
    close(fd);
}

static void
mount_again(const struct run *run)
{
    char command[1000];
    snprintf(command, sizeof command, "umount '%s' && mount -o loop '%s' '%s'",
        run->directory, run->image, run->directory);
    if (system(command) != 0) {
        die("the image cannot be mounted again");
    }
}

static void
run_round(struct run *run)
{
    int pipes[2];
    if (pipe(pipes) != 0) {
        die("pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        run_child(run, pipes[1]);
    }
    if (pid < 0) {
        die("fork");
    }
    close(pipes[1]);
    (void)random_next(&run->random);
    let_it_live(run, pipes[0]);
    if (run->image != NULL) {
        cut_power(run);
    }
    kill(pid, SIGKILL);
    while (take_note(run, pipes[0])) {
    }
    waitpid(pid, NULL, 0);
    close(pipes[0]);
    if (run->image != NULL) {
        mount_again(run);
    }
    check(run);
    run->rounds++;
}

static int
remove_one(
    const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    (void)type;
    (void)where;
    return remove(path);
}

int
main(int argc, char **argv)
{
    struct run run = {.directory = "/tmp/store-crash-XXXXXX"};
    uint64_t rounds = 20;
    bool own = true;
    run.random.state = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0) {
            rounds = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            run.random.state = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--directory") == 0) {
            snprintf(run.directory, sizeof run.directory, "%s", argv[i + 1]);
            own = false;
        } else if (strcmp(argv[i], "--image") == 0) {
            run.image = argv[i + 1];
        }
    }
    if (own && mkdtemp(run.directory) == NULL) {
        die("no directory");
    }
    snprintf(run.store, sizeof run.store, "%s/store", run.directory);
    while (run.rounds < rounds) {
        run_round(&run);
    }
    printf("%" PRIu64 " kills, %" PRIu64 " answers, none lost; found %" PRIu64
           " %" PRIu64 " %" PRIu64 "\n",
        run.rounds, run.answers, run.found[0], run.found[1], run.found[2]);
    if (own) {
        nftw(run.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    return 0;
}
