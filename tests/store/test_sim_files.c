/* SPDX-License-Identifier: MIT
 *
 * That files in memory fail and lose what they are to; see sim_files.h. */
#include "sim_files.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

static struct file *
open_file(struct file_system *system, const char *name, bool create)
{
    struct file *file = NULL;
    cr_assert_eq(system->open(system, name, create, &file), 0);
    return file;
}

static void
cut(struct file_system *system)
{
    sim_files_power_off(system);
    sim_files_power_on(system);
}

/* The size, or SIZE_MAX if there is none; *all: it is all of this byte. */
static size_t
look(struct file_system *system, const char *name, uint8_t byte, bool *all)
{
    size_t size;
    const uint8_t *bytes = sim_files_bytes(system, name, &size);
    *all = true;
    if (bytes == NULL) {
        return sim_files_next(system, NULL) == NULL ? SIZE_MAX : 0;
    }
    for (size_t i = 0; i < size; i++) {
        *all = *all && bytes[i] == byte;
    }
    return size;
}

Test(sim_files, what_is_synced_stays)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct file_system *system = sim_files_new(seed);
        struct file *file = open_file(system, "a", true);
        uint8_t data[2000];
        memset(data, 7, sizeof data);
        cr_assert_eq(system->write(system, file, data, sizeof data, 0), 0);
        cr_assert_eq(system->sync(system, file), 0);
        cr_assert_eq(system->sync_names(system), 0);
        cut(system);
        bool all;
        cr_assert_eq(look(system, "a", 7, &all), sizeof data);
        cr_assert(all);
        cr_assert_eq(system->sync(system, file), EIO, "it is dead");
        system->close(system, file);
        system->free(system);
    }
}

Test(sim_files, what_is_not_synced_is_kept_torn_or_lost)
{
    unsigned whole = 0;
    unsigned torn = 0;
    unsigned lost = 0;
    unsigned nameless = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct file_system *system = sim_files_new(seed);
        struct file *file = open_file(system, "a", true);
        uint8_t data[2000];
        memset(data, 7, sizeof data);
        cr_assert_eq(system->write(system, file, data, sizeof data, 0), 0);
        system->close(system, file);
        cut(system);
        bool all;
        size_t size = look(system, "a", 7, &all);
        nameless += size == SIZE_MAX ? 1 : 0;
        lost += size == 0 ? 1 : 0;
        whole += size == sizeof data && all ? 1 : 0;
        torn += size != 0 && size != SIZE_MAX && !(size == sizeof data && all)
                    ? 1
                    : 0;
        system->free(system);
    }
    cr_assert(whole > 10 && torn > 10 && lost > 10 && nameless > 50);
}

Test(sim_files, a_failed_sync_may_lose_for_ever)
{
    unsigned kept = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct file_system *system = sim_files_new(seed);
        struct file *file = open_file(system, "a", true);
        cr_assert_eq(system->sync_names(system), 0);
        cr_assert_eq(system->write(system, file, "x", 1, 0), 0);
        const struct sim_fault fault = {
            .calls = SIM_BIT(SIM_SYNC), .first = 1, .count = 1, .error = EIO};
        sim_files_fault(system, &fault);
        cr_assert_eq(system->sync(system, file), EIO);
        cr_assert_eq(system->sync(system, file), 0);
        cr_assert_eq(sim_files_failed(system), 1);
        char byte;
        size_t got;
        cr_assert_eq(system->read(system, file, &byte, 1, 0, &got), 0);
        cr_assert_eq(got, 1, "it shows");
        system->close(system, file);
        cut(system);
        size_t size;
        cr_assert_not_null(sim_files_next(system, NULL));
        (void)sim_files_bytes(system, "a", &size);
        kept += size == 1 ? 1 : 0;
        system->free(system);
    }
    cr_assert(kept > 20 && kept < 80, "%u", kept);
}

Test(sim_files, the_disk_is_full)
{
    struct file_system *system = sim_files_new(1);
    struct file *file = open_file(system, "a", true);
    uint8_t data[100] = {0};
    uint64_t left;
    sim_files_capacity(system, 250);
    cr_assert_eq(system->write(system, file, data, 100, 0), 0);
    cr_assert_eq(system->write(system, file, data, 100, 100), 0);
    cr_assert_eq(system->write(system, file, data, 100, 200), ENOSPC);
    cr_assert_eq(system->write(system, file, data, 100, 100), 0, "over it");
    cr_assert_eq(system->free_bytes(system, &left), 0);
    cr_assert_leq(left, 50);
    cr_assert_eq(system->truncate(system, file, 100), 0);
    cr_assert_eq(system->write(system, file, data, 100, 100), 0);
    system->close(system, file);
    system->free(system);
}

Test(sim_files, renames_are_whole)
{
    unsigned done = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct file_system *system = sim_files_new(seed);
        system->close(system, open_file(system, "a", true));
        system->close(system, open_file(system, "b", true));
        cr_assert_eq(system->sync_names(system), 0);
        cr_assert_eq(system->rename(system, "a", "b"), 0);
        cr_assert_eq(system->rename(system, "a", "b"), ENOENT);
        cut(system);
        size_t size = 1;
        cr_assert_not_null(sim_files_next(system, NULL));
        (void)sim_files_bytes(system, "b", &size);
        cr_assert_eq(size, 0);
        unsigned names = 0;
        for (const char *name = sim_files_next(system, NULL); name != NULL;
             name = sim_files_next(system, name)) {
            names++;
        }
        cr_assert(names == 1 || names == 2);
        done += names == 1 ? 1 : 0;
        system->free(system);
    }
    cr_assert(done > 20 && done < 80, "%u", done);
}

Test(sim_files, the_same_seed_is_the_same_cut)
{
    uint8_t first[3000];
    size_t first_size = 0;
    for (unsigned round = 0; round < 2; round++) {
        struct file_system *system = sim_files_new(99);
        struct file *file = open_file(system, "a", true);
        cr_assert_eq(system->sync_names(system), 0);
        uint8_t data[1500];
        for (unsigned i = 0; i < 4; i++) {
            memset(data, (int)i + 1, sizeof data);
            cr_assert_eq(
                system->write(system, file, data, sizeof data, i * 500u), 0);
        }
        system->close(system, file);
        cut(system);
        size_t size;
        const uint8_t *bytes = sim_files_bytes(system, "a", &size);
        cr_assert_leq(size, sizeof first);
        if (round == 1) {
            cr_assert_eq(size, first_size);
            cr_assert_eq(memcmp(bytes, first, size), 0);
        }
        first_size = size;
        memcpy(first, bytes, size);
        system->free(system);
    }
}
