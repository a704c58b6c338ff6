/* SPDX-License-Identifier: MIT
 *
 * Names, texts and classes of codes, against errors.def itself and a few
 * written out here, so that a mistake in the table's reader cannot hide.
 */
#include <criterion/criterion.h>

#include <string.h>

#include <broker/codec.h>

struct error_row {
    const char *name;
    unsigned code;
    enum broker_error_class error_class;
    bool may_retry;
    const char *text, *remedy;
};

static const struct error_row rows[] = {
#define BROKER_ERROR(name, code, class, retry, text, remedy)                   \
    {#name, code, BROKER_CLASS_##class, (retry) != 0, text, remedy},
#define BROKER_ERROR_RESERVED(name, code, text)                                \
    {#name, code, BROKER_CLASS_NONE, false, text, NULL},
#include <broker/errors.def>
};
#define ROWS (sizeof rows / sizeof rows[0])

Test(names, every_row)
{
    for (size_t i = 0; i < ROWS; i++) {
        cr_assert_str_eq(broker_status_name(rows[i].code), rows[i].name);
        cr_assert_str_eq(broker_status_text(rows[i].code), rows[i].text);
        cr_assert_eq(broker_status_class(rows[i].code), rows[i].error_class);
        cr_assert_eq(broker_status_may_retry(rows[i].code), rows[i].may_retry);
        if (rows[i].remedy != NULL) {
            cr_assert_str_eq(
                broker_status_remedy(rows[i].code), rows[i].remedy);
        }
    }
}

/* A program switches over codes and prints texts: both must be unique. */
Test(names, unique)
{
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < i; j++) {
            cr_assert_neq(rows[i].code, rows[j].code, "%s", rows[i].name);
            cr_assert_str_neq(rows[i].name, rows[j].name);
            cr_assert_str_neq(rows[i].text, rows[j].text);
        }
    }
}

/* The number says the class: 9xx is local, 6xx a notice, and the rest travels
 * as 1 to 3. */
Test(names, classes_fit_codes)
{
    for (size_t i = 0; i < ROWS; i++) {
        enum broker_error_class error_class = rows[i].error_class;

        cr_assert_eq(error_class == BROKER_CLASS_LOCAL, rows[i].code >= 900);
        cr_assert_eq(error_class == BROKER_CLASS_NOTICE,
            rows[i].code >= 600 && rows[i].code < 700);
    }
}

Test(names, written_out)
{
    cr_assert_eq(BROKER_E_BAD_TOPIC, 301);
    cr_assert_str_eq(broker_status_name(301), "BAD_TOPIC");
    cr_assert_str_eq(broker_status_text(301), "invalid topic name");
    cr_assert_eq(broker_status_class(301), BROKER_CLASS_REQUEST);
    cr_assert_not(broker_status_may_retry(301));
    cr_assert_eq(broker_status_class(106), BROKER_CLASS_CONNECTION);
    cr_assert_eq(broker_status_class(601), BROKER_CLASS_NOTICE);
    cr_assert_eq(broker_status_class(901), BROKER_CLASS_LOCAL);
    cr_assert(broker_status_may_retry(304));
    cr_assert_eq(broker_status_class(205), BROKER_CLASS_SUBSCRIPTION);
    cr_assert_str_eq(broker_status_name(501), "STORAGE");
    cr_assert_eq(broker_status_class(501), BROKER_CLASS_REQUEST);
    cr_assert_str_eq(broker_status_name(407), "RATE");
    cr_assert_eq(broker_status_class(407), BROKER_CLASS_NONE);
}

Test(names, results_that_are_no_errors)
{
    cr_assert_str_eq(broker_status_name(BROKER_OK), "OK");
    cr_assert_str_eq(broker_status_name(BROKER_MORE), "MORE");
    cr_assert_eq(broker_status_class(BROKER_OK), BROKER_CLASS_NONE);
    cr_assert_eq(broker_status_class(BROKER_MORE), BROKER_CLASS_NONE);
}

Test(names, unknown)
{
    static const unsigned codes[] = {
        2, 99, 100, 111, 899, 999, 65535, 0xFFFFFFFF};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        cr_assert_str_eq(broker_status_name(codes[i]), "UNKNOWN");
        cr_assert(strlen(broker_status_text(codes[i])) > 0);
        cr_assert(strlen(broker_status_remedy(codes[i])) > 0);
        cr_assert_eq(broker_status_class(codes[i]), BROKER_CLASS_NONE);
        cr_assert_not(broker_status_may_retry(codes[i]));
    }
}
