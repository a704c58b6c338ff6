/* SPDX-License-Identifier: MIT
 *
 * Mistakes in the two files: every one is said, with place and remedy, nothing
 * is loaded, and nothing secret is repeated.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"

#define TOKEN                                                                  \
    "token:0123456789abcdef0123456789abcdef"                                   \
    "0123456789abcdef0123456789abcdef"
#define PASSWORD                                                               \
    "$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"                   \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

struct mistake {
    const char *line;
    const char *says;
};

static size_t
lines_in(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

/* The line, second in the file, is the only mistake. */
static void
expect_mistake(bool is_password, const struct mistake *mistake)
{
    struct folder folder = folder_new();
    char text[1024], place[128];
    struct access *access;

    snprintf(text, sizeof text, "# comment\n%s\n", mistake->line);
    access = is_password ? folder_load(&folder, text, NULL)
                         : folder_load(&folder, NULL, text);
    snprintf(place, sizeof place,
        "%s:2: ", is_password ? folder.password_file : folder.access_file);
    cr_assert_null(access, "loaded: %s", mistake->line);
    cr_assert_eq(
        strncmp(folder.errors, place, strlen(place)), 0, "%s", folder.errors);
    cr_assert_not_null(strstr(folder.errors, mistake->says), "%s: %s",
        mistake->line, folder.errors);
    cr_assert_eq(lines_in(folder.errors), 1, "%s", folder.errors);
    folder_free(&folder);
}

Test(access_errors, access_file)
{
    static const struct mistake mistakes[] = {
        {"alow alice publish a", "unknown statement \"alow\""},
        {"group", "not of the form: group NAME"},
        {"group @staff alice", "without its @"},
        {"group sta/ff", "a name has 1 to 64"},
        {"group staff al+ice", "\"al+ice\": a name has 1 to 64"},
        {"group staff alice alice", "alice is in this group already"},
        {"unix alice", "not of the form: unix USER"},
        {"unix alice 1 2", "not of the form: unix USER"},
        {"unix alice 4294967295", "no account \"4294967295\""},
        {"unix alice no-such-account", "no account \"no-such-account\""},
        {"unix owner 5", "a name that brokerd gives itself"},
        {"unix uid:5 5", "a name that brokerd gives itself"},
        {"certificate alice", "not of the form: certificate USER"},
        {"certificate owner x", "a name that brokerd gives itself"},
        {"certificate a%u x", "a name has 1 to 64"},
        {"allow alice publish", "not of the form: allow|deny"},
        {"deny alice", "not of the form: allow|deny"},
        {"deny", "not of the form: allow|deny"},
        {"allow al/ice publish a", "a name has 1 to 64"},
        {"allow @ publish a", "a name has 1 to 64"},
        {"allow owner publish a", "owner, who may always do everything"},
        {"allow alice read a", "\"read\": write publish, subscribe or all"},
        {"allow alice publish a#", "\"a#\" is no filter"},
        {"allow alice publish #/a", "is no filter"},
        {"allow alice publish a\xFF", "\"a\\xff\" is no filter"},
        {"allow alice publish \"\"", "is no filter"},
        {"allow alice publish \"a b", "must end with \""},
        {"allow alice publish \"a b\" c", "something stands behind"},
        {"allow alice publish a # why", "a comment into a line of its own"},
        {"allow alice publish a/%", "behind a %"},
        {"allow alice publish %i/a", "behind a %"},
        {"allow alice publish a\x01", "control characters"},
        {"allow @nobody publish a", "there is no group nobody"},
        {"unix @nobody 5", "there is no group nobody"},
    };

    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        expect_mistake(false, &mistakes[i]);
    }
}

