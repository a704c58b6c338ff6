/* SPDX-License-Identifier: MIT
 *
 * See tls.h. OpenSSL reads and writes through a BIO of our own: the one that it
 * has for sockets raises SIGPIPE, and asks the kernel twice for each record.
 *
 * Reading. The BIO fetches as much as there is into `in` and hands it on. So
 * input may wait in `in`, or decrypted inside OpenSSL, while the socket is
 * silent: tls_has_input(). A record that is not there whole lies in OpenSSL and
 * counts as none; OpenSSL must not read ahead by itself, or that could not be
 * told.
 *
 * Writing. SSL_write() makes records and may leave one half written. It then
 * wants the same bytes again, which the caller's log has at its front until
 * they are written; that they may have moved is what the modes are for.
 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"

#define IN_BYTES      ((size_t)32 << 10)
#define NAME_TEXT_MAX 256
/* The first byte of every record: change_cipher_spec to application_data. */
#define RECORD_TYPE_MIN 0x14
#define RECORD_TYPE_MAX 0x17

struct tls {
    SSL_CTX *context;
    SSL *ssl;
    BIO_METHOD *method;
    int fd;
    uint8_t in[IN_BYTES]; /* read from the socket, not by OpenSSL yet */
    size_t in_start, in_end;
    bool heard;         /* something came: */
    uint8_t first_byte; /* of the peer, ever */
    bool ended;         /* the socket's end was read */
    int io_errno;       /* the socket failed */
    bool wants_write, write_wants_room;
    char host[NAME_TEXT_MAX];       /* whom the certificate must be for */
    char cert_names[NAME_TEXT_MAX]; /* whom it is for, if not for `host` */
    char reason[TEXT_MAX];
};

bool
tls_is_available(void)
{
    return true;
}

/* ---- the BIO ------------------------------------------------------------- */

static int
bio_fail(BIO *bio, struct tls *tls, int retry)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        BIO_set_flags(bio, BIO_FLAGS_SHOULD_RETRY | retry);
    } else {
        tls->io_errno = errno;
    }
    return -1;
}

static int
bio_read_cb(BIO *bio, char *data, int len)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->in_start == tls->in_end) {
        ssize_t n = sock_read(tls->fd, tls->in, sizeof tls->in);
        if (n < 0) {
            return bio_fail(bio, tls, BIO_FLAGS_READ);
        }
        if (n == 0) {
            tls->ended = true;
            return 0;
        }
        if (!tls->heard) {
            tls->heard = true;
            tls->first_byte = tls->in[0];
        }
        tls->in_start = 0;
        tls->in_end = (size_t)n;
    }
    size_t left = tls->in_end - tls->in_start;
    size_t n = (size_t)len < left ? (size_t)len : left;
    memcpy(data, tls->in + tls->in_start, n);
    tls->in_start += n;
    return (int)n;
}

static int
bio_write_cb(BIO *bio, const char *data, int len)
{
    struct tls *tls = BIO_get_data(bio);
    struct iovec vector = {(void *)(uintptr_t)data, (size_t)len};
    BIO_clear_retry_flags(bio);
    ssize_t n = sock_write(tls->fd, &vector, 1);
    return n < 0 ? bio_fail(bio, tls, BIO_FLAGS_WRITE) : (int)n;
}

static long
bio_ctrl_cb(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* there is nothing to flush */
}

static bool
bio_attach(struct tls *tls)
{
    tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "broker socket");
    if (tls->method == NULL ||
        BIO_meth_set_read(tls->method, bio_read_cb) != 1 ||
        BIO_meth_set_write(tls->method, bio_write_cb) != 1 ||
        BIO_meth_set_ctrl(tls->method, bio_ctrl_cb) != 1) {
        return false;
    }
    BIO *bio = BIO_new(tls->method);
    if (bio == NULL) {
        return false;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio); /* it belongs to the SSL now */
    return true;
}

/* ---- what went wrong ----------------------------------------------------- */

/* What OpenSSL's queue of errors says, the cause first. */
static const char *
openssl_text(char *dst, size_t cap)
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code)) {
        return strerror_r(ERR_GET_REASON(code), dst, cap);
    }
    return text != NULL ? text : "an error without a name";
}

/* Names of a certificate, for the one who typed another; cut to fit. */
static void
copy_names(X509 *certificate, char *dst, size_t cap)
{
    size_t used = 0;
    dst[0] = '\0';
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value =
            GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        char name[NAME_TEXT_MAX];
        if (type == GEN_DNS) {
            text_copy(name, sizeof name,
                (struct broker_bytes){ASN1_STRING_get0_data(value),
                    (size_t)ASN1_STRING_length(value)});
        } else if (type != GEN_IPADD ||
                   inet_ntop(
                       ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6,
                       ASN1_STRING_get0_data(value), name,
                       sizeof name) == NULL) {
            continue;
        }
        size_t len = strlen(name);
        size_t comma = used > 0 ? 2 : 0;
        if (comma + len >= cap - used) {
            break;
        }
        memcpy(dst + used, ", ", comma);
        memcpy(dst + used + comma, name, len + 1);
        used += comma + len;
    }
    GENERAL_NAMES_free(names);
}

