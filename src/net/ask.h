/* ask.h: what lines want of the kernel: bytes, room, or none of it any more. */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* Asks for what the lines that were reconsidered want, those first that had nothing in
 * this tick. Not more are asked for than there are buffers: who finds none is asked for
 * again. */
void ask_all(struct uring *uring);
#endif
