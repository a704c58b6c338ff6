/* SPDX-License-Identifier: MIT
 *
 * The example in brokerd.access(5) is loaded, and does what the text behind it
 * says.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "rights.h"

#define MANUAL_BYTES_MAX 65536

/* What stands between .RS and .RE behind the heading, without \ of roff. */
static char *
read_example(void)
{
    char *text = calloc(1, MANUAL_BYTES_MAX);
    FILE *file = fopen(MANUAL, "r");
    char *from, *to;
    size_t len = 0;

    cr_assert_not_null(file);
    cr_assert_lt(
        fread(text, 1, MANUAL_BYTES_MAX - 1, file), MANUAL_BYTES_MAX - 1);
    fclose(file);
    from = strstr(text, ".SH EXAMPLE\n");
    cr_assert_not_null(from);
    from = strstr(from, ".RS\n") + 4;
    to = strstr(from, ".RE\n");
    cr_assert_not_null(to);
    for (; from < to; from++) {
        if (*from != '\\') {
            text[len++] = *from;
        }
    }
    text[len] = '\0';
    return text;
}

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

static struct rights *
rights_of(struct access *access, const char *user)
{
    struct access_identity identity = {.is_unix = false};
    struct rights *rights;

    snprintf(identity.user, sizeof identity.user, "%s", user);
    rights = access_rights(access, &identity);
    cr_assert_not_null(rights);
    return rights;
}

Test(manual, the_example)
{
    struct folder folder = folder_new();
    char *example = read_example();
    struct access *access = folder_load(&folder, NULL, example);
    struct rights *alice = rights_of(access, "alice");
    struct rights *sensor = rights_of(access, "sensor-7");
    const char *rule = NULL;

    cr_assert_eq(
        rights_may_subscribe(alice, bytes_of("#"), NULL), RIGHTS_PARTLY);
    cr_assert(rights_may_receive(alice, bytes_of("sensors/x/y")));
    cr_assert(rights_may_receive(alice, bytes_of("letters/alice")));
    cr_assert(rights_may_receive(alice, bytes_of("_inbox/alice/x/1")));
    cr_assert_not(rights_may_receive(alice, bytes_of("letters/bob")));
    cr_assert_not(rights_may_receive(alice, bytes_of("_inbox/bob/x/1")));
    cr_assert_eq(rights_may_subscribe(alice, bytes_of("letters/bob"), &rule),
        RIGHTS_DENIED);
    cr_assert_str_eq(
        rule, "deny * subscribe letters/#  (access file, line 13)");
    cr_assert_eq(
        rights_may_subscribe(alice, bytes_of("$sys/#"), NULL), RIGHTS_GRANTED);

    cr_assert_eq(rights_may_subscribe(sensor, bytes_of("settings/+"), NULL),
        RIGHTS_PARTLY);
    cr_assert(rights_may_receive(sensor, bytes_of("settings/sensor-7")));
    cr_assert(rights_may_publish(sensor, bytes_of("sensors/sensor-7/t"), NULL));
    cr_assert_not(
        rights_may_publish(sensor, bytes_of("sensors/sensor-8/t"), NULL));
    cr_assert_not(rights_may_publish(sensor, bytes_of("alarm/fire"), &rule));
    cr_assert_str_eq(rule, "no rule allows it");

    rights_unref(alice);
    rights_unref(sensor);
    access_unref(access);
    free(example);
    folder_free(&folder);
}
