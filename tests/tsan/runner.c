/* SPDX-License-Identifier: MIT
 *
 * The runner behind criterion/criterion.h of this folder. Each test runs in a
 * child, so that a race or a crash fails that test only. A child that the
 * sanitizer finds fault with ends with its exit code.
 */
#include <criterion/criterion.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sanitizer slows programs down; limits of tests do not know that. */
#define TIMEOUT_FACTOR 5
#define TIMEOUT_S      60

static struct runner_test *tests;
static atomic_bool failed;

void
runner_add(struct runner_test *test)
{
    test->next = tests;
    tests = test;
}

void
runner_check(bool fatal, bool ok, const char *place, const char *condition,
    const char *format, ...)
{
    va_list args;

    if (ok) {
        return;
    }
    failed = true;
    flockfile(stderr);
    fprintf(stderr, "%s: not true: %s ", place, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    funlockfile(stderr);
    if (fatal) {
        exit(EXIT_FAILURE);
    }
}

/* The options of the suite that a test is in, or none. */
static struct runner_options
suite_options(const struct runner_test *test)
{
    for (const struct runner_test *t = tests; t != NULL; t = t->next) {
        if (t->name == NULL && strcmp(t->suite, test->suite) == 0) {
            return t->options;
        }
    }
    return (struct runner_options){.init = NULL};
}

static void
run_body(const struct runner_test *test)
{
    if (test->parameters == NULL) {
        test->run();
        return;
    }
    struct runner_parameters parameters = test->parameters();
    for (size_t i = 0; i < parameters.count; i++) {
        test->run_with(parameters.first + i * parameters.bytes_each);
    }
}

static void
run_child(const struct runner_test *test)
{
    struct runner_options suite = suite_options(test);
    void (*init)(void) =
        test->options.init != NULL ? test->options.init : suite.init;
    void (*fini)(void) =
        test->options.fini != NULL ? test->options.fini : suite.fini;
    double timeout =
        test->options.timeout > 0 ? test->options.timeout : suite.timeout;

    alarm((timeout > 0 ? (unsigned)timeout + 1 : TIMEOUT_S) * TIMEOUT_FACTOR);
    if (init != NULL) {
        init();
    }
    run_body(test);
    if (fini != NULL) {
        fini();
    }
    exit(failed ? EXIT_FAILURE : EXIT_SUCCESS);
}

static bool
run(const struct runner_test *test)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        run_child(test);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "FAILED %s::%s (%s %d)\n", test->suite, test->name,
            WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return false;
    }
    return true;
}

int
main(void)
{
    unsigned count = 0;
    unsigned bad = 0;

    for (const struct runner_test *test = tests; test != NULL;
         test = test->next) {
        if (test->name != NULL && !test->options.disabled) {
            count++;
            bad += !run(test);
        }
    }
    printf("%u tests, %u failed\n", count, bad);
    return count > 0 && bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
