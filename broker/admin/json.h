/* SPDX-License-Identifier: MIT
 *
 * What all JSON answers have in common; for broker/admin only. Integers that do
 * not fit a signed 64-bit number are the largest of those.
 */
#ifndef BROKER_ADMIN_JSON_H
#define BROKER_ADMIN_JSON_H

#include "buffer.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct core;
struct question;

struct admin_page {
    size_t offset, limit;
};

json_t *admin_number(uint64_t value);

/* The optional payload {"offset", "limit"}. False: BAD_REQUEST. */
bool admin_read_page(struct broker_bytes payload, struct admin_page *page);
/* The same as keys of an object that has others too; `why` is set to what is
 * wrong. */
bool admin_read_page_keys(
    const json_t *request, struct admin_page *page, const char **why);
bool admin_on_page(const struct admin_page *page, size_t i);
/* An object with total, offset and the rows, which it takes over. */
json_t *admin_paged(const char *name, json_t *rows, size_t total,
    const struct admin_page *page);

/* BROKER_OK or BROKER_E_MEMORY. */
enum broker_status admin_write(const json_t *json, struct buffer *reply);
/* The question's answer, which it takes over, or MEMORY; the question is
 * complete with that. */
void admin_answer_json(
    struct core *core, struct question *question, json_t *json);

#endif
