/* SPDX-License-Identifier: MIT
 *
 * Blocking socket calls for the time before a measurement: connecting,
 * greeting, subscribing. Each gives up (measure.h) when it takes longer than
 * SETUP_TIMEOUT_MS without progress. The measurements do their own I/O. */
#ifndef BROKER_BENCH_SOCK_H
#define BROKER_BENCH_SOCK_H

#include <stddef.h>
#include <stdint.h>

#define SETUP_TIMEOUT_MS 60000

/* A TCP connection to 127.0.0.1, with TCP_NODELAY. The caller closes it. */
int sock_connect(uint16_t port);

/* Write all of it. */
void sock_write(int fd, const void *data, size_t len);

/* Read exactly `len` bytes. */
void sock_read(int fd, void *data, size_t len);

/* Read until what was read ends with `tail`. Gives up if "-ERR" turns up,
 * which is how the text protocols complain. */
void sock_read_until(int fd, const char *tail);

/* From here on the socket does not block. */
void sock_nonblocking(int fd);

#endif
