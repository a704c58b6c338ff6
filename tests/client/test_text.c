/* SPDX-License-Identifier: MIT
 *
 * Texts for a person, with the words of a peer made harmless.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "text.h"

Test(text, words_of_a_peer_cannot_control_a_terminal)
{
    static const char nasty[] = "a\x1b[2Jb\nc\x7f"
                                "d\xC2\x9B"
                                "e\xC3\xA9";
    char text[64];
    text_copy(text, sizeof text,
        (struct broker_bytes){(const uint8_t *)nasty, sizeof nasty - 1});
    cr_assert_str_eq(text, "a?[2Jb?c?d?e\xC3\xA9");
    text_copy(text, 4, (struct broker_bytes){(const uint8_t *)"abcdef", 6});
    cr_assert_str_eq(text, "abc");
}

Test(text, a_status_says_what_and_what_to_do)
{
    char text[TEXT_MAX];
    text_status(text, "no luck", BROKER_E_NO_SUBSCRIBERS,
        (struct broker_bytes){(const uint8_t *)"words", 5});
    cr_assert(strstr(text, "no luck: ") == text);
    cr_assert(strstr(text, "NO_SUBSCRIBERS") != NULL);
    cr_assert(strstr(text, "words") != NULL);
    cr_assert(
        strstr(text, broker_status_remedy(BROKER_E_NO_SUBSCRIBERS)) != NULL);
}

Test(text, codes_of_a_peer_that_cannot_be)
{
    cr_assert_eq(text_peer_status(0), BROKER_E_INTERNAL);
    cr_assert_eq(text_peer_status(BROKER_MORE), BROKER_E_INTERNAL);
    cr_assert_eq(text_peer_status(BROKER_E_CLOSED), BROKER_E_INTERNAL);
    cr_assert_eq(text_peer_status(BROKER_E_MEMORY), BROKER_E_MEMORY);
    cr_assert_eq(text_peer_status(555), 555);
}
