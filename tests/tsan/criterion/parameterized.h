/* SPDX-License-Identifier: MIT
 *
 * Under the thread sanitizer, all is in criterion.h; see there.
 */
#ifndef BROKER_TEST_TSAN_PARAMETERIZED_H
#define BROKER_TEST_TSAN_PARAMETERIZED_H

#include <criterion/criterion.h>

#endif
