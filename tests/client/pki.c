/* SPDX-License-Identifier: MIT
 *
 * See pki.h.
 */
#include "pki.h"

#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server.h"

#define DAY_S 86400L

const char *
pki_path(const struct pki *pki, const char *file)
{
    static _Thread_local char paths[4][384];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", pki->folder, file);
    return path;
}

static void
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK(extension != NULL);
    CHECK(X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *
certificate_new(EVP_PKEY *key, const char *name, long from_s, long to_s)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);
    CHECK(X509_set_version(certificate, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), random());
    CHECK(X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(certificate), to_s) != NULL);
    CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
              (const unsigned char *)name, -1, -1, 0) == 1);
    CHECK(X509_set_pubkey(certificate, key) == 1);
    return certificate;
}

static void
write_pem(const char *path, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(PEM_write_X509(file, certificate) == 1);
    CHECK(key == NULL ||
          PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    CHECK(fclose(file) == 0);
}

static void
authority_free(struct pki *pki)
{
    X509_free(pki->authority);
    EVP_PKEY_free(pki->authority_key);
}

void
pki_renew(struct pki *pki)
{
    authority_free(pki);
    pki->authority_key = EVP_EC_gen("P-256");
    CHECK(pki->authority_key != NULL);
    char name[64];
    (void)snprintf(name, sizeof name, "Test Authority %ld", random());
    X509 *made = certificate_new(pki->authority_key, name, -DAY_S, 2 * DAY_S);
    CHECK(X509_set_issuer_name(made, X509_get_subject_name(made)) == 1);
    add_extension(made, made, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made, made, NID_key_usage, "critical,keyCertSign");
    CHECK(X509_sign(made, pki->authority_key, EVP_sha256()) > 0);
    pki->authority = made;
    write_pem(pki_path(pki, "ca.pem"), made, NULL);
}

void
pki_open(struct pki *pki)
{
    *pki = (struct pki){.folder = "/tmp/broker-pki-XXXXXX"};
    CHECK(mkdtemp(pki->folder) != NULL);
    pki_renew(pki);
}

void
pki_close(struct pki *pki)
{
    DIR *folder = opendir(pki->folder);
    const struct dirent *entry;
    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        (void)unlink(pki_path(pki, entry->d_name));
    }
    (void)closedir(folder);
    (void)rmdir(pki->folder);
    authority_free(pki);
}

void
pki_issue(struct pki *pki, const struct pki_wish *wish)
{
    bool is_now = wish->from_s == 0 && wish->to_s == 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *made = certificate_new(key, wish->file,
        is_now ? -DAY_S : wish->from_s, is_now ? DAY_S : wish->to_s);
    CHECK(
        X509_set_issuer_name(made, X509_get_subject_name(pki->authority)) == 1);
    add_extension(made, pki->authority, NID_subject_alt_name, wish->names);
    CHECK(X509_sign(made, pki->authority_key, EVP_sha256()) > 0);
    write_pem(pki_path(pki, wish->file), made, key);
    X509_free(made);
    EVP_PKEY_free(key);
}
