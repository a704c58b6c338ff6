/* SPDX-License-Identifier: MIT
 *
 * brokerd: from the configuration to a running server. */
#include "config.h"
#include "log.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_USAGE 64
/* Told to clients in GOAWAY when the broker stops: time for a restart. */
#define RETRY_AFTER_MS 1000

static struct server_options
server_options(const struct config *config)
{
    return (struct server_options){
        .core = {.max_body_bytes = config->max_body_bytes,
            .max_topic_bytes = (uint16_t)config->max_topic_bytes,
            .max_topic_levels = (uint16_t)config->max_topic_levels,
            .max_subscriptions = config->max_subscriptions,
            .max_output_bytes = config->max_output_bytes,
            .max_memory_bytes = config->max_memory_bytes,
            .max_retained_topics = config->max_retained_topics,
            .max_retained_bytes = config->max_retained_bytes,
            .max_sessions = config->max_sessions,
            .session_memory_ms = config->session_memory_ms,
            .handshake_timeout_ms = config->handshake_timeout_ms,
            .heartbeat_ms = config->heartbeat_ms,
            .heartbeat_min_ms = config->heartbeat_min_ms,
            .heartbeat_max_ms = config->heartbeat_max_ms,
            .write_timeout_ms = config->write_timeout_ms,
            .half_close_linger_ms = config->half_close_linger_ms,
            .name = "brokerd " BROKERD_VERSION},
        .addresses = config->listen,
        .address_count = config->listen_count,
        .threads = config->threads,
        .backlog = config->listen_backlog,
        .unix_mode = config->unix_mode,
        .max_connections = config->max_connections,
        .accept_retry_ms = config->accept_retry_ms,
        .close_linger_ms = config->close_linger_ms,
        .drain_timeout_ms = config->drain_timeout_ms,
        .retry_after_ms = RETRY_AFTER_MS};
}

static int
run(const struct config *config)
{
    log_open((enum log_level)config->log_level);
    log_set_lines_per_second(config->log_lines_per_second);
    struct server_options options = server_options(config);
    struct server *server = server_new(&options);
    if (server == NULL) {
        return EXIT_FAILURE;
    }
    printf("brokerd ready %s\n", server_addresses(server));
    if (fflush(stdout) != 0) {
        log_event(LOG_LEVEL_WARNING, "ready-not-said", "reason=\"%s\"",
            strerror(errno));
    }
    log_event(LOG_LEVEL_INFO, "ready",
        "version=%s pid=%ld threads=%u addresses=\"%s\"", BROKERD_VERSION,
        (long)getpid(), config->threads, server_addresses(server));
    int status = server_run(server);
    server_free(server);
    log_finish();
    return status;
}

/* Each connection takes a descriptor; the soft limit is only a default. */
static void
raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
        files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* config_probe reads it back */
    }
}

int
main(int argc, char **argv)
{
    struct config_machine machine;
    struct config config;
    enum config_action action = CONFIG_RUN;
    raise_file_limit();
    config_probe(&machine);
    config_init(&config);
    int status = EXIT_USAGE;
    if (config_load(&config, argc, argv, &machine, &action, stderr)) {
        if (action == CONFIG_RUN) {
            status = run(&config);
        } else {
            config_answer(&config, action, stdout);
            status = fflush(stdout) == 0 && ferror(stdout) == 0 ? EXIT_SUCCESS
                                                                : EXIT_FAILURE;
        }
    }
    config_fini(&config);
    return status;
}
