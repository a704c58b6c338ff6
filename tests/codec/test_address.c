/* SPDX-License-Identifier: MIT
 *
 * Addresses beyond the table of proto/vectors: optional arguments, the reasons
 * given, the longest texts.
 */
#include <criterion/criterion.h>

#include <string.h>

#include <broker/address.h>

static const char *
why_bad(const char *text)
{
    struct broker_address address;
    const char *why = NULL;

    cr_assert_eq(
        broker_address_parse(text, &address, &why), BROKER_E_BAD_ADDRESS);
    return why;
}

Test(address, reasons_tell_what_is_right)
{
    cr_assert(strstr(why_bad("localhost:4655"), "tcp://") != NULL);
    cr_assert(strstr(why_bad("tcp://::1"), "brackets") != NULL);
    cr_assert(strstr(why_bad("tcp://:4655"), "host") != NULL);
    cr_assert(strstr(why_bad("tcp://h:99999"), "65535") != NULL);
    cr_assert(strstr(why_bad("unix://tmp/s"), "three slashes") != NULL);
}

Test(address, reason_is_optional_and_left_alone)
{
    struct broker_address address;
    const char *why = "untouched";

    cr_assert_eq(
        broker_address_parse("nonsense", &address, NULL), BROKER_E_BAD_ADDRESS);
    cr_assert_eq(
        broker_address_parse("tcp://localhost", &address, &why), BROKER_OK);
    cr_assert_str_eq(why, "untouched");
    cr_assert_str_eq(address.port, BROKER_DEFAULT_PORT);
}

Test(address, default_without_a_directory)
{
    struct broker_address address;

    cr_assert_eq(broker_address_default(NULL, &address), BROKER_OK);
    cr_assert_str_eq(address.path, "/run/" BROKER_SOCKET_NAME);
}

Test(address, longest_fits_the_text)
{
    struct broker_address address = {.kind = BROKER_ADDRESS_TCP};
    char text[BROKER_ADDRESS_TEXT_MAX];

    memset(address.host, ':', sizeof address.host - 1);
    memcpy(address.port, "65535", 6);
    broker_address_format(&address, text, sizeof text);
    cr_assert_eq(strlen(text), strlen("tcp://[]:65535") + 255);
}
