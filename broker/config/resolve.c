/* SPDX-License-Identifier: MIT
 *
 * What values mean together: "auto" becomes a number, and keys that limit each
 * other are compared. Pure: the machine is an argument.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* An output queue must hold one largest frame and what goes around it. */
#define OUTPUT_SLACK_BYTES (64 * CONFIG_KIB)
/* The fixed part of a GAP frame, in whose body every subscription of a
 * connection must find room (PROTOCOL.md section 3.2). */
#define GAP_FIXED_BYTES            20
#define GAP_BYTES_PER_SUBSCRIPTION 4
/* threads = auto gives no more; who has that many connections can say so. */
#define THREADS_AUTO_MAX 16u
/* max_memory_bytes where the machine does not say what it has. */
#define MEMORY_UNKNOWN_BYTES CONFIG_GIB

/* Begin a message about a key where its value stands; if it is a default, the
 * other key is what does not fit it. */
static struct config_report *
at(struct config_report *report, const struct config *config,
    enum config_key key, enum config_key other)
{
    const struct config_origin *origin = &config->origins[key];

    if (origin->source == CONFIG_FROM_DEFAULT) {
        origin = &config->origins[other];
    }
    report->file = NULL;
    report->line = 0;
    if (origin->source == CONFIG_FROM_FILE) {
        report->file = config->file != NULL ? config->file : "configuration";
        report->line = origin->line;
    } else if (origin->source == CONFIG_FROM_DEFAULT) {
        report->file = "defaults";
    }
    return report;
}

/* "key = value" of a number, with its unit. */
static const char *
show_pair(const struct config *config, enum config_key key,
    char dst[CONFIG_TEXT_BYTES])
{
    const struct config_row *row = &config_rows[key];
    char number[CONFIG_TEXT_BYTES];

    config_number_format(row->unit, config_get(config, key), number);
    snprintf(dst, CONFIG_TEXT_BYTES, "%s = %.40s", row->name, number);
    return dst;
}

static void
check_not_above(const struct config *config, enum config_key low,
    enum config_key high, struct config_report *report)
{
    char low_pair[CONFIG_TEXT_BYTES];
    char high_pair[CONFIG_TEXT_BYTES];

    if (config_get(config, low) > config_get(config, high)) {
        config_report(at(report, config, low, high), "%s: more than %s",
            show_pair(config, low, low_pair),
            show_pair(config, high, high_pair));
    }
}

static void
check_output(const struct config *config, struct config_report *report)
{
    char pair[CONFIG_TEXT_BYTES];
    uint64_t needed = config->max_body_bytes + OUTPUT_SLACK_BYTES;

    if (config->max_output_bytes < needed) {
        config_report(at(report, config, CONFIG_KEY_max_output_bytes,
                          CONFIG_KEY_max_body_bytes),
            "%s: must be at least max_body_bytes + 64KiB = %llu",
            show_pair(config, CONFIG_KEY_max_output_bytes, pair),
            (unsigned long long)needed);
    }
}

static void
check_subscriptions(const struct config *config, struct config_report *report)
{
    char pair[CONFIG_TEXT_BYTES];
    uint32_t most =
        (config->max_body_bytes - GAP_FIXED_BYTES) / GAP_BYTES_PER_SUBSCRIPTION;

    if (config->max_subscriptions > most) {
        config_report(at(report, config, CONFIG_KEY_max_subscriptions,
                          CONFIG_KEY_max_body_bytes),
            "%s: must be at most (max_body_bytes - 20) / 4 = %u",
            show_pair(config, CONFIG_KEY_max_subscriptions, pair), most);
    }
}

/* Can only this machine reach the address? A name other than localhost may
 * mean anything tomorrow. */
