/* SPDX-License-Identifier: MIT
 *
 * Names, lines of the password file, and hashes.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "secret.h"

static bool
is_name(const char *name)
{
    return secret_name_is_valid(name, strlen(name));
}

Test(secret, names)
{
    static const char longest[] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
                                  "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

    cr_assert(is_name("a"));
    cr_assert(is_name("alice.smith@example.org"));
    cr_assert(is_name("uid:1000"));
    cr_assert(is_name("A_z-9"));
    cr_assert(is_name(longest));
    cr_assert_not(is_name(""));
    cr_assert_not(is_name("@staff"));
    cr_assert_not(is_name("-v"));
    cr_assert_not(secret_name_is_valid(longest, sizeof longest));
    cr_assert_not(secret_name_is_valid("a\0b", 3));
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'a', (char)byte, '\0'};
        bool good = (byte >= 'a' && byte <= 'z') ||
                    (byte >= 'A' && byte <= 'Z') ||
                    (byte >= '0' && byte <= '9') || byte == '.' ||
                    byte == '_' || byte == '@' || byte == ':' || byte == '-';

        cr_assert_eq(is_name(name), good, "byte %d", byte);
    }
}

Test(secret, reserved_names)
{
    cr_assert(secret_name_is_reserved("owner", 5));
    cr_assert(secret_name_is_reserved("uid:1", 5));
    cr_assert(secret_name_is_reserved("uid:", 4));
    cr_assert_not(secret_name_is_reserved("owne", 4));
    cr_assert_not(secret_name_is_reserved("owners", 6));
    cr_assert_not(secret_name_is_reserved("uid", 3));
}

static bool
matches(enum secret_kind kind, const char *hash, const char *secret)
{
    enum secret_match match =
        secret_matches(kind, hash, (const uint8_t *)secret, strlen(secret));

    cr_assert_neq(match, SECRET_NO_MEMORY);
    return match == SECRET_SAME;
}

Test(secret, passwords)
{
    char hash[SECRET_HASH_BYTES], again[SECRET_HASH_BYTES];
    static const uint8_t password[] = "correct horse";
    char line[SECRET_LINE_BYTES];
    struct secret_line cut;

    cr_assert(secret_init());
    cr_assert(secret_hash_password(password, 13, hash));
    cr_assert(secret_hash_password(password, 13, again));
    cr_assert_str_neq(hash, again, "no salt");
    cr_assert(matches(SECRET_PASSWORD, hash, "correct horse"));
    cr_assert_not(matches(SECRET_PASSWORD, hash, "correct horse "));
    cr_assert_not(matches(SECRET_PASSWORD, hash, ""));
    snprintf(line, sizeof line, "a:b:%s", hash);
    cr_assert_null(secret_line_check(line, strlen(line), &cut));
    cr_assert_eq(cut.name_len, 3);
    cr_assert_eq(cut.hash_at, 4);
    cr_assert_eq(cut.kind, SECRET_PASSWORD);
    snprintf(line, sizeof line, "a:token:%s", hash);
    cr_assert_null(secret_line_check(line, strlen(line), &cut));
    cr_assert_eq(cut.name_len, 7);
    cr_assert_eq(cut.kind, SECRET_PASSWORD);
}

Test(secret, a_password_has_a_longest)
{
    static uint8_t password[SECRET_PASSWORD_BYTES_MAX + 1];
    char hash[SECRET_HASH_BYTES];

    cr_assert(secret_init());
    cr_assert(secret_hash_password(password, SECRET_PASSWORD_BYTES_MAX, hash));
    cr_assert_not(
        secret_hash_password(password, SECRET_PASSWORD_BYTES_MAX + 1, hash));
    cr_assert_eq(secret_matches(SECRET_PASSWORD, hash, password,
                     SECRET_PASSWORD_BYTES_MAX),
        SECRET_SAME);
    cr_assert_eq(secret_matches(SECRET_PASSWORD, hash, password,
                     SECRET_PASSWORD_BYTES_MAX + 1),
        SECRET_DIFFERENT);
}

Test(secret, tokens)
{
    char token[SECRET_TOKEN_BYTES], hash[SECRET_HASH_BYTES];
    char other[SECRET_TOKEN_BYTES], other_hash[SECRET_HASH_BYTES];
    char line[SECRET_LINE_BYTES];
    struct secret_line cut;

    cr_assert(secret_init());
    secret_make_token(token, hash);
    secret_make_token(other, other_hash);
    cr_assert_eq(strlen(token), SECRET_TOKEN_BYTES - 1);
    cr_assert_str_neq(token, other);
    cr_assert_eq(strncmp(token, "brk_", 4), 0);
    cr_assert(matches(SECRET_TOKEN, hash, token));
    cr_assert_not(matches(SECRET_TOKEN, hash, other));
    cr_assert_null(strstr(hash, token + 4));
    snprintf(line, sizeof line, "token:%s", hash);
    cr_assert_null(secret_line_check(line, strlen(line), &cut));
    cr_assert_eq(cut.name_len, 5);
    cr_assert_eq(cut.kind, SECRET_TOKEN);
    cr_assert_str_eq(line + cut.hash_at, hash);
}

/* A published value: BLAKE2b-256 of "abc". */
Test(secret, the_hash_of_a_token_is_blake2b)
{
    cr_assert(secret_init());
    cr_assert(matches(SECRET_TOKEN,
        "token:bddd813c634239723171ef3fee98579b"
        "94964e3bb1cb3e427262c8c068d52319",
        "abc"));
}

Test(secret, the_dummies_are_well_formed_and_match_nothing)
{
    char line[SECRET_LINE_BYTES];
    struct secret_line cut;

    cr_assert(secret_init());
    for (enum secret_kind kind = SECRET_PASSWORD; kind <= SECRET_TOKEN;
         kind++) {
        snprintf(line, sizeof line, "a:%s", secret_dummy_hash(kind));
        cr_assert_null(secret_line_check(line, strlen(line), &cut));
        cr_assert_eq(cut.kind, kind);
        cr_assert_not(matches(kind, secret_dummy_hash(kind), ""));
    }
}

Test(secret, damaged_lines)
{
    /* The dummies with something wrong: costs, alphabet, length. */
    static const char *const bad[] = {
        "",
        "alice",
        ":",
        "alice:",
        "alice:secret",
        "alice:$6$salt$hash",
        "alice:$argon2i$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "alice:$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "alice:$argon2id$v=19$m=65536,t=9,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "alice:$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
        "alice:$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAA*AAAAAAAAAAAAAAAAAAAAAA",
        "al ice:token:00000000000000000000000000000000"
        "00000000000000000000000000000000",
        ":token:00000000000000000000000000000000"
        "00000000000000000000000000000000",
        "token:00000000000000000000000000000000"
        "00000000000000000000000000000000",
        "alice:token:00000000000000000000000000000000"
        "0000000000000000000000000000000",
        "alice:token:0000000000000000000000000000000G"
        "00000000000000000000000000000000",
        "alice:token:00000000000000000000000000000000"
        "000000000000000000000000000000000",
    };
    struct secret_line cut;

    cr_assert(secret_init());
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not_null(
            secret_line_check(bad[i], strlen(bad[i]), &cut), "%s", bad[i]);
    }
}

Test(secret, wiping_wipes)
{
    char secret[] = "secret";
    char *own = NULL;

    cr_assert(secret_init());
    own = secret_new(100);
    cr_assert_not_null(own);
    memset(own, 'x', 100);
    secret_free(own);
    secret_free(NULL);

    secret_wipe(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++) {
        cr_assert_eq(secret[i], 0);
    }
}
