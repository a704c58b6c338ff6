/* SPDX-License-Identifier: MIT
 *
 * The configuration as a user meets it: files, flags, precedence, messages to
 * the letter, and what brokerd prints about it.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

static const struct config_machine machine = {
    .memory_bytes = 8 * CONFIG_GIB,
    .max_files = 1024,
    .runtime_dir = "/run/user/1",
};

/* One run of the configuration: what came out and what was said. */
struct run {
    struct config config;
    enum config_action action;
    bool ok;
    char *errors;
    size_t errors_len;
};

static char config_path[64];

static void
make_path(void)
{
    int fd;

    strcpy(config_path, "/tmp/test_config_XXXXXX");
    fd = mkstemp(config_path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void
remove_path(void)
{
    unlink(config_path);
}

/* Load with these flags; the list ends with NULL. */
static void
load(struct run *run, const struct config_machine *on, char *const flags[])
{
    char *argv[16] = {"brokerd"};
    int argc = 1;
    FILE *errors = open_memstream(&run->errors, &run->errors_len);

    while (flags[argc - 1] != NULL) {
        argv[argc] = flags[argc - 1];
        argc++;
    }
    config_init(&run->config);
    run->ok = config_load(&run->config, argc, argv, on, &run->action, errors);
    fclose(errors);
    cr_assert_eq(run->ok, run->errors_len == 0, "%s", run->errors);
}

/* Load a file with this text, and these flags besides. */
static void
load_text(struct run *run, const char *text, char *const flags[])
{
    char *all[16] = {"--config", config_path};
    FILE *file = fopen(config_path, "w");
    int n = 2;

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    for (int i = 0; flags[i] != NULL; i++) {
        all[n++] = flags[i];
    }
    load(run, &machine, all);
}

static void
done(struct run *run)
{
    config_fini(&run->config);
    free(run->errors);
}

/* What an action prints. */
static char *
answer(const struct config *config, enum config_action action)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    config_answer(config, action, out);
    fclose(out);
    return text;
}

#define FLAGS(...)                                                             \
    (char *[])                                                                 \
    {                                                                          \
        __VA_ARGS__, NULL                                                      \
    }
#define NO_FLAGS                                                               \
    (char *[])                                                                 \
    {                                                                          \
        NULL                                                                   \
    }

TestSuite(config, .init = make_path, .fini = remove_path, .timeout = 60);

Test(config, defaults)
{
    struct run run;

    load_text(&run, "", NO_FLAGS);
    cr_assert(run.ok, "%s", run.errors);
    cr_assert_eq(run.action, CONFIG_RUN);
    cr_expect_eq(run.config.listen_backlog, 1024u);
    cr_expect_eq(run.config.unix_mode, 0600u);
    cr_expect_eq(run.config.max_connections, 960u);
    cr_expect_eq(run.config.max_body_bytes, 16777215u);
    cr_expect_eq(run.config.max_topic_bytes, 1024u);
    cr_expect_eq(run.config.max_topic_levels, 64u);
    cr_expect_eq(run.config.max_subscriptions, 10000u);
    cr_expect_eq(run.config.max_output_bytes, 32 * CONFIG_MIB);
    cr_expect_eq(run.config.max_memory_bytes, 4 * CONFIG_GIB);
    cr_expect_eq(run.config.max_retained_topics, 100000u);
    cr_expect_eq(run.config.max_retained_bytes, 64 * CONFIG_MIB);
    cr_expect_eq(run.config.max_sessions, 10000u);
    cr_expect_eq(run.config.session_memory_ms, 86400000u);
    cr_expect_eq(run.config.handshake_timeout_ms, 5000u);
    cr_expect_eq(run.config.heartbeat_ms, 15000u);
    cr_expect_eq(run.config.heartbeat_min_ms, 1000u);
    cr_expect_eq(run.config.heartbeat_max_ms, 300000u);
    cr_expect_eq(run.config.write_timeout_ms, 60000u);
    cr_expect_eq(run.config.half_close_linger_ms, 5000u);
    cr_expect_eq(run.config.close_linger_ms, 1000u);
    cr_expect_eq(run.config.drain_timeout_ms, 5000u);
    cr_expect_eq(run.config.accept_retry_ms, 100u);
    cr_expect_eq(run.config.log_level, CONFIG_LOG_INFO);
    cr_expect_eq(run.config.insecure_listen, false);
    cr_assert_eq(run.config.listen_count, 2u);
    cr_expect_str_eq(run.config.listen[0].path, "/run/user/1/brokerd.sock");
    cr_expect_str_eq(run.config.listen[1].host, "127.0.0.1");
    cr_expect_str_eq(run.config.listen[1].port, "4655");
    cr_expect(run.config.origins[CONFIG_KEY_listen].automatic);
    done(&run);
}

Test(config, a_file_in_every_spelling)
{
    struct run run;

    load_text(&run,
        "# comment\r\n"
        "\n"
        "  max_output_bytes=64M\n"
        "max-topic-bytes = \"2KiB\" # quoted\n"
        "\tlog_level =\tdebug\r\n"
        "unix_mode = 0660\n"
        "insecure_listen = yes\n"
        "listen = tcp://0.0.0.0:5000\n"
        "listen = \"unix:///tmp/a b#c\"\n"
        "session_memory_ms = 2h",
        NO_FLAGS);
    cr_assert(run.ok, "%s", run.errors);
    cr_expect_eq(run.config.max_output_bytes, 64 * CONFIG_MIB);
    cr_expect_eq(run.config.max_topic_bytes, 2048u);
    cr_expect_eq(run.config.log_level, CONFIG_LOG_DEBUG);
    cr_expect_eq(run.config.unix_mode, 0660u);
    cr_expect_eq(run.config.insecure_listen, true);
    cr_expect_eq(run.config.session_memory_ms, 7200000u);
    cr_assert_eq(run.config.listen_count, 2u);
    cr_expect_str_eq(run.config.listen[0].host, "0.0.0.0");
    cr_expect_str_eq(run.config.listen[1].path, "/tmp/a b#c");
    cr_expect_eq(run.config.origins[CONFIG_KEY_listen].line, 9u);
    cr_expect_eq(run.config.origins[CONFIG_KEY_log_level].line, 5u);
    done(&run);
}

Test(config, flags_in_every_spelling)
{
    struct run run;

    load(&run, &machine,
        FLAGS("--config=/dev/null", "--max_output_bytes=65MiB",
            "--max-topic-bytes", "2048", "--log-level=error",
            "--session_memory_ms", "1h", "--log-level", "warning"));
    cr_assert(run.ok, "%s", run.errors);
    cr_expect_eq(run.config.max_output_bytes, 65 * CONFIG_MIB);
    cr_expect_eq(run.config.max_topic_bytes, 2048u);
    cr_expect_eq(run.config.session_memory_ms, 3600000u);
    cr_expect_eq(run.config.log_level, CONFIG_LOG_WARNING, "the last one wins");
    done(&run);
}

Test(config, flags_win_over_the_file)
{
    struct run run;

    load_text(&run,
        "heartbeat_ms = 20s\n"
        "log_level = debug\n"
        "max_connections = 10\n"
        "listen = unix:///a\n"
        "listen = unix:///b\n",
        FLAGS("--listen=unix:///c", "--heartbeat-ms=30s",
            "--max-connections=auto"));
    cr_assert(run.ok, "%s", run.errors);
    cr_expect_eq(run.config.heartbeat_ms, 30000u);
    cr_expect_eq(run.config.log_level, CONFIG_LOG_DEBUG);
    cr_expect_eq(run.config.max_connections, 960u);
    cr_assert_eq(run.config.listen_count, 1u);
    cr_expect_str_eq(run.config.listen[0].path, "/c");
    done(&run);
}

Test(config, auto_in_flags_undoes_the_addresses_of_the_file)
{
    struct run run;

    load_text(&run, "listen = unix:///a\n", FLAGS("--listen=auto"));
    cr_assert(run.ok, "%s", run.errors);
    cr_assert_eq(run.config.listen_count, 2u);
    done(&run);
}

struct error_case {
    const char *text;
    const char *errors; /* each line begins after the name of the file */
};

static const struct error_case error_cases[] = {
    {"max_output_bytes = 5\n", ":1: max_output_bytes = \"5\": out of range;"
                               " allowed: 128KiB to 4GiB\n"},
    {"max_output_bytes = 5x\n",
        ":1: max_output_bytes = \"5x\": not a number of bytes"
        " (B, KiB, MiB, GiB, TiB); allowed: 128KiB to 4GiB\n"},
    {"\nmax_ouput_bytes = 5\n",
        ":2: unknown key \"max_ouput_bytes\"; did you mean"
        " max_output_bytes?\n"},
    {"password = 5\n",
        ":1: unknown key \"password\"; brokerd --help lists all keys\n"},
    {"heartbeat_ms = soon\n",
        ":1: heartbeat_ms = \"soon\": not a time (ms, s, m, h);"
        " allowed: 20ms to 5m\n"},
    {"heartbeat_ms = 999999999999999999999999h\n",
        ":1: heartbeat_ms = \"999999999999999999999999h\": out of range;"
        " allowed: 20ms to 5m\n"},
    {"max_connections = 0\n", ":1: max_connections = \"0\": out of range;"
                              " allowed: 1 to 1000000 or auto\n"},
    {"max_subscriptions = auto\n",
        ":1: max_subscriptions = \"auto\": not a number;"
        " allowed: 1 to 1000000\n"},
    {"unix_mode = 0888\n", ":1: unix_mode = \"0888\": not a file mode;"
                           " allowed: 0600 to 0777\n"},
    {"unix_mode = 0060\n",
        ":1: unix_mode = \"0060\": out of range; allowed: 0600 to 0777\n"},
    {"log_level = loud\n", ":1: log_level = \"loud\": unknown word;"
                           " allowed: debug, info, warning or error\n"},
    {"log_level = inf\n", ":1: log_level = \"inf\": unknown word;"
                          " allowed: debug, info, warning or error\n"},
    {"log_level = debug\nlog-level = info\n",
        ":2: log_level: given twice, first in line 1\n"},
    {"log_level\n", ":1: \"log_level\": not \"key = value\"\n"},
    {"= 5\n", ":1: \"= 5\": not \"key = value\"\n"},
    {"log_level =\n", ":1: log_level: there is no value\n"},
    {"log_level = # debug\n", ":1: log_level: there is no value\n"},
    {"log_level = \"debug\n", ":1: log_level: the closing quote is missing\n"},
    {"log_level = a\033[2J\n", ":1: control characters; this is no text\n"},
    {"log_level = \"\xc3\xa4\"\n",
        ":1: log_level = \"\\xc3\\xa4\": unknown word;"
        " allowed: debug, info, warning or error\n"},
    {"listen = http://x\n",
        ":1: listen = \"http://x\": an address begins with tcp://, tls://"
        " or unix://, such as tcp://127.0.0.1:4655 or "
        "unix:///run/brokerd.sock\n"},
    {"listen = unix:///a\nlisten = unix:///a\n",
        ":2: listen = \"unix:///a\": given twice\n"},
    {"listen = auto\nlisten = unix:///a\n",
        ":2: listen = \"unix:///a\": auto was given before it\n"},
    {"listen = unix:///a\nlisten = auto\n",
        ":2: listen = \"auto\": addresses were given before\n"},
    /* what concerns several keys */
    {"\nlisten = tcp://0.0.0.0:1\n",
        ":2: listen = tcp://0.0.0.0:1: other machines can reach this address,"
        " and everybody on the way can read along; use tls:// with"
        " password_file or client certificates (or insecure_listen = yes)\n"},
    {"heartbeat_ms = 500ms\n",
        ":1: heartbeat_min_ms = 1s: more than heartbeat_ms = 500ms\n"},
    {"heartbeat_min_ms = 20s\n",
        ":1: heartbeat_min_ms = 20s: more than heartbeat_ms = 15s\n"},
    {"heartbeat_max_ms = 10s\n",
        ":1: heartbeat_ms = 15s: more than heartbeat_max_ms = 10s\n"},
    {"max_output_bytes = 1M\n",
        ":1: max_output_bytes = 1MiB: must be at least max_body_bytes + 64KiB"
        " = 16842751\n"},
    {"max_body_bytes = 64K\nmax_subscriptions = 16380\n",
        ":2: max_subscriptions = 16380: must be at most"
        " (max_body_bytes - 20) / 4 = 16379\n"},
    {"max_memory_bytes = 64M\nmax_output_bytes = 65M\n",
        ":2: max_output_bytes = 65MiB: more than max_memory_bytes = 64MiB\n"},
    {"max_memory_bytes = 64M\nmax_retained_bytes = 1G\n",
        ":2: max_retained_bytes = 1GiB: more than max_memory_bytes = 64MiB\n"},
    {"max_connections = 961\n",
        ":1: max_connections = 961: this process may open 1024 files, which is"
        " enough for 960 connections; raise the limit (ulimit -n,"
        " LimitNOFILE=)\n"},
    /* all of them, not only the first */
    {"log_level = loud\nunix_mode = 1\nnope\nlisten_backlog = 0\n",
        ":1: log_level = \"loud\": unknown word;"
        " allowed: debug, info, warning or error\n"
        ":2: unix_mode = \"1\": out of range; allowed: 0600 to 0777\n"
        ":3: \"nope\": not \"key = value\"\n"
        ":4: listen_backlog = \"0\": out of range; allowed: 1 to 65535\n"},
};

/* Put the name of the file in front of each line. */
static char *
with_path(const char *lines)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    while (*lines != '\0') {
        size_t n = strcspn(lines, "\n") + 1;
        fprintf(out, "%s%.*s", config_path, (int)n, lines);
        lines += n;
    }
    fclose(out);
    return text;
}

