/* SPDX-License-Identifier: MIT
 *
 * Who is who: accounts, certificates, passwords, tokens; and what stays true
 * after a reload.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"
#include "rights.h"
#include "secret.h"

#define NAME_BYTES (ACCESS_NAME_BYTES_MAX + 1)

/* A line of the password file. */
static const char *
password_line(const char *user, const char *password, char *line)
{
    char hash[SECRET_HASH_BYTES];

    cr_assert(secret_init());
    cr_assert(secret_hash_password(
        (const uint8_t *)password, strlen(password), hash));
    snprintf(line, SECRET_LINE_BYTES + 1, "%s:%s\n", user, hash);
    return line;
}

static struct access_identity
somebody(const char *user)
{
    struct access_identity identity = {.is_unix = false};

    snprintf(identity.user, sizeof identity.user, "%s", user);
    return identity;
}

static struct access_identity
account(const struct access *access, uint32_t uid, uint32_t gid)
{
    struct access_identity identity = {.is_unix = true, .uid = uid, .gid = gid};

    access_unix_user(access, uid, 500, identity.user);
    return identity;
}

static bool
may_publish(const struct access *access, const struct access_identity *identity,
    const char *topic)
{
    struct rights *rights = access_rights(access, identity);
    bool may;

    cr_assert_not_null(rights);
    may = rights_may_publish(rights,
        (struct broker_bytes){(const uint8_t *)topic, strlen(topic)}, NULL);
    rights_unref(rights);
    return may;
}

/* ---- accounts and certificates ------------------------------------------- */

Test(access, accounts)
{
    struct folder folder = folder_new();
    struct access *access = folder_load(&folder, NULL,
        "unix alice 1000\n"
        "unix admin 0\n"
        "unix alice 1001\n");
    char user[NAME_BYTES];

    access_unix_user(access, 1000, 500, user);
    cr_assert_str_eq(user, "alice");
    access_unix_user(access, 1001, 500, user);
    cr_assert_str_eq(user, "alice");
    access_unix_user(access, 0, 500, user);
    cr_assert_str_eq(user, "admin");
    access_unix_user(access, 500, 500, user);
    cr_assert_str_eq(user, "owner");
    access_unix_user(access, 1002, 500, user);
    cr_assert_str_eq(user, "uid:1002");
    access_unix_user(access, UINT32_MAX, 500, user);
    cr_assert_str_eq(user, "uid:4294967295");
    access_unref(access);

    access = folder_load(&folder, NULL, "# nobody is mapped\n");
    access_unix_user(access, 0, 500, user);
    cr_assert_str_eq(user, "owner");
    access_unref(access);
    folder_free(&folder);
}

Test(access, accounts_by_name)
{
    struct folder folder = folder_new();
    struct access *access = folder_load(&folder, NULL,
        "group admins\n"
        "unix alice root\n"
        "unix @admins root\n"
        "allow @admins publish a\n");
    struct access_identity identity;
    char user[NAME_BYTES];

    access_unix_user(access, 0, 500, user);
    cr_assert_str_eq(user, "alice");
    identity = account(access, 0, 0);
    cr_assert(may_publish(access, &identity, "a"));
    identity = account(access, 0, 1);
    cr_assert_not(may_publish(access, &identity, "a"));
    access_unref(access);
    folder_free(&folder);
}

