/* SPDX-License-Identifier: MIT
 *
 * What the rules of the access file give to whom.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "folder.h"
#include "rights.h"

static struct folder folder;
static struct access *loaded;

static void
load(const char *rules)
{
    folder = folder_new();
    loaded = folder_load(&folder, NULL, rules);
    cr_assert_not_null(loaded, "%s", folder.errors);
}

static void
end(void)
{
    access_unref(loaded);
    folder_free(&folder);
}

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

static struct rights *
rights_of(const char *user, bool is_unix, uint32_t gid)
{
    struct access_identity identity = {.is_unix = is_unix, .gid = gid};
    struct rights *rights;

    snprintf(identity.user, sizeof identity.user, "%s", user);
    rights = access_rights(loaded, &identity);
    cr_assert_not_null(rights);
    return rights;
}

/* "+publish topic", "-publish topic", "+receive topic", "-receive topic" */
static void
expect(const char *user, const char *const *lines, size_t count)
{
    struct rights *rights = rights_of(user, false, 0);

    for (size_t i = 0; i < count; i++) {
        struct broker_bytes topic = bytes_of(strchr(lines[i], ' ') + 1);
        bool may = lines[i][1] == 'p' ? rights_may_publish(rights, topic, NULL)
                                      : rights_may_receive(rights, topic);

        cr_assert_eq(may, lines[i][0] == '+', "%s: %s", user, lines[i]);
    }
    rights_unref(rights);
}
#define EXPECT(user, ...)                                                      \
    expect(user, (const char *const[]){__VA_ARGS__},                           \
        sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *))

Test(rules, users_groups_and_everybody)
{
    load("# who\n"
         "group staff alice bob\n"
         "group empty\n"
         "deny bob all secret/#\n"
         "allow @staff publish secret/#\n"
         "allow @empty all #\n"
         "\n"
         "  allow  alice\tsubscribe secret/plans  \r\n"
         "allow * all public/+\n"
         "allow uid:1000 publish own\n");
    EXPECT("alice", "+publish secret/x", "-receive secret/x",
        "+receive secret/plans", "+publish public/x", "-publish public/x/y",
        "+receive public/x", "-publish own");
    EXPECT("bob", "-publish secret/x", "-receive secret/plans",
        "+publish public/x");
    EXPECT("carol", "-publish secret/x", "+publish public/x");
    EXPECT("uid:1000", "+publish own", "+receive public/x");
    EXPECT("owner", "-publish secret/x", "+publish public/x");
    end();
}

Test(rules, the_users_name_in_filters)
{
    load("allow * publish _inbox/#\n"
         "allow * subscribe _inbox/%u/#\n"
         "allow * publish x%uy/50%%\n"
         "allow * all %u/%u\n");
    EXPECT("alice", "+publish _inbox/bob/1", "+receive _inbox/alice/1",
        "-receive _inbox/bob/1", "+publish xalicey/50%", "-publish xbuby/50%",
        "+publish alice/alice", "-publish alice/bob", "-publish %u/%u");
    EXPECT("uid:7", "+receive _inbox/uid:7/1", "-receive _inbox/alice/1");
    end();
}

Test(rules, the_rule_is_told_with_its_line)
{
    struct rights *rights;
    const char *rule = NULL;

    load("# line 1\n"
         "group staff alice\n"
         "deny @staff publish %u/#\n"
         "deny alice all \"a b\"\n");
    rights = rights_of("alice", false, 0);
    cr_assert_not(rights_may_publish(rights, bytes_of("alice/x"), &rule));
    cr_assert_str_eq(rule, "deny @staff publish %u/#  (access file, line 3)");
    cr_assert_not(rights_may_publish(rights, bytes_of("a b"), &rule));
    cr_assert_str_eq(rule, "deny alice all a b  (access file, line 4)");
    cr_assert_not(rights_may_publish(rights, bytes_of("a"), &rule));
    cr_assert_str_eq(rule, "no rule allows it");
    rights_unref(rights);
    end();
}

Test(rules, members_by_gid)
{
    struct rights *rights;

    load("group staff alice\n"
         "unix @staff 100\n"
         "unix bob 1000\n"
         "allow @staff publish a\n");
    for (int i = 0; i < 2; i++) { /* the second time from what is shared */
        rights = rights_of("bob", true, 100);
        cr_assert(rights_may_publish(rights, bytes_of("a"), NULL));
        rights_unref(rights);
        rights = rights_of("bob", true, 101);
        cr_assert_not(rights_may_publish(rights, bytes_of("a"), NULL));
        rights_unref(rights);
        rights = rights_of("uid:5", true, 100);
        cr_assert(rights_may_publish(rights, bytes_of("a"), NULL));
        rights_unref(rights);
        /* Who came another way has no gid, whatever stands there. */
        rights = rights_of("bob", false, 100);
        cr_assert_not(rights_may_publish(rights, bytes_of("a"), NULL));
        rights_unref(rights);
    }
    end();
}

Test(rules, the_owner_may_everything)
{
    struct rights *rights;

    load("deny * all #\n");
    rights = rights_of("owner", true, 0);
    cr_assert(rights_may_publish(rights, bytes_of("$sys/x"), NULL));
    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("#"), NULL), RIGHTS_GRANTED);
    rights_unref(rights);
    rights = rights_of("owner", false, 0); /* by that name only */
    cr_assert_not(rights_may_publish(rights, bytes_of("a"), NULL));
    rights_unref(rights);
    end();
}

Test(rules, without_a_file_everything_is_allowed)
{
    struct rights *rights;

    load(NULL);
    rights = rights_of("anybody", false, 0);
    cr_assert(rights_may_publish(rights, bytes_of("a"), NULL));
    cr_assert(rights_may_receive(rights, bytes_of("$sys/x")));
    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("$sys/#"), NULL), RIGHTS_GRANTED);
    rights_unref(rights);
    end();
}

Test(rules, an_empty_file_allows_nothing)
{
    load("");
    EXPECT("alice", "-publish a", "-receive a");
    end();
}
