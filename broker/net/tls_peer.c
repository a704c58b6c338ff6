/* SPDX-License-Identifier: MIT
 *
 * The names in a client's certificate; see tls.h. What is in a certificate was
 * written by whoever asked for it, so a name counts only if it cannot be read
 * in two ways. */
#include "tls.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* A text that ends where it seems to end, and shows as it is. */
static bool
is_plain(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return broker_utf8_check((struct broker_bytes){text, len});
}

static void
copy_common_name(const X509_NAME *subject, char dst[static 256])
{
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 ||
        X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return; /* none, or which one? */
    }
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, at);
    uint8_t *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (len > 0 && len < 256 && is_plain(text, (size_t)len)) {
        memcpy(dst, text, (size_t)len); /* the rest is zero already */
    }
    if (len >= 0) {
        OPENSSL_free(text);
    }
}

/* NULL if memory is out. All that is not printable ASCII is escaped. */
static char *
subject_text(const X509_NAME *subject)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL &&
        X509_NAME_print_ex(bio, subject, 0, XN_FLAG_RFC2253) >= 0) {
        const char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        text = len < 0 ? NULL : strndup(len == 0 ? "" : data, (size_t)len);
    }
    BIO_free(bio);
    return text;
}

struct tls_peer *
tls_peer_new(const struct ssl_st *ssl)
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL || SSL_get_verify_result(ssl) != X509_V_OK) {
        return NULL;
    }
    const X509_NAME *subject = X509_get_subject_name(certificate);
    struct tls_peer *peer = calloc(1, sizeof *peer);
    if (peer != NULL) {
        copy_common_name(subject, peer->common_name);
        peer->subject = subject_text(subject);
        if (peer->subject == NULL) {
            free(peer);
            peer = NULL;
        }
    }
    ERR_clear_error();
    return peer;
}

void
tls_peer_free(struct tls_peer *peer)
{
    if (peer != NULL) {
        free(peer->subject);
        free(peer);
    }
}
