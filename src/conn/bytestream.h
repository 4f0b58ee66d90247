/* bytestream.h: a connection that speaks a byte stream, which the framing cuts into
 * messages. */
#pragma once

#include "conn/protocol.h"

extern const struct protocol bytestream_protocol;