Test(access_errors, password_file)
{
    static const struct mistake mistakes[] = {
        {"alice", "not of the form NAME:HASH"},
        {"alice:secret", "this is no hash of brokerctl passwd"},
        {"al/ice:" TOKEN, "a name has 1 to 64"},
        {"owner:" TOKEN, "owner is a name that brokerd gives itself"},
        {"uid:5:" PASSWORD, "uid:5 is a name that brokerd gives itself"},
        {"alice:" TOKEN "0", "the hash of the token is damaged"},
        {"alice:" PASSWORD "*", "the hash is damaged"},
        {"alice:" PASSWORD "A", "made with other costs"},
        {"alice:$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "made with other costs"},
        {"a\tb:" TOKEN, "a name has 1 to 64"},
    };

    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        expect_mistake(true, &mistakes[i]);
    }
}

/* Lines that contradict an earlier one. */
Test(access_errors, twice)
{
    static const struct mistake mistakes[] = {
        {"group a\ngroup a b", "group a is there already, in line 1"},
        {"unix alice 5\nunix bob 5", "uid 5 is mapped already, in line 1"},
        {"unix alice 5\nunix alice 5", "uid 5 is mapped already, in line 1"},
        {"certificate alice x y\ncertificate bob x  y", ""},
        {"certificate alice x y\ncertificate bob x y",
            "a user already, in line 1"},
        {"allow alice all a\ndeny alice publish a", "line 1 decides this"},
        {"allow * all a\nallow * all a", "line 1 decides this"},
        {"allow alice publish a\nallow alice all a", ""},
        {"allow alice publish a\nallow * publish a", ""},
    };

    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct folder folder = folder_new();
        struct access *access = folder_load(&folder, NULL, mistakes[i].line);

        cr_assert_eq(access == NULL, mistakes[i].says[0] != '\0', "%s",
            mistakes[i].line);
        cr_assert_not_null(
            strstr(folder.errors, mistakes[i].says), "%s", folder.errors);
        access_unref(access);
        folder_free(&folder);
    }
}

Test(access_errors, the_same_gid_twice)
{
    struct folder folder = folder_new();

    cr_assert_null(folder_load(
        &folder, NULL, "group a\nunix @a 5\nunix @a 5\nunix @a 6\n"));
    cr_assert_not_null(
        strstr(folder.errors, ":3: gid 5 is mapped already, in line 2"));
    cr_assert_eq(lines_in(folder.errors), 1, "%s", folder.errors);
    folder_free(&folder);
}

Test(access_errors, no_such_group_of_the_machine)
{
    struct folder folder = folder_new();

    cr_assert_null(
        folder_load(&folder, NULL, "group a\nunix @a no-such-group\n"));
    cr_assert_not_null(
        strstr(folder.errors, ":2: this machine has no group \"no-such"));
    cr_assert_eq(lines_in(folder.errors), 1, "%s", folder.errors);
    folder_free(&folder);
}

Test(access_errors, secrets_twice)
{
    struct folder folder = folder_new();

    cr_assert_null(folder_load(&folder,
        "alice:" PASSWORD "\nalice:" TOKEN "\nbob:" TOKEN "\nalice:" PASSWORD
        "\nalice:" TOKEN "\n",
        NULL));
    cr_assert_not_null(
        strstr(folder.errors, ":4: alice has a password already, in line 1"));
    cr_assert_not_null(strstr(folder.errors, ":5: alice has this token"));
    cr_assert_eq(lines_in(folder.errors), 2, "%s", folder.errors);
    folder_free(&folder);
}

Test(access_errors, all_mistakes_of_both_files_are_said)
{
    struct folder folder = folder_new();

    cr_assert_null(folder_load(&folder, "alice\n\nbob\n",
        "allow\nallow alice publish a\nallow alice publish a#\n"
        "allow @a publish b\nallow * x y#\n"));
    cr_assert_eq(lines_in(folder.errors), 7, "%s", folder.errors);
    folder_free(&folder);
}

Test(access_errors, the_errors_of_a_file_are_bounded)
{
    struct folder folder = folder_new();
    char text[1000];

    memset(text, 'x', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2) {
        text[i] = '\n';
    }
    text[sizeof text - 1] = '\0';
    cr_assert_null(folder_load(&folder, NULL, text));
    cr_assert_eq(lines_in(folder.errors), 51);
    cr_assert_not_null(strstr(folder.errors, "there are more errors"));
    folder_free(&folder);
}

