/* SPDX-License-Identifier: MIT
 *
 * Runs all checks of check.h without a test framework, for machines that have
 * none (see big-endian).
 */
#include <stdio.h>

#include "check.h"

int
main(int argc, char **argv)
{
    struct check_report total = {0, 0};

    if (argc != 2) {
        fprintf(stderr, "usage: %s path-of-proto/vectors\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < check_case_count; i++) {
        struct check_report report = {0, 0};

        check_cases[i].run(&report, argv[1]);
        printf("%-20s %9lu checks, %lu failed\n", check_cases[i].name,
            report.done, report.failed);
        fflush(stdout); /* a crash must not hide what was done */
        total.done += report.done;
        total.failed += report.failed;
    }
    return total.failed == 0 && total.done != 0 ? 0 : 1;
}