/* Called for each certificate of the chain; a failed handshake keeps none. */
static int
verify_cb(int is_good, X509_STORE_CTX *store)
{
    if (!is_good) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(
            store, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct tls *tls = SSL_get_app_data(ssl);
        X509 *certificate = X509_STORE_CTX_get_current_cert(store);
        if (certificate != NULL) {
            copy_names(certificate, tls->cert_names, sizeof tls->cert_names);
        }
    }
    return is_good;
}

static void
explain_certificate(struct tls *tls, long verdict)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        text_format(tls->reason,
            "the broker's certificate is not for %s but for %s: connect by a "
            "name that it has, or give that as the server name of TLS",
            tls->host, tls->cert_names[0] == '\0' ? "none" : tls->cert_names);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        text_format(tls->reason,
            "the broker's certificate has expired: it must be renewed, unless "
            "this machine's clock is wrong");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        text_format(tls->reason,
            "the broker's certificate is not valid yet: is this machine's "
            "clock right?");
        break;
    default:
        text_format(tls->reason,
            "the broker's certificate is not trusted (%s): give the "
            "certificate of its authority as the CA file",
            X509_verify_cert_error_string(verdict));
        break;
    }
}

/* What the reasons of OpenSSL mean here. */
static const char *
meaning_of(int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return "the peer speaks no TLS of version 1.2 or later: its protocol "
               "is too old";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: /* brokerd says so as well */
        return "the peer speaks no TLS of version 1.2 or later there: if it is "
               "the port of a brokerd without TLS, use tcp://, else it is too "
               "old";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the broker wants a client certificate: give a certificate file "
               "and a key file";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        return "the broker does not trust the client's certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the broker finds the client's certificate expired: renew it";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "the broker finds the client's certificate revoked";
    default:
        return NULL;
    }
}

/* OpenSSL found something wrong, and its queue of errors says what. */
static void
explain(struct tls *tls)
{
    char text[128];
    long verdict = SSL_get_verify_result(tls->ssl);
    int reason = ERR_GET_REASON(ERR_peek_error());
    if (tls->heard && (tls->first_byte < RECORD_TYPE_MIN ||
                          tls->first_byte > RECORD_TYPE_MAX)) {
        text_format(tls->reason, "the peer does not speak TLS there: %s",
            tls->first_byte == 0 ? "if it is a brokerd without TLS, use tcp://"
                                 : "check the address and the port");
    } else if (verdict != X509_V_OK &&
               SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE) {
        explain_certificate(tls, verdict);
    } else if (meaning_of(reason) != NULL) {
        text_format(tls->reason, "%s", meaning_of(reason));
    } else {
        text_format(
            tls->reason, "TLS failed: %s", openssl_text(text, sizeof text));
    }
}

/* After a call that returned `result`, which was no success: 0 at the end of
 * the stream, else -1 and errno. */
static ssize_t
outcome(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        tls->wants_write = true;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        break;
    }
    if (tls->io_errno != 0) {
        errno = tls->io_errno;
        return -1;
    }
    if (tls->ended) { /* without saying so: the session knows what that means */
        return 0;
    }
    explain(tls);
    errno = EPROTO;
    return -1;
}

const char *
tls_reason(const struct tls *tls)
{
    return tls->reason;
}

/* ---- what the configuration says ----------------------------------------- */

static bool
complain(char why[TEXT_MAX], const char *what, const char *file)
{
    char text[128];
    text_format(why, "the %s %s cannot be used: %s", what, file,
        openssl_text(text, sizeof text));
    return false;
}

/* A key that needs a passphrase: nobody is there to be asked for it. */
static int
no_passphrase_cb(char *text, int cap, int is_writing, void *user)
{
    (void)text;
    (void)cap;
    (void)is_writing;
    (void)user;
    return 0;
}

static bool
load_files(
    SSL_CTX *context, const struct tls_config *config, char why[TEXT_MAX])
{
    const char *certificate = config->certificate_file;
    const char *key = config->key_file != NULL ? config->key_file : certificate;
    if (config->ca_file == NULL) {
        if (SSL_CTX_set_default_verify_paths(context) != 1) {
            return complain(why, "system's CA", "store");
        }
    } else if (SSL_CTX_load_verify_locations(context, config->ca_file, NULL) !=
               1) {
        return complain(why, "CA file", config->ca_file);
    }
    SSL_CTX_set_default_passwd_cb(context, no_passphrase_cb);
    if (certificate != NULL &&
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        return complain(why, "certificate file", certificate);
    }
    if (key != NULL &&
        (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_check_private_key(context) != 1)) {
        return complain(why, "key file", key);
    }
    return true;
}

