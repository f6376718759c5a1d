/* SPDX-License-Identifier: MIT */
/* Plain data as bytes, to bring it from one Lua state to another: nil, booleans, numbers, strings, and tables of them. */
#ifndef GR_BIND_PLAIN_H
#define GR_BIND_PLAIN_H

#include <stddef.h>

#include <lua.h>

struct gr_plain {
	char *data; /* heap; NULL: nothing yet */
	size_t len, cap;
};

enum { GR_PLAIN_WHY = 128 };

/* Appends the n values from index `first` up. Tables that occur several times, also inside themselves, do so in the copy.
 * Returns 0, or -1 with the reason in `why` and the number of the value in *which: another type, a metatable, too deep.
 * Raises only when out of memory; the data then is still the caller's. */
int gr_plain_put(lua_State *L, struct gr_plain *p, int first, int n, char why[GR_PLAIN_WHY], int *which);

/* Pushes all values and returns how many. Raises when out of memory. */
int gr_plain_push(lua_State *L, const struct gr_plain *p);

void gr_plain_free(struct gr_plain *p);

#endif
