/* request.h: a connection that speaks HTTP: its requests go out as events, one at a time.
 */
#pragma once

#include "conn/conn.h"

/* The connection's first bytes are a request's. Returns whether it goes on. */
bool request_begin(struct conn *conn);

/* See sync_respond. */
enum sync_sent request_respond(struct conn *conn, const char *bytes, size_t length,
                               bool keep);

/* See sync_file_open and sync_respond_file. */
int request_open_file(struct conn *conn, const char *path, uint32_t which, bool any_case);
enum sync_sent request_respond_file(struct conn *conn, const char *head, size_t length,
                                    uint64_t offset, uint64_t count, bool keep);

/* Answers with an error status, and ends the connection for this reason. */
void request_refuse(struct conn *conn, uint32_t status, const char *why,
                    enum sync_reason reason);

/* See sync_upgrade. */
enum sync_sent request_upgrade(struct conn *conn, const char *head, size_t length,
                               const struct sync_websocket *settings);
