/* SPDX-License-Identifier: MIT
 *
 * Names, texts, remedies and classes of codes, all of them from errors.def. The
 * sentences are for people; programs compare codes.
 */
#include <broker/codec.h>

struct status_row {
    unsigned code;
    const char *name, *text, *remedy;
    enum broker_error_class error_class;
    bool may_retry;
};

static const struct status_row status_rows[] = {
    {BROKER_OK, "OK", "success", "nothing", BROKER_CLASS_NONE, false},
    {BROKER_MORE, "MORE", "incomplete", "read more bytes and try again",
        BROKER_CLASS_NONE, false},
#define BROKER_ERROR(name, code, class, retry, text, remedy)                   \
    {(code), #name, (text), (remedy), BROKER_CLASS_##class, (retry) != 0},
#define BROKER_ERROR_RESERVED(name, code, text)                                \
    {(code), #name, (text),                                                    \
        "update this program: the code is of a later version",                 \
        BROKER_CLASS_NONE, false},
#include <broker/errors.def>
};

static const struct status_row unknown_row = {0, "UNKNOWN", "unknown code",
    "update this program: the code is not known to it", BROKER_CLASS_NONE,
    false};

static const struct status_row *
status_row_find(unsigned code)
{
    const size_t rows = sizeof status_rows / sizeof status_rows[0];

    for (size_t i = 0; i < rows; i++) {
        if (status_rows[i].code == code) {
            return &status_rows[i];
        }
    }
    return &unknown_row;
}

const char *
broker_status_name(unsigned code)
{
    return status_row_find(code)->name;
}

const char *
broker_status_text(unsigned code)
{
    return status_row_find(code)->text;
}

const char *
broker_status_remedy(unsigned code)
{
    return status_row_find(code)->remedy;
}

enum broker_error_class
broker_status_class(unsigned code)
{
    return status_row_find(code)->error_class;
}

bool
broker_status_may_retry(unsigned code)
{
    return status_row_find(code)->may_retry;
}
