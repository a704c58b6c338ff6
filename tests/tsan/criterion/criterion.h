/* SPDX-License-Identifier: MIT
 *
 * A stand-in for Criterion under the thread sanitizer. Criterion's runner
 * shares memory with its children at addresses that the sanitizer keeps for
 * itself, so its programs end before their first test. This has the same names
 * for what our tests use, and a runner (runner.c) that forks for each test.
 * It is used for -DBROKER_SANITIZE=thread only.
 */
#ifndef BROKER_TEST_TSAN_CRITERION_H
#define BROKER_TEST_TSAN_CRITERION_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct runner_options {
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* seconds */
    bool disabled;
};

/* What a parameterised test is run with, one after the other. */
struct runner_parameters {
    char *first;
    size_t bytes_each;
    size_t count;
};

struct runner_test {
    const char *suite;
    const char *name; /* NULL: these are the options of a whole suite */
    void (*run)(void);
    struct runner_parameters (*parameters)(void); /* and then: */
    void (*run_with)(void *parameter);
    struct runner_options options;
    struct runner_test *next;
};

/* Called by constructors, one for each Test and TestSuite. */
void runner_add(struct runner_test *test);

/* Say what is wrong if `ok` is false, and end the test if it is `fatal`. Any
 * thread. `format` and what follows may be "". */
void runner_check(bool fatal, bool ok, const char *place, const char *condition,
    const char *format, ...);

#define RUNNER_TEXT(x) #x
#define RUNNER_LINE(x) RUNNER_TEXT(x)
#define RUNNER_PLACE   __FILE__ ":" RUNNER_LINE(__LINE__)

#define RUNNER_ADD(id)                                                         \
    __attribute__((constructor)) static void id##_add(void)                    \
    {                                                                          \
        runner_add(&id##_test);                                                \
    }

#define TestSuite(suite_, ...)                                                 \
    static struct runner_test suite_##_suite_test = {                          \
        .suite = #suite_, .options = {__VA_ARGS__}};                           \
    RUNNER_ADD(suite_##_suite)                                                 \
    struct runner_test /* takes the semicolon */

#define Test(suite_, name_, ...)                                               \
    static void suite_##_##name_##_run(void);                                  \
    static struct runner_test suite_##_##name_##_test = {.suite = #suite_,     \
        .name = #name_,                                                        \
        .run = suite_##_##name_##_run,                                         \
        .options = {__VA_ARGS__}};                                             \
    RUNNER_ADD(suite_##_##name_)                                               \
    static void suite_##_##name_##_run(void)

#define cr_make_param_array(type, array, n)                                    \
    ((struct runner_parameters){(char *)(array), sizeof(type), (n)})

#define ParameterizedTestParameters(suite_, name_)                             \
    static struct runner_parameters suite_##_##name_##_parameters(void)

#define ParameterizedTest(parameter_, suite_, name_, ...)                      \
    static void suite_##_##name_##_with(parameter_);                           \
    static void suite_##_##name_##_run_with(void *parameter)                   \
    {                                                                          \
        suite_##_##name_##_with(parameter);                                    \
    }                                                                          \
    static struct runner_test suite_##_##name_##_test = {.suite = #suite_,     \
        .name = #name_,                                                        \
        .parameters = suite_##_##name_##_parameters,                           \
        .run_with = suite_##_##name_##_run_with,                               \
        .options = {__VA_ARGS__}};                                             \
    RUNNER_ADD(suite_##_##name_)                                               \
    static void suite_##_##name_##_with(parameter_)

#define RUNNER_CHECK(fatal, ok, condition, ...)                                \
    runner_check((fatal), (ok), RUNNER_PLACE, (condition), "" __VA_ARGS__)
#define RUNNER_STR(fatal, a, b, op, ...)                                       \
    RUNNER_CHECK(fatal, strcmp((a), (b)) op 0, #a " " #op " " #b, __VA_ARGS__)
#define RUNNER_OP(fatal, a, b, op, ...)                                        \
    RUNNER_CHECK(fatal, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define RUNNER_ARR(fatal, a, b, n, ...)                                        \
    RUNNER_CHECK(                                                              \
        fatal, memcmp((a), (b), (n)) == 0, #a " equals " #b, __VA_ARGS__)

#define cr_assert(c, ...)     RUNNER_CHECK(true, (c), #c, __VA_ARGS__)
#define cr_assert_not(c, ...) RUNNER_CHECK(true, !(c), "!" #c, __VA_ARGS__)
#define cr_expect(c, ...)     RUNNER_CHECK(false, (c), #c, __VA_ARGS__)

#define cr_assert_null(p, ...)     RUNNER_OP(true, p, NULL, ==, __VA_ARGS__)
#define cr_assert_not_null(p, ...) RUNNER_OP(true, p, NULL, !=, __VA_ARGS__)
#define cr_expect_null(p, ...)     RUNNER_OP(false, p, NULL, ==, __VA_ARGS__)
#define cr_expect_not_null(p, ...) RUNNER_OP(false, p, NULL, !=, __VA_ARGS__)

#define cr_assert_eq(a, b, ...)  RUNNER_OP(true, a, b, ==, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) RUNNER_OP(true, a, b, !=, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)  RUNNER_OP(true, a, b, <, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) RUNNER_OP(true, a, b, <=, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)  RUNNER_OP(true, a, b, >, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) RUNNER_OP(true, a, b, >=, __VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...)                                 \
    RUNNER_CHECK(true, (a) - (b) <= (epsilon) && (b) - (a) <= (epsilon),       \
        #a " == " #b, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)  RUNNER_OP(false, a, b, ==, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) RUNNER_OP(false, a, b, !=, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)  RUNNER_OP(false, a, b, <, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) RUNNER_OP(false, a, b, <=, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)  RUNNER_OP(false, a, b, >, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) RUNNER_OP(false, a, b, >=, __VA_ARGS__)

#define cr_assert_str_eq(a, b, ...)    RUNNER_STR(true, a, b, ==, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)   RUNNER_STR(true, a, b, !=, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) RUNNER_ARR(true, a, b, n, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)    RUNNER_STR(false, a, b, ==, __VA_ARGS__)

#define cr_assert_str_not_empty(a, ...) RUNNER_STR(true, a, "", !=, __VA_ARGS__)

#define cr_assert_fail(...) RUNNER_CHECK(true, false, "fail", __VA_ARGS__)

#endif
