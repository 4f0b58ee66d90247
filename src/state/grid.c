/* grid.c: which entities of a table are near a place. */
#include "state/grid.h"

#include <math.h>
#include <stdlib.h>

enum {
    ROW = 0x9E37 /* places from a cell to that of the next row: odd, so that all differ */
};

static const double EDGE = 1 << 30; /* cells from the middle; what is further is there */

void grid_free(struct grid *grid) {
    free(grid->starts);
    free(grid->numbers);
    free(grid->cells);
    free(grid->x);
    free(grid->y);
    *grid = (struct grid){0};
}

static bool reserve(struct grid *grid, uint32_t capacity) {
    if (capacity <= grid->capacity) {
        return true;
    }
    grid_free(grid);
    grid->starts = malloc((2 * (size_t)capacity + 1) * sizeof(*grid->starts));
    grid->numbers = malloc(capacity * sizeof(*grid->numbers));
    grid->cells = malloc(capacity * sizeof(*grid->cells));
    grid->x = malloc(capacity * sizeof(*grid->x));
    grid->y = malloc(capacity * sizeof(*grid->y));
    if (!grid->starts || !grid->numbers || !grid->cells || !grid->x || !grid->y) {
        grid_free(grid);
        return false;
    }
    grid->capacity = capacity;
    grid->places = 64;
    while (grid->places * 2 <= 2 * capacity) {
        grid->places *= 2;
    }
    grid->mask = grid->places - 1;
    return true;
}

static int64_t cell_of(const struct grid *grid, double value) {
    double cell = floor(value / grid->cell);
    return (int64_t)(cell > EDGE ? EDGE : cell < -EDGE ? -EDGE : cell);
}

static uint32_t place_of(const struct grid *grid, int64_t column, int64_t row) {
    return (uint32_t)((uint64_t)column + (uint64_t)row * ROW) & grid->mask;
}

static double read_double(const char *at, uint32_t offset) {
    double value;
    memcpy(&value, at + offset, sizeof(value));
    return value;
}

/* Cells' counts become where each begins. */
static void add_up(struct grid *grid) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i <= grid->places; i++) {
        uint32_t count = i < grid->places ? grid->starts[i] : 0;
        grid->starts[i] = sum;
        sum += count;
    }
    grid->count = sum;
}

bool grid_build(struct grid *grid, const struct entities *entities, uint32_t x_offset,
                uint32_t y_offset, double cell) {
    if (!reserve(grid, entities->capacity)) {
        return false;
    }
    if (grid->capacity == 0) {
        return true;
    }
    grid->cell = cell;
    memset(grid->starts, 0, (grid->places + 1) * sizeof(*grid->starts));
    for (uint32_t number = bits_next(entities->live, entities->words, 0);
         number != BITS_END;
         number = bits_next(entities->live, entities->words, number + 1)) {
        double x = read_double(entities->at[number], x_offset);
        double y = read_double(entities->at[number], y_offset);
        bool nowhere = isnan(x) || isnan(y);
        uint32_t place =
            nowhere ? UINT32_MAX : place_of(grid, cell_of(grid, x), cell_of(grid, y));
        grid->cells[number] = place;
        if (!nowhere) {
            grid->starts[place]++;
        }
    }
    add_up(grid);
    for (uint32_t number = bits_next(entities->live, entities->words, 0);
         number != BITS_END;
         number = bits_next(entities->live, entities->words, number + 1)) {
        uint32_t place = grid->cells[number];
        if (place != UINT32_MAX) {
            uint32_t at = grid->starts[place]++;
            grid->numbers[at] = (uint32_t)number;
            grid->x[at] = read_double(entities->at[number], x_offset);
            grid->y[at] = read_double(entities->at[number], y_offset);
        }
    }
    /* Each start has become its cell's end. */
    memmove(grid->starts + 1, grid->starts, grid->places * sizeof(*grid->starts));
    grid->starts[0] = 0;
    return true;
}

/* What a look around asks for. */
struct look {
    const struct grid *grid;
    double x;
    double y;
    double near;
    double far;
    const uint64_t *seen;
    uint64_t *visible;
};

static void see_cells(const struct look *look, uint32_t first, uint32_t count) {
    const struct grid *grid = look->grid;
    uint32_t end = grid->starts[first + count];
    for (uint32_t i = grid->starts[first]; i < end; i++) {
        double dx = grid->x[i] - look->x;
        double dy = grid->y[i] - look->y;
        double distance = dx * dx + dy * dy;
        uint32_t number = grid->numbers[i];
        bool near = distance <= look->near; /* no branch: it would be guessed in vain */
        look->visible[number / 64] |= (uint64_t)near << (number % 64);
        if (!near && distance <= look->far && bit_is(look->seen, number)) {
            bit_set(look->visible, number);
        }
    }
}

/* A row's cells, which may go on at the array's beginning. */
static void see_row(const struct look *look, int64_t left, int64_t right, int64_t row) {
    const struct grid *grid = look->grid;
    uint32_t first = place_of(grid, left, row);
    uint32_t count = (uint32_t)(right - left + 1);
    if (count > grid->places) {
        count = grid->places;
    }
    uint32_t here = count < grid->places - first ? count : grid->places - first;
    see_cells(look, first, here);
    if (count > here) {
        see_cells(look, 0, count - here);
    }
}

void grid_see(const struct grid *grid, double x, double y, double near, double far,
              const uint64_t *seen, uint64_t *visible) {
    struct look look = {grid, x, y, near * near, far * far, seen, visible};
    if (grid->count == 0 || isnan(x) || isnan(y)) {
        return;
    }
    int64_t left = cell_of(grid, x - far);
    int64_t right = cell_of(grid, x + far);
    int64_t bottom = cell_of(grid, y + far);
    for (int64_t row = cell_of(grid, y - far); row <= bottom; row++) {
        see_row(&look, left, right, row);
    }
}
