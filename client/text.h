/* SPDX-License-Identifier: MIT
 *
 * Sentences for a person: what went wrong and what to do about it. Text that a
 * peer sent is made harmless for terminals first. Pure.
 */
#ifndef BROKER_CLIENT_TEXT_H
#define BROKER_CLIENT_TEXT_H

#include <broker/client.h>

#define TEXT_MAX BROKER_CLIENT_ERROR_TEXT_MAX

/* printf into a text, cut where it does not fit. */
__attribute__((format(printf, 2, 3))) void text_format(
    char text[TEXT_MAX], const char *format, ...);

/* "<what>: <meaning> (<NAME>): <peer's words>: <remedy>". The peer's words are
 * left out if empty. */
void text_status(char text[TEXT_MAX], const char *what, unsigned code,
    struct broker_bytes peer);

/* Copy bytes of a peer with control characters replaced, NUL-terminated, cut
 * to cap. */
void text_copy(char *dst, size_t cap, struct broker_bytes peer);

/* The code of a peer as a status: codes that would read as success or as one of
 * the library's own become BROKER_E_INTERNAL. */
enum broker_status text_peer_status(unsigned code);

#endif
