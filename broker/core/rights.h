/* SPDX-License-Identifier: MIT
 *
 * What one user may publish and subscribe to: a list of rules, ready to be
 * asked. The first rule that matches decides; what no rule matches is denied.
 * Where the rules come from, who the user is and how that was proven is not
 * known here.
 *
 * Built by one thread with rights_new() and rights_add(), before anybody else
 * has it; then it never changes, and any number of threads may ask and hold
 * references at the same time. Asking allocates nothing and takes no lock.
 */
#ifndef BROKER_CORE_RIGHTS_H
#define BROKER_CORE_RIGHTS_H

#include <stdbool.h>

#include <broker/codec.h>

enum rights_action { RIGHTS_PUBLISH = 1, RIGHTS_SUBSCRIBE = 2 };

/* What becomes of a subscription. */
enum rights_grant { RIGHTS_DENIED, RIGHTS_PARTLY, RIGHTS_GRANTED };

struct rights;

/* One reference; no rule: everything is denied. NULL if memory is out. */
struct rights *rights_new(void);

/* The same for a user who may do everything, which no list of filters says:
 * "#" does not match topics that begin with $. No rule is added to it. */
struct rights *rights_new_unlimited(void);

/* One more reference; returns `rights`. Any thread that has one. */
struct rights *rights_ref(struct rights *rights);

/* Give a reference back. Any thread; NULL is allowed. */
void rights_unref(struct rights *rights);

/* Append a rule: publishing, subscribing or both (`actions`, of enum
 * rights_action) to what the filter matches is allowed or not. `text` says so
 * to a person, such as "deny alice publish secret/#  (access file, line 7)".
 * Both are copied. False: the filter is not valid or memory is out; then
 * nothing changed. Nobody else may have a reference. */
__attribute__((warn_unused_result)) bool rights_add(struct rights *rights,
    bool allow, unsigned actions, struct broker_bytes filter, const char *text);

/* May the topic be published to? *rule, unless `rule` is NULL: the text of the
 * rule that decided, or RIGHTS_NO_RULE; valid as long as `rights`. */
bool rights_may_publish(
    const struct rights *rights, struct broker_bytes topic, const char **rule);
#define RIGHTS_NO_RULE "no rule allows it"

/* May a message on the topic be received? */
bool rights_may_receive(const struct rights *rights, struct broker_bytes topic);

/* What becomes of a subscription to the filter.
 *
 * RIGHTS_GRANTED: every topic that it matches may be received.
 * RIGHTS_DENIED: none may; *rule, unless `rule` is NULL, is the text of the
 * rule that decided last, or RIGHTS_NO_RULE. (*rule is set only then.)
 * RIGHTS_PARTLY: some may and some may not, or only several rules together
 * would tell that all or none may; ask rights_may_receive() for each topic. */
enum rights_grant rights_may_subscribe(
    const struct rights *rights, struct broker_bytes filter, const char **rule);

#endif
