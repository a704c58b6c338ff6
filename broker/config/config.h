/* SPDX-License-Identifier: MIT
 *
 * brokerd's configuration: from the command line and a file to one struct of
 * checked numbers. The keys are in keys.def, and only there.
 *
 * This knows nothing of the log, of the network or of the broker. It reads the
 * configuration file and, in config_probe(), asks the system for the memory and
 * files that "auto" is made from. Messages go to streams that the caller gives.
 *
 * Order of precedence: flags, then the file, then the defaults. A list that is
 * given by flags replaces the list of the file.
 *
 * Threads: no state outside the structs; each struct is used by one thread.
 */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <broker/address.h>

/* Read if --config is not given and it exists. */
#define CONFIG_DEFAULT_FILE "/etc/brokerd.conf"

/* File descriptors that are not connections: listeners, the log, the event
 * loop, and some to spare. */
#define CONFIG_RESERVED_FILES 64

/* In the order of enum log_level (log.h). */
enum config_log_level {
    CONFIG_LOG_DEBUG,
    CONFIG_LOG_INFO,
    CONFIG_LOG_WARNING,
    CONFIG_LOG_ERROR
};

/* In the order of the words in keys.def. */
enum config_client_certificates {
    CONFIG_CLIENT_CERTIFICATES_NO,
    CONFIG_CLIENT_CERTIFICATES_OPTIONAL,
    CONFIG_CLIENT_CERTIFICATES_REQUIRED
};
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

/* One number for each key: CONFIG_KEY_listen, ... */
enum config_key {
#define CONFIG_NUMBER(name, type, unit, min, max, initial, help)               \
    CONFIG_KEY_##name,
#define CONFIG_AUTO_NUMBER(name, type, unit, min, max, help) CONFIG_KEY_##name,
#define CONFIG_CHOICE(name, type, words, initial, help)      CONFIG_KEY_##name,
#define CONFIG_ADDRESSES(name, help)                         CONFIG_KEY_##name,
#define CONFIG_PATH(name, help)                              CONFIG_KEY_##name,
#define CONFIG_WORD(name, help)                              CONFIG_KEY_##name,
#include "keys.def"
    CONFIG_KEY_COUNT
};

/* Where a value comes from. */
struct config_origin {
    enum { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_FLAG } source;
    unsigned line;  /* of the file */
    bool automatic; /* the word "auto" was given, or is the default */
};

/* One field for each key, of the type and with the name that keys.def gives:
 * uint32_t max_connections and so on. A list is a pair: `listen`, an array
 * that config_fini() frees, and `listen_count`. A path or word is a
 * text that config_fini() frees, or NULL. After config_load() every "auto" is
 * replaced by what it stands for. */
struct config {
#define CONFIG_NUMBER(name, type, unit, min, max, initial, help) type name;
#define CONFIG_AUTO_NUMBER(name, type, unit, min, max, help)     type name;
#define CONFIG_CHOICE(name, type, words, initial, help)          type name;
#define CONFIG_ADDRESSES(name, help)                                           \
    struct broker_address *name;                                               \
    size_t name##_count;
#define CONFIG_PATH(name, help) char *name;
#define CONFIG_WORD(name, help) char *name;
#include "keys.def"
    struct config_origin origins[CONFIG_KEY_COUNT];
    char *file; /* that was read, or NULL; config_fini() frees it */
};

/* What the user wants done. */
enum config_action {
    CONFIG_RUN, /* no such flag: run the daemon */
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_CHECK,
    CONFIG_PRINT_EFFECTIVE,
    CONFIG_PRINT_SAMPLE
};

/* What "auto" is made from. */
struct config_machine {
    uint64_t memory_bytes;   /* of the machine or control group; 0: unknown */
    uint32_t cpus;           /* that this process may run on; 0: unknown */
    uint64_t max_files;      /* this process may open; UINT64_MAX: no limit */
    const char *runtime_dir; /* XDG_RUNTIME_DIR; NULL or "": not set */
};

/* Fill in what this system and process have. runtime_dir points into the
 * environment. Never fails: what cannot be found out is 0, UINT64_MAX, NULL. */
void config_probe(struct config_machine *machine);

/* Defaults everywhere; "auto" values are not resolved yet. */
void config_init(struct config *config);

/* Free what the struct owns. Idempotent. */
void config_fini(struct config *config);

/* Read the command line, then the file that it names or CONFIG_DEFAULT_FILE,
 * resolve every "auto" and check everything. `config` comes from config_init().
 * `machine` is not kept.
 *
 * True: *config is complete and valid (for CONFIG_HELP, _VERSION and
 * _PRINT_SAMPLE it is left at its defaults) and *action is set. False: every
 * error that was found was written to `errors`, one line each with place, key,
 * value and what is allowed; nothing may be done with *config but
 * config_fini(). */
bool config_load(struct config *config, int argc, char *const argv[],
    const struct config_machine *machine, enum config_action *action,
    FILE *errors);

/* Do what an action other than CONFIG_RUN asks for: write the text to `out`.
 * `config` must be loaded. */
void config_answer(
    const struct config *config, enum config_action action, FILE *out);

/* ---- the parts of config_load(), for tests and tools --------------------- */

/* Read the lines of a configuration file. `name` is the file's name, for
 * messages. Any bytes will do. Returns the number of errors, each written to
 * `errors`. */
unsigned config_read_text(struct config *config, const char *name,
    const char *text, size_t len, FILE *errors);

/* Replace every "auto" by its value and check what concerns several keys.
 * Returns the number of errors, each written to `errors`. */
unsigned config_resolve(
    struct config *config, const struct config_machine *machine, FILE *errors);

#endif
