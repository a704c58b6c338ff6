/* SPDX-License-Identifier: MIT
 *
 * See server.h.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES_MAX 65536

_Noreturn void
check_failed(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

/* ---- sockets ------------------------------------------------------------- */

static void
server_listen(struct server *server, const void *address, socklen_t len)
{
    const struct sockaddr *any = address;
    server->fd = -1;
    server->listen_fd = socket(any->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server->listen_fd >= 0);
    CHECK(bind(server->listen_fd, any, len) == 0);
    CHECK(listen(server->listen_fd, 8) == 0);
}

void
server_open_unix(struct server *server)
{
    *server = (struct server){.folder = "/tmp/broker-client-XXXXXX"};
    CHECK(mkdtemp(server->folder) != NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(
        address.sun_path, sizeof address.sun_path, "%s/s", server->folder);
    (void)snprintf(
        server->address, sizeof server->address, "unix://%s", address.sun_path);
    server_listen(server, &address, sizeof address);
}

void
server_open_tcp(struct server *server)
{
    *server = (struct server){.folder = ""};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server_listen(server, &address, sizeof address);
    CHECK(
        getsockname(server->listen_fd, (struct sockaddr *)&address, &len) == 0);
    (void)snprintf(server->address, sizeof server->address,
        "tcp://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
}

void
server_close(struct server *server)
{
    char path[128];
    server_drop(server);
    (void)close(server->listen_fd);
    if (server->io != NULL) {
        server->io->closed(server);
    }
    if (server->folder[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/s", server->folder);
        (void)unlink(path);
        (void)rmdir(server->folder);
    }
    free(server->data);
    server->data = NULL;
}

static void
wait_readable(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&poller, 1, SERVER_DEADLINE_MS);
    } while (n < 0 && errno == EINTR);
    CHECK(n == 1);
}

void
server_accept_only(struct server *server)
{
    wait_readable(server->listen_fd);
    server->fd = accept(server->listen_fd, NULL, NULL);
    CHECK(server->fd >= 0);
    server->start = server->end = 0;
    if (server->io != NULL) {
        server->io->accepted(server);
    }
}

void
server_accept(struct server *server)
{
    server_accept_only(server);
    struct broker_frame frame = server_expect(server, BROKER_FRAME_HELLO);
    CHECK(broker_hello_decode(&frame, &server->hello) == BROKER_OK);
}

void
server_drop(struct server *server)
{
    if (server->fd >= 0) {
        if (server->io != NULL) {
            server->io->dropped(server);
        }
        (void)close(server->fd);
    }
    server->fd = -1;
}

void
server_reset(struct server *server)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(
        server->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    server_drop(server);
}

/* ---- reading ------------------------------------------------------------- */

/* False at the end of the stream. */
static bool
read_more(struct server *server, size_t needed)
{
    size_t len = server->end - server->start;
    if (server->start > 0) {
        memmove(server->data, server->data + server->start, len);
        server->start = 0;
        server->end = len;
    }
    if (server->capacity < needed || server->capacity == server->end) {
        server->capacity = (needed > len ? needed : len) + FRAME_BYTES_MAX;
        server->data = realloc(server->data, server->capacity);
        CHECK(server->data != NULL);
    }
    uint8_t *space = server->data + server->end;
    size_t room = server->capacity - server->end;
    ssize_t n;
    if (server->io != NULL) {
        n = server->io->read(server, space, room);
    } else {
        wait_readable(server->fd);
        n = read(server->fd, space, room);
    }
    CHECK(n >= 0);
    server->end += (size_t)n;
    return n > 0;
}

struct broker_frame
server_read(struct server *server)
{
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    for (;;) {
        struct broker_frame frame;
        size_t n = BROKER_HEADER_BYTES;
        enum broker_status status = BROKER_MORE;
        if (server->end > server->start) {
            status = broker_frame_decode(&limits, server->data + server->start,
                server->end - server->start, &frame, &n);
        }
        if (status == BROKER_OK) {
            server->start += n;
            return frame;
        }
        CHECK(status == BROKER_MORE);
        CHECK(read_more(server, n));
    }
}

struct broker_frame
server_expect(struct server *server, uint16_t type)
{
    struct broker_frame frame = server_read(server);
    if (frame.type != type) {
        (void)fprintf(
            stderr, "got type 0x%x instead of 0x%x\n", frame.type, type);
    }
    CHECK(frame.type == type);
    return frame;
}

struct broker_publish
server_expect_publish(struct server *server)
{
    struct broker_publish publish;
    struct broker_frame frame = server_expect(server, BROKER_FRAME_PUBLISH);
    CHECK(broker_publish_decode(&frame, &publish) == BROKER_OK);
    return publish;
}

void
server_expect_end(struct server *server)
{
    CHECK(server->start == server->end);
    CHECK(!read_more(server, 1));
}

/* ---- writing ------------------------------------------------------------- */

void
server_send(struct server *server, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n > 0) {
        ssize_t sent = server->io != NULL
                           ? server->io->write(server, from, n)
                           : send(server->fd, from, n, MSG_NOSIGNAL);
        CHECK(sent > 0);
        from += sent;
        n -= (size_t)sent;
    }
}

