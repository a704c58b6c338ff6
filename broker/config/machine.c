/* SPDX-License-Identifier: MIT
 *
 * What this process may use: memory of the machine and of its control
 * groups, CPUs and files. The only part of the configuration that asks the
 * system; what it finds is judged in resolve.c.
 *
 * A limit may stand at any level of the group's path, so all of them are read
 * up to the root. In a container the path may name a group that is not visible
 * from inside: missing files are no limits.
 */
#include "machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096

/* One number in a file, or UINT64_MAX: "max", not there, not readable. */
static uint64_t
read_limit(const char *path)
{
    FILE *stream = fopen(path, "re");
    uint64_t limit = UINT64_MAX;

    if (stream == NULL) {
        return UINT64_MAX;
    }
    if (fscanf(stream, "%" SCNu64, &limit) != 1) {
        limit = UINT64_MAX;
    }
    fclose(stream);
    return limit;
}

/* The lowest limit in <root><mount><group>/<file> and all folders above it up
 * to the mount. */
static uint64_t
lowest_limit(
    const char *root, const char *mount, const char *group, const char *file)
{
    char folder[PATH_BYTES_MAX];
    char path[PATH_BYTES_MAX + 64];
    int n = snprintf(folder, sizeof(folder), "%s%s%s", root, mount, group);
    size_t shortest = strlen(root) + strlen(mount);
    uint64_t lowest = UINT64_MAX;

    if (n < 0 || (size_t)n >= sizeof(folder)) {
        return UINT64_MAX;
    }
    for (;;) {
        snprintf(path, sizeof(path), "%s/%s", folder, file);
        uint64_t limit = read_limit(path);
        lowest = limit < lowest ? limit : lowest;

        char *slash = strrchr(folder + shortest, '/');
        if (slash == NULL) {
            return lowest;
        }
        *slash = '\0';
    }
}

/* Is `name` one of the words of a list separated by commas? */
static bool
list_contains(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == len && memcmp(list, name, len) == 0) {
            return true;
        }
        list += n;
        list += *list == ',';
    }
    return false;
}

/* One line of /proc/self/cgroup: "number:controllers:/path". */
static uint64_t
line_limit(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

    if (group == NULL) {
        return UINT64_MAX;
    }
    *controllers++ = '\0';
    *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    if (controllers[0] == '\0') {
        return lowest_limit(root, "/sys/fs/cgroup", group, "memory.max");
    }
    if (list_contains(controllers, "memory")) {
        return lowest_limit(
            root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    }
    return UINT64_MAX;
}

uint64_t
config_cgroup_memory_bytes(const char *root)
{
    char path[PATH_BYTES_MAX];
    char line[PATH_BYTES_MAX];
    uint64_t lowest = UINT64_MAX;
    FILE *stream;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    stream = fopen(path, "re");
    if (stream == NULL) {
        return UINT64_MAX;
    }
    while (fgets(line, sizeof(line), stream) != NULL) {
        uint64_t limit = line_limit(root, line);
        lowest = limit < lowest ? limit : lowest;
    }
    fclose(stream);
    return lowest;
}

void
config_probe(struct config_machine *machine)
{
    long n_pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t group_bytes = config_cgroup_memory_bytes("");
    struct rlimit files;

    machine->memory_bytes = 0;
    if (n_pages > 0 && page_bytes > 0) {
        machine->memory_bytes = (uint64_t)n_pages * (uint64_t)page_bytes;
    }
    if (group_bytes != UINT64_MAX &&
        (machine->memory_bytes == 0 || group_bytes < machine->memory_bytes)) {
        machine->memory_bytes = group_bytes;
    }
    machine->max_files = UINT64_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
        files.rlim_cur != RLIM_INFINITY) {
        machine->max_files = files.rlim_cur;
    }
    machine->cpus = 0;
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
        machine->cpus = (uint32_t)CPU_COUNT(&cpus);
    }
    machine->runtime_dir = getenv("XDG_RUNTIME_DIR");
}
