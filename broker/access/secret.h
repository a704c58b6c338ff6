/* SPDX-License-Identifier: MIT
 *
 * A line of the password file: whose it is and what proves it.
 *
 *     NAME:$argon2id$v=19$m=65536,t=2,p=1$SALT$HASH     a password
 *     NAME:token:HEX                                    a token
 *
 * Both brokerd, which checks secrets, and `brokerctl passwd`, which makes them,
 * use this; it knows nothing of either, of files or of the broker.
 *
 * Passwords are hashed with Argon2id at libsodium's "interactive" costs: 64 MiB
 * of memory and two passes for each password that is hashed or checked. Tokens
 * are 256 random bits, which nobody can guess, so a plain BLAKE2b of the token
 * will do, and checking one costs next to nothing.
 *
 * Threads: no state; secret_init() once before anything else, everything then
 * from any thread. Nothing here is logged, and copies of secrets are wiped.
 */
#ifndef BROKER_ACCESS_SECRET_H
#define BROKER_ACCESS_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names of users and groups: 1 to so many bytes of A-Z a-z 0-9 . _ @ : -, the
 * first neither @ nor -. */
#define SECRET_NAME_BYTES_MAX 64

/* The longest password, the longest hash as text with its NUL, and the longest
 * line with one. */
#define SECRET_PASSWORD_BYTES_MAX 1024
#define SECRET_HASH_BYTES         128
#define SECRET_LINE_BYTES         193

/* A token as text: "brk_" and 43 digits of URL-safe base64, with NUL. */
#define SECRET_TOKEN_BYTES 48

enum secret_kind { SECRET_PASSWORD, SECRET_TOKEN };

enum secret_match {
    SECRET_SAME,
    SECRET_DIFFERENT,
    SECRET_NO_MEMORY /* could not be found out */
};

/* Prepare libsodium. False: the system has no random numbers. */
__attribute__((warn_unused_result)) bool secret_init(void);

bool secret_name_is_valid(const char *name, size_t len);
#define SECRET_NAME_RULE                                                       \
    "a name has 1 to 64 of A-Z a-z 0-9 . _ @ : - and does not begin with "     \
    "@ or -"

/* Is it a name that brokerd gives itself, "owner" or "uid:...", and that nobody
 * can be given? */
bool secret_name_is_reserved(const char *name, size_t len);

/* A line of the file, cut. */
struct secret_line {
    size_t name_len; /* the name stands in front */
    size_t hash_at;  /* "$argon2id$..." or "token:..." begins here */
    enum secret_kind kind;
};

/* Divide a line (without its line break and blanks around it) into name and
 * hash, whatever the hash looks like. False: it has no colon, or what stands in
 * front is no name. */
bool secret_line_cut(const char *line, size_t len, struct secret_line *cut);

/* The same for a line that secret_matches() is to take. NULL, and *cut set; or
 * what is wrong with the line and what to do, which repeats nothing of it. */
const char *secret_line_check(
    const char *line, size_t len, struct secret_line *cut);

/* Hash a password. SLOW. False: memory is out, or it is longer than
 * SECRET_PASSWORD_BYTES_MAX. */
__attribute__((warn_unused_result)) bool secret_hash_password(
    const uint8_t *password, size_t len, char hash[SECRET_HASH_BYTES]);

/* Make a token and its hash. */
void secret_make_token(
    char token[SECRET_TOKEN_BYTES], char hash[SECRET_HASH_BYTES]);

/* Is it the secret that the hash was made from? SLOW for passwords. The time
 * that it takes does not tell how much of it was right. */
enum secret_match secret_matches(
    enum secret_kind kind, const char *hash, const uint8_t *secret, size_t len);

/* The hash of nothing that anybody knows, for users who are not there: checking
 * it costs what checking a real one costs. */
const char *secret_dummy_hash(enum secret_kind kind);

/* Memory for a secret: not swapped out if the system allows it, in no core
 * dump, and overwritten when it is freed. NULL if memory is out; NULL may be
 * freed. Not zeroed; a page and more for each, so not for many. */
void *secret_new(size_t len);
void secret_free(void *secret);

/* Overwrite a secret, for good. */
void secret_wipe(void *secret, size_t len);

#endif
