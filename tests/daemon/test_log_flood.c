/* SPDX-License-Identifier: MIT
 *
 * The log when it cannot be written, and when there is too much of it: nobody
 * waits, and what is missing is counted.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flood.h"
#include "log.h"

/* A log that waits does not end; then this ends the test. */
TestSuite(log_flood, .timeout = 60);

static int reader; /* what standard error leads to */
static char text[1024 * 1024];
static size_t text_bytes;

static void
begin(int read_end, int write_end)
{
    unsetenv("JOURNAL_STREAM");
    cr_assert_geq(dup2(write_end, STDERR_FILENO), 0);
    close(write_end);
    reader = read_end;
    if (reader >= 0) {
        cr_assert_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    }
    log_open(LOG_LEVEL_INFO);
}

static void
begin_pipe(void)
{
    int ends[2];

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_geq(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
    begin(ends[0], ends[1]);
}

/* Read what there is, behind what was read before. */
static void
read_some(void)
{
    ssize_t n;

    while ((n = read(reader, text + text_bytes,
                sizeof(text) - 1 - text_bytes)) > 0) {
        text_bytes += (size_t)n;
    }
    text[text_bytes] = '\0';
}

static void
write_lines(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        log_event(LOG_LEVEL_WARNING, "tag", "i=%u", i);
    }
}

/* The sum of all NAME=N in the text. */
static unsigned long
sum_of(const char *name)
{
    unsigned long sum = 0;

    for (const char *at = text; (at = strstr(at, name)) != NULL;) {
        at += strlen(name);
        sum += strtoul(at, NULL, 10);
    }
    return sum;
}

/* Whole lines of the event. Fails if there is anything else. */
static unsigned long
count_lines(void)
{
    unsigned long lines = 0;

    for (const char *at = text; *at != '\0'; lines++) {
        const char *end = strchr(at, '\n');
        char when[32];
        int used = 0;
        cr_assert_not_null(end, "a line without its end");
        (void)sscanf(at, "%31s warning tag %n", when, &used);
        cr_assert_gt(used, 0, "%.*s", (int)(end - at), at);
        at = end + 1;
    }
    return lines;
}

static void
check_that_all_are_counted(void)
{
    write_lines(5000); /* nobody reads */
    read_some();
    unsigned long before = count_lines();
    cr_assert_gt(before, 0);
    cr_assert_lt(before, 5000);
    write_lines(1);
    read_some();
    cr_assert_eq(count_lines(), before + 1);
    cr_assert_eq(sum_of("lines_lost="), 5000 - before);
}

Test(log_flood, a_pipe_that_nobody_reads)
{
    begin_pipe();
    check_that_all_are_counted();
    cr_assert_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0,
        "the flag is everybody's who has this pipe");
}

Test(log_flood, a_socket_that_nobody_reads)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    begin(ends[0], ends[1]);
    check_that_all_are_counted();
}

/* As if it belonged to another user: no descriptor is left for opening it. */
Test(log_flood, a_pipe_that_cannot_be_opened_again)
{
    struct rlimit before, none;

    begin_pipe();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    log_open(LOG_LEVEL_INFO);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    check_that_all_are_counted();
}

Test(log_flood, a_pipe_without_reader)
{
    begin_pipe();
    close(reader);
    signal(SIGPIPE, SIG_IGN);
    write_lines(10);
}

Test(log_flood, a_full_disk)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    cr_assert_geq(full, 0);
    begin(-1, full);
    errno = ENOTDIR;
    write_lines(10);
    cr_assert_eq(errno, ENOTDIR);
    begin_pipe();
    write_lines(1);
    read_some();
    cr_assert_eq(count_lines(), 1);
    cr_assert_eq(sum_of("lines_lost="), 10);
}
/* A full file takes half a line. What comes later begins a new one. */
/* A full file takes half a line. What comes later begins a new one. */
Test(log_flood, a_line_that_was_cut_is_ended)
{
    char name[] = "/tmp/brokerd-log-XXXXXX";
    int fd = mkstemp(name);
    struct rlimit before, small;

    cr_assert_geq(fd, 0);
    unlink(name);
    signal(SIGXFSZ, SIG_IGN);
    begin(dup(fd), fd);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){100, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_lines(10);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    write_lines(1);
    cr_assert_eq(lseek(reader, 0, SEEK_SET), 0);
    read_some();
    cr_assert_gt(text_bytes, 101);
    cr_assert_eq(text[100], '\n');
    memmove(text, text + 101, text_bytes - 100);
    cr_assert_eq(count_lines(), 1);
    cr_assert_gt(sum_of("lines_lost="), 0);
}

