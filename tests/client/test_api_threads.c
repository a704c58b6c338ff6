/* SPDX-License-Identifier: MIT
 *
 * The public calls over real sockets: the end of a handle, who may do what
 * where, threads, event loops.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include <broker/adapters/poll.h>

#include "api_suite.h"

TestSuite(threads, .init = api_setup, .fini = api_teardown, .timeout = 60);

/* ---- the end ------------------------------------------------------------- */

static void *
serve_close(void *argument)
{
    (void)argument;
    server_greet(&server);
    uint32_t id = server_expect(&server, BROKER_FRAME_SUBSCRIBE).id;
    server_suback(&server, id);
    cr_assert_eq(server_expect_publish(&server).id, 1);
    cr_assert_eq(server_expect_publish(&server).id, 0);
    struct broker_frame ping = server_expect(&server, BROKER_FRAME_PING);
    server_pong(&server, &ping);
    server_puback(&server, 1, 1);
    cr_assert_eq(server_expect(&server, BROKER_FRAME_UNSUBSCRIBE).id, id);
    server_message(&server, id, "a", "still delivered");
    server_unsuback(&server, id);
    (void)server_expect(&server, BROKER_FRAME_GOAWAY);
    server_expect_end(&server);
    server_drop(&server);
    return NULL;
}

Test(threads, close_settles_everything_and_says_goodbye)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {
        .filter = "a", .on_message = tally_message_cb, .user = &tally};
    pthread_t thread;
    uint32_t id;
    cr_assert_eq(
        broker_client_subscribe(client, &subscription, &id), BROKER_OK);
    publish(client, "acknowledged");
    cr_assert_eq(broker_client_publish(client, "a", "fire", 4), BROKER_OK);
    CHECK(pthread_create(&thread, NULL, serve_close, NULL) == 0);
    cr_assert_eq(broker_client_close(client, SERVER_DEADLINE_MS), BROKER_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    cr_assert_eq(tally.published, 1);
    cr_assert_eq(tally.messages, 1);
    cr_assert_eq(tally.states[BROKER_CLIENT_CLOSING], 1);
    cr_assert_eq(tally.states[BROKER_CLIENT_CLOSED], 1);
    cr_assert_eq(broker_client_close(client, 0), BROKER_E_CLOSED);
    broker_client_free(client);
}

Test(threads, close_gives_up_at_its_time)
{
    struct broker_client *client = client_new();
    struct runner runner;
    publish(client, "1");
    runner_start(&runner, client);
    server_greet(&server);
    (void)server_expect_publish(&server);
    cr_assert_eq(broker_client_close(client, 50), BROKER_E_TIMEOUT);
    cr_assert_eq(runner_join(&runner), BROKER_E_TIMEOUT);
    cr_assert_eq(tally.published, 1);
    cr_assert_eq(tally.status, BROKER_E_CLOSED);
    broker_client_free(client);
}

Test(threads, close_of_a_handle_that_did_nothing_is_quick)
{
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_close(client, -1), BROKER_OK);
    broker_client_free(client);
}

Test(threads, free_makes_the_others_return)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    publish(client, "1");
    server_greet(&server);
    (void)server_expect_publish(&server);
    broker_client_free(client);
    cr_assert_eq(runner_join(&runner), BROKER_E_CLOSED);
    cr_assert_eq(tally.published, 1);
    cr_assert_eq(tally.status, BROKER_E_CLOSED);
}

static void
free_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    enum broker_status *seen = user;
    *seen = published->status;
    broker_client_free(client);
    /* It is still there until this returns. */
    (void)broker_client_publish(client, "a", "", 0);
}

Test(threads, free_inside_a_callback)
{
    struct broker_client *client = client_new();
    enum broker_status seen = BROKER_MORE;
    struct broker_client_outgoing message = {.topic = "a"};
    struct runner runner;
    cr_assert_eq(broker_client_publish_acked(client, &message, free_cb, &seen),
        BROKER_OK);
    publish(client, "2");
    runner_start(&runner, client);
    server_greet(&server);
    (void)server_expect_publish(&server);
    (void)server_expect_publish(&server);
    server_puback(&server, 1, 1);
    cr_assert_eq(runner_join(&runner), BROKER_E_CLOSED);
    cr_assert_eq(seen, BROKER_OK);
    cr_assert_eq(tally.published, 1);
    cr_assert_eq(tally.status, BROKER_E_CLOSED);
}

/* ---- who may do what where ----------------------------------------------- */

