/* SPDX-License-Identifier: MIT
 *
 * Certificate, key and rules; see tls.h. */
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* No key is larger; a device or a mistaken path may be. */
#define KEY_FILE_BYTES_MAX ((size_t)256 * 1024)
/* A certificate of a client and those between it and its authority. */
#define CHAIN_BYTES_MAX (32 * 1024)
#define CHAIN_DEPTH_MAX 8
/* 112 bits: RSA from 2048 bits on, no SHA-1. */
#define SECURITY_LEVEL_MIN 2
/* Of TLS 1.2; all that 1.3 has are of this kind. */
#define SUITES "ECDHE+AESGCM:ECDHE+CHACHA20"
/* Others cost the broker many times more, and the client chooses. */
#define CURVES "X25519:P-256:P-384"

struct tls {
    _Atomic uint32_t references;
    SSL_CTX *context;
};

/* ---- messages ------------------------------------------------------------ */

/* What OpenSSL complained about first, which is the cause. */
static const char *
openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != NULL ? reason : "out of memory";
}

static bool
fail(char error[TLS_ERROR_BYTES], const char *file, const char *what)
{
    snprintf(error, TLS_ERROR_BYTES, "%s: %s", file, what);
    return false;
}

static bool
fail_by_openssl(char error[TLS_ERROR_BYTES], const char *file, const char *what)
{
    snprintf(
        error, TLS_ERROR_BYTES, "%s: %s: %s", file, what, openssl_reason());
    return false;
}

/* ---- files --------------------------------------------------------------- */

/* OpenSSL's own words for a file that is not there are none. */
static bool
check_readable(const char *file, char error[TLS_ERROR_BYTES])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail(error, file, strerror(errno));
    }
    close(fd);
    return true;
}

static bool
use_certificate(SSL_CTX *context, const char *file, char error[TLS_ERROR_BYTES])
{
    if (!check_readable(file, error)) {
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(context, file) != 1) {
        return fail_by_openssl(
            error, file, "no usable certificate in PEM form");
    }
    return true;
}

/* A daemon has nobody to ask. */
static int
no_passphrase(char *dst, int cap, int writing, void *arg)
{
    (void)dst;
    (void)cap;
    (void)writing;
    *(bool *)arg = true; /* it was needed */
    return -1;
}

static EVP_PKEY *
parse_key(
    const char *file, const void *text, size_t len, char error[TLS_ERROR_BYTES])
{
    bool is_encrypted = false;
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    EVP_PKEY *key = bio == NULL ? NULL
                                : PEM_read_bio_PrivateKey(
                                      bio, NULL, no_passphrase, &is_encrypted);
    BIO_free(bio);
    if (key == NULL && is_encrypted) {
        ERR_clear_error();
        fail(error, file,
            "the key needs a passphrase, and nobody is there to give it; "
            "write one without: openssl pkey -in FILE -out NEW_FILE");
    } else if (key == NULL) {
        fail_by_openssl(error, file, "no private key in PEM form");
    }
    return key;
}

/* Check the file that is open, not the one that has its name a moment later. */
static bool
check_key_mode(int fd, const char *file, char error[TLS_ERROR_BYTES])
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return fail(error, file, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(error, file, "not a regular file");
    }
    if ((status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        return fail(error, file,
            "every user of this machine can open this private key; "
            "use chmod 0600 (or 0640), and a new key if that matters");
    }
    return true;
}

/* The text of the key is wiped out after reading. */
static EVP_PKEY *
read_key(int fd, const char *file, char error[TLS_ERROR_BYTES])
{
    EVP_PKEY *key = NULL;
    uint8_t *text = malloc(KEY_FILE_BYTES_MAX);
    size_t len = 0;
    ssize_t n = 0;
    if (text == NULL) {
        fail(error, file, "out of memory");
        return NULL;
    }
    while (len < KEY_FILE_BYTES_MAX &&
           (n = read(fd, text + len, KEY_FILE_BYTES_MAX - len)) > 0) {
        len += (size_t)n;
    }
    if (n < 0) {
        fail(error, file, strerror(errno));
    } else {
        key = parse_key(file, text, len, error);
    }
    OPENSSL_cleanse(text, KEY_FILE_BYTES_MAX);
    free(text);
    return key;
}

