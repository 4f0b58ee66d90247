/* client.h: the other end: plain sockets, with no part of the core in them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server.h"

/* Each returns a blocking socket, or -1 with errno set. */
int client_connect(uint32_t port);  /* to 127.0.0.1 */
int client_connect6(uint32_t port); /* to ::1 */
int client_connect_unix(const char *path);

/* Connects with a receive buffer of that many bytes. */
int client_connect_slow(uint32_t port, int receive_buffer);

/* Sends all of it, blocking. Returns whether that went well. */
bool client_send(int fd, const char *bytes, size_t length);

/* Says no more, and reads on. */
void client_shut(int fd);

/* Closes with a reset instead of an orderly end. */
void client_reset(int fd);

/* What is there now, without waiting: bytes, 0 at the end, -1 when nothing is there,
 * -2 when the connection was reset. */
long client_poll(int fd, char *bytes, size_t size);

/* Reads `size` bytes, or up to the end, running the server's ticks meanwhile. Returns
 * the bytes read; *ended tells the end or (-1) a reset, 0 if neither was seen. */
size_t client_read(struct server *server, int fd, char *bytes, size_t size, int *ended);

/* Whether exactly this comes next. */
bool client_gets(struct server *server, int fd, const char *bytes, size_t length);

/* Whether the connection ends (not by a reset) without another byte. */
bool client_sees_end(struct server *server, int fd);

/* Whether the connection is reset, whatever bytes come before. */
bool client_sees_reset(struct server *server, int fd);

/* Where the tests' Unix socket is, and the same as a host to listen on. */
const char *client_unix_path(void);
const char *client_unix_host(void);
