/* SPDX-License-Identifier: MIT
 *
 * Remembered sessions: how many, how long, and serial numbers. PROTOCOL.md
 * section 5.3. */
#include "identity.h"

#include <criterion/criterion.h>

#include <string.h>

static struct identity *
take(struct identities *identities, uint8_t name, uint64_t now_ms)
{
    uint8_t id[BROKER_SESSION_BYTES];
    memset(id, name, sizeof id);
    struct identity *identity = identity_take(identities, id, 0, now_ms);
    cr_assert_not_null(identity);
    identity->session = (struct session *)(void *)identities; /* somebody */
    return identity;
}

Test(identity, is_remembered_for_a_while)
{
    struct identities identities;
    identities_init(&identities, 10, 1000, 1);
    struct identity *identity = take(&identities, 1, 0);
    identity->last_publish = 7;
    identity_leave(&identities, identity, 100);
    cr_assert_eq(take(&identities, 1, 1099)->last_publish, 7);
    cr_assert_eq(identities.gone_count, 0);
    identity_leave(&identities, identity, 1100);
    cr_assert_eq(take(&identities, 1, 2100)->last_publish, 0);
    identity_leave(&identities, take(&identities, 1, 2100), 2100);
    cr_assert_eq(identities.table.count, 0, "nothing to keep is not kept");
    identities_fini(&identities);
}

/* The core ends while publishes of many are still with the store. */
Test(identity, many_that_are_held_are_forgotten_at_the_end)
{
    struct identities identities;
    identities_init(&identities, 10, 1000, 1);
    for (uint8_t name = 1; name <= 200; name++) {
        (void)take(&identities, name, 0);
    }
    identities_fini(&identities);
}

Test(identity, the_longest_gone_goes_first)
{
    struct identities identities;
    identities_init(&identities, 3, UINT64_MAX, 1);
    for (uint8_t i = 1; i <= 5; i++) {
        struct identity *identity = take(&identities, i, i);
        identity->last_publish = i;
        identity_leave(&identities, identity, i);
        cr_assert_leq(identities.gone_count, 3);
    }
    cr_assert_eq(take(&identities, 3, 9)->last_publish, 3);
    cr_assert_eq(take(&identities, 5, 9)->last_publish, 5);
    struct identity *first = take(&identities, 1, 9);
    cr_assert_eq(first->last_publish, 0);
    identity_leave(&identities, first, 9);
    identity_leave(&identities, take(&identities, 3, 9), 9);
    identity_leave(&identities, take(&identities, 5, 9), 9);
    identities_fini(&identities);
}

Test(identity, none_are_kept_if_none_are_allowed)
{
    struct identities identities;
    identities_init(&identities, 0, 1000, 1);
    struct identity *identity = take(&identities, 1, 0);
    identity->last_publish = 5;
    identity_leave(&identities, identity, 0);
    cr_assert_eq(identities.table.count, 0);
    identities_fini(&identities);
}

Test(identity, serial_numbers)
{
    cr_assert(identity_number_above(2, 1));
    cr_assert_not(identity_number_above(1, 1));
    cr_assert_not(identity_number_above(1, 2));
    cr_assert(identity_number_above(1, UINT32_MAX));
    cr_assert_not(identity_number_above(UINT32_MAX, 1));
    cr_assert(identity_number_above(0x80000000u, 1));
    cr_assert_not(identity_number_above(0x80000001u, 1));
}
