/* SPDX-License-Identifier: MIT */
/* The loop for Lua: grun.core.loop. And what the watchdog asks of LuaJIT. */
#include "bind/lib_loop.h"

#include <lauxlib.h>

#include "bind/luaframes.h"
#include "bind/state.h"
#include "core/hub.h"
#include "core/watchdog.h"

enum { LEVELS = 12, LINES = 2000 };

/* ---- For the watchdog ---- */

static void tell_place(lua_State *L)
{
	char lines[LINES];

	gr_lua_unpeek();
	gr_watchdog_at(lines, gr_lua_frames(L, LEVELS, lines, sizeof(lines)));
}

static void arm(void)
{
	if (gr_lua.main)
		gr_lua_peek(tell_place);
}

static size_t lines(char *text, size_t size)
{
	return gr_lua_frames(gr_current->wait_user, LEVELS, text, size);
}

void gr_loop_watch(uint32_t ms)
{
	gr_watchdog_asks =
		(struct gr_watchdog_asks){arm, lines, (const void *)lua_newthread, (const void *)gr_lua_wrap};
	gr_watchdog_set(ms);
}

/* ---- Lua ---- */

/* block_warn([ms]) -> the former value */
static int l_loop_block_warn(lua_State *L)
{
	lua_Integer ms = luaL_optinteger(L, 1, (lua_Integer)gr_watchdog_ms());

	luaL_argcheck(L, ms >= 0 && ms <= 1000000, 1, "milliseconds from 0 to 1000000 expected");
	lua_pushinteger(L, lua_isnoneornil(L, 1) ? (lua_Integer)gr_watchdog_ms()
						 : (lua_Integer)gr_watchdog_set((uint32_t)ms));
	return 1;
}

/* stalls() -> number, longest in seconds */
static int l_loop_stalls(lua_State *L)
{
	struct gr_watchdog_stats stats = gr_watchdog_stats();

	lua_pushnumber(L, (lua_Number)stats.stalls);
	lua_pushnumber(L, stats.longest);
	return 2;
}

/* seed(n): 0 is first come, first served again. */
static int l_loop_seed(lua_State *L)
{
	gr_hub_seed((uint64_t)luaL_checknumber(L, 1));
	return 0;
}

static const luaL_Reg functions[] = {
	{"block_warn", l_loop_block_warn},
	{"stalls", l_loop_stalls},
	{"seed", l_loop_seed},
	{NULL, NULL},
};

int luaopen_grun_core_loop(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
