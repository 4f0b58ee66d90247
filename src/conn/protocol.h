/* protocol.h: what a connection asks of what it speaks.
 *
 * Filled by conn/bytestream.c, http/request.c, websocket/websocket.c, listen/detection.c
 * (as long as it isn't known) and listen/connect.c. An upgrade swaps the table and the
 * state behind it: see conn_speak. What may be NULL is then not done.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct conn;
struct record;

/* What the next process calls a protocol: see upgrade/carry.h. */
enum carried {
    CARRIED_NOT,
    CARRIED_UNKNOWN,
    CARRIED_GUESS,
    CARRIED_FIRST_LINE,
    CARRIED_BEHIND_PROXY,
    CARRIED_STREAM,
    CARRIED_HTTP,
    CARRIED_WEBSOCKET
};

struct protocol {
    bool is_client; /* the program knows it as one, and may send it messages */
    bool is_http;
    bool is_relay;   /* it ends when its other side does: see upgrade/relay.h */
    uint8_t carried; /* enum carried */

    /* Takes received bytes, which it may change. Returns how many; the rest is given
     * again when there is more, or when turn_wait has asked for that. */
    size_t (*take)(struct conn *conn, char *bytes, size_t length);

    /* Goes on with what it keeps, in a later tick. NULL: it keeps nothing. */
    void (*resume)(struct conn *conn);

    /* The other side says nothing more that would tell what it speaks. Returns whether
     * that was an open question. NULL: it never is. */
    bool (*settle)(struct conn *conn);

    /* All that was queued is written. */
    void (*emptied)(struct conn *conn);

    /* Considers its deadlines while the connection is open. One that ran out comes back:
     * returns whether it has seen to it; else the connection ends for that reason. */
    void (*clock)(const struct conn *conn, struct clock *clock);
    bool (*ran_out)(struct conn *conn, int reason);

    /* Queues its own word for the end, once; code 0 stands for the one that fits. */
    void (*say_close)(struct conn *conn, uint32_t code, const char *why, size_t length);

    /* Whether that word waits for its answer. */
    bool (*awaits_close)(const struct conn *conn);

    /* TLS's handshake is done; TLS has failed, for this reason. */
    void (*secured)(struct conn *conn);
    void (*insecure)(struct conn *conn, const char *problem);

    /* Writes what the next process needs to go on. Returns false when that can't be said
     * now. NULL: there's nothing. */
    bool (*carry)(const struct conn *conn, struct record *record);

    /* The connection has ended: SYNC_CLOSE comes next. */
    void (*gone)(struct conn *conn);

    /* The connection is freed. */
    void (*free)(struct conn *conn);
};
