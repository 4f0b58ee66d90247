/* inflate.h: messages that a client has compressed. */
#pragma once

#include "conn/conn.h"

/* Inflates a part of the message under way to the end of what there is of it, or of the
 * byte stream that it continues, as far as this tick's work goes; `last` is the end of
 * the message. Never more than one byte above what it may be is inflated, so a bomb costs
 * no more than an honest message. Sets *rest to how many bytes must wait. Returns false
 * when that has ended the connection. */
bool inflate_take(struct conn *conn, const char *bytes, size_t length, bool last,
                  size_t *rest);
