/* commands.h: what the program tells a link to do. */
#pragma once

#include "link.h"

/* Does the commands that have come whole. Returns false when what came is none. */
bool commands_do(struct link *link);
