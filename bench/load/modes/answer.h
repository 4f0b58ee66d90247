/* answer.h: answers of JSON-RPC 2.0 whose result is a number. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads {"jsonrpc":"2.0","id":N,"result":N}, in any order, and nothing else. */
bool answer_read(const char *text, size_t length, int64_t *id, int64_t *result);
