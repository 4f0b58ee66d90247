/* cores.h: how much of the machine this process may use. */
#pragma once

#include <stdint.h>

/* Whole cores: those that it may run on, as far as its control group's quota goes; at
 * least 1. */
uint32_t cores_usable(void);

/* The cores' worth of time that the control groups of a process let it have, the least of
 * its own and of those that this one is in. `groups` is the text of its
 * /proc/PID/cgroup, `root` where control groups are mounted. HUGE_VAL: no bound. */
double cores_quota(const char *root, const char *groups);
