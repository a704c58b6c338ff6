/* SPDX-License-Identifier: MIT
 *
 * The parts of a world: world.c has its life, world_ask.c what is asked of the
 * store, world_look.c what is found in it. See world.h.
 */
#ifndef BROKER_TESTS_STORE_WORLD_INTERNAL_H
#define BROKER_TESTS_STORE_WORLD_INTERNAL_H

#include "../core/random.h"
#include "local.h"
#include "model.h"
#include "world.h"

#define WORLD_PORTS   2
#define WORLD_OPS     64 /* that are not settled */
#define WORLD_HISTORY 32 /* of each publisher */

struct world_publisher {
    uint32_t next; /* number */
    unsigned refusals;
    struct model_op history[WORLD_HISTORY];
    unsigned history_count;
};

struct world {
    const struct world_options *options;
    struct world_report *report;
    struct random random;
    struct file_system *files;
    struct base *base;
    struct store *store;
    struct store_port *ports[WORLD_PORTS];
    uint64_t now_ms;
    uint64_t journal_bytes, memory_bytes;
    bool base_off;            /* the power is off; files know it themselves */
    bool faulty;              /* calls may fail in this life */
    bool failed;              /* STORE_FAILED was answered */
    bool named;               /* something was lost, and it was said */
    struct model_state state; /* all that is answered */
    struct model_op *ops[WORLD_OPS];
    unsigned op_count;
    struct world_publisher publishers[MODEL_PUBLISHERS];
    uint64_t next_id, next_text;
};

/* Note the first problem. */
__attribute__((format(printf, 2, 3))) void world_problem(
    struct world *world, const char *format, ...);
bool world_is_bad(const struct world *world);
bool world_is_off(const struct world *world);

/* world.c */
void world_settle_answers(struct world *world);
void world_work(struct world *world, unsigned steps);
/* Until nothing is left to be done. */
void world_rest(struct world *world);

/* world_ask.c: one random operation; the same again. */
void world_ask(struct world *world);
void world_ask_again(struct world *world, const struct model_op *op);
void world_ask_streams(struct world *world);

/* world_look.c: the store as it is; false: there is a problem, or the power
 * went. */
bool world_look(struct world *world, struct model_state *observed);
/* Read something somewhere, and see that it is a part of what there is. */
void world_glance(struct world *world);

#endif
