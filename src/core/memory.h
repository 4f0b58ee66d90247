/* memory.h: how much memory the process uses; see sync_watch_memory. */
#pragma once

struct core;

/* Tells the program by SYNC_MEMORY_HIGH, if it's time to look and there is too much. */
void memory_look(struct core *core);
