/* SPDX-License-Identifier: MIT
 *
 * Input as lines and as a whole, and tables.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "input.h"
#include "stats_table.h"
#include "table.h"

/* A descriptor from which `data` can be read. */
static int
holding(const void *data, size_t len)
{
    const int fd = memfd_create("input", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* The next line as pub gets it: reading whenever there is not enough. */
static enum input_result
next(struct input *input, const uint8_t **line, size_t *len)
{
    enum input_result result;

    while ((result = input_line(input, line, len)) == INPUT_MORE) {
        (void)input_read(input);
    }
    return result;
}

static void
expect_lines(const char *data, size_t count, const char *const *lines)
{
    const int fd = holding(data, strlen(data));
    struct input input;
    const uint8_t *line;
    size_t len;

    input_init(&input, fd, 100);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(next(&input, &line, &len), INPUT_OK, "line %zu", i);
        cr_assert_eq(len, strlen(lines[i]));
        cr_assert_eq(memcmp(line, lines[i], len), 0);
        cr_assert_eq(input.lines, i + 1);
    }
    cr_assert_eq(next(&input, &line, &len), INPUT_END);
    input_fini(&input);
    close(fd);
}

Test(lines, what_counts_as_a_line)
{
    expect_lines("", 0, NULL);
    expect_lines("a", 1, (const char *[]){"a"});
    expect_lines("a\n", 1, (const char *[]){"a"});
    expect_lines("a\nb", 2, (const char *[]){"a", "b"});
    expect_lines("\n\na\r\n\n", 4, (const char *[]){"", "", "a\r", ""});
}

Test(lines, the_limit_is_exact)
{
    const int fd = holding("12345\n123456\n", 13);
    struct input input;
    const uint8_t *line;
    size_t len;

    input_init(&input, fd, 5);
    cr_assert_eq(next(&input, &line, &len), INPUT_OK);
    cr_assert_eq(next(&input, &line, &len), INPUT_LONG);
    input_fini(&input);
    close(fd);
}

/* A line without end is refused, and does not fill the memory first. */
Test(lines, endless_line)
{
    const int fd = open("/dev/zero", O_RDONLY);
    struct input input;
    const uint8_t *line;
    size_t len;

    input_init(&input, fd, 1000000);
    cr_assert_eq(next(&input, &line, &len), INPUT_LONG);
    cr_assert_lt(input.cap, 4000000);
    input_fini(&input);
    close(fd);
}

Test(lines, many_of_every_length)
{
    enum { COUNT = 2000 };
    char *data = malloc(COUNT * (COUNT + 1));
    struct input input;
    const uint8_t *line;
    size_t len, used = 0;
    int fd;

    for (size_t i = 0; i < COUNT; i++) {
        memset(data + used, 'a' + (int)(i % 26), i);
        used += i;
        data[used++] = '\n';
    }
    fd = holding(data, used);
    input_init(&input, fd, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(next(&input, &line, &len), INPUT_OK);
        cr_assert_eq(len, i);
        cr_assert(len == 0 || line[0] == 'a' + (int)(i % 26));
        cr_assert(len == 0 || line[len - 1] == 'a' + (int)(i % 26));
    }
    cr_assert_eq(next(&input, &line, &len), INPUT_END);
    input_fini(&input);
    close(fd);
    free(data);
}

Test(whole, up_to_the_limit)
{
    enum { LEN = 700000 };
    uint8_t *data = malloc(LEN);
    struct input input;
    const uint8_t *got;
    size_t len;
    int fd;

    for (size_t i = 0; i < LEN; i++) {
        data[i] = (uint8_t)(i ^ i >> 8);
    }
    fd = holding(data, LEN);
    input_init(&input, fd, LEN);
    cr_assert_eq(input_whole(&input, &got, &len), INPUT_OK);
    cr_assert_eq(len, LEN);
    cr_assert_eq(memcmp(got, data, LEN), 0);
    input_fini(&input);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    input_init(&input, fd, LEN - 1);
    cr_assert_eq(input_whole(&input, &got, &len), INPUT_LONG);
    input_fini(&input);
    close(fd);
    free(data);
}

Test(whole, a_folder_cannot_be_read)
{
    const int fd = open("/", O_RDONLY);
    struct input input;
    const uint8_t *got;
    size_t len;

    input_init(&input, fd, 10);
    cr_assert_eq(input_whole(&input, &got, &len), INPUT_FAILED);
    cr_assert_neq(input.failed_errno, 0);
    input_fini(&input);
    close(fd);
}

static void
expect_out(const struct out *out, const char *expected)
{
    cr_assert_eq(out_pending(out), strlen(expected));
    cr_assert_eq(memcmp(out->data, expected, strlen(expected)), 0, "%.*s",
        (int)out_pending(out), (const char *)out->data);
}

Test(table, columns_align)
{
    static const enum table_align align[] = {TABLE_LEFT, TABLE_RIGHT};
    static const char *const cells[] = {
        "key", "n", "\xc3\xa4\xc3\xb6", "1234", "esc\x1b[", "5"};
    struct table table;
    struct out out;

    out_init(&out, -1);
    table_init(&table, 2, align);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        table_add(&table, cells[i]);
    }
    cr_assert(table_print(&table, &out));
    expect_out(&out, "key       n\n"
                     "\xc3\xa4\xc3\xb6     1234\n"
                     "esc?[     5\n");
    table_fini(&table);
    out_fini(&out);
}

static json_t *
json(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);

    cr_assert_not_null(value);
    return value;
}

Test(stats, totals_as_they_come)
{
    json_t *answer =
        json("{\"version\":\"1\",\"new\":{\"a\":1,\"b\":true},\"n\":null}");
    struct out out;

    out_init(&out, -1);
    cr_assert(stats_table_totals(&out, answer));
    expect_out(&out, "version     1\n"
                     "new.a       1\n"
                     "new.b    true\n"
                     "n           -\n");
    out_fini(&out);
    json_decref(answer);
}

Test(stats, rows_and_books)
{
    json_t *list =
        json("[{\"id\":1,\"filter\":\"a\",\"matched\":5,\"delivered\":3,"
             "\"queued\":1,\"dropped\":1,\"why\":{\"a\":0,\"b\":1}},{\"id\":22,"
             "\"filter\":\"b/#\","
             "\"matched\":5,\"delivered\":3,\"queued\":1,\"dropped\":0,"
             "\"more\":9}]");
    struct out out;

    cr_assert_eq(stats_books_off(json_array_get(list, 0)), 0);
    cr_assert_eq(stats_books_off(json_array_get(list, 1)), 1);
    out_init(&out, -1);
    cr_assert(stats_table_rows(&out, list));
    expect_out(&out,
        "id  filter  matched  delivered  queued  dropped  why  more  balance\n"
        " 1  a             5          3       1        1  b 1     -  ok\n"
        "22  b/#           5          3       1        0  -       9  off by "
        "1\n");
    out_fini(&out);
    json_decref(list);
}
