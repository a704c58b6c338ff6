/* SPDX-License-Identifier: MIT
 *
 * CRC32C by ISA-L, which takes and gives the bare register, in pieces of at
 * most an int. */
#include "checksum.h"

#include <isa-l/crc.h>

#define PIECE_MAX (1u << 30)

uint32_t
checksum_add(uint32_t checksum, const void *bytes, size_t len)
{
    /* The library does not declare it const, but does not write. */
    union {
        const void *read;
        void *declared;
    } at = {.read = bytes};
    unsigned char *next = at.declared;
    uint32_t state = ~checksum;
    while (len > 0) {
        size_t piece = len < PIECE_MAX ? len : PIECE_MAX;
        state = crc32_iscsi(next, (int)piece, state);
        next += piece;
        len -= piece;
    }
    return ~state;
}
