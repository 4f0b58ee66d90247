/* intake.h: what has come for lines: bytes, their end, and room; told of, and read.
 *
 * Bytes lie in the ring's buffers until the tick ends. What it had no room for is then
 * copied, so that whoever isn't read keeps no buffer from others.
 */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* Takes a completion of receiving, or of polling for room. */
void intake_received(struct uring *uring, struct line *line,
                     const struct io_uring_cqe *completion);
void intake_room(struct uring *uring, struct line *line,
                 const struct io_uring_cqe *completion);

/* Tells of all that have something, those first that have waited longest. */
void intake_tell(struct uring *uring);

/* As stream_read. */
ssize_t intake_read(struct uring *uring, struct line *line, char **bytes, size_t size);

/* Nothing is kept or waits for a line that's closed. */
void intake_drop(struct uring *uring, struct line *line);

/* The tick is over: nothing that was read is needed any more. */
void intake_end_tick(struct uring *uring);
#endif
