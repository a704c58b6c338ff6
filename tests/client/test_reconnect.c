/* SPDX-License-Identifier: MIT
 *
 * When which address is tried next.
 */
#include <criterion/criterion.h>

#include "reconnect.h"

#define MS UINT64_C(1000)

static struct reconnect_config
config(size_t addresses)
{
    return (struct reconnect_config){
        .enabled = true,
        .min_ms = 50,
        .max_ms = 5000,
        .address_count = addresses,
        .seed = 42,
    };
}

Test(reconnect, addresses_of_a_round_are_tried_without_waiting)
{
    struct reconnect reconnect;
    struct reconnect_config three = config(3);
    reconnect_init(&reconnect, &three);
    cr_assert_eq(reconnect.address, 0);
    cr_assert_eq(reconnect.next_us, 0);
    cr_assert(reconnect_failed(&reconnect, 1000, 0));
    cr_assert_eq(reconnect.address, 1);
    cr_assert_eq(reconnect.next_us, 1000);
    cr_assert(reconnect_failed(&reconnect, 2000, 0));
    cr_assert_eq(reconnect.address, 2);
    cr_assert_not(reconnect_is_new_round(&reconnect));
    cr_assert(reconnect_failed(&reconnect, 3000, 0));
    cr_assert(reconnect_is_new_round(&reconnect));
    cr_assert_geq(reconnect.next_us, 3000);
    cr_assert_leq(reconnect.next_us, 3000 + 50 * MS);
}

/* Full jitter: between 0 and the bound, over its whole width. */
Test(reconnect, the_bound_doubles_up_to_its_maximum)
{
    static const uint64_t bounds_ms[] = {
        50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    for (size_t i = 0; i < sizeof bounds_ms / sizeof bounds_ms[0]; i++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (uint64_t seed = 1; seed < 400; seed++) {
            struct reconnect reconnect;
            struct reconnect_config one = config(1);
            one.seed = seed * UINT64_C(0x9E3779B97F4A7C15);
            reconnect_init(&reconnect, &one);
            for (size_t k = 0; k <= i; k++) {
                cr_assert(reconnect_failed(&reconnect, 0, 0));
            }
            least = reconnect.next_us < least ? reconnect.next_us : least;
            most = reconnect.next_us > most ? reconnect.next_us : most;
        }
        cr_assert_leq(most, bounds_ms[i] * MS, "round %zu", i);
        cr_assert_geq(most, bounds_ms[i] * MS * 9 / 10, "round %zu", i);
        cr_assert_leq(least, bounds_ms[i] * MS / 10, "round %zu", i);
    }
}

Test(reconnect, a_lost_connection_is_tried_at_once_but_not_hammered)
{
    struct reconnect reconnect;
    struct reconnect_config one = config(1);
    reconnect_init(&reconnect, &one);
    uint64_t now = 1000 * MS, waited = 0;
    reconnect_opened(&reconnect, now);
    cr_assert(reconnect_lost(&reconnect, now, 0));
    cr_assert_eq(reconnect.next_us, now, "the first try comes at once");
    for (int i = 0; i < 20; i++) { /* accepted and dropped, again and again */
        reconnect_opened(&reconnect, now);
        cr_assert(reconnect_lost(&reconnect, now, 0));
        waited += reconnect.next_us - now;
    }
    cr_assert_gt(waited, 5000 * MS);
    /* It held: at once again. */
    reconnect_opened(&reconnect, now);
    now += 5000 * MS;
    cr_assert(reconnect_lost(&reconnect, now, 0));
    cr_assert_eq(reconnect.next_us, now);
}

Test(reconnect, the_advice_of_the_broker_is_the_least_wait)
{
    struct reconnect reconnect;
    struct reconnect_config one = config(1);
    reconnect_init(&reconnect, &one);
    reconnect_opened(&reconnect, 0);
    cr_assert(reconnect_lost(&reconnect, 0, 700));
    cr_assert_geq(reconnect.next_us, 700 * MS);
    cr_assert_leq(reconnect.next_us, 750 * MS);
    /* It counts for its round only. */
    cr_assert(reconnect_failed(&reconnect, 0, 0));
    cr_assert_leq(reconnect.next_us, 100 * MS);
    /* Advice of any address of a round. */
    struct reconnect_config two = config(2);
    reconnect_init(&reconnect, &two);
    cr_assert(reconnect_failed(&reconnect, 0, 900));
    cr_assert_eq(reconnect.next_us, 0);
    cr_assert(reconnect_failed(&reconnect, 0, 0));
    cr_assert_geq(reconnect.next_us, 900 * MS);
}

Test(reconnect, limits)
{
    struct reconnect reconnect;
    struct reconnect_config limited = config(2);
    limited.connect_attempts = 2;
    limited.attempts = 3;
    reconnect_init(&reconnect, &limited);
    cr_assert(reconnect_failed(&reconnect, 0, 0));
    cr_assert(reconnect_failed(&reconnect, 0, 0));
    cr_assert(reconnect_failed(&reconnect, 0, 0));
    cr_assert_not(reconnect_failed(&reconnect, 0, 0));

    reconnect_init(&reconnect, &limited);
    reconnect_opened(&reconnect, 0);
    cr_assert(reconnect_lost(&reconnect, 0, 0));
    for (int i = 0; i < 5; i++) {
        cr_assert(reconnect_failed(&reconnect, 0, 0));
    }
    cr_assert_not(reconnect_failed(&reconnect, 0, 0));

    limited.enabled = false;
    reconnect_init(&reconnect, &limited);
    reconnect_opened(&reconnect, 0);
    cr_assert_not(reconnect_lost(&reconnect, 0, 0));
}
