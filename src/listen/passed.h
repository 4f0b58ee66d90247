/* passed.h: listening sockets that systemd has passed to this process (sd_listen_fds(3)).
 */
#pragma once

#include "core/core.h"

/* Has them wait for listeners, which get those of their port, or of their path. The
 * environment names them no more. */
void passed_begin(struct core *core);
