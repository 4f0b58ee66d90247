/* texts.h: what the modes share that send texts of their own, and get a text for each. */
#pragma once

#include "../load.h"

enum { TEXT_MOST = 512 /* bytes of a text, either way */ };

/* Puts a text into what texts_flush sends in one write. */
void texts_queue(const char *text, size_t length);
void texts_flush(struct link *link);
/* Cuts what came into texts. */
void texts_received(struct link *link, char *bytes, size_t count,
                    void (*came)(struct link *link, const char *text, size_t length));
/* Nothing came for long. */
void texts_stalled(void);

/* A closed loop whose answers come in the order of the requests: so the answer to each is
 * known by its number on its connection. */
struct loop_of_texts {
    /* Writes a request, and returns its length. */
    size_t (*request)(char *text, int index, unsigned number);
    /* Whether this is the answer to it. */
    bool (*check)(const char *text, size_t length, int index, unsigned number);
};

/* The next requests of a connection, in one write. */
void texts_send(struct link *link, unsigned count, const struct loop_of_texts *texts);
void texts_begin(const struct loop_of_texts *texts);
/* Ends the run when the answer isn't right. */
void texts_check(struct link *link, const char *text, size_t length,
                 const struct loop_of_texts *texts);
/* As a mode's function, of the texts that texts_begin was given. */
void texts_loop(struct link *link, char *bytes, size_t count, int64_t now);
