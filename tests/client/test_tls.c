/* SPDX-License-Identifier: MIT
 *
 * Bytes over TLS: handshakes in pieces, peers that speak something else, large
 * messages, ends. The tests of the public calls run over TLS as well
 * (test-client-api-tls).
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_suite.h"

TestSuite(tls, .init = tls_setup, .fini = tls_teardown, .timeout = 60);

#define LARGE_BYTES ((size_t)8 << 20)

static struct runner runner;

static struct broker_client *
connected_client(void)
{
    struct broker_client *client = client_new();
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    return client;
}

/* ---- the handshake ------------------------------------------------------- */

Test(tls, a_name_is_told_and_a_number_is_not)
{
    struct broker_client *client = connected_client();
    cr_assert_geq(SSL_version(tls.ssl), TLS1_2_VERSION);
    cr_assert_null(SSL_get_servername(tls.ssl, TLSEXT_NAMETYPE_host_name));
    runner_stop(&runner);
    broker_client_free(client);
    server_drop(&server);

    char address[64];
    const char *addresses[] = {address};
    (void)snprintf(address, sizeof address, "tls://localhost%s",
        strrchr(server.address, ':'));
    options.addresses = addresses;
    client = client_new();
    runner_start(&runner, client);
    server_greet(&server);
    cr_assert_str_eq(
        SSL_get_servername(tls.ssl, TLSEXT_NAMETYPE_host_name), "localhost");
    runner_stop(&runner);
    broker_client_free(client);
}

Test(tls, version_1_2_is_enough)
{
    CHECK(SSL_CTX_set_max_proto_version(tls.context, TLS1_2_VERSION) == 1);
    struct broker_client *client = connected_client();
    cr_assert_eq(SSL_version(tls.ssl), TLS1_2_VERSION);
    CHECK(broker_client_publish(client, "a", "x", 1) == BROKER_OK);
    cr_assert_eq(server_expect_publish(&server).payload.len, 1);
    /* The client does not renegotiate. */
    uint8_t byte;
    CHECK(SSL_renegotiate(tls.ssl) == 1);
    (void)SSL_do_handshake(tls.ssl);
    cr_assert_leq(SSL_read(tls.ssl, &byte, 1), 0);
    cr_assert_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    runner_stop(&runner);
    broker_client_free(client);
}

Test(tls, version_1_1_is_too_old)
{
    SSL_CTX_set_security_level(tls.context, 0);
    CHECK(SSL_CTX_set_min_proto_version(tls.context, TLS1_VERSION) == 1);
    CHECK(SSL_CTX_set_max_proto_version(tls.context, TLS1_1_VERSION) == 1);
    cr_assert_eq(try_once("too old"), BROKER_E_TLS_FAILED);
}

/* One byte at a time, both ways. */
struct relay {
    int listen_fd;
    char address[64];
    pthread_t thread;
};

static bool
pass_byte(int from, int to)
{
    char byte;
    return read(from, &byte, 1) == 1 && send(to, &byte, 1, MSG_NOSIGNAL) == 1;
}

static void
be_quick(int fd)
{
    int on = 1;
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
}

static void *
relay_thread(void *argument)
{
    struct relay *relay = argument;
    struct sockaddr_in to = {.sin_family = AF_INET};
    int client = accept(relay->listen_fd, NULL, NULL);
    int broker = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(server.address, ':') + 1));
    CHECK(
        client >= 0 && connect(broker, (struct sockaddr *)&to, sizeof to) == 0);
    be_quick(client);
    be_quick(broker);
    bool going = true;
    while (going) {
        struct pollfd fds[] = {
            {.fd = client, .events = POLLIN}, {.fd = broker, .events = POLLIN}};
        CHECK(poll(fds, 2, SERVER_DEADLINE_MS) > 0);
        going = (fds[0].revents == 0 || pass_byte(client, broker)) &&
                (fds[1].revents == 0 || pass_byte(broker, client));
    }
    (void)close(client);
    (void)close(broker);
    return NULL;
}

static int
listen_on_loopback(const char *scheme, char *address, size_t cap)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t len = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&here, sizeof here) == 0);
    CHECK(listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&here, &len) == 0);
    (void)snprintf(address, cap, "%s://127.0.0.1:%u", scheme,
        (unsigned)ntohs(here.sin_port));
    return fd;
}

