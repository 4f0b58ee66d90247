/* bytestream.h: a connection that speaks a byte stream, which the framing cuts into
 * messages. */
#pragma once

#include "conn/protocol.h"

extern const struct protocol bytestream_protocol;

/* Its deadlines, also while its first line isn't known: see protocol.h. */
void bytestream_consider(const struct conn *conn, struct clock *clock);
bool bytestream_ran_out(struct conn *conn, int reason);

/* Bytes came: a ping isn't waited for any more. */
void bytestream_answered(struct conn *conn);
