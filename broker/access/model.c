/* SPDX-License-Identifier: MIT
 *
 * Building and freeing what the two files say; see model.h.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "rights.h"

struct access *
model_new(const struct access_sources *sources)
{
    struct access *access = calloc(1, sizeof *access);

    if (access == NULL) {
        return NULL;
    }
    access->everything = rights_new_unlimited();
    if (access->everything == NULL) {
        free(access);
        return NULL;
    }
    atomic_init(&access->references, 1);
    access->has_rules = sources->access_file != NULL;
    access->max_topic_bytes = sources->max_topic_bytes < UINT16_MAX
                                  ? (uint16_t)sources->max_topic_bytes
                                  : UINT16_MAX;
    access->max_topic_levels = sources->max_topic_levels < UINT16_MAX
                                   ? (uint16_t)sources->max_topic_levels
                                   : UINT16_MAX;
    return access;
}

static void
user_free(struct user *user)
{
    while (user->tokens != NULL) {
        struct token *token = user->tokens;

        user->tokens = token->next;
        secret_wipe(token, sizeof *token);
        free(token);
    }
    rights_unref(atomic_load(&user->rights));
    free(user->groups);
    secret_wipe(user->password, sizeof user->password);
    free(user);
}

void
model_free(struct access *access)
{
    for (size_t i = 0; i < access->user_count; i++) {
        user_free(access->users[i]);
    }
    for (size_t i = 0; i < access->group_count; i++) {
        free(access->groups[i]);
    }
    for (size_t i = 0; i < access->certificate_count; i++) {
        free(access->certificates[i].subject);
    }
    for (size_t i = 0; i < access->rule_count; i++) {
        free(access->rules[i].text);
    }
    free(access->users);
    free(access->groups);
    free(access->accounts);
    free(access->certificates);
    free(access->rules);
    rights_unref(access->everything);
    free(access);
}

void *
model_append(void **array, size_t *count, size_t element_bytes)
{
    size_t n = *count;
    char *memory = *array;

    /* Full at each power of two. */
    if ((n & (n - 1)) == 0) {
        memory = realloc(memory, (n == 0 ? 1 : 2 * n) * element_bytes);
        if (memory == NULL) {
            return NULL;
        }
        *array = memory;
    }
    *count = n + 1;
    memory += n * element_bytes;
    memset(memory, 0, element_bytes);
    return memory;
}

/* ---- names --------------------------------------------------------------- */

static int
compare_names(struct text a, const char *b)
{
    size_t len = strlen(b);
    int order = memcmp(a.data, b, a.len < len ? a.len : len);

    return order != 0 ? order : (a.len > len) - (a.len < len);
}

/* Where the name is or belongs among the users. */
static size_t
user_place(const struct access *access, struct text name, bool *found)
{
    size_t low = 0, high = access->user_count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(name, access->users[middle]->name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct user *
model_find_user(const struct access *access, const char *name)
{
    bool found;
    size_t place =
        user_place(access, (struct text){name, strlen(name)}, &found);

    return found ? access->users[place] : NULL;
}

struct user *
model_user(struct access *access, struct text name)
{
    bool found;
    size_t place = user_place(access, name, &found);
    struct user *user;

    if (found) {
        return access->users[place];
    }
    user = calloc(1, sizeof *user);
    if (user == NULL || model_append((void **)&access->users,
                            &access->user_count, sizeof user) == NULL) {
        free(user);
        return NULL;
    }
    memcpy(user->name, name.data, name.len);
    atomic_init(&user->rights, NULL);
    memmove(access->users + place + 1, access->users + place,
        (access->user_count - 1 - place) * sizeof user);
    access->users[place] = user;
    return user;
}

struct user_group *
model_group(struct access *access, struct text name)
{
    struct user_group *group, **place;

    for (size_t i = 0; i < access->group_count; i++) {
        if (text_is(name, access->groups[i]->name)) {
            return access->groups[i];
        }
    }
    group = calloc(1, sizeof *group);
    if (group == NULL) {
        return NULL;
    }
    place = model_append(
        (void **)&access->groups, &access->group_count, sizeof group);
    if (place == NULL) {
        free(group);
        return NULL;
    }
    memcpy(group->name, name.data, name.len);
    *place = group;
    return group;
}

/* ---- filters ------------------------------------------------------------- */

bool
model_expand(struct text filter, const char *user, struct text *expanded)
{
    const size_t user_len = strlen(user);
    size_t cap = filter.len, len = 0;
    char *data;

    for (size_t i = 0; i < filter.len; i++) {
        cap += filter.data[i] == '%' ? user_len : 0;
    }
    data = malloc(cap + 1); /* not 0, which may give NULL */
    if (data == NULL) {
        return false;
    }
    for (size_t i = 0; i < filter.len; i++) {
        if (filter.data[i] != '%') {
            data[len++] = filter.data[i];
        } else if (filter.data[++i] == 'u') {
            memcpy(data + len, user, user_len);
            len += user_len;
        } else {
            data[len++] = '%';
        }
    }
    *expanded = (struct text){data, len};
    return true;
}
