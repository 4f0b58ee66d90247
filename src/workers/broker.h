/* broker.h: listening sockets that a parent binds, and that all its workers have.
 *
 * So clients that wait to be accepted don't go with a worker that dies, and workers that
 * ask for any free port get the same one.
 */
#pragma once

#include "core/core.h"
#include "core/record.h"
#include "net/bind.h"

/* Serves the requests that come by a socket (SOCK_SEQPACKET), which is the core's then.
 * Returns 0 or an error code; then it is closed. */
int broker_serve(struct core *core, int fd);

/* What a worker has asked for and got. Free it. */
struct port_request;

/* Asks the parent for the sockets of a host and port, and waits for them: `take` gets
 * each. Returns 0, and in *request what was asked for; or an error code. */
int broker_ask(struct core *core, const char *host, uint32_t port, uint32_t keepalive,
               bind_taker take, void *context, struct port_request **request);

/* Tells the parent that this worker doesn't want them any more. When none does of those
 * that live, the parent closes them. */
void broker_give_back(struct core *core, struct port_request *request);

/* Offers a descriptor under a name and a number, of which there is no other, to the first
 * who asks; it's the core's then. Withdrawing closes it. */
int broker_offer(struct core *core, const char *name, uint32_t number, int fd);
void broker_withdraw(struct core *core, const char *name, uint32_t number);

/* The worker's side of that: returns the descriptor, or an error code. */
int broker_fetch(struct core *core, const char *name, uint32_t number);

/* What the parent's next program needs to go on (see sync_exec), in order: a worker's
 * socket, or -1 behind the last; */
int broker_asker(const struct core *core, uint32_t place);

/* and, behind all workers, what is bound, each with its descriptors, at most BIND_MOST.
 * Writing returns how many, or -1 behind the last; reading 0 or an error code, and takes
 * the descriptors over. */
int broker_write_offer(const struct core *core, uint32_t place, struct record *record,
                       int *fds);
int broker_read_offer(struct core *core, struct reading *reading, const int *fds,
                      uint32_t count);

/* Closes the sockets, and stops serving. */
void broker_close(struct core *core);
