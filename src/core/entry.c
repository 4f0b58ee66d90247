/* entry.c: lines of the log that C makes itself, as lua/sync/log.lua makes them. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "sync.h"

enum { ENTRY = 4096 };

struct entry {
    char bytes[ENTRY];
    size_t length;
    const char *priority; /* of each line, for systemd's journal */
};

__attribute__((format(printf, 2, 3))) static void put(struct entry *entry,
                                                      const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t room = ENTRY - 1 - entry->length;
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is above */
    int length = vsnprintf(entry->bytes + entry->length, room, format, arguments);
    va_end(arguments);
    if (length > 0) {
        entry->length += (size_t)length < room ? (size_t)length : room - 1;
    }
}

static bool is_plain(const char *text) {
    return !strpbrk(text, " \t\"=") && *text;
}

/* Control characters become question marks, ends of lines what stands for them; what may
 * not stand in quotes is escaped. */
static void put_text(struct entry *entry, const char *text, bool quoted) {
    for (; *text; text++) {
        if (*text == '\n') {
            quoted ? put(entry, "\\n") : put(entry, "\n%s    ", entry->priority);
            continue;
        }
        unsigned char byte = (unsigned char)*text;
        bool escaped = quoted && (byte == '"' || byte == '\\');
        if (quoted && byte == '\t') {
            put(entry, "\\t");
            continue;
        }
        put(entry, escaped ? "\\%c" : "%c",
            (byte < 0x20 && byte != '\t') || byte == 0x7f ? '?' : byte);
    }
}

static void put_quoted(struct entry *entry, const char *text) {
    put(entry, "\"");
    put_text(entry, text, true);
    put(entry, "\"");
}

static void make_json(struct entry *entry, const char *message,
                      const struct log_field *fields, size_t count,
                      const char *traceback) {
    put(entry, ",\"level\":\"error\",\"message\":");
    put_quoted(entry, message);
    for (size_t i = 0; i < count; i++) {
        put(entry, ",\"%s\":", fields[i].name);
        fields[i].bare ? put(entry, "%s", fields[i].value)
                       : put_quoted(entry, fields[i].value);
    }
    if (traceback) {
        put(entry, ",\"traceback\":");
        put_quoted(entry, traceback);
    }
    put(entry, "}");
}

static void make_text(struct entry *entry, const char *message,
                      const struct log_field *fields, size_t count,
                      const char *traceback) {
    put(entry, " ERROR ");
    put_text(entry, message, false);
    for (size_t i = 0; i < count; i++) {
        put(entry, " %s=", fields[i].name);
        is_plain(fields[i].value) ? put_text(entry, fields[i].value, false)
                                  : put_quoted(entry, fields[i].value);
    }
    if (traceback) {
        put_text(entry, "\n", false);
        put_text(entry, traceback, false);
    }
}

void log_error(bool json, const char *message, const struct log_field *fields,
               size_t count, const char *traceback) {
    struct entry entry = {.priority = sync_log_is_journal() ? "<3>" : ""};
    char when[LOG_TIME];
    log_time(when, json);
    put(&entry, json ? "%s{\"time\":\"%s\"" : "%s%s", entry.priority, when);
    json ? make_json(&entry, message, fields, count, traceback)
         : make_text(&entry, message, fields, count, traceback);
    entry.bytes[entry.length++] = '\n';
    sync_log_write(entry.bytes, entry.length, json);
}
