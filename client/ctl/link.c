/* SPDX-License-Identifier: MIT
 *
 * The connection of a command; see link.h.
 */
#include "link.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "duration.h"
#include "say.h"
#include "signals.h"

#define LINK_OTHERS_MAX  64
#define LEAVE_QUICKLY_MS 500

uint64_t
link_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t
link_deadline_ns(uint64_t timeout_ns)
{
    return timeout_ns == 0 ? LINK_NEVER : link_now_ns() + timeout_ns;
}

int
link_left_ms(uint64_t deadline_ns)
{
    uint64_t now;
    uint32_t left_ms;

    if (deadline_ns == LINK_NEVER) {
        return -1;
    }
    now = link_now_ns();
    left_ms = deadline_ns > now ? duration_to_ms(deadline_ns - now) : 0;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* ---- results ------------------------------------------------------------- */

enum ctl_exit
link_exit_code(enum broker_status status)
{
    switch (status) {
    case BROKER_OK:
        return CTL_EXIT_OK;
    case BROKER_E_BAD_ADDRESS:
    case BROKER_E_BAD_TOPIC:
    case BROKER_E_BAD_FILTER:
    case BROKER_E_BAD_GROUP:
    case BROKER_E_RESERVED_TOPIC:
    case BROKER_E_INVALID_ARGUMENT:
        return CTL_EXIT_USAGE;
    case BROKER_E_TOO_LARGE:
        return CTL_EXIT_DATA;
    case BROKER_E_TIMEOUT:
        return CTL_EXIT_TIMEOUT;
    case BROKER_E_NO_SUBSCRIBERS:
        return CTL_EXIT_NO_SUBSCRIBERS;
    case BROKER_E_AUTH_REQUIRED:
    case BROKER_E_AUTH_FAILED:
    case BROKER_E_PUBLISH_DENIED:
    case BROKER_E_SUBSCRIBE_DENIED:
    case BROKER_E_REVOKED:
        return CTL_EXIT_NO_PERMISSION;
    case BROKER_E_CONNECT_FAILED:
    case BROKER_E_TLS_FAILED:
    case BROKER_E_CONNECTION_LOST:
    case BROKER_E_NOT_CONNECTED:
    case BROKER_E_CLOSED:
        return CTL_EXIT_UNAVAILABLE;
    default:
        return broker_status_class(status) == BROKER_CLASS_CONNECTION
                   ? CTL_EXIT_UNAVAILABLE
                   : CTL_EXIT_FAILED;
    }
}

const char *
link_text(enum broker_status status, const char *text, char *dst, size_t cap)
{
    if (text != NULL && text[0] != '\0') {
        (void)snprintf(dst, cap, "%s", text);
    } else {
        (void)snprintf(dst, cap, "%s (%s): %s", broker_status_text(status),
            broker_status_name(status), broker_status_remedy(status));
    }
    return dst;
}

enum ctl_exit
link_failure_of(struct link *link, const char *what, enum broker_status status)
{
    char said[BROKER_CLIENT_ERROR_TEXT_MAX];
    char text[LINK_TEXT_MAX];

    (void)broker_client_error_text(link->client, said, sizeof said);
    say("%s%s%s", what, what[0] != '\0' ? ": " : "",
        link_text(status, said, text, sizeof text));
    return link_exit_code(status);
}

enum ctl_exit
link_failure(struct link *link, enum broker_status status)
{
    return link_failure_of(link, "", status);
}

/* ---- what the client tells ----------------------------------------------- */

static void
connection_up(struct link *link, const struct broker_client_state_event *event)
{
    if (event->reconnected) {
        say("connected to %s again%s", event->address,
            event->broker_restarted ? "; the broker was restarted" : "");
    } else if (link->verbose) {
        char user[BROKER_CLIENT_USER_MAX];

        (void)broker_client_user(link->client, user, sizeof user);
        say("connected to %s%s%s", event->address,
            user[0] != '\0' ? " as " : "", user);
    }
    link->up_ns = link_now_ns();
    link->lost_ns = 0;
}

/* An outage is said once; every failed attempt only with --verbose. */
static void
connection_lost(
    struct link *link, const struct broker_client_state_event *event)
{
    char text[LINK_TEXT_MAX];

    if (event->status != BROKER_OK && (link->lost_ns == 0 || link->verbose)) {
        say("%s; trying again",
            link_text(event->status, event->text, text, sizeof text));
    }
    if (link->lost_ns == 0) {
        link->lost_ns = link_now_ns();
    }
}

static void
state_cb(struct broker_client *client,
    const struct broker_client_state_event *event, void *user)
{
    struct link *link = user;

    (void)client;
    if (event->unknown_publishes > 0) {
        say("%" PRIu64 " messages sent without acknowledgement may be lost: "
            "the connection broke before the broker confirmed them",
            event->unknown_publishes);
    }
    if (event->state == BROKER_CLIENT_CONNECTED) {
        connection_up(link, event);
    } else if (link->up_ns != 0 && !link->leaving &&
               (event->state == BROKER_CLIENT_WAITING ||
                   event->state == BROKER_CLIENT_CONNECTING)) {
        connection_lost(link, event);
    }
}

/* Count one more thing to say; false: enough was said. */
static bool
may_say(struct link *link)
{
    return link->said++ < link->said_max || link->said_max == 0;
}

static void
say_error(const struct broker_client_error *error)
{
    char text[LINK_TEXT_MAX];

    (void)link_text(error->status, error->text, text, sizeof text);
    if (error->topic.len > 0) {
        say("%.*s: %s", (int)error->topic.len, (const char *)error->topic.data,
            text);
    } else {
        say("%s", text);
    }
}

static void
error_cb(struct broker_client *client, const struct broker_client_error *error,
    void *user)
{
    struct link *link = user;

    (void)client;
    if (may_say(link)) {
        say_error(error);
    }
    if (link->errors++ == 0) {
        link->error = error->status;
    }
    link->subscription_ended |= error->subscription != 0;
}

static void
gap_cb(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    struct link *link = user;

    if (link->on_gap != NULL) {
        link->on_gap(client, gap, link->user);
    } else {
        say("gap: messages may be missing (%s)",
            broker_client_gap_text(gap->reason));
    }
}

static void
notice_cb(struct broker_client *client,
    const struct broker_client_notice *notice, void *user)
{
    (void)client;
    if (may_say(user)) {
        say("notice of the broker: %s", notice->text[0] != '\0'
                                            ? notice->text
                                            : broker_status_text(notice->code));
    }
}

/* ---- life ---------------------------------------------------------------- */

/* -s, else BROKER_URL, else NULL: the library's defaults. */
static const char *
chosen_address(const struct common_settings *common)
{
    const char *from_environment = getenv("BROKER_URL");

    if (common->server != NULL) {
        return common->server;
    }
    if (from_environment != NULL && from_environment[0] != '\0') {
        return from_environment;
    }
    return NULL;
}

static int
timeout_ms_of(uint64_t timeout_ns)
{
    const uint32_t ms = duration_to_ms(timeout_ns);

    return timeout_ns == 0 || ms > INT_MAX ? INT_MAX : (int)ms;
}

static enum ctl_exit
make_client(struct link *link, const struct invocation *invocation,
    const struct link_options *wanted)
{
    const char *address = chosen_address(invocation->common);
    struct broker_client_options options;
    enum broker_status status;
    char name[64];

    (void)snprintf(name, sizeof name, "brokerctl %s (pid %ld)",
        invocation->command->name, (long)getpid());
    broker_client_options_init(&options, sizeof options);
    if (address != NULL) {
        options.addresses = &address;
        options.address_count = 1;
    }
    options.name = name;
    options.connect_timeout_ms = timeout_ms_of(wanted->timeout_ns);
    identity_apply(invocation->identity, &options);
    options.connect_attempts = 1;
    options.reconnect = wanted->reconnect;
    if (wanted->buffer_bytes != 0) {
        options.buffer_bytes = wanted->buffer_bytes;
    }
    options.on_state = state_cb;
    options.on_error = error_cb;
    options.on_gap = gap_cb;
    options.on_notice = notice_cb;
    options.user = link;
    status = broker_client_new(&options, &link->client);
    return status == BROKER_OK ? CTL_EXIT_OK : link_failure(link, status);
}

/* The first connection: one attempt, which the client ends by itself when the
 * time for each address is over. */
static enum ctl_exit
await_connection(struct link *link)
{
    while (link->up_ns == 0) {
        struct pollfd fds = {.fd = signals_fd(), .events = POLLIN};
        const enum broker_status status = link_turn(link, &fds, 1, -1);

        if (status != BROKER_OK) {
            return link_failure(link, status) == CTL_EXIT_NO_PERMISSION
                       ? CTL_EXIT_NO_PERMISSION
                       : CTL_EXIT_UNAVAILABLE;
        }
        if (signals_stop_wanted()) {
            say("interrupted while connecting");
            return CTL_EXIT_UNAVAILABLE;
        }
    }
    return CTL_EXIT_OK;
}

enum ctl_exit
link_open(struct link *link, const struct invocation *invocation,
    const struct link_options *options)
{
    enum ctl_exit code;

    *link = (struct link){
        .verbose = invocation->common->verbose,
        .on_gap = options->on_gap,
        .user = options->user,
        .said_max = options->said_max,
    };
    code = make_client(link, invocation, options);
    if (code == CTL_EXIT_OK) {
        code = await_connection(link);
    }
    if (code != CTL_EXIT_OK) {
        link_drop(link);
    }
    return code;
}

enum ctl_exit
link_close(struct link *link, uint64_t timeout_ns)
{
    enum broker_status status;
    enum ctl_exit code = CTL_EXIT_OK;

    link->leaving = true;
    status = broker_client_close(link->client, timeout_ms_of(timeout_ns));
    if (status != BROKER_OK && status != BROKER_E_CLOSED) {
        code = link_failure(link, status);
    }
    link_drop(link);
    return code;
}

void
link_leave(struct link *link)
{
    link->leaving = true;
    (void)broker_client_close(link->client, LEAVE_QUICKLY_MS);
    link_drop(link);
}

void
link_drop(struct link *link)
{
    link->leaving = true;
    broker_client_free(link->client);
    link->client = NULL;
}

/* ---- driving ------------------------------------------------------------- */

static int
shorter_ms(int a, int b)
{
    if (a < 0 || b < 0) {
        return a < 0 ? b : a;
    }
    return a < b ? a : b;
}

/* poll(); after a failure (a signal) nothing is ready. */
static void
poll_all(struct pollfd *fds, size_t count, int timeout_ms)
{
    if (poll(fds, (nfds_t)count, timeout_ms) < 0) {
        for (size_t i = 0; i < count; i++) {
            fds[i].revents = 0;
        }
    }
}

enum broker_status
link_turn(struct link *link, struct pollfd *others, size_t other_count,
    int timeout_ms)
{
    struct pollfd fds[1 + LINK_OTHERS_MAX];

    if (other_count > LINK_OTHERS_MAX) {
        other_count = LINK_OTHERS_MAX;
    }
    fds[0] =
        (struct pollfd){.fd = broker_client_fd(link->client), .events = POLLIN};
    for (size_t i = 0; i < other_count; i++) {
        fds[1 + i] = others[i];
    }
    poll_all(fds, 1 + other_count,
        shorter_ms(timeout_ms, broker_client_timeout_ms(link->client)));
    for (size_t i = 0; i < other_count; i++) {
        others[i].revents = fds[1 + i].revents;
    }
    return broker_client_process(link->client);
}

void
link_wait_only(struct pollfd *others, size_t other_count, int timeout_ms)
{
    poll_all(others, other_count, timeout_ms);
}