static bool
is_local(const struct broker_address *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (address->kind == BROKER_ADDRESS_UNIX ||
        strcmp(address->host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, address->host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, address->host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6) ||
               (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    }
    return false;
}

/* Does a client that comes over TLS have to show who it is? */
static bool
asks_who(const struct config *config)
{
    return config->password_file != NULL ||
           config->tls_client_certificates ==
               CONFIG_CLIENT_CERTIFICATES_REQUIRED;
}

static void
check_listen(const struct config *config, struct config_report *report)
{
    char text[BROKER_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < config->listen_count; i++) {
        bool is_tls = config->listen[i].kind == BROKER_ADDRESS_TLS;

        if (config->insecure_listen || is_local(&config->listen[i]) ||
            (is_tls && asks_who(config))) {
            continue;
        }
        broker_address_format(&config->listen[i], text, sizeof(text));
        config_report(at(report, config, CONFIG_KEY_listen, CONFIG_KEY_listen),
            is_tls ? "listen = %s: other machines can reach this address, and "
                     "nothing says who a client is; set password_file, or "
                     "tls_client_certificates = required (or insecure_listen "
                     "= yes, and everybody may publish and read everything)"
                   : "listen = %s: other machines can reach this address, and "
                     "everybody on the way can read along; use tls:// with "
                     "password_file or client certificates (or "
                     "insecure_listen = yes)",
            text);
    }
}

static void
check_tls_addresses(const struct config *config, struct config_report *report)
{
    char text[BROKER_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < config->listen_count; i++) {
        if (config->listen[i].kind == BROKER_ADDRESS_TLS &&
            config->tls_certificate_file == NULL) {
            config_report(
                at(report, config, CONFIG_KEY_listen, CONFIG_KEY_listen),
                "listen = %s: this needs tls_certificate_file and "
                "tls_key_file",
                broker_address_format(&config->listen[i], text, sizeof(text)));
        }
    }
}

/* One key is of no use without the other. */
static void
check_both_set(const struct config *config, enum config_key key,
    enum config_key other, struct config_report *report)
{
    if (config_get_text(config, key) != NULL &&
        config_get_text(config, other) == NULL) {
        config_report(at(report, config, key, key), "%s: this needs %s",
            config_rows[key].name, config_rows[other].name);
    }
}

static void
check_tls(const struct config *config, struct config_report *report)
{
    const char *ca_file = config->tls_client_ca_file;

    check_tls_addresses(config, report);
    check_both_set(config, CONFIG_KEY_tls_certificate_file,
        CONFIG_KEY_tls_key_file, report);
    check_both_set(config, CONFIG_KEY_tls_key_file,
        CONFIG_KEY_tls_certificate_file, report);
    if (config->tls_client_certificates == CONFIG_CLIENT_CERTIFICATES_NO &&
        ca_file != NULL) {
        /* Who names an authority believes that it guards something. */
        config_report(at(report, config, CONFIG_KEY_tls_client_ca_file,
                          CONFIG_KEY_tls_client_certificates),
            "tls_client_ca_file: clients are not asked for certificates; set "
            "tls_client_certificates = required, or optional");
    }
    if (config->tls_client_certificates != CONFIG_CLIENT_CERTIFICATES_NO &&
        ca_file == NULL) {
        config_report(at(report, config, CONFIG_KEY_tls_client_certificates,
                          CONFIG_KEY_tls_client_ca_file),
            "tls_client_certificates: this needs tls_client_ca_file");
    }
}

static void
resolve_connections(struct config *config, const struct config_machine *machine,
    struct config_report *report)
{
    const struct config_row *row = &config_rows[CONFIG_KEY_max_connections];
    char pair[CONFIG_TEXT_BYTES];
    uint64_t room = machine->max_files > CONFIG_RESERVED_FILES
                        ? machine->max_files - CONFIG_RESERVED_FILES
                        : 0;

    if (config->origins[CONFIG_KEY_max_connections].automatic && room > 0) {
        config->max_connections = (uint32_t)(room < row->max ? room : row->max);
    } else if (room == 0) {
        config_report(at(report, config, CONFIG_KEY_max_connections,
                          CONFIG_KEY_max_connections),
            "this process may open %llu files, and %d are needed besides "
            "connections; raise the limit (ulimit -n, LimitNOFILE=)",
            (unsigned long long)machine->max_files, CONFIG_RESERVED_FILES);
    } else if (config->max_connections > room) {
        config_report(at(report, config, CONFIG_KEY_max_connections,
                          CONFIG_KEY_max_connections),
            "%s: this process may open %llu files, which is enough for %llu "
            "connections; raise the limit (ulimit -n, LimitNOFILE=)",
            show_pair(config, CONFIG_KEY_max_connections, pair),
            (unsigned long long)machine->max_files, (unsigned long long)room);
    }
}

static void
resolve_unauthenticated(struct config *config, struct config_report *report)
{
    uint32_t half = config->max_connections / 2;

    if (config->origins[CONFIG_KEY_max_unauthenticated].automatic) {
        config->max_unauthenticated = half == 0 ? 1 : half;
        return;
    }
    check_not_above(config, CONFIG_KEY_max_unauthenticated,
        CONFIG_KEY_max_connections, report);
}

static void
resolve_memory(struct config *config, const struct config_machine *machine)
{
    const struct config_row *row = &config_rows[CONFIG_KEY_max_memory_bytes];
    uint64_t half = machine->memory_bytes / 2;

    if (!config->origins[CONFIG_KEY_max_memory_bytes].automatic) {
        return;
    }
    if (machine->memory_bytes == 0) {
        half = MEMORY_UNKNOWN_BYTES;
    }
    half -= half % CONFIG_MIB;
    half = half < row->min ? row->min : half;
    config->max_memory_bytes = half > row->max ? row->max : half;
}

static void
resolve_threads(struct config *config, const struct config_machine *machine)
{
    if (!config->origins[CONFIG_KEY_threads].automatic) {
        return;
    }
    config->threads = machine->cpus == 0                 ? 1
                      : machine->cpus > THREADS_AUTO_MAX ? THREADS_AUTO_MAX
                                                         : machine->cpus;
}

static void
resolve_listen(struct config *config, const struct config_machine *machine,
    struct config_report *report)
{
    static const char tcp[] = "tcp://127.0.0.1:" BROKER_DEFAULT_PORT;
    struct broker_address *list;

    if (!config->origins[CONFIG_KEY_listen].automatic) {
        return;
    }
    list = calloc(2, sizeof(*list));
    if (list == NULL) {
        config_report(report, "listen: out of memory");
        return;
    }
    if (broker_address_default(machine->runtime_dir, &list[0]) != BROKER_OK) {
        config_report(at(report, config, CONFIG_KEY_listen, CONFIG_KEY_listen),
            "listen = auto: XDG_RUNTIME_DIR is not an absolute path or too "
            "long; correct it, or say where to listen");
        free(list);
        return;
    }
    if (broker_address_parse(tcp, &list[1], NULL) != BROKER_OK) {
        abort(); /* a constant of ours */
    }
    free(config->listen);
    config->listen = list;
    config->listen_count = 2;
}

unsigned
config_resolve(
    struct config *config, const struct config_machine *machine, FILE *errors)
{
    struct config_report report = {.stream = errors};

    resolve_listen(config, machine, &report);
    resolve_connections(config, machine, &report);
    resolve_unauthenticated(config, &report);
    resolve_memory(config, machine);
    resolve_threads(config, machine);

    check_listen(config, &report);
    check_tls(config, &report);
    check_both_set(config, CONFIG_KEY_group, CONFIG_KEY_user, &report);
    check_not_above(
        config, CONFIG_KEY_heartbeat_min_ms, CONFIG_KEY_heartbeat_ms, &report);
    check_not_above(
        config, CONFIG_KEY_heartbeat_ms, CONFIG_KEY_heartbeat_max_ms, &report);
    check_subscriptions(config, &report);
    check_output(config, &report);
    check_not_above(config, CONFIG_KEY_max_output_bytes,
        CONFIG_KEY_max_memory_bytes, &report);
    check_not_above(config, CONFIG_KEY_max_retained_bytes,
        CONFIG_KEY_max_memory_bytes, &report);
    return report.count;
}