Test(access, certificates)
{
    struct folder folder = folder_new();
    struct access *access = folder_load(&folder, NULL,
        "certificate alice alice.example.org\n"
        "certificate bob CN=Bob Smith,O=Example\n"
        "certificate alice The other one\n");
    char user[NAME_BYTES] = "unchanged";

    cr_assert(access_certificate_user(
        access, "alice.example.org", "CN=alice.example.org", user));
    cr_assert_str_eq(user, "alice");
    cr_assert(access_certificate_user(access, "The other one", NULL, user));
    cr_assert_str_eq(user, "alice");
    cr_assert(
        access_certificate_user(access, NULL, "CN=Bob Smith,O=Example", user));
    cr_assert_str_eq(user, "bob");
    snprintf(user, sizeof user, "unchanged");
    cr_assert_not(access_certificate_user(access, "Bob Smith", NULL, user));
    /* A common name that looks like a subject, and the other way round. */
    cr_assert_not(access_certificate_user(
        access, "CN=Bob Smith,O=Example", "CN=x", user));
    cr_assert_not(
        access_certificate_user(access, "x", "alice.example.org", user));
    cr_assert_not(access_certificate_user(access, NULL, NULL, user));
    cr_assert_str_eq(user, "unchanged");
    access_unref(access);
    folder_free(&folder);
}

/* ---- passwords and tokens ------------------------------------------------ */

static enum access_verdict
verify(const struct access *access, const char *user, enum access_method method,
    const char *secret)
{
    return access_verify(access, user, method, secret, strlen(secret));
}

Test(access, passwords)
{
    struct folder folder = folder_new();
    char lines[SECRET_LINE_BYTES + 1];
    struct access *access =
        folder_load(&folder, password_line("alice", "wonderland", lines), NULL);

    cr_assert_eq(
        verify(access, "alice", ACCESS_PASSWORD, "wonderland"), ACCESS_GRANTED);
    cr_assert_eq(
        verify(access, "alice", ACCESS_PASSWORD, "Wonderland"), ACCESS_REFUSED);
    cr_assert_eq(verify(access, "alice", ACCESS_PASSWORD, ""), ACCESS_REFUSED);
    cr_assert_eq(
        verify(access, "alice", ACCESS_TOKEN, "wonderland"), ACCESS_REFUSED);
    cr_assert_eq(
        verify(access, "bob", ACCESS_PASSWORD, "wonderland"), ACCESS_REFUSED);
    cr_assert_eq(
        verify(access, "", ACCESS_PASSWORD, "wonderland"), ACCESS_REFUSED);
    access_unref(access);
    folder_free(&folder);
}

Test(access, tokens)
{
    struct folder folder = folder_new();
    char first[SECRET_TOKEN_BYTES], second[SECRET_TOKEN_BYTES];
    char one[SECRET_HASH_BYTES], two[SECRET_HASH_BYTES];
    char lines[3 * SECRET_LINE_BYTES];
    struct access *access;

    cr_assert(secret_init());
    secret_make_token(first, one);
    secret_make_token(second, two);
    snprintf(lines, sizeof lines, "# two\nci:%s\nci:%s\n", one, two);
    access = folder_load(&folder, lines, NULL);
    cr_assert_eq(verify(access, "ci", ACCESS_TOKEN, first), ACCESS_GRANTED);
    cr_assert_eq(verify(access, "ci", ACCESS_TOKEN, second), ACCESS_GRANTED);
    cr_assert_eq(verify(access, "ci", ACCESS_TOKEN, one), ACCESS_REFUSED);
    cr_assert_eq(verify(access, "ci", ACCESS_TOKEN, "brk_"), ACCESS_REFUSED);
    cr_assert_eq(verify(access, "di", ACCESS_TOKEN, first), ACCESS_REFUSED);
    cr_assert_eq(verify(access, "ci", ACCESS_PASSWORD, first), ACCESS_REFUSED);
    access_unref(access);
    folder_free(&folder);
}