static bool
use_key(SSL_CTX *context, const struct tls_options *options,
    char error[TLS_ERROR_BYTES])
{
    const char *file = options->key_file;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail(error, file, strerror(errno));
    }
    EVP_PKEY *key = NULL;
    if (check_key_mode(fd, file, error)) {
        key = read_key(fd, file, error);
    }
    close(fd);
    if (key == NULL) {
        return false;
    }
    /* A key that does not fit is refused here already. */
    bool ok = SSL_CTX_use_PrivateKey(context, key) == 1 &&
              SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    if (!ok) {
        snprintf(error, TLS_ERROR_BYTES,
            "%s: this is not the key of the certificate in %s: %s", file,
            options->certificate_file, openssl_reason());
    }
    return ok;
}

static bool
use_client_ca(SSL_CTX *context, const struct tls_options *options,
    char error[TLS_ERROR_BYTES])
{
    const char *file = options->client_ca_file;
    if (options->client_certificates == TLS_CLIENT_CERTIFICATES_NO) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        return true;
    }
    if (!check_readable(file, error)) {
        return false;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL ||
        SSL_CTX_load_verify_locations(context, file, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail_by_openssl(
            error, file, "no usable certificates in PEM form");
    }
    SSL_CTX_set_client_CA_list(context, names); /* which owns them now */
    bool required =
        options->client_certificates == TLS_CLIENT_CERTIFICATES_REQUIRED;
    SSL_CTX_set_verify(context,
        SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAX);
    SSL_CTX_set_max_cert_list(context, CHAIN_BYTES_MAX);
    return true;
}

/* ---- rules --------------------------------------------------------------- */

static bool
set_rules(SSL_CTX *context, const struct tls_options *options,
    char error[TLS_ERROR_BYTES])
{
    if (SSL_CTX_get_security_level(context) < SECURITY_LEVEL_MIN) {
        SSL_CTX_set_security_level(context, SECURITY_LEVEL_MIN);
    }
    SSL_CTX_set_options(
        context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    /* An idle connection keeps no buffers. A call that read something which is
     * not data returns, so that a flood of such things is read a little in each
     * turn; a record that the socket did not take may move in memory. */
    SSL_CTX_set_mode(context,
        SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    if (SSL_CTX_set_num_tickets(context, 0) != 1 ||
        SSL_CTX_set_min_proto_version(context,
            options->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context, 0) != 1 ||
        SSL_CTX_set_cipher_list(context, SUITES) != 1 ||
        SSL_CTX_set1_groups_list(context, CURVES) != 1) {
        return fail_by_openssl(error, "OpenSSL", "it refused our rules");
    }
    return true;
}

struct tls *
tls_new(const struct tls_options *options, char error[TLS_ERROR_BYTES])
{
    struct tls *tls = calloc(1, sizeof *tls);
    ERR_clear_error();
    if (tls != NULL) {
        tls->context = SSL_CTX_new(TLS_server_method());
    }
    if (tls == NULL || tls->context == NULL) {
        fail_by_openssl(error, "OpenSSL", "it cannot be used");
        free(tls);
        return NULL;
    }
    atomic_init(&tls->references, 1);
    if (!set_rules(tls->context, options, error) ||
        !use_certificate(tls->context, options->certificate_file, error) ||
        !use_key(tls->context, options, error) ||
        !use_client_ca(tls->context, options, error)) {
        tls_unref(tls);
        return NULL;
    }
    return tls;
}

struct tls *
tls_ref(struct tls *tls)
{
    atomic_fetch_add(&tls->references, 1);
    return tls;
}

void
tls_unref(struct tls *tls)
{
    if (tls != NULL && atomic_fetch_sub(&tls->references, 1) == 1) {
        SSL_CTX_free(tls->context);
        free(tls);
    }
}

struct ssl_ctx_st *
tls_context(const struct tls *tls)
{
    return tls->context;
}
