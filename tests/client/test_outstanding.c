/* SPDX-License-Identifier: MIT
 *
 * What is outstanding, beside a plain list of what came in its order.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "outstanding.h"

#define SPAN 40
#define CAME 4000

TestSuite(outstanding, .timeout = 20);

struct model {
    uint64_t came[CAME];
    bool there[CAME];
    size_t count;
};

static size_t
find(const struct model *model, uint64_t sequence)
{
    for (size_t i = 0; i < model->count; i++) {
        if (model->there[i] && model->came[i] == sequence) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void
come(struct outstanding *outstanding, struct model *model, uint64_t first,
    uint64_t last)
{
    cr_assert(outstanding_add(outstanding, first, last));
    for (uint64_t i = first; i <= last; i++) {
        if (find(model, i) == SIZE_MAX) {
            model->came[model->count] = i;
            model->there[model->count++] = true;
        }
    }
}

/* Of something that is there it is exactly known what came before. */
static void
expect_up_to(
    struct outstanding *outstanding, struct model *model, uint64_t sequence)
{
    struct sequences to = {0};
    size_t at = find(model, sequence), taken = 0;
    if (at == SIZE_MAX) {
        return;
    }
    for (size_t i = 0; i <= at; i++) {
        taken += model->there[i] && model->came[i] <= sequence;
    }
    cr_assert_eq(
        outstanding_take_up_to(outstanding, sequence, &to), (int64_t)taken);
    cr_assert_eq(sequences_total(&to), taken);
    for (size_t i = 0; i <= at; i++) {
        if (model->there[i] && model->came[i] <= sequence) {
            cr_assert(sequences_has(&to, model->came[i]));
            model->there[i] = false;
        }
    }
    sequences_fini(&to);
}

Test(outstanding, it_is_what_came_in_its_order)
{
    struct outstanding outstanding = {0};
    struct model *model = calloc(1, sizeof *model);
    unsigned seed = 1;
    uint64_t next = 1;
    while (model->count + 5 < CAME) {
        unsigned what = (unsigned)rand_r(&seed) % 10;
        uint64_t low = next > SPAN ? next - SPAN : 1;
        uint64_t any = low + (uint64_t)rand_r(&seed) % SPAN;
        if (what < 3) {
            uint64_t last = next + (uint64_t)rand_r(&seed) % 4;
            come(&outstanding, model, next, last);
            next = last + 1;
        } else if (what < 6 && any < next) {
            come(&outstanding, model, any, any);
        } else if (what < 9) {
            size_t at = find(model, any);
            cr_assert_eq(outstanding_take(&outstanding, any), at != SIZE_MAX);
            if (at != SIZE_MAX) {
                model->there[at] = false;
            }
        } else {
            expect_up_to(&outstanding, model, any);
        }
        for (uint64_t i = low; i < next + 2; i++) {
            cr_assert_eq(
                outstanding_has(&outstanding, i), find(model, i) != SIZE_MAX);
        }
    }
    outstanding_clear(&outstanding);
    cr_assert_not(outstanding_has(&outstanding, next - 1));
    outstanding_fini(&outstanding);
    free(model);
}

/* It was settled, or never came: the earliest time that it may have come. */
Test(outstanding, what_is_not_there_is_taken_for_early)
{
    struct outstanding outstanding = {0};
    cr_assert_eq(outstanding_take_up_to(&outstanding, 9, NULL), 0);
    cr_assert(outstanding_add(&outstanding, 5, 9));
    cr_assert_eq(outstanding_take(&outstanding, 5), 1);
    cr_assert_eq(outstanding_take(&outstanding, 8), 1);
    cr_assert(outstanding_add(&outstanding, 5, 5));
    cr_assert_eq(outstanding_take_up_to(&outstanding, 8, NULL), 2, "6 and 7");
    cr_assert(outstanding_has(&outstanding, 5));
    cr_assert_eq(outstanding_take_up_to(&outstanding, 12, NULL), 2);
    outstanding_fini(&outstanding);
}

/* What was settled and is named once more came before what came again. */
Test(outstanding, what_was_settled_does_not_take_what_came_again)
{
    struct outstanding outstanding = {0};
    cr_assert(outstanding_add(&outstanding, 1, 5));
    cr_assert_eq(outstanding_take(&outstanding, 3), 1);
    cr_assert(outstanding_add(&outstanding, 3, 3));
    cr_assert_eq(outstanding_take_up_to(&outstanding, 5, NULL), 4);
    cr_assert_eq(outstanding_take_up_to(&outstanding, 5, NULL), 0);
    cr_assert(outstanding_has(&outstanding, 3));
    cr_assert(outstanding_add(&outstanding, 6, 6));
    cr_assert_eq(outstanding_take(&outstanding, 6), 1);
    cr_assert_eq(outstanding_take_up_to(&outstanding, 6, NULL), 1);
    outstanding_fini(&outstanding);
}
