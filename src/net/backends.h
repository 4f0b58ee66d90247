/* backends.h: the backends of pollers, for poller.c. */
#pragma once

#include "net/poller.h"

extern const struct backend epoll_backend;
extern const struct backend uring_backend;
extern const struct backend poll_backend;
