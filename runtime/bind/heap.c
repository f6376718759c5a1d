/* SPDX-License-Identifier: MIT */
/* How often the garbage of small heaps is collected. LuaJIT begins a cycle when the heap has doubled, so that a small server
 * goes through all that it has every few hundred requests. Waiting until there are 2 MiB takes a tenth of the instructions
 * and 5 % of the processor time off a request that makes 3 KiB of garbage; more gives nothing, since the garbage leaves the
 * caches. */
#include "bind/heap.h"

#include <stdbool.h>

#include <lauxlib.h>

#include "bind/state.h"

enum {
	FLOOR = 2 << 10, /* KiB */
	PAUSE = 200,     /* LuaJIT's own, percent */
};

static bool chosen; /* by the script */

static int fitting_pause(lua_State *L)
{
	int live = gr_lua.gc(L, LUA_GCCOUNT, 0), percent = FLOOR * 100 / (live > 0 ? live : 1);

	return percent < PAUSE ? PAUSE : percent;
}

/* Of an object that nothing refers to: runs at the end of each cycle, before LuaJIT decides when the next one begins. What
 * is finalized once needs a successor. */
static int l_end_of_cycle(lua_State *L)
{
	if (chosen || gr_lua.closing)
		return 0;
	gr_lua.gc(L, LUA_GCSETPAUSE, fitting_pause(L));
	lua_getmetatable(L, 1);
	lua_newuserdata(L, 0);
	lua_insert(L, -2);
	lua_setmetatable(L, -2);
	return 0;
}

void gr_heap_init(lua_State *L)
{
	chosen = false;
	lua_newuserdata(L, 0);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, l_end_of_cycle);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

int gr_heap_set_pause(lua_State *L, int percent)
{
	int before = gr_lua.gc(L, LUA_GCSETPAUSE, percent);

	if (chosen)
		return before;
	chosen = true;
	return PAUSE;
}