static void
blocking_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct broker_client_outgoing message = {.topic = "b"};
    struct broker_client_event *event;
    uint32_t id;
    struct broker_client_subscription subscription = {.filter = "b"};
    (void)published;
    CHECK(broker_client_run(client, 0) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_process(client) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_next(client, 0, &event) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_flush(client, 0) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_drain(client, 0) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_close(client, 0) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_ping(client, 0, NULL) == BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_publish_wait(client, &message, 0, NULL) ==
          BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_request_wait(client, &message, 0, &event) ==
          BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_subscribe_wait(client, &subscription, 0, &id, NULL) ==
          BROKER_E_INVALID_ARGUMENT);
    CHECK(broker_client_unsubscribe_wait(client, 1, false, 0, NULL) ==
          BROKER_E_INVALID_ARGUMENT);
    /* These may be called. */
    CHECK(broker_client_publish(client, "b", "", 0) == BROKER_OK);
    CHECK(broker_client_subscribe(client, &subscription, &id) == BROKER_OK);
    CHECK(
        broker_client_unsubscribe(client, id, false, NULL, NULL) == BROKER_OK);
    tally_published_cb(client, published, user);
}

Test(threads, blocking_calls_are_refused_inside_callbacks)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing message = {.topic = "a"};
    struct runner runner;
    cr_assert_eq(
        broker_client_publish_acked(client, &message, blocking_cb, &tally),
        BROKER_OK);
    runner_start(&runner, client);
    server_greet(&server);
    (void)server_expect_publish(&server);
    server_puback(&server, 1, 1);
    tally_wait(&tally, &tally.published, 1);
    (void)server_expect_publish(&server);
    (void)server_expect(&server, BROKER_FRAME_SUBSCRIBE);
    (void)server_expect(&server, BROKER_FRAME_UNSUBSCRIBE);
    runner_stop(&runner);
    broker_client_free(client);
}

/* gcc says so with a macro, clang with a feature. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN
#endif

static struct broker_client *signalled;

static void
signal_handler(int number)
{
    (void)number;
    broker_client_stop(signalled);
}

Test(threads, stop_ends_what_waits_or_what_waits_next)
{
    signalled = client_new();
    signal(SIGUSR1, signal_handler);
    CHECK(raise(SIGUSR1) == 0);
    cr_assert_eq(broker_client_run(signalled, -1), BROKER_E_INTERRUPTED);
    cr_assert_eq(broker_client_run(signalled, 10), BROKER_E_TIMEOUT);
    struct runner runner;
    runner_start(&runner, signalled);
#ifdef UNDER_TSAN
    /* It puts signals of other threads off, sometimes for ever. */
    CHECK(raise(SIGUSR1) == 0);
#else
    CHECK(pthread_kill(runner.thread, SIGUSR1) == 0);
#endif
    cr_assert_eq(runner_join(&runner), BROKER_E_INTERRUPTED);
    broker_client_free(signalled);
}

static void
stop_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    tally_message_cb(client, message, user);
    broker_client_stop(client);
}

Test(threads, after_stop_in_a_callback_no_other_message_comes)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {
        .filter = "a", .on_message = stop_cb, .user = &tally};
    struct runner runner;
    uint32_t id;
    cr_assert_eq(
        broker_client_subscribe(client, &subscription, &id), BROKER_OK);
    runner_start(&runner, client);
    server_greet(&server);
    server_suback(&server, server_expect(&server, BROKER_FRAME_SUBSCRIBE).id);
    server_message(&server, id, "a", "1");
    server_message(&server, id, "a", "2");
    cr_assert_eq(runner_join(&runner), BROKER_E_INTERRUPTED);
    cr_assert_eq(tally.messages, 1);
    cr_assert_eq(broker_client_run(client, -1), BROKER_E_INTERRUPTED);
    cr_assert_eq(tally.messages, 2);
    broker_client_free(client);
}

/* ---- threads ------------------------------------------------------------- */

#define PUBLISHERS    4
#define PER_PUBLISHER 2000

static void *
publish_many(void *argument)
{
    for (int i = 0; i < PER_PUBLISHER; i++) {
        publish(argument, "x");
        if (i % 100 == 0) {
            struct broker_client_stats stats;
            broker_client_stats(argument, &stats, sizeof stats);
        }
    }
    return NULL;
}

static void *
acknowledge_all(void *argument)
{
    (void)argument;
    for (uint32_t i = 1; i <= PUBLISHERS * PER_PUBLISHER; i++) {
        CHECK(server_expect_publish(&server).id == i);
        if (i % 50 == 0) {
            server_puback(&server, i, 50);
        }
    }
    return NULL;
}

