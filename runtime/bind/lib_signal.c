/* SPDX-License-Identifier: MIT */
/* Signals for Lua: grun.core.signal, on which lualib/grun/signal.lua stands. */
#include "bind/lib_signal.h"

#include <lauxlib.h>
#include <stdio.h>

#include "bind/lib_thread.h"
#include "core/async.h"
#include "core/signal.h"

/* In the hub. */
static void on_arrival(int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	gr_thread_call_hook("arrived", text);
}

/* number(name) -> number, or nothing */
static int l_signal_number(lua_State *L)
{
	int number = gr_signal_number(luaL_checkstring(L, 1));

	if (number < 0)
		return 0;
	lua_pushinteger(L, number);
	return 1;
}

/* take(number) -> whether it can be caught: grun.core's hook "arrived" is called for it from now on, in front of grun's
 * own use of it. */
static int l_signal_take(lua_State *L)
{
	lua_pushboolean(L, gr_signal_override((int)luaL_checkinteger(L, 1), on_arrival) == 0);
	return 1;
}

/* give(number): undoes take. */
static int l_signal_give(lua_State *L)
{
	gr_signal_override((int)luaL_checkinteger(L, 1), NULL);
	return 0;
}

/* hold(on): while on, a signal is something that threads wait for. In pairs. */
static int l_signal_hold(lua_State *L)
{
	if (lua_toboolean(L, 1))
		gr_async_hold();
	else
		gr_async_release();
	return 0;
}

static const luaL_Reg functions[] = {
	{"number", l_signal_number},
	{"take", l_signal_take},
	{"give", l_signal_give},
	{"hold", l_signal_hold},
	{NULL, NULL},
};

int luaopen_grun_core_signal(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
