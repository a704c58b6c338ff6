/* SPDX-License-Identifier: MIT
 *
 * CRC32C (Castagnoli): that of "123456789" is 0xE3069283. */
#ifndef BROKER_STORE_CHECKSUM_H
#define BROKER_STORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Of what had this checksum, followed by these bytes; that of nothing is 0. */
uint32_t checksum_add(uint32_t checksum, const void *bytes, size_t len);

static inline uint32_t
checksum(const void *bytes, size_t len)
{
    return checksum_add(0, bytes, len);
}

#endif
