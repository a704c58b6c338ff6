/* SPDX-License-Identifier: MIT
 *
 * Secrets and their hashes; see secret.h. All cryptography is libsodium's.
 */
#include "secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_BITS_BYTES  32
#define TOKEN_MARK        "brk_" /* what looks for leaked secrets knows it by */
#define TOKEN_HASH_BYTES  32
#define TOKEN_HASH_DIGITS (2 * TOKEN_HASH_BYTES)

static const char token_prefix[] = "token:";
static const char argon2id_prefix[] = "$argon2id$";

/* libsodium's "interactive" costs, as its hashes begin with them. */
#define ARGON2ID_COSTS "$argon2id$v=19$m=65536,t=2,p=1$"
static const char argon2id_costs[] = ARGON2ID_COSTS;
_Static_assert(crypto_pwhash_MEMLIMIT_INTERACTIVE == 65536 * 1024 &&
                   crypto_pwhash_OPSLIMIT_INTERACTIVE == 2,
    "the costs are those above");

/* All zero bits: nothing is known that has these hashes. */
static const char dummy_password[SECRET_HASH_BYTES] =
    ARGON2ID_COSTS "AAAAAAAAAAAAAAAAAAAAAA$"
                   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
static const char dummy_token[SECRET_HASH_BYTES] =
    "token:00000000000000000000000000000000"
    "00000000000000000000000000000000";

_Static_assert(SECRET_HASH_BYTES == crypto_pwhash_STRBYTES,
    "libsodium's hashes fit exactly");
_Static_assert(
    SECRET_LINE_BYTES == SECRET_NAME_BYTES_MAX + 1 + SECRET_HASH_BYTES,
    "lines fit exactly");
_Static_assert(sizeof token_prefix + TOKEN_HASH_DIGITS <= SECRET_HASH_BYTES,
    "hashes of tokens fit");
_Static_assert(
    SECRET_TOKEN_BYTES == sizeof TOKEN_MARK - 1 +
                              sodium_base64_ENCODED_LEN(TOKEN_BITS_BYTES,
                                  sodium_base64_VARIANT_URLSAFE_NO_PADDING),
    "tokens fit exactly");

bool
secret_init(void)
{
    return sodium_init() >= 0;
}

void *
secret_new(size_t len)
{
    return sodium_malloc(len);
}

void
secret_free(void *secret)
{
    sodium_free(secret);
}

void
secret_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

/* ---- the form of a line -------------------------------------------------- */

static bool
begins_with(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

/* Without <ctype.h>, which asks the locale. */
static bool
is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') ||
           (byte != '\0' && strchr("._@:-", byte) != NULL);
}

bool
secret_name_is_valid(const char *name, size_t len)
{
    if (len == 0 || len > SECRET_NAME_BYTES_MAX || name[0] == '@' ||
        name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_byte(name[i])) {
            return false;
        }
    }
    return true;
}

bool
secret_name_is_reserved(const char *name, size_t len)
{
    return begins_with(name, len, "uid:") ||
           (len == strlen("owner") && begins_with(name, len, "owner"));
}

/* What is wrong with the hash of a password, or NULL. One of another form or
 * with other costs would differ from the dummy in time, and could take any
 * memory. */
