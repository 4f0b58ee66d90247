/* transport.h: what a connection asks of what carries its bytes.
 *
 * Filled by plain.c (a socket, its bytes as they are), memory.c (no socket) and
 * tls/transport.c. A connection that begins TLS gets another table and goes on. What may
 * be NULL is then not done.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct conn;

/* What came of writing. */
enum transport_written {
    TRANSPORT_WRITTEN, /* all of it */
    TRANSPORT_FULL,    /* the kernel takes no more now */
    TRANSPORT_FLIES,   /* it's sent together with others': conn_sent goes on */
    TRANSPORT_WAITS,   /* until the other side has done something */
    TRANSPORT_BROKEN   /* the connection was told so */
};

struct transport {
    bool has_socket;
    bool secure;

    /* Takes bytes that the socket has brought: they lie where the batch's arena is free,
     * and are no more than work_room. */
    void (*receive)(struct conn *conn, char *bytes, size_t length);

    /* Goes on with what was received and had to wait. NULL: nothing does. */
    void (*resume)(struct conn *conn);

    /* Writes what is queued. */
    enum transport_written (*write)(struct conn *conn);

    /* Says, once, that nothing more comes. Returns whether bytes were queued for that.
     * NULL: the socket's end says so. */
    bool (*end)(struct conn *conn);

    /* The connection is freed. */
    void (*free)(struct conn *conn);
};
