/* SPDX-License-Identifier: MIT
 *
 * What stands in the store that is kept under fixtures/: written once by
 * store-fixture with the version that its folder is named after, and read by
 * test_fixture.c for ever. Never change what is here; a later format gets a
 * folder and a generator of its own.
 */
#ifndef BROKER_TESTS_STORE_FIXTURE_H
#define BROKER_TESTS_STORE_FIXTURE_H

#include "store.h"

#define FIXTURE_TIME UINT64_C(1795392000000)
/* Stream "orders" has ids 1 to 40 less the first 5, which were trimmed; the
 * last 20 are in the journal alone. Stream "short" keeps the last 4 of ids 101
 * to 110, and stream "removed" is not there. Each append has one record, of
 * model.h, a second later than the one before. */
#define FIXTURE_ORDERS    40u
#define FIXTURE_TRIMMED   5u
#define FIXTURE_TABLES    20u
#define FIXTURE_SHORT     10u
#define FIXTURE_KEPT      4u
#define FIXTURE_PUBLISHER "fixture"
/* Publish numbers are the ids; number 41 was refused (a conflict), and 42 is
 * id 41, without a record of 41. */
#define FIXTURE_REFUSED 41u
#define FIXTURE_LAST    42u

#endif