Test(tls, in_pieces)
{
    struct relay relay;
    const char *addresses[] = {relay.address};
    relay.listen_fd =
        listen_on_loopback("tls", relay.address, sizeof relay.address);
    options.addresses = addresses;
    CHECK(pthread_create(&relay.thread, NULL, relay_thread, &relay) == 0);
    struct broker_client *client = connected_client();
    for (uint32_t i = 0; i < 20; i++) {
        CHECK(broker_client_publish(client, "a", "hello", 5) == BROKER_OK);
        struct broker_publish message = server_expect_publish(&server);
        cr_assert_eq(message.payload.len, 5);
    }
    runner_stop(&runner);
    broker_client_free(client);
    CHECK(pthread_join(relay.thread, NULL) == 0);
    (void)close(relay.listen_fd);
}

/* ---- peers that speak something else ------------------------------------- */

struct stranger {
    int listen_fd;
    const char *says; /* NULL: nothing, and closes */
    size_t says_bytes;
};

static void *
stranger_thread(void *argument)
{
    const struct stranger *stranger = argument;
    char bytes[512];
    int fd = accept(stranger->listen_fd, NULL, NULL);
    CHECK(fd >= 0);
    CHECK(read(fd, bytes, sizeof bytes) > 0);
    CHECK(send(fd, stranger->says, stranger->says_bytes, MSG_NOSIGNAL) ==
          (ssize_t)stranger->says_bytes);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
    (void)close(fd);
    return NULL;
}

static void
meet(const char *scheme, const char *says, size_t says_bytes,
    enum broker_status status, const char *words)
{
    char address[64];
    const char *addresses[] = {address};
    struct stranger stranger = {.says = says, .says_bytes = says_bytes};
    pthread_t thread;
    stranger.listen_fd = listen_on_loopback(scheme, address, sizeof address);
    options.addresses = addresses;
    options.connect_attempts = 1;
    CHECK(pthread_create(&thread, NULL, stranger_thread, &stranger) == 0);
    struct broker_client *client = client_new();
    cr_assert_eq(
        broker_client_connect_wait(client, SERVER_DEADLINE_MS), status);
    cr_assert(error_says(client, words));
    broker_client_free(client);
    CHECK(pthread_join(thread, NULL) == 0);
    (void)close(stranger.listen_fd);
}

Test(tls, a_brokerd_without_tls)
{
    static const char bytes[] = "\0\0\0\10\0\4\0\0\0\0\0\0\0\147\0\0\3\0\0\0";
    meet("tls", bytes, sizeof bytes - 1, BROKER_E_TLS_FAILED, "use tcp://");
}

Test(tls, a_web_server)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    meet("tls", text, sizeof text - 1, BROKER_E_TLS_FAILED,
        "does not speak TLS there");
}

Test(tls, a_peer_that_closes_in_the_handshake)
{
    meet("tls", "", 0, BROKER_E_TLS_FAILED, "closed the connection during");
}

Test(tls, a_peer_that_stops_in_the_handshake)
{
    char address[64];
    const char *addresses[] = {address};
    int fd = listen_on_loopback("tls", address, sizeof address);
    options.addresses = addresses;
    options.connect_attempts = 1;
    options.connect_timeout_ms = 100;
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, SERVER_DEADLINE_MS),
        BROKER_E_TIMEOUT);
    cr_assert(error_says(client, "did not answer in time"));
    broker_client_free(client);
    (void)close(fd);
}

/* An alert, as a TLS port answers to what is none. */
Test(tls, a_tls_port_is_recognised_by_a_plain_client)
{
    meet("tcp", "\x15\x03\x01\0\2\2\x46", 7, BROKER_E_BAD_MAGIC,
        "use an address with tls://");
    meet("tcp", "", 0, BROKER_E_CONNECTION_LOST, "use tls://");
}

/* ---- bytes --------------------------------------------------------------- */

static void *
read_large(void *argument)
{
    struct broker_publish message = server_expect_publish(&server);
    (void)argument;
    CHECK(message.payload.len == LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i += 4093) {
        CHECK(message.payload.data[i] == (uint8_t)(i * 31));
    }
    server_puback(&server, message.id, 1);
    return NULL;
}