static const char *
judge_password_hash(const char *text, size_t len)
{
    char hash[SECRET_HASH_BYTES] = "";
    int differs;

    if (!begins_with(text, len, argon2id_prefix) || len >= sizeof hash ||
        memchr(text, '\0', len) != NULL) {
        return "this is no hash of brokerctl passwd; set the password again "
               "with it";
    }
    memcpy(hash, text, len);
    differs = crypto_pwhash_str_needs_rehash(hash,
        crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
    secret_wipe(hash, sizeof hash);
    if (differs < 0) {
        return "the hash is damaged; set the password again with brokerctl "
               "passwd";
    }
    if (differs != 0 || !begins_with(text, len, argon2id_costs) ||
        len != strlen(dummy_password)) {
        return "the hash was made with other costs than brokerctl passwd uses; "
               "set the password again with it";
    }
    return NULL;
}

static bool
is_digit(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

static const char *
judge_token_hash(const char *hash, size_t len)
{
    const char *digits = hash + strlen(token_prefix);
    size_t good = 0;

    if (len == strlen(token_prefix) + TOKEN_HASH_DIGITS) {
        while (good < TOKEN_HASH_DIGITS && is_digit(digits[good])) {
            good++;
        }
    }
    if (good == TOKEN_HASH_DIGITS) {
        return NULL;
    }
    return "the hash of the token is damaged; make another token with "
           "brokerctl passwd --token";
}

/* Names may have colons, hashes have none: the last one divides. */
static size_t
last_colon(const char *line, size_t len)
{
    while (len > 0 && line[len - 1] != ':') {
        len--;
    }
    return len; /* behind it; 0: there is none */
}

bool
secret_line_cut(const char *line, size_t len, struct secret_line *cut)
{
    const size_t prefix = strlen(token_prefix);
    size_t at = last_colon(line, len), name_len;
    enum secret_kind kind = SECRET_PASSWORD;

    if (at == 0) {
        return false;
    }
    name_len = at - 1;
    /* "a:token:$..." is the password of somebody with the name "a:token". */
    if (name_len > prefix && line[at - prefix - 1] == ':' &&
        (at == len || line[at] != '$') &&
        memcmp(line + at - prefix, token_prefix, prefix) == 0) {
        kind = SECRET_TOKEN;
        at -= prefix;
        name_len = at - 1;
    }
    if (!secret_name_is_valid(line, name_len)) {
        return false;
    }
    *cut = (struct secret_line){name_len, at, kind};
    return true;
}

const char *
secret_line_check(const char *line, size_t len, struct secret_line *cut)
{
    struct secret_line found;
    const char *why;

    if (!secret_line_cut(line, len, &found)) {
        return "not of the form NAME:HASH, as brokerctl passwd writes "
               "it; " SECRET_NAME_RULE;
    }
    why = found.kind == SECRET_TOKEN
              ? judge_token_hash(line + found.hash_at, len - found.hash_at)
              : judge_password_hash(line + found.hash_at, len - found.hash_at);
    if (why == NULL) {
        *cut = found;
    }
    return why;
}

/* ---- hashing ------------------------------------------------------------- */

bool
secret_hash_password(
    const uint8_t *password, size_t len, char hash[SECRET_HASH_BYTES])
{
    return len <= SECRET_PASSWORD_BYTES_MAX &&
           crypto_pwhash_str(hash, (const char *)password, len,
               crypto_pwhash_OPSLIMIT_INTERACTIVE,
               crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
}

static void
hash_token(const uint8_t *token, size_t len, char hash[SECRET_HASH_BYTES])
{
    uint8_t bytes[TOKEN_HASH_BYTES];
    const size_t prefix = strlen(token_prefix);

    /* Fails for lengths only, which are constants here. */
    (void)crypto_generichash(bytes, sizeof bytes, token, len, NULL, 0);
    memcpy(hash, token_prefix, prefix);
    sodium_bin2hex(
        hash + prefix, SECRET_HASH_BYTES - prefix, bytes, sizeof bytes);
    secret_wipe(bytes, sizeof bytes);
}

void
secret_make_token(char token[SECRET_TOKEN_BYTES], char hash[SECRET_HASH_BYTES])
{
    uint8_t bits[TOKEN_BITS_BYTES];
    const size_t mark = sizeof TOKEN_MARK - 1;

    randombytes_buf(bits, sizeof bits);
    memcpy(token, TOKEN_MARK, mark);
    sodium_bin2base64(token + mark, SECRET_TOKEN_BYTES - mark, bits,
        sizeof bits, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    secret_wipe(bits, sizeof bits);
    hash_token((const uint8_t *)token, strlen(token), hash);
}

static enum secret_match
password_matches(const char *hash, const uint8_t *secret, size_t len)
{
    int saved = errno, failed;
    enum secret_match match;

    errno = 0;
    failed = crypto_pwhash_str_verify(hash, (const char *)secret, len);
    /* libsodium tells a mismatch from a failure by EINVAL alone. */
    match = failed == 0       ? SECRET_SAME
            : errno == EINVAL ? SECRET_DIFFERENT
                              : SECRET_NO_MEMORY;
    errno = saved;
    return match;
}

enum secret_match
secret_matches(
    enum secret_kind kind, const char *hash, const uint8_t *secret, size_t len)
{
    char shown[SECRET_HASH_BYTES];
    bool same;

    if (kind == SECRET_PASSWORD) {
        return len > SECRET_PASSWORD_BYTES_MAX
                   ? SECRET_DIFFERENT
                   : password_matches(hash, secret, len);
    }
    hash_token(secret, len, shown);
    same = sodium_memcmp(
               shown, hash, strlen(token_prefix) + TOKEN_HASH_DIGITS) == 0;
    secret_wipe(shown, sizeof shown);
    return same ? SECRET_SAME : SECRET_DIFFERENT;
}

const char *
secret_dummy_hash(enum secret_kind kind)
{
    return kind == SECRET_PASSWORD ? dummy_password : dummy_token;
}
