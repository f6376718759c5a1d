/* SPDX-License-Identifier: MIT */
/* Hibernation of parked threads, for Lua. */
#define _GNU_SOURCE
#include "bind/lib_hibernate.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_thread.h"
#include "bind/state.h"
#include "core/hibernate.h"
#include "core/hub.h"
#include "core/image.h"
#include "core/log.h"

/* ---- Who looks into a stack ----
 *
 * LuaJIT keeps its C frames in a list that goes through the C stack. Of other lua_States than the running one only the
 * debug functions follow it. They learn of a parked lua_State by core.stack, which wakes it; by coroutine.running, called in the
 * thread; or because the thread waits in a coroutine of the script's. */

static bool exposed(const struct gr_green *g)
{
	return g->wait_user != g->user || (g->user_flags & GR_THREAD_IDENTITY);
}

/* Comes before every look at a frame, in LuaJIT's own debug functions too (see posix/export.list). */
int lua_getstack(lua_State *L, int level, lua_Debug *ar)
{
	static int (*next)(lua_State *, int, lua_Debug *);

	if (next == NULL)
		next = (int (*)(lua_State *, int, lua_Debug *))dlsym(RTLD_NEXT, "lua_getstack");
	if (__builtin_expect(gr_hibernation.exposed > 0, 0) && !gr_lua_elsewhere && L != gr_current->wait_user)
		gr_hibernate_wake_exposed();
	return next(L, level, ar);
}

/* ---- For Lua ---- */

int gr_lua_hibernate_after(lua_State *L)
{
	double before = gr_hibernate_after();

	if (!lua_isnoneornil(L, 1)) {
		double seconds = luaL_checknumber(L, 1);

		luaL_argcheck(L, seconds >= 0, 1, "seconds must be 0 or more");
		gr_hibernate_set_after(seconds < INFINITY ? seconds : 0);
	}
	lua_pushnumber(L, before);
	return 1;
}

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

int gr_lua_hibernated(lua_State *L)
{
	lua_createtable(L, 0, 5);
	set_number(L, "threads", gr_hibernation.asleep);
	set_number(L, "bytes", (double)gr_image_bytes());
	set_number(L, "unfit", gr_hibernation.unfit);
	set_number(L, "put", (double)gr_hibernation.put);
	set_number(L, "woken", (double)gr_hibernation.woken);
	return 1;
}

static void read_environment(void)
{
	const char *text = getenv("GRUN_HIBERNATE_AFTER");
	char *end;
	double seconds;

	if (text == NULL || *text == '\0')
		return;
	if (strcmp(text, "off") == 0) {
		gr_hibernate_set_after(0);
		return;
	}
	seconds = strtod(text, &end);
	if (*end || !(seconds >= 0 && seconds < INFINITY))
		gr_log(GR_LOG_WARN, "GRUN_HIBERNATE_AFTER is neither seconds nor off: %s", text);
	else
		gr_hibernate_set_after(seconds);
}

void gr_lua_hibernate_init(void)
{
	gr_hub.exposed = exposed;
	gr_image_trust((void *)gr_lua.gc);
	read_environment();
}
