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

/* The host's array is longer than any number of IPv6 with its zone. */
Test(address, numbers_and_zones_have_a_length)
{
    static const char *const good[] = {"tcp://[::1]:1", "tcp://[fe80::1%eth0]",
        "tcp://[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"};
    static const char *const bad[] = {"tcp://[fe80::1%]:1", "tcp://[]:1",
        "tcp://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
        "tcp:///:4655", "tcp:///"};
    struct broker_address address;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert_eq(broker_address_parse(good[i], &address, NULL), BROKER_OK,
            "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)why_bad(bad[i]);
    }
}

Test(address, default_in_a_directory_that_leaves_no_room)
{
    struct broker_address address;
    char directory[sizeof address.path + 1];
    size_t most = sizeof address.path - 1 - strlen("/" BROKER_SOCKET_NAME);

    memset(directory, 'd', sizeof directory);
    directory[0] = '/';
    directory[most] = '\0';
    cr_assert_eq(broker_address_default(directory, &address), BROKER_OK);
    cr_assert_eq(strlen(address.path), sizeof address.path - 1);
    directory[most] = 'd';
    directory[most + 1] = '\0';
    address.path[0] = 'x';
    cr_assert_eq(
        broker_address_default(directory, &address), BROKER_E_BAD_ADDRESS);
    cr_assert_eq(address.path[0], 'x', "written on failure");
}
