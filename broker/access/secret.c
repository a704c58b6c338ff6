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
#define TOKEN_MARK        "brk_" /* so that scanners know a token when they see it */
#define TOKEN_HASH_BYTES  32
#define TOKEN_HASH_DIGITS (2 * TOKEN_HASH_BYTES)

static const char token_prefix[] = "token:";
static const char argon2id_prefix[] = "$argon2id$";

_Static_assert(SECRET_HASH_BYTES == crypto_pwhash_STRBYTES,
    "libsodium's hashes fit exactly");
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

void
secret_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

/* ---- the form of a line -------------------------------------------------- */

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

static bool
begins_with(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

/* What is wrong with the hash of a password, or NULL. Other costs than ours
 * would make it differ from the dummy in time, and could take any memory. */
static const char *
judge_password_hash(const char *text, size_t len)
{
    char hash[SECRET_HASH_BYTES] = "";
    int differs;

    if (len >= sizeof hash || !begins_with(text, len, argon2id_prefix) ||
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
    return differs == 0 ? NULL
                        : "the hash was made with other costs than brokerctl "
                          "passwd uses; set the password again with it";
}

static const char *
judge_token_hash(const char *digits, size_t len)
{
    if (len == TOKEN_HASH_DIGITS) {
        while (len > 0 && digits[len - 1] != '\0' &&
               strchr("0123456789abcdef", digits[len - 1]) != NULL) {
            len--;
        }
        if (len == 0) {
            return NULL;
        }
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

const char *
secret_line_cut(const char *line, size_t len, size_t *name_len,
    enum secret_kind *kind, size_t *hash_at)
{
    const size_t prefix = strlen(token_prefix);
    size_t at = last_colon(line, len), name = at - (at > 0);
    bool is_token = at > prefix + 1 &&
                    memcmp(line + at - prefix, token_prefix, prefix) == 0 &&
                    line[at - prefix - 1] == ':';
    const char *why;

    if (at == 0) {
        return "not of the form NAME:HASH; lines are written by brokerctl "
               "passwd";
    }
    why = is_token ? judge_token_hash(line + at, len - at)
                   : judge_password_hash(line + at, len - at);
    if (why != NULL) {
        return why;
    }
    if (is_token) {
        at -= prefix;
        name = at - 1;
    }
    if (!secret_name_is_valid(line, name)) {
        return SECRET_NAME_RULE;
    }
    *name_len = name;
    *kind = is_token ? SECRET_TOKEN : SECRET_PASSWORD;
    *hash_at = at;
    return NULL;
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
    /* All zero bits: no password is known that has this hash. */
    static const char password[SECRET_HASH_BYTES] =
        "$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    static const char token[SECRET_HASH_BYTES] =
        "token:00000000000000000000000000000000"
        "00000000000000000000000000000000";

    return kind == SECRET_PASSWORD ? password : token;
}
