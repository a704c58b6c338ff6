/* SPDX-License-Identifier: MIT
 *
 * The names of a directory in memory: what each stands for. See sim_files.h.
 */
#ifndef BROKER_TESTS_STORE_SIM_NAMES_H
#define BROKER_TESTS_STORE_SIM_NAMES_H

#include "sim_bytes.h"

#include <assert.h>

#define SIM_NAME_BYTES 64

struct node;

struct sim_name {
    char text[SIM_NAME_BYTES];
    struct node *node; /* NULL: there is none of this name */
};

struct sim_names {
    struct sim_name *list;
    size_t count;
};

static inline struct sim_name *
sim_names_find(const struct sim_names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].text, text) == 0) {
            return &names->list[i];
        }
    }
    return NULL;
}

static inline struct node *
sim_names_get(const struct sim_names *names, const char *text)
{
    const struct sim_name *name = sim_names_find(names, text);
    return name != NULL ? name->node : NULL;
}

static inline void
sim_names_set(struct sim_names *names, const char *text, struct node *node)
{
    struct sim_name *name = sim_names_find(names, text);
    if (name == NULL) {
        names->list = sim_must(
            realloc(names->list, (names->count + 1) * sizeof *names->list));
        name = &names->list[names->count++];
        memset(name, 0, sizeof *name);
        assert(strlen(text) < SIM_NAME_BYTES);
        strcpy(name->text, text);
    }
    name->node = node;
}

static inline void
sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
    for (size_t i = 0; i < to->count; i++) {
        to->list[i].node = NULL;
    }
    for (size_t i = 0; i < from->count; i++) {
        sim_names_set(to, from->list[i].text, from->list[i].node);
    }
}

#endif
