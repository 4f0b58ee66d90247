/* parcel.h: what the next process is handed: items, each with bytes, and some with
 * descriptors. Knows no connection.
 *
 * All bytes are in one memory file, so that they are written once and copied by nobody;
 * the descriptors follow over the socket that both processes have.
 */
#pragma once

#include "core/record.h"

struct parcel_end {
    uint32_t slot;
    int kept;  /* stays here */
    int given; /* the other end, until the parcel is freed */
};

struct parcel {
    struct record record; /* items, or what was received of them */
    struct reading left;  /* of those that were received */
    int *fds;
    size_t fd_count;
    size_t fd_capacity;
    size_t fds_taken;        /* by whom they were received for */
    uint32_t fds_due;        /* of the last item, and not taken */
    struct parcel_end *ends; /* of sockets that a connection will be passed on by */
    size_t end_count;
    size_t end_capacity;
    void *mapped; /* what was received, or NULL */
    size_t mapped_size;
};

struct sync_parcel;

/* What Lua knows as struct sync_parcel. */
static inline struct parcel *parcel_of(struct sync_parcel *parcel) {
    return (struct parcel *)(void *)parcel;
}

struct parcel *parcel_new(void);

/* Frees it, and closes what was received and wasn't taken. */
void parcel_free(struct parcel *parcel);

/* Begins an item; its bytes are written into the record, and ended. */
size_t parcel_begin(struct parcel *parcel, uint8_t type, uint32_t value);
void parcel_end(struct parcel *parcel, size_t begun);

/* Takes an item back. */
void parcel_undo(struct parcel *parcel, size_t begun, size_t fd_count);

/* The descriptor belongs to the item that was begun last. Stays the caller's. */
void parcel_add_fd(struct parcel *parcel, int fd);

/* A socket for what belongs to a slot: one end belongs to the item that was begun last,
 * the other is kept, until parcel_take_end. Returns 0 or an error code. */
int parcel_add_pair(struct parcel *parcel, uint32_t slot);
int parcel_take_end(struct parcel *parcel, uint32_t slot);

/* Receiving and sending wait for the other side, at most so many ms. Returns 0 or an
 * error code. */
int parcel_set_patience(int socket, uint32_t ms);

/* Sends all of it by a socket (SOCK_SEQPACKET): it's empty then, and may be filled anew;
 * the sockets that are passed on by stay its own. Waits at most so many ms for the other
 * side; with 0 ms not at all, and returns -EAGAIN when that has too much to take: all is
 * to be sent again. Returns 0 or an error code. */
int parcel_send(struct parcel *parcel, int socket, uint32_t ms);

/* Receives one. Returns NULL, and sets *error. */
struct parcel *parcel_receive(int socket, uint32_t ms, int *error);

/* The next item. Descriptors of the one before that weren't taken are closed. Returns
 * false behind the last, or where there's none: then left.failed. */
struct parcel_item {
    uint8_t type;
    uint32_t value;
    uint32_t fd_count;
    const char *bytes;
    size_t length;
};
bool parcel_next(struct parcel *parcel, struct parcel_item *item);

/* Returns a descriptor that is the caller's, or -1. */
int parcel_take_fd(struct parcel *parcel);