static double
seconds_of(const struct access *access, const char *user)
{
    struct timespec from, to;

    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from), 0);
    cr_assert_eq(
        verify(access, user, ACCESS_PASSWORD, "guess"), ACCESS_REFUSED);
    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to), 0);
    return (double)(to.tv_sec - from.tv_sec) +
           (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* Time does not tell who is there: not by an order of magnitude, which is what
 * leaving out the hash would be (and much more). */
Test(access, an_unknown_user_costs_the_same)
{
    struct folder folder = folder_new();
    char lines[SECRET_LINE_BYTES + 1];
    struct access *access =
        folder_load(&folder, password_line("alice", "wonderland", lines), NULL);
    double known = seconds_of(access, "alice");
    double unknown = seconds_of(access, "nobody");

    cr_assert_lt(known, unknown * 5);
    cr_assert_lt(unknown, known * 5);
    access_unref(access);
    folder_free(&folder);
}

Test(access, methods)
{
    enum access_method method;

    cr_assert(access_method_parse("password", &method));
    cr_assert_eq(method, ACCESS_PASSWORD);
    cr_assert(access_method_parse("token", &method));
    cr_assert_eq(method, ACCESS_TOKEN);
    cr_assert_not(access_method_parse("", &method));
    cr_assert_not(access_method_parse("PASSWORD", &method));
}

/* ---- reloading ----------------------------------------------------------- */

Test(access, who_is_still_there)
{
    struct folder folder = folder_new();
    char lines[SECRET_LINE_BYTES + 1];
    struct access *before =
        folder_load(&folder, NULL, "unix alice 1000\nunix bob 1001\n");
    struct access *after =
        folder_load(&folder, password_line("carol", "x", lines),
            "unix alice 1000\n"
            "unix carol 1002\n"
            "certificate dave dave\n"
            "allow erin publish a\n");
    struct access_identity identity = account(before, 1000, 0);

    cr_assert(access_knows(after, &identity)); /* as before */
    identity = account(before, 1001, 0);
    cr_assert_not(access_knows(after, &identity)); /* not mapped any more */
    identity = account(before, 1002, 0);
    cr_assert_not(access_knows(after, &identity)); /* somebody now */
    identity = account(before, 1003, 0);
    cr_assert(access_knows(after, &identity)); /* still nobody */
    identity = account(before, 500, 0);
    cr_assert_str_eq(identity.user, "owner");
    cr_assert(access_knows(after, &identity));
    identity = somebody("carol");
    cr_assert(access_knows(after, &identity));
    cr_assert_not(access_knows(before, &identity));
    identity = somebody("dave");
    cr_assert(access_knows(after, &identity));
    identity = somebody("erin"); /* has a rule, but no way in */
    cr_assert_not(access_knows(after, &identity));
    identity = somebody("alice"); /* only as an account */
    cr_assert_not(access_knows(after, &identity));
    access_unref(before);
    access_unref(after);
    folder_free(&folder);
}

static void *
use_access(void *argument)
{
    struct access *access = argument;
    struct access_identity identity = somebody("alice");

    for (int i = 0; i < 200; i++) {
        struct access *mine = access_ref(access);

        if (!may_publish(mine, &identity, "a/alice")) {
            return argument;
        }
        access_unref(mine);
    }
    access_unref(access);
    return NULL;
}

Test(access, many_threads_ask)
{
    struct folder folder = folder_new();
    struct access *access =
        folder_load(&folder, NULL, "allow alice publish a/%u\n");
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(
            pthread_create(&threads[i], NULL, use_access, access_ref(access)),
            0);
    }
    access_unref(access);
    for (size_t i = 0; i < 4; i++) {
        void *failed = access;

        cr_assert_eq(pthread_join(threads[i], &failed), 0);
        cr_assert_null(failed);
    }
    folder_free(&folder);
}

Test(access, rights_outlive_it_and_are_shared)
{
    struct folder folder = folder_new();
    struct access *access =
        folder_load(&folder, NULL, "allow alice publish a\n");
    struct access_identity identity = somebody("alice");
    struct rights *rights = access_rights(access, &identity);
    struct rights *again = access_rights(access, &identity);

    cr_assert_eq(rights, again);
    rights_unref(again);
    access_unref(access);
    cr_assert(rights_may_publish(
        rights, (struct broker_bytes){(const uint8_t *)"a", 1}, NULL));
    rights_unref(rights);
    access_unref(NULL);
    folder_free(&folder);
}
