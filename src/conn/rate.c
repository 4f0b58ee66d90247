/* rate.c: how many messages a client may send. */
#include "conn/rate.h"

#include "core/bucket.h"

static uint64_t now_us(const struct conn *conn) {
    return uv_now(&conn->core->loop) * 1000;
}

bool rate_take(struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    return bucket_take(&conn->rate_until, now_us(conn), options->message_interval,
                       options->message_burst);
}

uint32_t rate_due(const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    uint64_t spare = (uint64_t)options->message_interval * (options->message_burst - 1);
    uint64_t now = now_us(conn);
    return conn->rate_until > now + spare
               ? (uint32_t)((conn->rate_until - spare - now) / 1000 + 1)
               : 0;
}
