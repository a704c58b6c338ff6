/* SPDX-License-Identifier: MIT
 *
 * brokerd: from the configuration to a running server. */
#include "access.h"
#include "config.h"
#include "log.h"
#include "process.h"
#include "server.h"
#include "storage.h"
#include "store.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 64
/* Told to clients in GOAWAY when the broker stops: time for a restart. */
#define RETRY_AFTER_MS 1000

/* Does anybody have to show who he is? */
static bool
asks_who(const struct config *config)
{
    return config->password_file != NULL || config->access_file != NULL ||
           config->tls_client_certificates != CONFIG_CLIENT_CERTIFICATES_NO;
}

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
            .max_user_connections = config->max_user_connections,
            .max_user_messages_per_s = config->max_user_messages_per_s,
            .max_user_bytes_per_s = config->max_user_bytes_per_s,
            .max_subscribes_per_s = config->max_subscribes_per_s,
            .allow_block = config->allow_block,
            .block_timeout_ms = config->block_timeout_ms,
            .max_output_age_ms = config->max_output_age_ms,
            .name = "brokerd " BROKERD_VERSION},
        .addresses = config->listen,
        .address_count = config->listen_count,
        .threads = config->threads,
        .backlog = config->listen_backlog,
        .unix_mode = config->unix_mode,
        .clear_secrets = config->insecure_listen,
        .max_connections = config->max_connections,
        .max_unauthenticated = config->max_unauthenticated,
        .accept_retry_ms = config->accept_retry_ms,
        .close_linger_ms = config->close_linger_ms,
        .drain_timeout_ms = config->drain_timeout_ms,
        .retry_after_ms = RETRY_AFTER_MS};
}

/* Users and rules, if clients have to show who they are. False: they could not
 * be read, and why was written to `errors`. */
static bool
load_access(const struct config *config, struct access **access, FILE *errors)
{
    struct access_sources sources = {.password_file = config->password_file,
        .access_file = config->access_file,
        .max_topic_bytes = config->max_topic_bytes,
        .max_topic_levels = config->max_topic_levels};
    *access = NULL;
    if (asks_who(config)) {
        *access = access_load(&sources, errors);
        return *access != NULL;
    }
    return true;
}

/* Lines of a text as log lines. */
static void
log_lines(const char *text)
{
    char quoted[1024];
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        log_event(LOG_LEVEL_ERROR, "configuration", "error=%s",
            log_quote(quoted, sizeof quoted, text, len));
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

/* Certificate and key, if the configuration names some. False as above. */
static bool
load_tls(const struct config *config, struct tls **tls, FILE *errors)
{
    struct tls_options options = {
        .certificate_file = config->tls_certificate_file,
        .key_file = config->tls_key_file,
        .client_ca_file = config->tls_client_ca_file,
        .client_certificates =
            (enum tls_client_certificates)config->tls_client_certificates,
        .only_1_3 = config->tls_min_version == CONFIG_TLS_1_3};
    char error[TLS_ERROR_BYTES];
    *tls = NULL;
    if (options.certificate_file != NULL) {
        *tls = tls_new(&options, error);
        if (*tls == NULL) {
            fprintf(errors, "%s\n", error);
        }
        return *tls != NULL;
    }
    return true;
}

/* What main was called with, to read everything again. */
struct command_line {
    int argc;
    char *const *argv;
    const char *log_file; /* of the configuration at start, or NULL */
};

/* What the configuration's files have; references. And who to become. */
struct loaded {
    struct access *access;
    struct tls *tls;
    struct process_account account;
};

/* Is there something in memory, or soon, that others must not see? */
static bool
hides_memory(const struct config *config)
{
    bool has_secrets = config->password_file != NULL ||
                       config->access_file != NULL ||
                       config->tls_key_file != NULL;
    return has_secrets && !config->core_dumps;
}

/* Before the first secret is read. False as above. */
static bool
prepare_process(const struct config *config, enum config_action action,
    struct process_account *account, FILE *errors)
{
    if (action != CONFIG_RUN && action != CONFIG_CHECK) {
        return true;
    }
    if (!process_find_account(config->user, config->group, account, errors)) {
        return false;
    }
    if (action == CONFIG_RUN && !process_may_become(account, errors)) {
        return false;
    }
    if (hides_memory(config) && !process_hide_memory()) {
        fprintf(
            errors, "core_dumps = no: cannot be had: %s\n", strerror(errno));
        return false;
    }
    return true;
}

static bool
load_files(const struct config *config, enum config_action action,
    struct loaded *files, FILE *errors)
{
    *files = (struct loaded){.access = NULL};
    if (!prepare_process(config, action, &files->account, errors)) {
        return false;
    }
    if ((action == CONFIG_RUN || action == CONFIG_CHECK) &&
        !load_tls(config, &files->tls, errors)) {
        return false;
    }
    if (action == CONFIG_RUN && !load_access(config, &files->access, errors)) {
        tls_unref(files->tls);
        return false;
    }
    return true;
}

static bool
load(const struct command_line *line, struct config *config,
    struct loaded *files, enum config_action *action, FILE *errors)
{
    struct config_machine machine;
    config_probe(&machine);
    config_init(config);
    return config_load(
               config, line->argc, line->argv, &machine, action, errors) &&
           load_files(config, *action, files, errors);
}

static bool
reload(void *arg, struct server_options *fresh)
{
    char *text = NULL;
    size_t len;
    FILE *errors = open_memstream(&text, &len);
    if (errors == NULL) {
        return false;
    }
    struct config config;
    struct loaded files;
    enum config_action action = CONFIG_RUN;
    bool ok = load(arg, &config, &files, &action, errors);
    fclose(errors);
    log_lines(text);
    free(text);
    if (ok) {
        *fresh = server_options(&config);
        fresh->access = files.access;
        fresh->tls = files.tls;
        fresh->addresses = NULL;
        log_set_level((enum log_level)config.log_level);
        log_set_lines_per_second(config.log_lines_per_second);
    }
    config_fini(&config);
    return ok;
}

/* On SIGUSR1. */
static void
reopen_log(void *arg)
{
    const struct command_line *line = arg;
    char quoted[1024];
    if (line->log_file == NULL) {
        log_event(LOG_LEVEL_WARNING, "log-not-reopened",
            "reason=\"there is no log_file\"");
    } else if (log_open_file(line->log_file)) {
        log_event(LOG_LEVEL_INFO, "log-reopened", "pid=%ld", (long)getpid());
    } else {
        log_event(LOG_LEVEL_ERROR, "log-not-reopened",
            "reason=\"%s\" file=%s hint=\"lines go where they went\"",
            strerror(errno),
            log_quote(
                quoted, sizeof quoted, line->log_file, strlen(line->log_file)));
    }
}

static bool
open_log(const struct config *config)
{
    log_open((enum log_level)config->log_level);
    log_set_lines_per_second(config->log_lines_per_second);
    if (config->log_file != NULL && !log_open_file(config->log_file)) {
        char quoted[1024];
        log_event(LOG_LEVEL_ERROR, "log-not-opened", "reason=\"%s\" file=%s",
            strerror(errno),
            log_quote(quoted, sizeof quoted, config->log_file,
                strlen(config->log_file)));
        return false;
    }
    return true;
}

/* The log and the sockets go to the account, then we become it. NULL or what
 * did not work, with errno. */
static const char *
become(const struct config *config, const struct process_account *account)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct broker_address *address = &config->listen[i];
        if (address->kind == BROKER_ADDRESS_UNIX &&
            !process_give_socket(account, address->path)) {
            return "socket";
        }
    }
    if (!log_give_file(account->uid, account->gid)) {
        return "log_file";
    }
    if (!process_become(account)) {
        return "user";
    }
    /* The kernel has begun anew with who may look in. */
    bool ok =
        hides_memory(config) ? process_hide_memory() : process_show_memory();
    return ok ? NULL : "core_dumps";
}

