/* SPDX-License-Identifier: MIT
 *
 * The receive buffer: room when it is needed, memory when it is used.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "receive.h"

Test(receive, grows_with_a_steady_flow_up_to_a_bound)
{
    struct receive receive = {0};
    size_t room, largest = 0;
    for (int i = 0; i < 20; i++) {
        uint8_t *space = receive_space(&receive, 0, &room);
        cr_assert_not_null(space);
        memset(space, 0, room);
        receive_commit(&receive, room);
        receive.start = receive.end; /* all of it consumed */
        largest = room > largest ? room : largest;
    }
    cr_assert_eq(largest, (size_t)256 << 10);
    receive_fini(&receive);
}

Test(receive, keeps_what_is_not_consumed)
{
    struct receive receive = {0};
    size_t room;
    uint8_t *space = receive_space(&receive, 0, &room);
    memcpy(space, "abcdef", 6);
    receive_commit(&receive, 6);
    receive.start = 4;
    space = receive_space(&receive, 100, &room);
    memcpy(space, "gh", 2);
    receive_commit(&receive, 2);
    cr_assert_eq(receive.end - receive.start, 4);
    cr_assert_eq(memcmp(receive.data + receive.start, "efgh", 4), 0);
    receive_fini(&receive);
}

Test(receive, gives_large_memory_back)
{
    struct receive receive = {0};
    size_t room, needed = (size_t)3 << 20;
    while (receive.end < needed) {
        uint8_t *space = receive_space(&receive, needed, &room);
        cr_assert_not_null(space);
        size_t n = needed - receive.end < room ? needed - receive.end : room;
        memset(space, 0, n);
        receive_commit(&receive, n);
    }
    cr_assert_leq(receive.capacity, needed);
    receive.start = receive.end;
    cr_assert_not_null(receive_space(&receive, 0, &room));
    cr_assert_leq(receive.capacity, (size_t)256 << 10);
    receive_fini(&receive);
}