Test(threads, many_threads_publish_while_another_drives)
{
    struct broker_client *client = client_new();
    struct runner runner;
    pthread_t threads[PUBLISHERS], acknowledger;
    runner_start(&runner, client);
    server_greet(&server);
    CHECK(pthread_create(&acknowledger, NULL, acknowledge_all, NULL) == 0);
    for (int i = 0; i < PUBLISHERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_many, client) == 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(pthread_join(acknowledger, NULL) == 0);
    tally_wait(&tally, &tally.published, PUBLISHERS * PER_PUBLISHER);
    cr_assert_eq(tally.failed, 0);
    runner_stop(&runner);
    broker_client_free(client);
}

static void *
publish_wait_many(void *argument)
{
    struct broker_client_outgoing message = {.topic = "a"};
    for (int i = 0; i < 200; i++) {
        CHECK(broker_client_publish_wait(
                  argument, &message, SERVER_DEADLINE_MS, NULL) == BROKER_OK);
    }
    return NULL;
}

/* Nobody runs: those that wait take turns in driving. */
Test(threads, blocking_calls_of_many_threads_share_the_driving)
{
    struct broker_client *client = client_new();
    pthread_t threads[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++) {
        CHECK(
            pthread_create(&threads[i], NULL, publish_wait_many, client) == 0);
    }
    server_greet(&server);
    for (uint32_t i = 1; i <= PUBLISHERS * 200; i++) {
        cr_assert_eq(server_expect_publish(&server).id, i);
        server_puback(&server, i, 1);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    broker_client_free(client);
}

/* ---- event loops --------------------------------------------------------- */

#define LOOP_MESSAGES 100

static void *
serve_loop(void *argument)
{
    (void)argument;
    server_greet(&server);
    for (uint32_t i = 1; i <= 2 * LOOP_MESSAGES; i++) {
        CHECK(server_expect_publish(&server).id == i);
        server_puback(&server, i, 1);
    }
    return NULL;
}

struct loop_user {
    struct broker_client *client;
    atomic_bool done;
};

/* On another thread than the loop's: its calls must wake the loop, and wait for
 * it instead of driving. */
static void *
use_from_outside(void *argument)
{
    struct loop_user *user = argument;
    struct broker_client_outgoing message = {.topic = "a"};
    for (int i = 0; i < LOOP_MESSAGES; i++) {
        CHECK(broker_client_publish_wait(user->client, &message,
                  SERVER_DEADLINE_MS, NULL) == BROKER_OK);
        publish(user->client, "x");
    }
    atomic_store(&user->done, true);
    CHECK(broker_client_publish(user->client, "a", "", 0) == BROKER_OK);
    return NULL;
}

Test(threads, a_loop_of_ones_own_around_poll)
{
    struct loop_user user = {.client = client_new()};
    pthread_t thread, outside;
    struct pollfd fd;
    int turns = 0;
    cr_assert_eq(broker_client_process(user.client), BROKER_OK);
    CHECK(pthread_create(&thread, NULL, serve_loop, NULL) == 0);
    CHECK(pthread_create(&outside, NULL, use_from_outside, &user) == 0);
    while (!atomic_load(&user.done) || tally.published < LOOP_MESSAGES) {
        int timeout_ms =
            broker_client_poll_prepare(user.client, &fd, SERVER_DEADLINE_MS);
        CHECK(poll(&fd, 1, timeout_ms) >= 0);
        cr_assert_eq(broker_client_poll_process(user.client), BROKER_OK);
        cr_assert_lt(++turns, 100 * LOOP_MESSAGES, "the loop spins");
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_join(outside, NULL) == 0);
    cr_assert_gt(turns, 10);
    broker_client_free(user.client);
}

static void *
greet_thread(void *argument)
{
    (void)argument;
    server_greet(&server);
    return NULL;
}

Test(threads, an_idle_loop_sleeps)
{
    struct broker_client *client = client_new();
    struct pollfd fd;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, greet_thread, NULL) == 0);
    while (tally.states[BROKER_CLIENT_CONNECTED] == 0) {
        int timeout_ms =
            broker_client_poll_prepare(client, &fd, SERVER_DEADLINE_MS);
        CHECK(poll(&fd, 1, timeout_ms) >= 0);
        cr_assert_eq(broker_client_poll_process(client), BROKER_OK);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    /* Nothing to do until the heartbeat. */
    int timeout_ms = broker_client_poll_prepare(client, &fd, -1);
    cr_assert_gt(timeout_ms, 10000);
    cr_assert_eq(poll(&fd, 1, 0), 0);
    broker_client_free(client);
}
