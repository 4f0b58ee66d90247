/* grid.h: which entities of a table are near a place.
 *
 * Built once a patch. The plane is cut into cells, of which those beside each other in a
 * row have places beside each other in one array, by a hash: so there is no edge, and
 * somebody who is far out costs nothing.
 */
#pragma once

#include "state/entities.h"

struct grid {
    double cell;
    uint32_t mask; /* cells' places, less 1 */
    uint32_t places;
    uint32_t capacity;
    uint32_t count;
    uint32_t *starts; /* by place; one more behind the last */
    uint32_t *numbers;
    uint32_t *cells; /* by entity, while it's built */
    double *x;
    double *y;
};

/* Fills the grid with a table's entities, whose coordinates are doubles at these offsets.
 * Returns false when memory ran out. */
bool grid_build(struct grid *grid, const struct entities *entities, uint32_t x_offset,
                uint32_t y_offset, double cell);
void grid_free(struct grid *grid);

/* Sets the bits of entities at most `near` from a place, and at most `far` for those that
 * were seen before. */
void grid_see(const struct grid *grid, double x, double y, double near, double far,
              const uint64_t *seen, uint64_t *visible);
