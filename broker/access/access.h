/* SPDX-License-Identifier: MIT
 *
 * Who the users of a broker are and what they may do, read from two files whose
 * formats are in brokerd.access(5): the password file, which says how a user
 * proves to be one, and the access file with accounts of this machine,
 * certificates, groups and rules.
 *
 * struct access is what both files said at one moment: built whole or not at
 * all, never changed, and shared by any number of threads. To reload, build
 * another one. It reads files and asks the system for accounts while it is
 * built; it knows nothing of connections, of the protocol, or of the log.
 *
 * Two sorts of names are the broker's own and cannot be given to anybody by the
 * files: "owner", who is whoever runs the broker, or root, and comes through a
 * UNIX socket; and "uid:N", any other account of this machine that comes
 * through a UNIX socket and is not mapped to a user.
 */
#ifndef BROKER_ACCESS_H
#define BROKER_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ACCESS_NAME_BYTES_MAX 64
#define ACCESS_OWNER          "owner"

struct access;
struct rights;

/* What access_load() builds from. */
struct access_sources {
    const char *password_file; /* NULL: nobody has a password or token */
    const char *access_file;   /* NULL: everybody may everything */
    uint32_t max_topic_bytes;  /* of a filter, once %u is filled in */
    uint32_t max_topic_levels;
};

/* Read both files. NULL: nothing was loaded, and every error that was found was
 * written to `errors`, one line each with file, line, what is wrong and what to
 * do; no secret and no hash is among it. Otherwise one reference. */
__attribute__((warn_unused_result)) struct access *access_load(
    const struct access_sources *sources, FILE *errors);

/* One more reference; returns `access`. Any thread that has one. */
struct access *access_ref(struct access *access);

/* Give a reference back. Any thread; NULL is allowed. */
void access_unref(struct access *access);

/* Who a peer has proven to be. */
struct access_identity {
    char user[ACCESS_NAME_BYTES_MAX + 1];
    bool is_unix; /* by its account, through a UNIX socket: uid, gid are set */
    uint32_t uid, gid;
};

/* The user that an account is: the one that it is mapped to; else "owner" for
 * the broker's own account (own_uid) and for root, and "uid:N" for others. */
void access_unix_user(const struct access *access, uint32_t uid,
    uint32_t own_uid, char user[ACCESS_NAME_BYTES_MAX + 1]);

/* The user that a verified client certificate is, if any. The common name and
 * the subject as RFC 2253 (OpenSSL: XN_FLAG_RFC2253); either may be NULL. A
 * subject with = in the access file is compared with the whole subject, any
 * other one with the common name. False: nobody. */
bool access_certificate_user(const struct access *access,
    const char *common_name, const char *rfc2253,
    char user[ACCESS_NAME_BYTES_MAX + 1]);

enum access_method { ACCESS_PASSWORD, ACCESS_TOKEN };

enum access_verdict {
    ACCESS_REFUSED,  /* no such user, or not this secret */
    ACCESS_GRANTED,  /* it is the user */
    ACCESS_NO_MEMORY /* could not be found out: try again later */
};

/* The words "password" and "token". False: another one. */
bool access_method_parse(const char *word, enum access_method *method);

/* Is the peer that shows this secret the user? `user` may be any text.
 *
 * ACCESS_PASSWORD is SLOW and takes 64 MiB while it lasts, whether there is
 * such a user or not: never on a thread that serves connections, and the caller
 * bounds how many run at the same time. ACCESS_TOKEN is quick. Neither the
 * verdict nor its time tells whether there is such a user. Any thread. */
enum access_verdict access_verify(const struct access *access, const char *user,
    enum access_method method, const void *secret, size_t len);

/* What the user may do: one reference, to be given back with rights_unref();
 * NULL if memory is out. Users who come again share one object. Without an
 * access file everything is allowed; "owner" may always do everything, if
 * is_unix. Any thread. */
__attribute__((warn_unused_result)) struct rights *access_rights(
    const struct access *access, const struct access_identity *identity);

/* Is an identity that was proven before a reload still one? A user of a
 * password, token or certificate: some line still proves that name. An account:
 * it is still mapped to that user, or still to none. */
bool access_knows(
    const struct access *access, const struct access_identity *identity);

#endif
