/* Who is asked for first by io_uring's backend. */
#include "net/lines.h"

#ifdef SYNC_URING
#include "test.h"

/* When buffers have run out, who got some waits until the others were asked for. */
TEST(uring_asks_for_those_first_who_had_nothing) {
    struct uring uring = {.tick = 7};
    struct line fed = {.fed = 7};
    struct line earlier = {.fed = 6};
    struct line never = {.fed = 0};
    line_reconsider(&uring, &fed);
    line_reconsider(&uring, &earlier);
    line_reconsider(&uring, &never);
    line_reconsider(&uring, &earlier); /* nobody stands there twice */
    CHECK(uring.due.first == &earlier);
    CHECK(earlier.next_due == &never);
    CHECK(never.next_due == NULL);
    CHECK(uring.due_late.first == &fed);
    CHECK(fed.next_due == NULL);
}
#endif
