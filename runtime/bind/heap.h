/* SPDX-License-Identifier: MIT */
/* How often the garbage of small heaps is collected. */
#ifndef GR_BIND_HEAP_H
#define GR_BIND_HEAP_H

#include <lua.h>

/* From now on the collector begins its next cycle not before the heap has 2 MiB, unless the script has
 * chosen a pause. May raise for want of memory. */
void gr_heap_init(lua_State *L);

/* The script chooses a pause, as collectgarbage("setpause", percent) does. Returns the one before. */
int gr_heap_set_pause(lua_State *L, int percent);

#endif
