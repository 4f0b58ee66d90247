/* watch.h: descriptors that belong to other libraries (a database's client, an HTTP one),
 * told as events when they are ready. The functions that start them are in sync.h. */
#pragma once

#include "core/core.h"

void watch_stop_all(struct core *core);