static uint8_t *
large_payload(void)
{
    uint8_t *payload = malloc(LARGE_BYTES);
    CHECK(payload != NULL);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        payload[i] = (uint8_t)(i * 31);
    }
    return payload;
}

Test(tls, a_large_message_out)
{
    uint8_t *payload = large_payload();
    struct broker_client_outgoing message = {
        .topic = "a", .payload = payload, .payload_bytes = LARGE_BYTES};
    pthread_t thread;
    struct broker_client *client = connected_client();
    CHECK(pthread_create(&thread, NULL, read_large, NULL) == 0);
    cr_assert_eq(
        broker_client_publish_wait(client, &message, SERVER_DEADLINE_MS, NULL),
        BROKER_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    runner_stop(&runner);
    broker_client_free(client);
    free(payload);
}

static void *
send_large(void *argument)
{
    uint8_t *payload = large_payload();
    uint8_t context[64], *frame = malloc(LARGE_BYTES + 64);
    uint8_t ids[4];
    size_t n;
    struct broker_publish publish = {
        .topic = {(const uint8_t *)"a", 1}, .payload = {payload, LARGE_BYTES}};
    (void)argument;
    uint32_t id = server_expect(&server, BROKER_FRAME_SUBSCRIBE).id;
    server_suback(&server, id);
    broker_ids_set(ids, 0, id);
    CHECK(broker_context_encode(&(struct broker_context){.ids = {ids, 1}},
              context, sizeof context, &n) == BROKER_OK);
    server_send(&server, context, n);
    CHECK(broker_publish_encode(&publish, frame, LARGE_BYTES + 64, &n) ==
          BROKER_OK);
    server_send(&server, frame, n);
    free(frame);
    free(payload);
    return NULL;
}

Test(tls, a_large_message_in)
{
    const struct broker_client_subscription wish = {.filter = "a"};
    struct broker_client_event *event;
    pthread_t thread;
    uint32_t id;
    struct broker_client *client = connected_client();
    runner_stop(&runner);
    CHECK(pthread_create(&thread, NULL, send_large, NULL) == 0);
    cr_assert_eq(broker_client_subscribe(client, &wish, &id), BROKER_OK);
    cr_assert_eq(
        broker_client_next(client, SERVER_DEADLINE_MS, &event), BROKER_OK);
    cr_assert_eq(event->message->payload.len, LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i += 4093) {
        cr_assert_eq(event->message->payload.data[i], (uint8_t)(i * 31));
    }
    broker_client_event_free(event);
    CHECK(pthread_join(thread, NULL) == 0);
    broker_client_free(client);
}

/* Many frames in a few records, all there before the first is read: the socket
 * is silent while they are taken one by one, so what is left in the library
 * must not be forgotten. */
Test(tls, what_was_read_ahead_is_not_forgotten)
{
    const struct broker_client_subscription wish = {.filter = "a"};
    struct broker_client_event *event;
    uint32_t id;
    struct broker_client *client = connected_client();
    runner_stop(&runner);
    cr_assert_eq(broker_client_subscribe(client, &wish, &id), BROKER_OK);
    (void)broker_client_run(client, 0);
    uint8_t all[30000], ids[4];
    size_t used = 0, n, count = 0;
    server_suback(&server, server_expect(&server, BROKER_FRAME_SUBSCRIBE).id);
    broker_ids_set(ids, 0, id);
    CHECK(broker_context_encode(&(struct broker_context){.ids = {ids, 1}}, all,
              sizeof all, &used) == BROKER_OK);
    struct broker_publish publish = {.topic = {(const uint8_t *)"a", 1}};
    while (broker_publish_encode(&publish, all + used, sizeof all - used, &n) ==
           BROKER_OK) {
        used += n;
        count++;
    }
    server_send(&server, all, used);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(
            broker_client_next(client, SERVER_DEADLINE_MS, &event), BROKER_OK);
        broker_client_event_free(event);
    }
    broker_client_free(client);
}

