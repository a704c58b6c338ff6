/* SPDX-License-Identifier: MIT
 *
 * Reading a request's JSON strictly: an object with known keys, of the right
 * types, within bounds. The first thing that is wrong is kept as a text that
 * begins with the key. For broker/admin only.
 */
#ifndef BROKER_ADMIN_REQUEST_H
#define BROKER_ADMIN_REQUEST_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define ADMIN_WHY_BYTES 160u

struct core;
struct question;

struct admin_request {
    json_t *json;
    char why[ADMIN_WHY_BYTES]; /* "": nothing is wrong so far */
};

/* `keys` ends with NULL. False: something is wrong. Call admin_request_fini in
 * any case. */
bool admin_request_read(struct admin_request *request,
    struct broker_bytes payload, const char *const *keys);
void admin_request_fini(struct admin_request *request);

/* Remember what is wrong, if nothing was before. */
void admin_request_blame(
    struct admin_request *request, const char *key, const char *what);
bool admin_request_is_good(const struct admin_request *request);
/* The question is refused for what is wrong: BAD_REQUEST. */
void admin_refuse(struct core *core, struct question *question,
    const struct admin_request *request);

/* Each returns whether the key is there; *out is set then. A key that has to be
 * there and is not is wrong. Text is a view into the request. */
bool admin_request_text(struct admin_request *request, const char *key,
    bool is_needed, struct broker_bytes *out);
bool admin_request_count(struct admin_request *request, const char *key,
    uint64_t least, uint64_t most, uint64_t *out);
/* One of these words, which end with NULL: its place among them. */
bool admin_request_word(struct admin_request *request, const char *key,
    const char *const *words, size_t *out);
/* Up to `most` texts. *count is set. */
bool admin_request_texts(struct admin_request *request, const char *key,
    struct broker_bytes *out, size_t most, size_t *count);

#endif
