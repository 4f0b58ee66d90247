#include "deflate.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
struct deflater {
    z_stream z;
};
struct inflater {
    z_stream z;
    bool tail;
};
struct deflater *deflater_new(int window_bits, int level) {
    struct deflater *d = calloc(1, sizeof(*d));
    if (d && deflateInit2(&d->z, level, Z_DEFLATED, -window_bits, 8,
                          Z_DEFAULT_STRATEGY) != Z_OK) {
        free(d);
        d = NULL;
    }
    return d;
}
void deflater_free(struct deflater *d) {
    if (d) {
        deflateEnd(&d->z);
        free(d);
    }
}
size_t deflater_bound(const struct deflater *d, size_t length) {
    (void)d;
    return length + length / 100 + 64 + (length >> 10);
}
ssize_t deflater_message(struct deflater *d, bool keep, const char *bytes, size_t length,
                         char *out, size_t capacity) {
    if (length == 0) {
        out[0] = 0;
        return 1;
    }
    d->z.next_in = (Bytef *)bytes;
    d->z.avail_in = (uInt)length;
    d->z.next_out = (Bytef *)out;
    d->z.avail_out = (uInt)capacity;
    int r = deflate(&d->z, Z_SYNC_FLUSH);
    size_t n = capacity - d->z.avail_out;
    bool ok = r == Z_OK && d->z.avail_in == 0 && d->z.avail_out > 0 && n >= 4;
    if (!keep)
        deflateReset(&d->z);
    return ok ? (ssize_t)n - 4 : -1;
}
void deflater_reset(struct deflater *d) {
    deflateReset(&d->z);
}
struct inflater *inflater_new(int window_bits) {
    struct inflater *i = calloc(1, sizeof(*i));
    if (i && inflateInit2(&i->z, -window_bits) != Z_OK) {
        free(i);
        i = NULL;
    }
    return i;
}
void inflater_free(struct inflater *i) {
    if (i) {
        inflateEnd(&i->z);
        free(i);
    }
}
static enum inflated run(struct inflater *i, const char **bytes, size_t *length,
                         char *out, size_t *n) {
    i->z.next_in = (Bytef *)*bytes;
    i->z.avail_in = (uInt)*length;
    i->z.next_out = (Bytef *)out;
    i->z.avail_out = (uInt)*n;
    int r = inflate(&i->z, Z_SYNC_FLUSH);
    *bytes = (const char *)i->z.next_in;
    *length = i->z.avail_in;
    *n -= i->z.avail_out;
    if (r == Z_MEM_ERROR)
        return INFLATE_NO_MEMORY;
    if (r != Z_OK && r != Z_BUF_ERROR)
        return INFLATE_CORRUPT;
    return i->z.avail_out == 0 ? INFLATE_MORE : INFLATE_DONE;
}
enum inflated inflater_run(struct inflater *i, const char **bytes, size_t *length,
                           char *out, size_t *n) {
    return run(i, bytes, length, out, n);
}
enum inflated inflater_finish(struct inflater *i, bool keep, char *out, size_t *n) {
    static const char tail[4] = {0, 0, (char)0xff, (char)0xff};
    const char *b = tail;
    size_t l = i->tail ? 0 : 4;
    i->tail = true;
    enum inflated s = run(i, &b, &l, out, n);
    if (s == INFLATE_DONE) {
        i->tail = false;
        if (!keep)
            inflateReset(&i->z);
    }
    return s;
}
