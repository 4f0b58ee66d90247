#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
struct deflater;
struct inflater;
enum inflated { INFLATE_DONE, INFLATE_MORE, INFLATE_CORRUPT, INFLATE_NO_MEMORY };
struct deflater *deflater_new(int window_bits, int level);
void deflater_free(struct deflater *deflater);
size_t deflater_bound(const struct deflater *deflater, size_t length);
ssize_t deflater_message(struct deflater *deflater, bool keep_context, const char *bytes,
                         size_t length, char *out, size_t capacity);
void deflater_reset(struct deflater *deflater);
struct inflater *inflater_new(int window_bits);
void inflater_free(struct inflater *inflater);
enum inflated inflater_run(struct inflater *inflater, const char **bytes, size_t *length,
                           char *out, size_t *out_length);
enum inflated inflater_finish(struct inflater *inflater, bool keep_context, char *out,
                              size_t *out_length);
