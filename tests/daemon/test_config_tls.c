/* SPDX-License-Identifier: MIT
 *
 * The keys of TLS: paths, and what needs what. Names of accounts, too.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static const struct config_machine machine = {
    .memory_bytes = 8 * CONFIG_GIB,
    .max_files = 1024,
};

static const struct {
    const char *text, *errors;
} cases[] = {
    {"listen = tls://localhost\ntls_certificate_file = /a\n"
     "tls_key_file = /b\ntls_client_ca_file = /c\n"
     "tls_client_certificates = required\ntls_min_version = 1.3\n",
        ""},
    {"tls_key_file = none\ntls_certificate_file = none\n", ""},
    {"tls_key_file = key.pem\n", "brokerd.conf:1: tls_key_file = \"key.pem\": "
                                 "not an absolute path; allowed:"
                                 " /absolute/path or none\n"},
    {"tls_key_file = \"\"\n",
        "brokerd.conf:1: tls_key_file = \"\": not an absolute path; allowed:"
        " /absolute/path or none\n"},
    {"tls_key_file = /a\ntls_key_file = /a\n",
        "brokerd.conf:2: tls_key_file: given twice, first in line 1\n"},
    {"listen = tls://localhost\n",
        "brokerd.conf:1: listen = tls://localhost:4656: this needs "
        "tls_certificate_file"
        " and tls_key_file\n"},
    {"\ntls_certificate_file = /a\n",
        "brokerd.conf:2: tls_certificate_file: this needs tls_key_file\n"},
    {"tls_key_file = /a\n",
        "brokerd.conf:1: tls_key_file: this needs tls_certificate_file\n"},
    {"tls_client_certificates = optional\n",
        "brokerd.conf:1: tls_client_certificates: this needs "
        "tls_client_ca_file\n"},
    {"tls_client_ca_file = /a\n",
        "brokerd.conf:1: tls_client_ca_file: clients are not asked for "
        "certificates; set"
        " tls_client_certificates = required, or optional\n"},
    {"user = brokerd\ngroup = _b-r.0$\n",
        "brokerd.conf:2: group = \"_b-r.0$\": not the name of an account or"
        " group\n"},
    {"user = \"\"\n", "brokerd.conf:1: user = \"\": not the name of an account"
                      " or group\n"},
    {"user = none\ngroup = none\n", ""},
    {"group = nogroup\n", "brokerd.conf:1: group: this needs user\n"},
};

/* The keys are read and resolved, and the messages are as expected. */
static void
expect(const char *text, const char *expected)
{
    struct config config;
    char *errors = NULL;
    size_t len;
    FILE *stream = open_memstream(&errors, &len);

    config_init(&config);
    config.file = strdup("brokerd.conf");
    if (config_read_text(&config, "brokerd.conf", text, strlen(text), stream) ==
        0) {
        (void)config_resolve(&config, &machine, stream);
    }
    fclose(stream);
    cr_expect_str_eq(errors, expected, "got  %swant %s", errors, expected);
    free(errors);
    config_fini(&config);
}

Test(config_tls, messages)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect(cases[i].text, cases[i].errors);
    }
}

/* Longer than any value may be, and not cut. */
Test(config_tls, a_path_that_is_too_long)
{
    char text[2000] = "tls_key_file = /";

    memset(text + strlen(text), 'a', 1000);
    expect(text, "brokerd.conf:1: tls_key_file: the value is too long\n");
}

/* A flag can take back what the file says. */
Test(config_tls, no_file)
{
    struct config config;
    enum config_action action;
    char path[] = "/tmp/test_config_tls_XXXXXX";
    char *argv[] = {"brokerd", "--config", path, "--tls-key-file=none",
        "--tls_certificate_file", "none"};
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    cr_assert_not_null(file);
    fputs("tls_key_file = /a\ntls_certificate_file = /b\n", file);
    fclose(file);
    config_init(&config);
    cr_expect(config_load(&config, sizeof(argv) / sizeof(argv[0]), argv,
        &machine, &action, stderr));
    cr_expect_null(config.tls_key_file);
    cr_expect_eq(
        config.origins[CONFIG_KEY_tls_key_file].source, CONFIG_FROM_FLAG);
    config_fini(&config);
    remove(path);
}