/* ---- too much of it ------------------------------------------------------ */

Test(log_flood, lines_of_one_event_are_limited)
{
    static const unsigned limit = 7;
    unsigned before = 0;

    begin_pipe();
    log_set_lines_per_second(limit);
    write_lines(1000);
    read_some();
    before = (unsigned)count_lines();
    cr_assert_geq(before, limit);
    cr_assert_leq(before, 3 * limit, "in a second or two");
    before -= before % limit;                       /* perhaps a report */
    while (sum_of("suppressed=") + before < 1000) { /* the suite's timeout */
        log_flush();
        read_some();
    }
    cr_assert_eq(sum_of("suppressed=") + before, 1000);
}

Test(log_flood, other_events_are_not_limited_with_it)
{
    begin_pipe();
    log_set_lines_per_second(2);
    write_lines(10);
    log_event(LOG_LEVEL_INFO, "other", "x=1");
    read_some();
    cr_assert_not_null(strstr(text, "info other x=1\n"));
}

Test(log_flood, the_last_word_does_not_wait)
{
    begin_pipe();
    log_set_lines_per_second(1);
    write_lines(10);
    log_finish();
    read_some();
    unsigned long lines = count_lines();
    cr_assert_gt(sum_of("suppressed="), 0);
    log_finish();
    read_some();
    cr_assert_eq(count_lines(), lines, "said once");
}

Test(log_flood, debug_shows_everything)
{
    begin_pipe();
    log_set_lines_per_second(1);
    log_set_level(LOG_LEVEL_DEBUG);
    write_lines(10);
    read_some();
    cr_assert_eq(count_lines(), 10);
    cr_assert_eq(sum_of("suppressed="), 0);
}

/* ---- counting, with a clock of our own ----------------------------------- */

Test(log_flood, each_second_counts_anew)
{
    struct flood_report report;

    flood_set_limit(2);
    for (uint64_t second = 1; second <= 3; second++) {
        cr_assert(flood_admits("a", 1, second));
        cr_assert(flood_admits("a", 1, second));
        cr_assert_not(flood_admits("a", 2, second));
        cr_assert_not(flood_admits("a", 3, second));
        cr_assert_not(flood_next_report(second, &report), "not over yet");
        cr_assert(flood_next_report(second + 1, &report));
        cr_assert_str_eq(report.tag, "a");
        cr_assert_eq(report.suppressed, 2);
        cr_assert_eq(report.level, 3);
        cr_assert_not(flood_next_report(second + 1, &report));
        cr_assert_not(flood_is_pending());
    }
}

Test(log_flood, what_could_not_be_told_is_told_later)
{
    struct flood_report report;

    flood_set_limit(1);
    for (int i = 0; i < 6; i++) {
        (void)flood_admits("a", 1, 1);
    }
    cr_assert(flood_next_report(2, &report));
    flood_put_back(&report);
    cr_assert(flood_next_report(2, &report));
    cr_assert_eq(report.suppressed, 5);
}

Test(log_flood, more_events_than_places)
{
    static char tags[2 * FLOOD_EVENTS_MAX][16];
    struct flood_report report;
    uint64_t suppressed = 0;
    unsigned admitted = 0;

    flood_set_limit(1);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2 * FLOOD_EVENTS_MAX; i++) {
            snprintf(tags[i], sizeof(tags[i]), "tag-%zu", i);
            admitted += flood_admits(tags[i], 1, 1);
        }
    }
    cr_assert_eq(admitted, FLOOD_EVENTS_MAX + 3 * FLOOD_EVENTS_MAX);
    while (flood_next_report(2, &report)) {
        suppressed += report.suppressed;
    }
    cr_assert_eq(suppressed, 2 * FLOOD_EVENTS_MAX);
}
