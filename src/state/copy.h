/* copy.h: what the home of a state and its copies say to each other. Both sides are of
 * one version: this is no wire of docs/state.md.
 *
 *     COPY_MARK  kind  epoch  number  tick
 *     fingerprint                          4 bytes, in a snapshot alone
 *     members that have left               how many; each: number
 *     members that have joined             how many; each: number, id
 *     inputs                               how many; each: number, input
 *     sections, until the end, ascending   COPY_KINDS * table + kind, how many, entries
 *
 * All numbers but the fingerprint are varints. An entry of a section begins with a
 * number, less that of the entry before, less 1, as in patches: an entity's, but in
 * COPY_SIGHTS a member's.
 *
 *     COPY_GONE    nothing
 *     COPY_ADD     in a snapshot, how many patches ago it was created; key; fields
 *     COPY_CHANGE  fields: public ones, and private ones, each a mask and values
 *     COPY_OWNED   the number of its owner, if that one is elsewhere, or 0
 *     COPY_SIGHTS  how many entities; each, as an entry: in or out of what the member
 * sees (of a table that all see: of what is hidden from it)
 *
 * A snapshot is all that against a state that has nothing.
 */
#pragma once

#include "state/state.h"

enum { COPY_MARK = 0xC2, COPY_DELTA = 0, COPY_SNAPSHOT = 1 };
enum copy_kind { COPY_GONE, COPY_ADD, COPY_CHANGE, COPY_OWNED, COPY_SIGHTS };
enum { COPY_KINDS = 8 };

/* What two states have in common when they are declared alike. */
uint32_t copy_fingerprint(const struct sync_state *state);
