/* SPDX-License-Identifier: MIT
 *
 * Looks at everything inside a consumer: that its books balance, and that ring,
 * lists, heap and counters say the same. After every step of every test.
 */
#ifndef BROKER_TESTS_STREAM_CONSUMER_CHECK_H
#define BROKER_TESTS_STREAM_CONSUMER_CHECK_H

#include "consumer_internal.h"

/* NULL: all is well; otherwise what is wrong. */
const char *consumer_check(const struct consumer *consumer);

#endif
