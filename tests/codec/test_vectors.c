/* SPDX-License-Identifier: MIT
 *
 * Runs the checks against proto/vectors (check.h) under Criterion, each in a
 * process of its own.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "check.h"

/* As many as check_cases has; compared below. */
static size_t case_numbers[] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
#define CASE_NUMBERS (sizeof case_numbers / sizeof case_numbers[0])

ParameterizedTestParameters(vectors, check)
{
    return cr_make_param_array(size_t, case_numbers, CASE_NUMBERS);
}

ParameterizedTest(size_t *number, vectors, check)
{
    const struct check_case *wanted = &check_cases[*number];
    struct check_report report = {0, 0};

    wanted->run(&report, BROKER_VECTORS_DIR);
    cr_assert(report.done > 0, "%s: nothing was checked", wanted->name);
    cr_assert(report.failed == 0, "%s: %lu of %lu checks failed", wanted->name,
        report.failed, report.done);
}

Test(vectors, every_check_is_run)
{
    cr_assert_eq(check_case_count, CASE_NUMBERS);
}