static bool
is_number(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 ||
           inet_pton(AF_INET6, host, address) == 1;
}

/* Whom the certificate must be for. The name is told to the peer, which may
 * have certificates for several; a number is not (RFC 6066 section 3). */
static bool
expect_host(struct tls *tls)
{
    X509_VERIFY_PARAM *checks = SSL_get0_param(tls->ssl);
    if (is_number(tls->host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(checks, tls->host) == 1;
    }
    X509_VERIFY_PARAM_set_hostflags(
        checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(tls->ssl, tls->host) == 1 &&
           SSL_set_tlsext_host_name(tls->ssl, tls->host) == 1;
}

/* ---- life ---------------------------------------------------------------- */

static bool
configure(struct tls *tls, const struct tls_config *config, char why[TEXT_MAX])
{
    SSL_CTX *context = tls->context;
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        return complain(why, "version of TLS", "1.2");
    }
    (void)SSL_CTX_set_options(
        context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 0); /* see above */
    if (!load_files(context, config, why)) {
        return false;
    }
    tls->ssl = SSL_new(context);
    if (tls->ssl == NULL || SSL_set_app_data(tls->ssl, tls) != 1 ||
        !bio_attach(tls) || !expect_host(tls)) {
        return complain(why, "server name", tls->host);
    }
    SSL_set_verify(tls->ssl,
        config->accept_any_certificate ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
        verify_cb);
    SSL_set_connect_state(tls->ssl);
    return true;
}

struct tls *
tls_new(const struct tls_config *config, const char *host, int fd,
    char why[TEXT_MAX])
{
    struct tls *tls = calloc(1, sizeof *tls);
    text_format(why, "no memory for TLS");
    if (tls == NULL) {
        return NULL;
    }
    ERR_clear_error();
    tls->fd = fd;
    (void)snprintf(tls->host, sizeof tls->host, "%s",
        config->server_name != NULL ? config->server_name : host);
    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->context == NULL || !configure(tls, config, why)) {
        tls_free(tls);
        tls = NULL;
    }
    ERR_clear_error();
    return tls;
}

void
tls_free(struct tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_free(tls->ssl);
    BIO_meth_free(tls->method);
    SSL_CTX_free(tls->context);
    free(tls);
}

/* ---- the connection ------------------------------------------------------ */

enum tls_progress
tls_handshake(struct tls *tls)
{
    ERR_clear_error();
    tls->wants_write = false;
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        return TLS_DONE;
    }
    ssize_t n = outcome(tls, result);
    if (n < 0 && errno == EAGAIN) {
        return TLS_AGAIN;
    }
    if (n == 0) {
        text_format(tls->reason,
            "the peer closed the connection during the TLS handshake: does it "
            "speak TLS there?");
    } else if (errno != EPROTO) {
        char text[128];
        text_format(tls->reason, "the TLS handshake failed: %s",
            strerror_r(errno, text, sizeof text));
    }
    return TLS_FAILED;
}

static int
int_of(size_t len)
{
    return len > INT_MAX ? INT_MAX : (int)len;
}

ssize_t
tls_read(struct tls *tls, void *data, size_t len)
{
    ERR_clear_error();
    tls->wants_write = false;
    int n = SSL_read(tls->ssl, data, int_of(len));
    return n > 0 ? n : outcome(tls, n);
}

ssize_t
tls_write(struct tls *tls, const void *data, size_t len)
{
    bool wanted = tls->wants_write; /* by a read that still waits */
    ERR_clear_error();
    tls->wants_write = false;
    int n = SSL_write(tls->ssl, data, int_of(len));
    ssize_t result = n > 0 ? n : outcome(tls, n);
    tls->write_wants_room = tls->wants_write;
    tls->wants_write = wanted;
    if (result == 0) { /* the peer is gone */
        errno = EPIPE;
        result = -1;
    }
    return result;
}

bool
tls_shutdown_write(struct tls *tls)
{
    ERR_clear_error();
    tls->wants_write = false;
    int result = SSL_shutdown(tls->ssl);
    /* Whether it was said or cannot be any more, it is over. */
    return result >= 0 || outcome(tls, result) == 0 || errno != EAGAIN ||
           !tls->wants_write;
}

bool
tls_has_input(const struct tls *tls)
{
    /* Not while reading waits for room to write. */
    return !tls->wants_write &&
           (tls->in_start < tls->in_end || SSL_pending(tls->ssl) > 0);
}

bool
tls_wants_write(const struct tls *tls)
{
    return tls->wants_write;
}

bool
tls_write_wants_room(const struct tls *tls)
{
    return tls->write_wants_room;
}
