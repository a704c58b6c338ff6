/* SPDX-License-Identifier: MIT
 *
 * Memory limits of control groups, in trees of files that look like /proc and
 * /sys.
 */
#include <criterion/criterion.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "machine.h"

static char root[64];

static int
remove_entry(
    const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st, (void)flag, (void)where;
    return remove(path);
}

static void
make_root(void)
{
    strcpy(root, "/tmp/test_config_XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void
remove_root(void)
{
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(config_machine, .init = make_root, .fini = remove_root);

/* Write a file and make its folders. */
static void
put(const char *path, const char *text)
{
    char full[512];

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(full, 0700);
        *p = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file, "%s", full);
    fputs(text, file);
    fclose(file);
}

Test(config_machine, nothing_there)
{
    cr_assert_eq(config_cgroup_memory_bytes(root), UINT64_MAX);
}

Test(config_machine, version_2_takes_the_lowest_on_the_way_up)
{
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), UINT64_MAX);
    put("/sys/fs/cgroup/a/memory.max", "5000\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), 5000u);
    put("/sys/fs/cgroup/a/b/memory.max", "4000\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), 4000u);
    put("/sys/fs/cgroup/a/b/c/memory.max", "6000\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), 4000u);
}

Test(config_machine, version_2_in_a_container)
{
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "123456\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), 123456u);
}

Test(config_machine, version_1)
{
    put("/proc/self/cgroup",
        "12:cpu,cpuacct:/x\n11:hugetlb,memory:/x/y\n0::/x\n");
    put("/sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "7000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/x/memory.max", "1\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), 7000u);
}

Test(config_machine, nonsense_is_no_limit)
{
    put("/proc/self/cgroup", "\n:\n::\n0:\nfoo\n0::\n0::/../../..\n1:memory\n");
    put("/sys/fs/cgroup/memory.max", "many\n");
    cr_assert_eq(config_cgroup_memory_bytes(root), UINT64_MAX);
}

Test(config_machine, probe_finds_something)
{
    struct config_machine machine;

    setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
    config_probe(&machine);
    cr_assert_gt(machine.memory_bytes, CONFIG_MIB);
    cr_assert_gt(machine.max_files, 10u);
    cr_assert_str_eq(machine.runtime_dir, "/somewhere");
}
