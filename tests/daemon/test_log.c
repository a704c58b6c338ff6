/* SPDX-License-Identifier: MIT
 *
 * The form of log lines, seen from outside: standard error is a pipe, and what
 * comes out of it is compared.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static int pipe_end;
static char output[256 * 1024];

/* Standard error becomes a pipe; Criterion's own output goes elsewhere. */
static void
catch_stderr(void)
{
    int ends[2];

    unsetenv("JOURNAL_STREAM");
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert(fcntl(ends[1], F_SETPIPE_SZ, (int)sizeof(output)) > 0);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    pipe_end = ends[0];
}

/* Everything that was written since the last call. */
static const char *
caught(void)
{
    ssize_t n = read(pipe_end, output, sizeof(output) - 1);

    output[n > 0 ? n : 0] = '\0';
    return output;
}

/* The line after its time. */
static const char *
caught_tail(void)
{
    const char *space = strchr(caught(), ' ');

    cr_assert_not_null(space, "no line: %s", output);
    return space + 1;
}

static bool
matches(const char *text, const char *pattern)
{
    regex_t regex;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

TestSuite(log, .init = catch_stderr, .timeout = 60);

Test(log, a_line_has_time_level_tag_and_pairs)
{
    log_event(LOG_LEVEL_INFO, "conn-open", "conn=%u peer=%s", 17u, "unix");
    cr_assert(matches(caught(),
                  "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                  "\\.[0-9]{3}Z info conn-open conn=17 peer=unix\n$"),
        "%s", output);
}

Test(log, levels_filter)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    for (int lowest = LOG_LEVEL_DEBUG; lowest <= LOG_LEVEL_ERROR; lowest++) {
        log_open((enum log_level)lowest);
        cr_assert_eq((int)log_get_level(), lowest);
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
            char expected[64];
            log_event((enum log_level)level, "tag", "x=%d", level);
            snprintf(expected, sizeof(expected), " %s tag x=%d\n", names[level],
                level);
            cr_assert_eq(log_enabled((enum log_level)level), level >= lowest);
            cr_assert_str_eq(
                log_level_name((enum log_level)level), names[level]);
            if (level >= lowest) {
                cr_assert_not_null(strstr(caught(), expected));
            } else {
                cr_assert_str_eq(caught(), "");
            }
        }
    }
}

Test(log, info_is_the_level_at_start)
{
    cr_assert_eq(log_get_level(), LOG_LEVEL_INFO);
    log_set_level(LOG_LEVEL_DEBUG);
    cr_assert(log_enabled(LOG_LEVEL_DEBUG));
}

Test(log, the_journal_gets_its_priority_and_no_time)
{
    static const char *const prefixes[] = {"<7>", "<6>", "<4>", "<3>"};
    char stream[64];
    struct stat st;

    cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
        (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open(LOG_LEVEL_DEBUG);
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        char expected[64];
        snprintf(expected, sizeof(expected), "%s%s tag x=1\n", prefixes[level],
            log_level_name((enum log_level)level));
        log_event((enum log_level)level, "tag", "x=1");
        cr_assert_str_eq(caught(), expected);
    }
}

Test(log, a_journal_that_is_not_ours_does_not_count)
{
    static const char *const streams[] = {"1:1", "", "nonsense", "5", ":"};

    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        log_open(LOG_LEVEL_INFO);
        log_event(LOG_LEVEL_INFO, "tag", "x=1");
        cr_assert_neq(caught()[0], '<', "%s", streams[i]);
    }
}

Test(log, no_byte_makes_a_second_line)
{
    char value[257];

    for (int i = 0; i < 255; i++) {
        value[i] = (char)(i + 1);
    }
    value[255] = '\0';
    log_event(LOG_LEVEL_INFO, "tag", "value=%s", value);
    size_t len = strlen(caught());
    for (size_t i = 0; i + 1 < len; i++) {
        cr_assert(output[i] >= 0x20 && output[i] < 0x7f, "byte %zu", i);
    }
    cr_assert_eq(output[len - 1], '\n');
}

Test(log, raw_bytes_are_escaped)
{
    log_event(
        LOG_LEVEL_INFO, "tag", "a=%s b=%s", "x\ny\t\r\x1b[0m", "\xff\x7f");
    cr_assert_str_eq(
        caught_tail(), "info tag a=x\\ny\\t\\r\\x1b[0m b=\\xff\\x7f\n");
}

struct quote_case {
    const char *bytes;
    size_t len;
    const char *text;
};

Test(log, quote)
{
    static const struct quote_case cases[] = {
        {"", 0, "\"\""},
        {NULL, 0, "\"\""},
        {"plain", 5, "plain"},
        {"a/b:c.d-e", 9, "a/b:c.d-e"},
        {"two words", 9, "\"two words\""},
        {"k=v", 3, "\"k=v\""},
        {"say \"hi\"", 8, "\"say \\\"hi\\\"\""},
        {"back\\slash", 10, "\"back\\\\slash\""},
        {"a\nb", 3, "\"a\\nb\""},
        {"a\r\tb", 4, "\"a\\r\\tb\""},
        {"a\0b", 3, "\"a\\x00b\""},
        {"\xc3\xa4", 2, "\"\\xc3\\xa4\""},
        {"\x7f", 1, "\"\\x7f\""},
    };
    char text[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_str_eq(
            log_quote(text, sizeof(text), cases[i].bytes, cases[i].len),
            cases[i].text);
    }
}

