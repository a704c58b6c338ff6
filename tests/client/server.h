/* SPDX-License-Identifier: MIT
 *
 * A broker's end of a connection in the hands of a test: real sockets, every
 * frame by hand. All waiting has a deadline; what goes wrong aborts the test
 * with a line that says where.
 */
#ifndef BROKER_TEST_SERVER_H
#define BROKER_TEST_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <broker/client.h>

#define SERVER_DEADLINE_MS 20000

struct server;

/* How the server's bytes travel, if not over the socket as they are. */
struct server_io {
    void (*accepted)(struct server *server); /* fd is connected */
    ssize_t (*read)(struct server *server, void *data, size_t len);
    ssize_t (*write)(struct server *server, const void *data, size_t len);
    void (*dropped)(struct server *server); /* fd is about to be closed */
    void (*closed)(struct server *server);
};

struct server {
    const struct server_io *io; /* NULL: plain */
    void *io_context;
    char folder[64]; /* temporary; "" for TCP */
    char address[128];
    int listen_fd, fd;
    uint8_t *data;
    size_t capacity, start, end;
    struct broker_hello hello;
};

/* Listen on a UNIX socket in a folder of its own, or on 127.0.0.1. */
void server_open_unix(struct server *server);
void server_open_tcp(struct server *server);
void server_close(struct server *server);

/* Take a connection; and read HELLO. */
void server_accept_only(struct server *server);
void server_accept(struct server *server);
void server_welcome(
    struct server *server, uint32_t last_publish, uint32_t heartbeat_ms);
/* Both. */
void server_greet(struct server *server);
/* End the connection: at once, or with a reset. */
void server_drop(struct server *server);
void server_reset(struct server *server);

/* The next frame; the view is good until the next call. */
struct broker_frame server_read(struct server *server);
/* The next frame, which must be of this type. */
struct broker_frame server_expect(struct server *server, uint16_t type);
struct broker_publish server_expect_publish(struct server *server);
/* The client shuts down its side, with nothing before it. */
void server_expect_end(struct server *server);

void server_send(struct server *server, const void *bytes, size_t n);
void server_puback(struct server *server, uint32_t id, uint32_t count);
void server_suback(struct server *server, uint32_t id);
void server_unsuback(struct server *server, uint32_t id);
void server_message(
    struct server *server, uint32_t id, const char *topic, const char *payload);
void server_pong(struct server *server, const struct broker_frame *ping);
void server_goaway(struct server *server, unsigned code, uint32_t retry_after);
/* ERROR of class connection without a particular frame. */
void server_error(struct server *server, unsigned code);

/* ---- a thread that drives the handle ------------------------------------- */

struct runner {
    pthread_t thread;
    struct broker_client *client;
    enum broker_status status;
};
void runner_start(struct runner *runner, struct broker_client *client);
/* Stop it; returns what broker_client_run() returned. */
enum broker_status runner_stop(struct runner *runner);
enum broker_status runner_join(struct runner *runner);

/* ---- what callbacks tell the test ---------------------------------------- */

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned messages, published, failed, gaps, errors, replies, subscribed;
    unsigned states[BROKER_CLIENT_CLOSED + 1];
    enum broker_status status; /* of the last outcome */
    uint64_t unknown, missing;
    char text[BROKER_CLIENT_ERROR_TEXT_MAX]; /* of the last state */
};
void tally_init(struct tally *tally);
/* Options that tell the tally, for this server. */
void tally_options(struct tally *tally, const struct server *server,
    struct broker_client_options *options);
/* Wait until *counter is at least `count`; aborts at the deadline. */
void tally_wait(struct tally *tally, const unsigned *counter, unsigned count);
void tally_published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user);
void tally_message_cb(struct broker_client *client,
    const struct broker_message *message, void *user);
void tally_reply_cb(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user);
void tally_subscribed_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user);

/* Like assert(), in every build and on every thread. */
#define CHECK(condition)                                                       \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
_Noreturn void check_failed(const char *file, int line, const char *what);

#endif
