/* SPDX-License-Identifier: MIT
 *
 * CRC32C by ISA-L, which takes and gives the bare register, in pieces of at
 * most an int. It is made for long pieces: where the processor has an
 * instruction for it, that takes the short ones, of which each record and each
 * entry of the journal has some, in a fraction of the time. */
#include "checksum.h"

#include <isa-l/crc.h>

#include <string.h>

#define PIECE_MAX (1u << 30)

static uint32_t
add_long(uint32_t state, const void *bytes, size_t len)
{
    /* The library does not declare it const, but does not write. */
    union {
        const void *read;
        void *declared;
    } at = {.read = bytes};
    unsigned char *next = at.declared;
    while (len > 0) {
        size_t piece = len < PIECE_MAX ? len : PIECE_MAX;
        state = crc32_iscsi(next, (int)piece, state);
        next += piece;
        len -= piece;
    }
    return state;
}

#ifdef __x86_64__

/* Where ISA-L begins to be as fast. */
#define SHORT_MAX 256u

__attribute__((target("sse4.2"))) static uint32_t
add_short(uint32_t state, const uint8_t *bytes, size_t len)
{
    uint64_t wide = state;
    for (; len >= sizeof wide; len -= sizeof wide) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
        bytes += sizeof word;
    }
    state = (uint32_t)wide;
    for (; len > 0; len--) {
        state = __builtin_ia32_crc32qi(state, *bytes++);
    }
    return state;
}

static uint32_t
add(uint32_t state, const void *bytes, size_t len)
{
    return len < SHORT_MAX && __builtin_cpu_supports("sse4.2")
               ? add_short(state, bytes, len)
               : add_long(state, bytes, len);
}

#else

static uint32_t
add(uint32_t state, const void *bytes, size_t len)
{
    return add_long(state, bytes, len);
}

#endif

uint32_t
checksum_add(uint32_t checksum, const void *bytes, size_t len)
{
    return ~add(~checksum, bytes, len);
}