Test(log, quote_never_passes_the_end)
{
    char text[64];
    char bytes[64];

    for (int kind = 0; kind < 3; kind++) {
        memset(bytes, "x\n\""[kind], sizeof(bytes));
        for (size_t cap = LOG_QUOTE_BYTES_MIN; cap < sizeof(text); cap++) {
            for (size_t len = 0; len <= sizeof(bytes); len++) {
                memset(text, '~', sizeof(text));
                log_quote(text, cap, bytes, len);
                cr_assert_lt(strlen(text), cap);
                cr_assert_eq(text[cap], '~');
            }
        }
    }
}

Test(log, quote_says_that_it_left_something_out)
{
    char text[16];

    log_quote(text, sizeof(text), "0123456789abcdef", 16);
    cr_assert_str_eq(text, "\"0123456789\"...");
    log_quote(text, sizeof(text), "0123456789abcde", 15);
    cr_assert_str_eq(text, "0123456789abcde");
}

Test(log, a_long_line_is_cut_and_says_so)
{
    char value[3 * LOG_LINE_BYTES_MAX];

    memset(value, 'x', sizeof(value));
    for (size_t len = LOG_LINE_BYTES_MAX - 200; len < sizeof(value);
         len += len < LOG_LINE_BYTES_MAX + 10 ? 1 : 1000) {
        log_event(LOG_LEVEL_INFO, "tag", "value=%.*s", (int)len, value);
        size_t n = strlen(caught());
        cr_assert_leq(n, (size_t)LOG_LINE_BYTES_MAX);
        cr_assert_eq(output[n - 1], '\n');
        const char *first = strstr(output, "value=") + strlen("value=");
        cr_assert_eq(strspn(first, "x") < len,
            strstr(output, " truncated=yes\n") != NULL, "%zu", len);
    }
}

/* An open quote would swallow what follows it. */
Test(log, a_quote_that_is_cut_is_closed)
{
    char value[2 * LOG_LINE_BYTES_MAX];
    char pairs[LOG_LINE_BYTES_MAX * 4];

    memset(value, '"', sizeof(value));
    for (size_t shift = 0; shift < 8; shift++) {
        log_quote(pairs, sizeof(pairs), value, sizeof(value) / 2);
        log_event(
            LOG_LEVEL_INFO, "tag", "%.*sv=%s", (int)shift, "abcdefgh", pairs);
        cr_assert(matches(caught(), "v=\"(\\\\\")+\" truncated=yes\n$"));
    }
}

Test(log, errno_survives)
{
    errno = ENOTDIR;
    log_event(LOG_LEVEL_INFO, "tag", "error=%m");
    cr_assert_eq(errno, ENOTDIR);
    cr_assert_str_eq(caught_tail(), "info tag error=Not a directory\n");
    close(STDERR_FILENO);
    log_event(LOG_LEVEL_INFO, "tag", "x=1");
    cr_assert_eq(errno, ENOTDIR);
}

Test(log, lost_lines_are_counted)
{
    int saved = dup(STDERR_FILENO);

    close(STDERR_FILENO);
    for (int i = 0; i < 3; i++) {
        log_event(LOG_LEVEL_INFO, "lost", "i=%d", i);
    }
    dup2(saved, STDERR_FILENO);
    log_event(LOG_LEVEL_INFO, "tag", "x=1");
    cr_assert_str_eq(caught_tail(), "info tag x=1 lines_lost=3\n");
    log_event(LOG_LEVEL_INFO, "tag", "x=2");
    cr_assert_str_eq(caught_tail(), "info tag x=2\n");
}

enum { THREADS = 4, LINES_EACH = 250 };

static void *
write_lines(void *arg)
{
    for (int i = 0; i < LINES_EACH; i++) {
        log_event(LOG_LEVEL_INFO, "thread", "t=%d i=%d", *(int *)arg, i);
    }
    return NULL;
}

Test(log, lines_of_threads_do_not_mix)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    int seen[THREADS] = {0};

    for (int t = 0; t < THREADS; t++) {
        numbers[t] = t;
        cr_assert_eq(
            pthread_create(&threads[t], NULL, write_lines, &numbers[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    caught();
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n")) {
        int t = -1;
        int i = -1;
        cr_assert_eq(
            sscanf(line, "%*s info thread t=%d i=%d", &t, &i), 2, "%s", line);
        cr_assert(t >= 0 && t < THREADS);
        cr_assert_eq(i, seen[t]++);
    }
    for (int t = 0; t < THREADS; t++) {
        cr_assert_eq(seen[t], LINES_EACH);
    }
}
