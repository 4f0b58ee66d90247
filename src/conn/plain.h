/* plain.h: a connection whose socket carries its bytes as they are. */
#pragma once

#include "conn/transport.h"

extern const struct transport plain_transport;
