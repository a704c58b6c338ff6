/* SPDX-License-Identifier: MIT
 *
 * Certificates for tests, made when they are needed: an authority and what it
 * signs, as PEM files in a folder of their own.
 */
#ifndef BROKER_TEST_PKI_H
#define BROKER_TEST_PKI_H

#include <openssl/ssl.h>

struct pki {
    char folder[64];
    X509 *authority;
    EVP_PKEY *authority_key;
};

struct pki_wish {
    const char *file;  /* in the folder: certificate and key in one */
    const char *names; /* "DNS:localhost,IP:127.0.0.1" */
    long from_s, to_s; /* valid, in seconds from now; 0 and 0: now */
};

/* A new authority; its certificate is "ca.pem". */
void pki_open(struct pki *pki);
void pki_close(struct pki *pki);
/* Another authority in the place of this one: a new "ca.pem". */
void pki_renew(struct pki *pki);
void pki_issue(struct pki *pki, const struct pki_wish *wish);
/* "<folder>/<file>", good until the third next call. */
const char *pki_path(const struct pki *pki, const char *file);

#endif
