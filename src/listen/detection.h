/* detection.h: connections that are new, until they have shown what they speak.
 *
 *     unknown ──► HTTP, a Flash policy's request, TLS and then unknown again
 *        │  ▲
 *        ▼  │ (it was silent, and speaks something else after all)
 *      guess ──► first line ──► byte stream
 *
 * One that is silent for long is guessed to be a byte stream, which may wait for a
 * greeting. A byte stream's first line is looked at before it is taken: it might be a
 * request that any web page can make a browser send.
 */
#pragma once

#include "conn/service.h"

struct sockaddr;

/* Makes a connected socket a connection; `kind` is of enum sync_transport. Returns its
 * slot, or an error code; then fd is closed. */
int detection_open(struct service *service, int fd, uint8_t kind,
                   const struct sockaddr *peer);

/* The same without a socket: see conn/memory.h. */
int detection_open_memory(struct service *service);

/* The connection is a byte stream, which is told unless it was guessed before. */
void detection_begin_stream(struct conn *conn);

/* A connection of the process before goes on as a byte stream, or as what isn't known
 * yet. Returns false for any other. */
bool detection_resume(struct conn *conn, uint8_t carried, uint32_t pinged);
