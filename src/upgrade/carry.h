/* carry.h: a connection that goes on in the next process.
 *
 * What is written has this format, SYNC_HANDOVER_FORMAT, numbers with the lowest byte
 * first:
 *
 *     1   what it speaks: enum carried
 *     1   0: it has a socket, 1: none (tests)
 *     1   its socket's kind: enum sync_transport
 *     2   flags: see carry.c
 *     1   the value of its next SYNC_DATA
 *     16  address, 2 port
 *     4   ms of the system's clock that never jumps, wrapping: when it was read last,
 *     4   and when what is unfinished began
 *     8   microseconds of that clock: until when its rate is used up
 *     4   dropped messages
 *     4   of a byte stream: when it was pinged, 0: it wasn't
 *     4+  received bytes that are no whole message yet, of HTTP the whole request
 *     4+  unsent bytes
 *
 * and a WebSocket behind that (websocket/carry.c):
 *
 *     1   flags, 1 mode, 1 and 1 window bits to send and to receive, 1 opcode of the
 * message under way, 3 of its UTF-8 8   payload bytes to come of the frame under way, 4
 * its mask 4   ms, when it was pinged 4+  of the message under way, 4+ of the byte stream
 * in binary frames 1   1: an inflater follows: 4+ compressed bytes since a block has
 * ended, 8 how many bytes they became, 4+ the window
 */
#pragma once

#include "conn/conn.h"
#include "core/record.h"

/* Whether a connection can go on elsewhere now: between two ticks, one that is open, has
 * nothing of its own in this process, and no TLS. */
bool carry_may(const struct conn *conn);

/* Whether nothing of an open connection is under way in the kernel; and takes what was
 * received of it. Returns 0 or an error code. */
bool carry_rests(struct conn *conn);
int carry_collect(struct conn *conn);

/* Writes it. Returns false when it can't be said, or memory ran out; what was written is
 * then of no use. */
bool carry_out(const struct conn *conn, struct record *record);

/* Makes it a connection of a service. Takes fd (-1: it has none) over in any case.
 * Returns its slot, of which there's no SYNC_CONNECT, or an error code: UV_EINVAL for
 * bytes that are no connection. */
int carry_in(struct service *service, int fd, const char *bytes, size_t length);

/* This process has nothing to do with it any more: its socket stays open elsewhere. Its
 * slot is free when the tick ends, without SYNC_CLOSE. */
void carry_away(struct conn *conn);
