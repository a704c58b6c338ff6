/* SPDX-License-Identifier: MIT
 *
 * Whom the client believes over TLS, and how it says why not.
 */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "tls_suite.h"

TestSuite(certificates, .init = tls_setup, .fini = tls_teardown, .timeout = 60);

#define DAY_S 86400L

/* A certificate with these names and times for the server. */
static void
serve_with(const char *names, long from_s, long to_s)
{
    pki_issue(&tls.pki, &(struct pki_wish){.file = "other.pem",
                            .names = names,
                            .from_s = from_s,
                            .to_s = to_s});
    tls_server_use(&tls, "other.pem");
}

/* Connect, shake hands, and free the handle. */
static void
expect_success(void)
{
    struct runner runner;
    struct broker_client *client = client_new();
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    runner_stop(&runner);
    broker_client_free(client);
    server_drop(&server);
}

Test(certificates, an_unknown_authority_is_not_trusted)
{
    struct pki other;
    pki_open(&other);
    options.tls_ca_file = pki_path(&other, "ca.pem");
    cr_assert_eq(try_once("is not trusted"), BROKER_E_TLS_FAILED);
    options.tls_ca_file = NULL; /* the system's */
    cr_assert_eq(try_once("is not trusted"), BROKER_E_TLS_FAILED);
    pki_close(&other);
}

Test(certificates, another_name_is_refused_and_told)
{
    serve_with("DNS:a.example,DNS:b.example,IP:192.0.2.7", 0, 0);
    cr_assert_eq(try_once("not for 127.0.0.1 but for a.example, b.example, "
                          "192.0.2.7"),
        BROKER_E_TLS_FAILED);
    options.tls_server_name = "c.example";
    cr_assert_eq(try_once("not for c.example"), BROKER_E_TLS_FAILED);
    options.tls_server_name = "192.0.2.8";
    cr_assert_eq(try_once("not for 192.0.2.8"), BROKER_E_TLS_FAILED);
    options.tls_server_name = "b.example";
    expect_success();
}

Test(certificates, wildcards_stand_for_a_whole_level)
{
    serve_with("DNS:*.x.example", 0, 0);
    options.tls_server_name = "a.b.x.example";
    cr_assert_eq(try_once("not for a.b.x.example"), BROKER_E_TLS_FAILED);
    options.tls_server_name = "a.x.example";
    expect_success();
    serve_with("DNS:a*.x.example", 0, 0);
    options.tls_server_name = "ab.x.example";
    cr_assert_eq(try_once("not for ab.x.example"), BROKER_E_TLS_FAILED);
}

Test(certificates, times_are_looked_at)
{
    serve_with("IP:127.0.0.1", -2 * DAY_S, -DAY_S / 2);
    cr_assert_eq(try_once("has expired"), BROKER_E_TLS_FAILED);
    serve_with("IP:127.0.0.1", DAY_S / 2, DAY_S);
    cr_assert_eq(try_once("not valid yet"), BROKER_E_TLS_FAILED);
}

Test(certificates, only_on_demand_anything_goes)
{
    options.tls_ca_file = NULL;
    options.tls_accept_any_certificate = true;
    serve_with("DNS:a.example", -2 * DAY_S, -DAY_S / 2);
    expect_success();
}

Test(certificates, files_that_cannot_be_used_are_named)
{
    options.connect_attempts = 1;
    options.tls_ca_file = "/nonexistent/ca.pem";
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, 5000), BROKER_E_TLS_FAILED);
    cr_assert(error_says(client, "CA file /nonexistent/ca.pem"));
    cr_assert(error_says(client, "No such file"));
    broker_client_free(client);

    options.tls_ca_file = pki_path(&tls.pki, "ca.pem");
    options.tls_certificate_file = options.tls_ca_file; /* has no key */
    client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, 5000), BROKER_E_TLS_FAILED);
    cr_assert(error_says(client, "key file"));
    broker_client_free(client);
}

/* Nobody is asked for it on the terminal. */
Test(certificates, a_key_with_a_passphrase_is_refused)
{
    static unsigned char secret[] = "secret";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    const char *path = pki_path(&tls.pki, "locked.pem");
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(),
                              secret, sizeof secret - 1, NULL, NULL) == 1);
    CHECK(fclose(file) == 0);
    EVP_PKEY_free(key);
    options.connect_attempts = 1;
    options.tls_certificate_file = pki_path(&tls.pki, "server.pem");
    options.tls_key_file = path;
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, 5000), BROKER_E_TLS_FAILED);
    cr_assert(error_says(client, "key file"));
    broker_client_free(client);
}

static void
want_client_certificate(void)
{
    CHECK(SSL_CTX_load_verify_locations(
              tls.context, pki_path(&tls.pki, "ca.pem"), NULL) == 1);
    SSL_CTX_set_verify(
        tls.context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

Test(certificates, a_client_certificate_is_shown)
{
    want_client_certificate();
    pki_issue(&tls.pki,
        &(struct pki_wish){.file = "me.pem", .names = "email:me@a.example"});
    options.tls_certificate_file = pki_path(&tls.pki, "me.pem");
    struct runner runner;
    struct broker_client *client = client_new();
    runner_start(&runner, client);
    server_greet(&server);
    X509 *shown = SSL_get1_peer_certificate(tls.ssl);
    char name[64];
    cr_assert_not_null(shown);
    (void)X509_NAME_get_text_by_NID(
        X509_get_subject_name(shown), NID_commonName, name, sizeof name);
    cr_assert_str_eq(name, "me.pem");
    X509_free(shown);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    runner_stop(&runner);
    broker_client_free(client);
}

/* With version 1.3 the client hears of it after its own handshake. */
Test(certificates, a_client_certificate_that_is_missing_or_bad)
{
    struct pki other;
    pki_open(&other);
    pki_issue(&other,
        &(struct pki_wish){.file = "me.pem", .names = "email:me@a.example"});
    want_client_certificate();
    cr_assert_eq(try_once("wants a client certificate"), BROKER_E_TLS_FAILED);
    options.tls_certificate_file = pki_path(&other, "me.pem");
    cr_assert_eq(try_once("does not trust the client's certificate"),
        BROKER_E_TLS_FAILED);
    pki_close(&other);
}

/* What is read at each connect: renewed files are used without a restart. */
Test(certificates, a_new_authority_is_taken_at_the_next_connect)
{
    struct runner runner;
    options.reconnect_max_ms = 100;
    struct broker_client *client = client_new();
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    pki_renew(&tls.pki); /* writes ca.pem anew */
    pki_issue(&tls.pki,
        &(struct pki_wish){.file = "server.pem", .names = "IP:127.0.0.1"});
    tls_server_use(&tls, "server.pem");
    server_drop(&server);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 2);
    runner_stop(&runner);
    broker_client_free(client);
}

/* A broker whose certificate has expired is tried again: it may be renewed. */
Test(certificates, a_failed_handshake_is_tried_again)
{
    struct runner runner;
    tls.accepts_failure = true;
    options.reconnect_max_ms = 100;
    serve_with("IP:127.0.0.1", -2 * DAY_S, -DAY_S / 2);
    struct broker_client *client = client_new();
    runner_start(&runner, client);
    server_accept_only(&server);
    cr_assert_null(tls.ssl);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_WAITING], 1);
    server_drop(&server);
    tls_server_use(&tls, "server.pem");
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    runner_stop(&runner);
    broker_client_free(client);
}
