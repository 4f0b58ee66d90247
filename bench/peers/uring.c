/* uring.c: what plain C on io_uring can do: the limit where the kernel has it.
 *
 *     uring raw|echo|broadcast PORT
 *
 * The same as uv.c. One system call a turn hands over all that is to be sent, and fetches
 * what has come: receiving is asked for once, into buffers that all clients share. A
 * client has one send in flight; what is to follow waits. */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES = 4096, BACKLOG = 4096, BUFFERS = 1024, BUFFER_SIZE = 8192, TURN = 1024 };
enum { ACCEPT, RECEIVE, SEND, TAGS = 3 }; /* in the low bits of user_data */

struct bytes {
    char *data;
    size_t length, capacity;
};

/* What all clients of a broadcast are sent. */
struct block {
    unsigned references;
    size_t length;
    char data[];
};

struct client {
    int fd;
    size_t place;          /* in `clients` */
    struct bytes partial;  /* a message that isn't whole yet */
    struct bytes out;      /* answers of this turn */
    struct bytes flight;   /* those that are being sent */
    struct block **blocks; /* of broadcasts, the first one being sent */
    size_t block_count, block_capacity;
    size_t done; /* bytes of what is being sent */
    bool sending, receiving, touched, gone;
    struct client *next_touched;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;
static struct client **clients;
static size_t client_count, client_capacity;
static struct client *touched;
static struct bytes output; /* a broadcast's, of this turn */
static int listener;
static enum { MODE_RAW, MODE_ECHO, MODE_BROADCAST } mode;

static void must(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "uring: %s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static void *grown(void *old, size_t size) {
    void *larger = realloc(old, size);
    must(larger ? 0 : -ENOMEM, "memory");
    return larger;
}

static void append(struct bytes *bytes, const char *data, size_t length) {
    if (length == 0) {
        return;
    }
    if (bytes->length + length > bytes->capacity) {
        bytes->capacity = 2 * (bytes->length + length);
        bytes->data = grown(bytes->data, bytes->capacity);
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static struct io_uring_sqe *entry(void) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (!sqe) {
        must(io_uring_submit(&ring), "submit");
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void accept_on(void) {
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, ACCEPT);
}

static void receive_on(struct client *client) {
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_recv_multishot(sqe, client->fd, NULL, 0, 0);
    io_uring_sqe_set_data64(sqe, (uintptr_t)client | RECEIVE);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    client->receiving = true;
}

static void block_release(struct block *block) {
    if (--block->references == 0) {
        free(block);
    }
}

/* Sends on, if there is something and nothing is being sent. */
static void send_on(struct client *client) {
    if (client->sending || client->gone) {
        return;
    }
    if (client->flight.length == 0) {
        struct bytes empty = client->flight;
        client->flight = client->out;
        client->out = empty;
    }
    const struct block *block = client->block_count > 0 ? client->blocks[0] : NULL;
    const char *data = block ? block->data : client->flight.data;
    size_t length = block ? block->length : client->flight.length;
    if (length > 0) {
        struct io_uring_sqe *sqe = entry();
        io_uring_prep_send(sqe, client->fd, data + client->done, length - client->done,
                           MSG_NOSIGNAL | MSG_WAITALL);
        io_uring_sqe_set_data64(sqe, (uintptr_t)client | SEND);
        client->sending = true;
    }
}

static void client_free(struct client *client) {
    for (size_t i = 0; i < client->block_count; i++) {
        block_release(client->blocks[i]);
    }
    close(client->fd);
    free(client->blocks);
    free(client->partial.data);
    free(client->out.data);
    free(client->flight.data);
    free(client);
}

static void leave(struct client *client) {
    if (!client->gone) {
        client->gone = true;
        clients[client->place] = clients[--client_count];
        clients[client->place]->place = client->place;
        shutdown(client->fd, SHUT_RDWR);
    }
    if (!client->sending && !client->receiving && !client->touched) {
        client_free(client);
    }
}

static void touch(struct client *client) {
    if (!client->touched) {
        client->touched = true;
        client->next_touched = touched;
        touched = client;
    }
}

static void on_sent(struct client *client, int result) {
    client->sending = false;
    if (result <= 0 || client->gone) {
        leave(client);
        return;
    }
    client->done += (size_t)result;
    if (client->block_count > 0 && client->done == client->blocks[0]->length) {
        block_release(client->blocks[0]);
        client->block_count--;
        memmove(client->blocks, client->blocks + 1,
                client->block_count * sizeof(*client->blocks));
        client->done = 0;
    } else if (client->block_count == 0 && client->done == client->flight.length) {
        client->flight.length = 0;
        client->done = 0;
    }
    touch(client);
}

/* Takes the messages that are whole, each with its NUL. */
static void on_bytes(struct client *client, const char *data, size_t length) {
    struct bytes *to = mode == MODE_BROADCAST ? &output : &client->out;
    const char *last = mode == MODE_RAW ? data + length - 1 : memrchr(data, 0, length);
    size_t whole = last ? (size_t)(last - data) + 1 : 0;
    if (whole > 0) {
        append(to, client->partial.data ? client->partial.data : "",
               client->partial.length);
        append(to, data, whole);
        client->partial.length = 0;
    }
    append(&client->partial, data + whole, length - whole);
    touch(client);
}

static void on_received(struct client *client, const struct io_uring_cqe *cqe) {
    client->receiving = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res > 0) {
        unsigned short number = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        char *data = memory + (size_t)number * BUFFER_SIZE;
        if (!client->gone) {
            on_bytes(client, data, (size_t)cqe->res);
        }
        io_uring_buf_ring_add(buffers, data, BUFFER_SIZE, number,
                              io_uring_buf_ring_mask(BUFFERS), 0);
        io_uring_buf_ring_advance(buffers, 1);
    }
    if (!client->receiving && !client->gone && (cqe->res > 0 || cqe->res == -ENOBUFS)) {
        receive_on(client);
    } else if (!client->receiving) {
        leave(client);
    }
}

static void on_accepted(const struct io_uring_cqe *cqe) {
    int on = 1;
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        accept_on();
    }
    if (cqe->res < 0) {
        return;
    }
    struct client *client = grown(NULL, sizeof(*client));
    *client = (struct client){.fd = cqe->res, .place = client_count};
    if (client_count == client_capacity) {
        client_capacity = client_capacity ? 2 * client_capacity : 64;
        clients = grown(clients, client_capacity * sizeof(*clients));
    }
    clients[client_count++] = client;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    receive_on(client);
}

static void take(const struct io_uring_cqe *cqe) {
    struct client *client =
        (struct client *)(uintptr_t)(cqe->user_data & ~(uint64_t)TAGS);
    switch (cqe->user_data & TAGS) {
    case ACCEPT: on_accepted(cqe); break;
    case RECEIVE: on_received(client, cqe); break;
    default: on_sent(client, cqe->res);
    }
}

/* Gives this turn's messages to all. */
static void spread(void) {
    struct block *block = grown(NULL, sizeof(*block) + output.length);
    block->references = 1;
    block->length = output.length;
    memcpy(block->data, output.data, output.length);
    output.length = 0;
    for (size_t i = 0; i < client_count; i++) {
        struct client *client = clients[i];
        if (client->block_count == client->block_capacity) {
            client->block_capacity =
                client->block_capacity ? 2 * client->block_capacity : 4;
            client->blocks =
                grown(client->blocks, client->block_capacity * sizeof(*client->blocks));
        }
        client->blocks[client->block_count++] = block;
        block->references++;
        send_on(client);
    }
    block_release(block);
}

static void end_turn(void) {
    if (output.length > 0) {
        spread();
    }
    while (touched) {
        struct client *client = touched;
        touched = client->next_touched;
        client->touched = false;
        if (client->gone) {
            leave(client);
        } else {
            send_on(client);
        }
    }
}

static void open_ring(void) {
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN |
                                              IORING_SETUP_CQSIZE,
                                     .cq_entries = 8 * ENTRIES};
    must(io_uring_queue_init_params(ENTRIES, &ring, &params), "io_uring");
    must(posix_memalign((void **)&buffers, 4096, BUFFERS * sizeof(struct io_uring_buf))
             ? -ENOMEM
             : 0,
         "memory");
    memory = grown(NULL, (size_t)BUFFERS * BUFFER_SIZE);
    struct io_uring_buf_reg group = {.ring_addr = (uintptr_t)buffers,
                                     .ring_entries = BUFFERS};
    must(io_uring_register_buf_ring(&ring, &group, 0), "buffers");
    io_uring_buf_ring_init(buffers);
    for (int i = 0; i < BUFFERS; i++) {
        io_uring_buf_ring_add(buffers, memory + (size_t)i * BUFFER_SIZE, BUFFER_SIZE,
                              (unsigned short)i, io_uring_buf_ring_mask(BUFFERS), i);
    }
    io_uring_buf_ring_advance(buffers, BUFFERS);
}

static void open_listener(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    must(bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                 listen(listener, BACKLOG) < 0
             ? -errno
             : 0,
         "the port");
}

int main(int argc, char **argv) {
    static const char *const modes[] = {"raw", "echo", "broadcast"};
    int chosen = 0;
    while (argc == 3 && chosen < 3 && strcmp(argv[1], modes[chosen]) != 0) {
        chosen++;
    }
    if (argc != 3 || chosen == 3) {
        fputs("usage: uring raw|echo|broadcast PORT\n", stderr);
        return 2;
    }
    mode = chosen;
    signal(SIGPIPE, SIG_IGN);
    open_ring();
    open_listener(atoi(argv[2]));
    accept_on();
    printf("ready %s\n", argv[2]);
    fflush(stdout);
    for (;;) {
        struct io_uring_cqe *turn[TURN];
        int waited = io_uring_submit_and_wait(&ring, 1);
        must(waited == -EINTR ? 0 : waited, "wait");
        unsigned count = io_uring_peek_batch_cqe(&ring, turn, TURN);
        for (unsigned i = 0; i < count; i++) {
            take(turn[i]);
        }
        io_uring_cq_advance(&ring, count);
        end_turn();
    }
}