#define SEND(server, name, ...)                                                \
    do {                                                                       \
        struct broker_##name message = __VA_ARGS__;                            \
        uint8_t bytes[1024];                                                   \
        size_t size = 0;                                                       \
        CHECK(broker_##name##_encode(&message, bytes, sizeof bytes, &size) ==  \
              BROKER_OK);                                                      \
        server_send(server, bytes, size);                                      \
    } while (0)

void
server_welcome(
    struct server *server, uint32_t last_publish, uint32_t heartbeat_ms)
{
    struct broker_welcome welcome = {
        .id = server->hello.id,
        .version = 1,
        .features = server->hello.features,
        .max_body_bytes = server->hello.max_body_bytes,
        .heartbeat_ms = heartbeat_ms,
        .max_subscriptions = 1000,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
        .last_publish = last_publish,
        .boot = {1},
    };
    uint8_t bytes[256];
    size_t size;
    memcpy(welcome.session, server->hello.session, BROKER_SESSION_BYTES);
    CHECK(broker_welcome_encode(&welcome, bytes, sizeof bytes, &size) ==
          BROKER_OK);
    server_send(server, bytes, size);
}

void
server_greet(struct server *server)
{
    server_accept(server);
    server_welcome(server, 0, 15000);
}

void
server_puback(struct server *server, uint32_t id, uint32_t count)
{
    SEND(server, puback,
        {.id = id, .level = BROKER_LEVEL_ROUTED, .count = count});
}

void
server_suback(struct server *server, uint32_t id)
{
    SEND(server, suback, {.id = id, .overflow = BROKER_OVERFLOW_DROP_OLDEST});
}

void
server_unsuback(struct server *server, uint32_t id)
{
    SEND(server, unsuback, {.id = id});
}

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

void
server_message(
    struct server *server, uint32_t id, const char *topic, const char *payload)
{
    uint8_t wire[4];
    broker_ids_set(wire, 0, id);
    SEND(server, context, {.ids = {wire, 1}});
    SEND(server, publish,
        {.topic = bytes_of(topic), .payload = bytes_of(payload)});
}

void
server_pong(struct server *server, const struct broker_frame *frame)
{
    struct broker_ping ping;
    CHECK(broker_ping_decode(frame, &ping) == BROKER_OK);
    uint32_t id = ping.id;
    SEND(server, ping, {.pong = true, .id = id});
}

void
server_goaway(struct server *server, unsigned code, uint32_t retry_after_ms)
{
    SEND(server, goaway,
        {.code = (uint16_t)code, .retry_after_ms = retry_after_ms});
}

void
server_error(struct server *server, unsigned code)
{
    SEND(server, error,
        {.code = (uint16_t)code, .error_class = BROKER_CLASS_CONNECTION});
}