Test(access_errors, too_many_rules)
{
    struct folder folder = folder_new();
    size_t len;
    char *text;
    FILE *file = open_memstream(&text, &len);

    for (unsigned i = 0; i < 4097; i++) {
        fprintf(file, "allow alice publish topic/%u\n", i);
    }
    fclose(file);
    cr_assert_null(folder_load(&folder, NULL, text));
    cr_assert_not_null(strstr(folder.errors, ":4097: more than 4096 rules"));
    cr_assert_eq(lines_in(folder.errors), 1);
    free(text);
    folder_free(&folder);
}

/* %u is as long as a name may be. */
Test(access_errors, limits_hold_with_the_longest_name)
{
    struct folder folder = folder_new();
    struct access_sources sources = {.access_file = folder.access_file,
        .max_topic_bytes = 66,
        .max_topic_levels = 3};
    struct access *access;
    FILE *nowhere = fopen("/dev/null", "w");

    folder_write(folder.access_file, "allow * all a/%u\n", 0644);
    access = access_load(&sources, stderr);
    cr_assert_not_null(access);
    access_unref(access);
    sources.max_topic_bytes = 65;
    cr_assert_null(access_load(&sources, nowhere));
    sources.max_topic_bytes = 66;
    sources.max_topic_levels = 1;
    cr_assert_null(access_load(&sources, nowhere));
    fclose(nowhere);
    folder_free(&folder);
}

static void
expect_file_error(struct folder *folder, const struct access_sources *sources,
    const char *says)
{
    size_t len;
    FILE *errors;

    free(folder->errors);
    errors = open_memstream(&folder->errors, &len);
    cr_assert_null(access_load(sources, errors));
    fclose(errors);
    cr_assert_not_null(strstr(folder->errors, says), "%s", folder->errors);
    cr_assert_eq(lines_in(folder->errors), 1);
}

Test(access_errors, files)
{
    struct folder folder = folder_new();
    struct access_sources passwords = {.password_file = folder.password_file};
    struct access_sources rules = {.access_file = folder.access_file};
    struct access *access;

    expect_file_error(
        &folder, &passwords, "passwords: cannot read it: No such");
    folder_write(folder.password_file, "alice:" TOKEN "\n", 0604);
    expect_file_error(&folder, &passwords, "run: chmod o-rwx /tmp/access-");
    folder_write(folder.password_file, "alice:" TOKEN "\n", 0602);
    expect_file_error(&folder, &passwords, "everybody on this machine may");
    folder_write(folder.password_file, "alice:" TOKEN "\n", 0640);
    access = access_load(&passwords, stderr);
    cr_assert_not_null(access);
    access_unref(access);

    folder_write(folder.access_file, "", 0646);
    expect_file_error(&folder, &rules, "run: chmod o-w /tmp/access-");
    rules.access_file = folder.path;
    expect_file_error(&folder, &rules, "not a regular file");
    rules.access_file = "/dev/zero";
    expect_file_error(&folder, &rules, "not a regular file");
    folder_free(&folder);
}

/* Whatever stands in the password file, none of it is in the errors. */
Test(access_errors, nothing_secret_is_repeated)
{
    struct folder folder = folder_new();

    cr_assert_null(folder_load(&folder,
        "hunter2\n"
        "alice:hunter2\n"
        "alice:$6$hunter2\n"
        "hunter2 hunter2:" TOKEN "\n"
        "alice:token:hunter2\n",
        NULL));
    cr_assert_eq(lines_in(folder.errors), 5, "%s", folder.errors);
    cr_assert_null(strstr(folder.errors, "hunter2"), "%s", folder.errors);
    cr_assert_null(strstr(folder.errors, "0123456789"), "%s", folder.errors);
    folder_free(&folder);
}