/* Everything is open: no more rights than it takes to serve. */
static bool
drop_rights(const struct config *config, const struct process_account *account)
{
    if (geteuid() != 0) {
        return true;
    }
    if (account->name == NULL) {
        log_event(LOG_LEVEL_WARNING, "runs-as-root",
            "hint=\"set user, or let systemd start it without rights\"");
        return true;
    }
    const char *failed = become(config, account);
    if (failed != NULL) {
        log_event(LOG_LEVEL_ERROR, "rights-not-dropped",
            "failed=%s reason=\"%s\"", failed, strerror(errno));
    }
    return failed == NULL;
}

static void
say_ready(void *arg, const struct server *server)
{
    const struct config *config = arg;
    printf("brokerd ready %s\n", server_addresses(server));
    if (fflush(stdout) != 0) {
        log_event(LOG_LEVEL_WARNING, "ready-not-said", "reason=\"%s\"",
            strerror(errno));
    }
    log_event(LOG_LEVEL_INFO, "ready",
        "version=%s pid=%ld threads=%u addresses=\"%s\"", BROKERD_VERSION,
        (long)getpid(), config->threads, server_addresses(server));
}

static int
run(struct config *config, const struct loaded *files,
    struct command_line *line)
{
    line->log_file = config->log_file;
    if (!open_log(config)) {
        access_unref(files->access);
        tls_unref(files->tls);
        return EXIT_FAILURE;
    }
    struct server_options options = server_options(config);
    if (!storage_open(config, &files->account, &options.store)) {
        access_unref(files->access);
        tls_unref(files->tls);
        return EXIT_FAILURE;
    }
    options.access = files->access;
    options.tls = files->tls;
    options.reload = reload;
    options.reopen_log = reopen_log;
    options.arg = line;
    struct server *server = server_new(&options);
    int status = EXIT_FAILURE;
    if (server != NULL && drop_rights(config, &files->account)) {
        status = server_run(server, say_ready, config);
    }
    server_free(server);
    store_close(options.store);
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

/* Started without standard streams, nothing that is opened later may get their
 * numbers: the log would be written into a connection. */
static void
hold_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

int
main(int argc, char **argv)
{
    struct command_line line = {argc, argv, NULL};
    struct config config;
    struct loaded files;
    enum config_action action = CONFIG_RUN;
    (void)umask(umask(077) | 027); /* the log may be read by its group */
    hold_standard_streams();
    raise_file_limit();
    int status = EXIT_USAGE;
    if (load(&line, &config, &files, &action, stderr)) {
        if (action == CONFIG_RUN) {
            status = run(&config, &files, &line);
        } else {
            tls_unref(files.tls);
            config_answer(&config, action, stdout);
            status = fflush(stdout) == 0 && ferror(stdout) == 0 ? EXIT_SUCCESS
                                                                : EXIT_FAILURE;
        }
    }
    config_fini(&config);
    return status;
}