Test(config, messages)
{
    for (size_t i = 0; i < sizeof(error_cases) / sizeof(error_cases[0]); i++) {
        struct run run;
        char *expected = with_path(error_cases[i].errors);

        load_text(&run, error_cases[i].text, NO_FLAGS);
        cr_expect_str_eq(
            run.errors, expected, "got  %swant %s", run.errors, expected);
        free(expected);
        done(&run);
    }
}

struct flag_case {
    char *flags[4];
    const char *errors;
};

Test(config, messages_about_flags)
{
    static const struct flag_case cases[] = {
        {{"--max-ouput-bytes", "5"}, "command line: unknown flag"
                                     " \"max-ouput-bytes\"; did you mean"
                                     " --max_output_bytes?\n"},
        {{"--verbose"},
            "command line: unknown flag \"verbose\"; see brokerd --help\n"},
        {{"--vresion"}, "command line: unknown flag \"vresion\"; did you mean"
                        " --version?\n"},
        {{"start"}, "command line: \"start\" is no flag; see brokerd --help\n"},
        {{"--"}, "command line: \"--\" is no flag; see brokerd --help\n"},
        {{"-x"}, "command line: \"-x\" is no flag; see brokerd --help\n"},
        {{"--heartbeat-ms"}, "command line: --heartbeat-ms needs a value\n"},
        {{"--heartbeat-ms="}, "command line: --heartbeat-ms needs a value\n"},
        {{"--config"}, "command line: --config needs a value\n"},
        {{"--config=/dev/null", "--config=/dev/null"},
            "command line: --config: given twice\n"},
        {{"--check=yes"}, "command line: --check takes no value\n"},
        {{"--check", "--help"},
            "command line: --help: only one such flag at a time\n"},
        {{"--config=/dev/null", "--unix-mode=8"},
            "command line: unix_mode = \"8\": not a file mode;"
            " allowed: 0600 to 0777\n"},
        {{"--config=/dev/null", "--heartbeat-ms=1h"},
            "command line: heartbeat_ms = \"1h\": out of range;"
            " allowed: 20ms to 5m\n"},
        {{"--config=/dev/null", "--heartbeat-ms=20ms"},
            "command line: heartbeat_min_ms = 1s: more than"
            " heartbeat_ms = 20ms\n"},
        {{"--config=/dev/null", "--listen=unix:///a\nb"},
            "command line: listen = \"unix:///a\\x0ab\": control characters in"
            " an address\n"},
        {{"--config=/nowhere/brokerd.conf"},
            "/nowhere/brokerd.conf: cannot read it: No such file or"
            " directory\n"},
        {{"--config=/"}, "/: cannot read it: Is a directory\n"},
        {{"--config=/dev/zero"},
            "/dev/zero: cannot read it: larger than 1MiB\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        load(&run, &machine, cases[i].flags);
        cr_expect_str_eq(run.errors, cases[i].errors);
        done(&run);
    }
}

Test(config, errors_of_file_and_flags_come_together)
{
    struct run run;
    char *expected = with_path(":1: listen_backlog = \"0\": out of range;"
                               " allowed: 1 to 65535\n");

    load_text(&run, "listen_backlog = 0\n", FLAGS("--unix-mode=1", "--nope"));
    cr_assert_not_null(strstr(run.errors, expected));
    cr_assert_not_null(strstr(run.errors, "command line: unix_mode = \"1\""));
    cr_assert_not_null(strstr(run.errors, "unknown flag \"nope\""));
    free(expected);
    done(&run);
}

Test(config, endless_errors_end)
{
    struct run run;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    for (int i = 0; i < 1000; i++) {
        fprintf(out, "nonsense %d\n", i);
    }
    fclose(out);
    load_text(&run, text, NO_FLAGS);
    cr_assert_not_null(strstr(run.errors, "nonsense 49\""));
    cr_assert_null(strstr(run.errors, "nonsense 50\""));
    cr_assert_not_null(strstr(run.errors, "there are more errors\n"));
    free(text);
    done(&run);
}

struct auto_case {
    struct config_machine machine;
    uint64_t max_memory_bytes;
    uint32_t max_connections, threads;
};

Test(config, auto_comes_from_the_machine)
{
    static const struct auto_case cases[] = {
        {{.memory_bytes = 0, .max_files = 1024}, CONFIG_GIB, 960, 1},
        {{.memory_bytes = 1, .max_files = 65, .cpus = 1}, 64 * CONFIG_MIB, 1,
            1},
        {{.memory_bytes = 3 * CONFIG_GIB + 3 * CONFIG_MIB,
             .max_files = 1000063,
             .cpus = 4},
            1537 * CONFIG_MIB, 999999, 4},
        {{.memory_bytes = UINT64_MAX, .max_files = UINT64_MAX, .cpus = 200},
            CONFIG_TIB, 1000000, 16},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        load(&run, &cases[i].machine, FLAGS("--config=/dev/null"));
        cr_assert(run.ok, "%s", run.errors);
        cr_expect_eq(run.config.max_memory_bytes, cases[i].max_memory_bytes);
        cr_expect_eq(run.config.max_connections, cases[i].max_connections);
        cr_expect_eq(run.config.threads, cases[i].threads);
        cr_expect_str_eq(run.config.listen[0].path, "/run/brokerd.sock");
        done(&run);
    }
}

Test(config, a_machine_that_is_too_small_is_refused)
{
    struct config_machine small = {.memory_bytes = 0, .max_files = 64};
    struct run run;

    load(&run, &small, FLAGS("--config=/dev/null"));
    cr_assert_str_eq(run.errors,
        "defaults: this process may open 64 files, and 64 are needed besides"
        " connections; raise the limit (ulimit -n, LimitNOFILE=)\n");
    done(&run);
}

Test(config, a_runtime_folder_that_makes_no_address_is_refused)
{
    struct config_machine odd = machine;
    struct run run;

    odd.runtime_dir = "relative";
    load(&run, &odd, FLAGS("--config=/dev/null"));
    cr_assert_str_eq(run.errors,
        "defaults: listen = auto: XDG_RUNTIME_DIR is not an absolute path or"
        " too long; correct it, or say where to listen\n");
    done(&run);
    load(&run, &odd, FLAGS("--config=/dev/null", "--listen=unix:///a"));
    cr_assert(run.ok, "%s", run.errors);
    done(&run);
}

struct listen_case {
    char *flag;
    bool ok;
};

Test(config, only_this_machine_unless_told)
{
    static const struct listen_case cases[] = {
        {"--listen=tcp://127.0.0.1:1", true},
        {"--listen=tcp://127.9.9.9:1", true},
        {"--listen=tcp://localhost:1", true},
        {"--listen=tcp://[::1]:1", true},
        {"--listen=tcp://[::ffff:127.0.0.1]:1", true},
        {"--listen=unix:///a", true},
        {"--listen=tcp://0.0.0.0:1", false},
        {"--listen=tcp://[::]:1", false},
        {"--listen=tcp://128.0.0.1:1", false},
        {"--listen=tcp://[::ffff:128.0.0.1]:1", false},
        {"--listen=tcp://localhost.example.com:1", false},
        {"--listen=tcp://example.com", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        load(&run, &machine, FLAGS("--config=/dev/null", cases[i].flag));
        cr_expect_eq(run.ok, cases[i].ok, "%s", cases[i].flag);
        done(&run);
        load(&run, &machine,
            FLAGS(
                "--config=/dev/null", cases[i].flag, "--insecure-listen=yes"));
        cr_expect(run.ok, "%s", cases[i].flag);
        done(&run);
    }
}

Test(config, actions)
{
    static const struct {
        char *flag;
        enum config_action action;
        const char *begins;
    } cases[] = {
        {"--help", CONFIG_HELP, "Usage: brokerd "},
        {"-h", CONFIG_HELP, "Usage: brokerd "},
        {"--version", CONFIG_VERSION, "brokerd "},
        {"-V", CONFIG_VERSION, "brokerd "},
        {"--print-sample", CONFIG_PRINT_SAMPLE, "# brokerd.conf: "},
        {"--print_effective", CONFIG_PRINT_EFFECTIVE, "# from the command "},
        {"--check", CONFIG_CHECK, "/dev/null: ok\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        load(&run, &machine, FLAGS("--config=/dev/null", cases[i].flag));
        cr_assert(run.ok, "%s", run.errors);
        cr_assert_eq(run.action, cases[i].action);
        char *text = answer(&run.config, run.action);
        cr_expect_eq(strncmp(text, cases[i].begins, strlen(cases[i].begins)), 0,
            "%s", text);
        free(text);
        done(&run);
    }
}

/* Somebody in need of --help should get it however broken the file is. */
Test(config, help_reads_no_file)
{
    struct run run;

    load(&run, &machine, FLAGS("--config=/nowhere", "--help"));
    cr_assert(run.ok, "%s", run.errors);
    done(&run);
}

Test(config, every_line_of_help_fits_a_terminal)
{
    char *text = answer(NULL, CONFIG_HELP);

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        cr_expect_leq(strlen(line), 79u, "%s", line);
    }
    free(text);
}

/* What is in effect, read as a file, has the same effect. */
Test(config, print_effective_reads_back)
{
    struct run first;
    struct run second;

    load_text(&first,
        "listen = \"unix:///tmp/a \\\"b\\\" \\\\ #c\"\nlisten = tcp://[::1]:7\n"
        "unix_mode = 0666\nmax_body_bytes = 100000\nlog_level = error\n"
        "max_connections = auto\nclose_linger_ms = 0\n"
        "tls_key_file = \"/a #b\"\ntls_certificate_file = /c\n",
        FLAGS("--max-output-bytes=1234567"));
    cr_assert(first.ok, "%s", first.errors);
    char *text = answer(&first.config, CONFIG_PRINT_EFFECTIVE);
    load_text(&second, text, NO_FLAGS);
    cr_assert(second.ok, "%s%s", second.errors, text);
#define CONFIG_NUMBER(name, type, unit, min, max, initial, help)               \
    cr_expect_eq(first.config.name, second.config.name, #name);
#define CONFIG_AUTO_NUMBER(name, type, unit, min, max, help)                   \
    cr_expect_eq(first.config.name, second.config.name, #name);
#define CONFIG_CHOICE(name, type, words, initial, help)                        \
    cr_expect_eq(first.config.name, second.config.name, #name);
#define CONFIG_WORD(name, help) CONFIG_PATH(name, help)
#define CONFIG_PATH(name, help)                                                \
    cr_expect_str_eq(first.config.name == NULL ? "" : first.config.name,       \
        second.config.name == NULL ? "" : second.config.name);
#include "keys.def"
    cr_assert_eq(second.config.listen_count, 2u);
    cr_expect_str_eq(second.config.listen[0].path, "/tmp/a \"b\" \\ #c");
    cr_expect_str_eq(second.config.listen[1].host, "::1");
    cr_expect_not_null(
        strstr(text, "max_connections = 960  # line 6, auto\n"), "%s", text);
    cr_expect_not_null(
        strstr(text, "max_output_bytes = 1234567  # flag\n"), "%s", text);
    cr_expect_not_null(
        strstr(text, "heartbeat_ms = 15s  # default\n"), "%s", text);
    cr_expect_str_eq(second.config.tls_key_file, "/a #b");
    cr_expect_null(second.config.tls_client_ca_file);
    free(text);
    done(&first);
    done(&second);
}

static char *
read_whole(const char *path)
{
    char *text = NULL;
    size_t cap = 0;
    FILE *file = fopen(path, "r");

    cr_assert_not_null(file, "%s", path);
    cr_assert_gt(getdelim(&text, &cap, '\0', file), 0);
    fclose(file);
    return text;
}

Test(config, the_sample_file_is_the_table)
{
    char *file = read_whole(SAMPLE_FILE);
    char *sample = answer(NULL, CONFIG_PRINT_SAMPLE);

    cr_assert_str_eq(file, sample,
        "write it anew: brokerd --print-sample > broker/doc/brokerd.conf");
    free(file);
    free(sample);
}

/* Each "#key = value" of the sample with its # removed changes nothing. */
Test(config, the_sample_with_all_lines_active_is_the_default)
{
    struct run run;
    struct run plain;
    char *sample = answer(NULL, CONFIG_PRINT_SAMPLE);

    for (char *at = sample; (at = strstr(at, "\n#")) != NULL; at++) {
        if (at[2] != ' ' && at[2] != '\n') {
            at[1] = ' ';
        }
    }
    load_text(&run, sample, NO_FLAGS);
    cr_assert(run.ok, "%s", run.errors);
    load_text(&plain, "", NO_FLAGS);
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        cr_expect_eq(
            run.config.origins[i].source, CONFIG_FROM_FILE, "key %zu", i);
    }
    cr_expect_eq(run.config.max_connections, plain.config.max_connections);
    cr_expect_eq(run.config.max_memory_bytes, plain.config.max_memory_bytes);
    cr_expect_eq(run.config.max_body_bytes, plain.config.max_body_bytes);
    free(sample);
    done(&run);
    done(&plain);
}

/* Every byte value at every place of a small file: no crash, no hang. */
Test(config, any_byte_anywhere)
{
    static const char base[] = "log_level = \"debug\" # x\nlisten=unix:///a\n";
    char text[sizeof(base)];
    FILE *nowhere = fopen("/dev/null", "w");

    for (size_t i = 0; i < sizeof(base) - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            struct config config;
            memcpy(text, base, sizeof(base));
            text[i] = (char)byte;
            config_init(&config);
            (void)config_read_text(
                &config, "t.conf", text, sizeof(base) - 1, nowhere);
            (void)config_resolve(&config, &machine, nowhere);
            config_fini(&config);
        }
    }
    fclose(nowhere);
}
