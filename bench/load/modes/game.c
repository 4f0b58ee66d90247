/* game.c: steps of a game's world, which the server computes for each connection. Every
 * world is the same, so the answer to a step is computed once here, bit for bit as the
 * servers do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "texts.h"

enum { BODIES = 64, SIZE = 400, ANSWER = 48 };

struct body {
    double x, y, vx, vy;
    double near; /* sum of the numbers of those in its area of interest */
};

static struct body bodies[BODIES];
static char (*answers)[ANSWER];
static unsigned answer_count, answer_capacity;

static double random_below(double range) {
    static int64_t seed = 42;
    seed = seed * 16807 % 2147483647;
    return (double)seed / 2147483647 * range;
}

static void place_bodies(void) {
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x = random_below(SIZE);
        bodies[i].y = random_below(SIZE);
        bodies[i].vx = random_below(120) - 60;
        bodies[i].vy = random_below(120) - 60;
    }
}

static void bounce(double *x, double *v) {
    *x += *v * (1.0 / 60);
    if (*x < 0) {
        *x = -*x;
        *v = -*v;
    } else if (*x > SIZE) {
        *x = 2 * SIZE - *x;
        *v = -*v;
    }
}

static int collide(struct body *a, struct body *b, double dx, double dy, double square) {
    double approach = (b->vx - a->vx) * dx + (b->vy - a->vy) * dy;
    if (approach >= 0 || square == 0) {
        return 0;
    }
    double push = approach / square;
    a->vx = a->vx + push * dx;
    a->vy = a->vy + push * dy;
    b->vx = b->vx - push * dx;
    b->vy = b->vy - push * dy;
    return 1;
}

static void game_step(char *answer) {
    int hits = 0;
    double seen = 0, sum = 0;
    for (int i = 0; i < BODIES; i++) {
        bounce(&bodies[i].x, &bodies[i].vx);
        bounce(&bodies[i].y, &bodies[i].vy);
        bodies[i].near = 0;
    }
    for (int i = 0; i < BODIES - 1; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double dx = b->x - a->x, dy = b->y - a->y, square = dx * dx + dy * dy;
            if (square < 100 * 100) {
                a->near += j + 1;
                b->near += i + 1;
                hits += square < 16 * 16 ? collide(a, b, dx, dy, square) : 0;
            }
        }
    }
    for (int i = 0; i < BODIES; i++) {
        sum = sum + bodies[i].x * (i + 1) + bodies[i].y;
        seen += bodies[i].near;
    }
    snprintf(answer, ANSWER, "%d %.0f %.9f", hits, seen, sum);
}

static size_t request(char *text, int index, unsigned number) {
    (void)index, (void)number;
    return (size_t)(stpcpy(text, "step") - text);
}

static bool check(const char *text, size_t length, int index, unsigned number) {
    (void)index;
    while (answer_count <= number) {
        if (answer_count == answer_capacity) {
            answer_capacity = answer_capacity ? answer_capacity * 2 : 4096;
            answers = need(realloc(answers, answer_capacity * sizeof(*answers)));
        }
        game_step(answers[answer_count++]);
    }
    return length == strlen(answers[number]) &&
           memcmp(text, answers[number], length) == 0;
}

static void begin(void) {
    static const struct loop_of_texts texts = {request, check};
    place_bodies();
    texts_begin(&texts);
}

const struct mode mode_game = {
    .name = "game",
    .help = "closed loop: a step of 64 bodies, whose checksum comes back",
    .unit = "steps",
    .run = loop_run,
    .begin = begin,
    .received = texts_loop,
    .stalled = texts_stalled,
};
