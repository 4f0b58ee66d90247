/* uv.c: what plain C on libuv can do. It is the limit that the others are measured by.
 *
 *     uv raw|echo|broadcast PORT
 *
 * raw writes back what it read. echo answers each message, which ends with NUL, with the
 * same; broadcast sends it to all clients. The answers to what one read brought go out in
 * one write: first by uv_try_write, and what the kernel has no room for by uv_write. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { READ_SIZE = 64 * 1024, BACKLOG = 4096 };

struct bytes {
    char *data;
    size_t length, capacity;
};

struct client {
    uv_tcp_t tcp;
    size_t place;         /* in `clients` */
    struct bytes partial; /* a message that isn't whole yet */
};

/* Bytes that wait for the kernel; all clients of a broadcast share them. */
struct block {
    unsigned references;
    size_t length;
    char data[];
};

struct pending {
    uv_write_t request;
    struct block *block;
};

static struct client **clients;
static size_t client_count, client_capacity;
static struct bytes output; /* the answers to one read */
static enum { MODE_RAW, MODE_ECHO, MODE_BROADCAST } mode;

static void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) {
        fputs("uv: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void append(struct bytes *bytes, const char *data, size_t length) {
    if (bytes->length + length > bytes->capacity) {
        bytes->capacity = 2 * (bytes->length + length);
        bytes->data = grown(bytes->data, bytes->capacity);
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void on_close(uv_handle_t *handle) {
    struct client *client = (struct client *)handle;
    free(client->partial.data);
    free(client);
}

static void leave(struct client *client) {
    if (uv_is_closing((uv_handle_t *)client)) {
        return;
    }
    clients[client->place] = clients[--client_count];
    clients[client->place]->place = client->place;
    uv_close((uv_handle_t *)client, on_close);
}

static void block_release(struct block *block) {
    if (block && --block->references == 0) {
        free(block);
    }
}

static void on_written(uv_write_t *request, int status) {
    struct pending *pending = (struct pending *)request;
    if (status < 0) {
        leave((struct client *)request->handle);
    }
    block_release(pending->block);
    free(pending);
}

/* Sends the bytes. What the kernel doesn't take is kept in *block, made at the first
 * client that needs it; the caller releases its reference. */
static void client_send(struct client *client, char *data, size_t length,
                        struct block **block) {
    uv_buf_t buffer = uv_buf_init(data, (unsigned)length);
    int written = uv_try_write((uv_stream_t *)client, &buffer, 1);
    if (written == (int)length) {
        return;
    }
    if (written < 0 && written != UV_EAGAIN) {
        leave(client);
        return;
    }
    size_t start = written < 0 ? 0 : (size_t)written;
    if (!*block) {
        *block = grown(NULL, sizeof **block + length);
        (*block)->references = 1;
        (*block)->length = length;
        memcpy((*block)->data, data, length);
    }
    struct pending *pending = grown(NULL, sizeof *pending);
    pending->block = *block;
    pending->block->references++;
    buffer = uv_buf_init((*block)->data + start, (unsigned)(length - start));
    if (uv_write(&pending->request, (uv_stream_t *)client, &buffer, 1, on_written) < 0) {
        block_release(pending->block);
        free(pending);
        leave(client);
    }
}

static void on_message(const char *message, size_t length) {
    append(&output, message, length);
    append(&output, "", 1);
}

/* Cuts what came in into messages. */
static void split(struct client *client, const char *data, size_t length) {
    const char *end = data + length, *nul;
    while ((nul = memchr(data, 0, (size_t)(end - data)))) {
        if (client->partial.length > 0) {
            append(&client->partial, data, (size_t)(nul - data));
            on_message(client->partial.data, client->partial.length);
            client->partial.length = 0;
        } else {
            on_message(data, (size_t)(nul - data));
        }
        data = nul + 1;
    }
    if (data < end) {
        append(&client->partial, data, (size_t)(end - data));
    }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct client *client = (struct client *)stream;
    struct block *block = NULL;
    if (length <= 0) {
        if (length < 0) {
            leave(client);
        }
        return;
    }
    if (mode == MODE_RAW) {
        client_send(client, buffer->base, (size_t)length, &block);
        block_release(block);
        return;
    }
    output.length = 0;
    split(client, buffer->base, (size_t)length);
    if (output.length == 0) {
        return;
    }
    if (mode == MODE_ECHO) {
        client_send(client, output.data, output.length, &block);
    } else {
        for (size_t i = client_count; i-- > 0;) {
            client_send(clients[i], output.data, output.length, &block);
        }
    }
    block_release(block);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer) {
    static char memory[READ_SIZE];
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(memory, sizeof memory);
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) {
        return;
    }
    struct client *client = grown(NULL, sizeof *client);
    memset(client, 0, sizeof *client);
    uv_tcp_init(listener->loop, &client->tcp);
    if (client_count == client_capacity) {
        client_capacity = client_capacity ? 2 * client_capacity : 64;
        clients = grown(clients, client_capacity * sizeof *clients);
    }
    client->place = client_count;
    clients[client_count++] = client;
    if (uv_accept(listener, (uv_stream_t *)client) < 0 ||
        uv_tcp_nodelay(&client->tcp, 1) < 0 ||
        uv_read_start((uv_stream_t *)client, on_alloc, on_read) < 0) {
        leave(client);
    }
}

int main(int argc, char **argv) {
    static const char *const modes[] = {"raw", "echo", "broadcast"};
    int chosen = 0;
    while (argc == 3 && chosen < 3 && strcmp(argv[1], modes[chosen]) != 0) {
        chosen++;
    }
    if (argc != 3 || chosen == 3) {
        fputs("usage: uv raw|echo|broadcast PORT\n", stderr);
        return 2;
    }
    mode = chosen;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", atoi(argv[2]), &address);
    uv_tcp_init(loop, &listener);
    int status = uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    if (status == 0) {
        status = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
    }
    if (status < 0) {
        fprintf(stderr, "uv: port %s: %s\n", argv[2], uv_strerror(status));
        return 1;
    }
    printf("ready %s\n", argv[2]);
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