/* The client has to write in order to go on reading. */
Test(tls, keys_are_renewed_in_between)
{
    struct broker_client *client = connected_client();
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(SSL_key_update(tls.ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
        CHECK(broker_client_publish(client, "a", "x", 1) == BROKER_OK);
        server_send(&server, "\0\0\0\10\0\5\0\0\0\0\0\1PINGPING", 20);
        bool ponged = false;
        for (int k = 0; k < 2; k++) {
            ponged |= server_read(&server).type == BROKER_FRAME_PONG;
        }
        cr_assert(ponged);
    }
    runner_stop(&runner);
    broker_client_free(client);
}

/* ---- ends ---------------------------------------------------------------- */

Test(tls, a_connection_that_breaks_is_made_again)
{
    options.reconnect_max_ms = 100;
    struct broker_client *client = connected_client();
    server_reset(&server);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 2);
    server_drop(&server); /* without saying so */
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 3);
    runner_stop(&runner);
    broker_client_free(client);
}

/* Garbage in the place of a record. */
Test(tls, a_broken_record_is_told)
{
    static const char record[] = "\x17\x03\x03\0\x20"
                                 "no such record, no such record!!";
    options.reconnect = false;
    struct broker_client *client = connected_client();
    CHECK(send(server.fd, record, sizeof record - 1, MSG_NOSIGNAL) ==
          sizeof record - 1);
    cr_assert_eq(runner_join(&runner), BROKER_E_TLS_FAILED);
    cr_assert(error_says(client, "TLS failed"));
    broker_client_free(client);
}

/* Half-close: the client has said that it writes no more, and still reads. */
Test(tls, what_comes_after_the_clients_end_is_read)
{
    struct broker_client *client = connected_client();
    CHECK(broker_client_close_start(client, SERVER_DEADLINE_MS) == BROKER_OK);
    (void)server_expect(&server, BROKER_FRAME_GOAWAY);
    server_expect_end(&server);
    cr_assert_eq(tally.states[BROKER_CLIENT_CLOSED], 0);
    server_goaway(&server, BROKER_E_LEAVING, 0);
    tls_server_shut(&tls);
    server_drop(&server);
    cr_assert_eq(runner_join(&runner), BROKER_E_CLOSED);
    broker_client_free(client);
}

/* ---- secrets ------------------------------------------------------------- */

Test(tls, a_secret_does_not_leave_the_machine_in_the_clear)
{
    /* TEST-NET-1: nobody is there, and nobody is asked. */
    const char *addresses[] = {"tcp://192.0.2.1:4655"};
    options.addresses = addresses;
    options.connect_attempts = 1;
    options.connect_timeout_ms = SERVER_DEADLINE_MS;
    options.user_name = "me";
    options.password = "unspeakable";
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, SERVER_DEADLINE_MS),
        BROKER_E_TLS_FAILED);
    cr_assert(error_says(client, "without TLS: use an address with tls://"));
    cr_assert_null(strstr(error_text(client), "unspeakable"));
    broker_client_free(client);
}

static bool
has_field(uint16_t tag, const char *value)
{
    struct broker_bytes found;
    return broker_tlv_find(server.hello.tlvs, tag, &found) &&
           found.len == strlen(value) &&
           memcmp(found.data, value, found.len) == 0;
}

Test(tls, credentials_are_given_and_refused_once)
{
    options.user_name = "me";
    options.token = "unspeakable";
    struct broker_client *client = client_new();
    options.token = NULL; /* it was copied */
    runner_start(&runner, client);
    server_accept(&server);
    cr_assert(has_field(BROKER_TAG_USER, "me"));
    cr_assert(has_field(BROKER_TAG_AUTH_METHOD, "token"));
    cr_assert(has_field(BROKER_TAG_AUTH_DATA, "unspeakable"));
    server_error(&server, BROKER_E_AUTH_FAILED);
    server_goaway(&server, BROKER_E_AUTH_FAILED, 0);
    cr_assert_eq(runner_join(&runner), BROKER_E_AUTH_FAILED);
    cr_assert_eq(tally.states[BROKER_CLIENT_WAITING], 0);
    cr_assert(error_says(client, "authentication failed"));
    cr_assert_null(strstr(error_text(client), "unspeakable"));
    broker_client_free(client);
}

Test(tls, credentials_are_checked)
{
    struct broker_client *client = NULL;
    options.user_name = "me";
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
    options.password = "one";
    options.token = "two";
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
    options.token = NULL;
    options.tls_key_file = "key.pem";
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
    cr_assert_null(client);
}