/* ---- the driving thread -------------------------------------------------- */

static void *
runner_thread(void *argument)
{
    struct runner *runner = argument;
    runner->status = broker_client_run(runner->client, -1);
    return NULL;
}

void
runner_start(struct runner *runner, struct broker_client *client)
{
    *runner = (struct runner){.client = client};
    CHECK(pthread_create(&runner->thread, NULL, runner_thread, runner) == 0);
}

enum broker_status
runner_join(struct runner *runner)
{
    CHECK(pthread_join(runner->thread, NULL) == 0);
    return runner->status;
}

enum broker_status
runner_stop(struct runner *runner)
{
    broker_client_stop(runner->client);
    return runner_join(runner);
}

/* ---- tallies ------------------------------------------------------------- */

void
tally_init(struct tally *tally)
{
    *tally = (struct tally){.unknown = 0};
    CHECK(pthread_mutex_init(&tally->lock, NULL) == 0);
    CHECK(pthread_cond_init(&tally->changed, NULL) == 0);
}

void
tally_wait(struct tally *tally, const unsigned *counter, unsigned count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SERVER_DEADLINE_MS / 1000;
    (void)pthread_mutex_lock(&tally->lock);
    while (*counter < count) {
        CHECK(
            pthread_cond_timedwait(&tally->changed, &tally->lock, &until) == 0);
    }
    (void)pthread_mutex_unlock(&tally->lock);
}

static void
count_up(struct tally *tally, unsigned *counter, enum broker_status status)
{
    (void)pthread_mutex_lock(&tally->lock);
    tally->status = status;
    tally->failed += status != BROKER_OK;
    (*counter)++;
    (void)pthread_cond_broadcast(&tally->changed);
    (void)pthread_mutex_unlock(&tally->lock);
}

void
tally_published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct tally *tally = user;
    (void)client;
    count_up(tally, &tally->published, published->status);
}

void
tally_message_cb(struct broker_client *client,
    const struct broker_message *message, void *user)
{
    struct tally *tally = user;
    (void)client;
    (void)message;
    count_up(tally, &tally->messages, BROKER_OK);
}

void
tally_reply_cb(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user)
{
    struct tally *tally = user;
    (void)client;
    CHECK((status == BROKER_OK) == (reply != NULL));
    count_up(tally, &tally->replies, status);
}

void
tally_subscribed_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct tally *tally = user;
    (void)client;
    count_up(tally, &tally->subscribed, subscribed->status);
}

static void
state_cb(struct broker_client *client,
    const struct broker_client_state_event *event, void *user)
{
    struct tally *tally = user;
    (void)client;
    (void)pthread_mutex_lock(&tally->lock);
    tally->unknown += event->unknown_publishes;
    if (event->text[0] != '\0') {
        (void)snprintf(tally->text, sizeof tally->text, "%s", event->text);
    }
    tally->states[event->state]++;
    (void)pthread_cond_broadcast(&tally->changed);
    (void)pthread_mutex_unlock(&tally->lock);
}

static void
gap_cb(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    struct tally *tally = user;
    (void)client;
    (void)pthread_mutex_lock(&tally->lock);
    tally->gaps++;
    tally->missing += gap->count;
    (void)pthread_cond_broadcast(&tally->changed);
    (void)pthread_mutex_unlock(&tally->lock);
}

static void
error_cb(struct broker_client *client, const struct broker_client_error *error,
    void *user)
{
    struct tally *tally = user;
    (void)client;
    count_up(tally, &tally->errors, error->status);
}

void
tally_options(struct tally *tally, const struct server *server,
    struct broker_client_options *options)
{
    static _Thread_local const char *address;
    address = server->address;
    broker_client_options_init(options, sizeof *options);
    options->addresses = &address;
    options->address_count = 1;
    options->on_state = state_cb;
    options->on_gap = gap_cb;
    options->on_error = error_cb;
    options->user = tally;
}
