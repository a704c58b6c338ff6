/* SPDX-License-Identifier: MIT
 *
 * What a terminal must not be given by strangers: the control characters U+0000
 * to U+001F, U+007F and U+0080 to U+009F, and bytes that are no UTF-8, among
 * which some terminals find control characters as well. They are written as
 * \u001b, or as \x9b if they are no UTF-8. Pure.
 */
#ifndef BROKERCTL_ESCAPE_H
#define BROKERCTL_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes at the front are harmless. `lines`: so are \n and \t. */
size_t escape_span(const uint8_t *data, size_t len, bool lines);

/* The one at the front is not: as text. Returns how many bytes it is. */
#define ESCAPE_TEXT_MAX 8
size_t escape_one(const uint8_t *data, size_t len, char text[ESCAPE_TEXT_MAX]);

#endif
