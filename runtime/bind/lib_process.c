/* SPDX-License-Identifier: MIT */
/* Child processes for Lua: their ends, signals, and the module grun.core.process. Starting them is in lib_spawn.c. */
#define _GNU_SOURCE
#include "bind/lib_process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "core/signal.h"
#include "posix/process.h"

static const char LABEL[] = "process";

/* The number of the signal at idx, a name or a number; raises if there is none. */
static int check_signal(lua_State *L, int idx)
{
	int number = lua_type(L, idx) == LUA_TNUMBER ? (int)lua_tointeger(L, idx)
						     : gr_signal_number(luaL_checkstring(L, idx));

	if (number < 0 || number >= NSIG)
		luaL_argerror(L, idx, lua_pushfstring(L, "unknown signal '%s'", lua_tostring(L, idx)));
	return number;
}

/* ---- Methods ---- */

static struct gr_process *check_process(lua_State *L)
{
	struct gr_lua_process *h = gr_net_check_self(L, LABEL);

	if (h->process == NULL)
		luaL_argerror(L, 1, "process was not started");
	return h->process;
}

/* Pushes code, or nil, "signal", name; returns how many. */
static int push_status(lua_State *L, int status)
{
	if (WIFEXITED(status)) {
		lua_pushinteger(L, WEXITSTATUS(status));
		return 1;
	}
	lua_pushnil(L);
	lua_pushliteral(L, "signal");
	lua_pushstring(L, gr_signal_name(WTERMSIG(status)));
	return 3;
}

static int l_process_wait(lua_State *L)
{
	struct gr_process *p = check_process(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_try(L), status;

	if (rc)
		return rc;
	rc = gr_process_wait(p, until, &status);
	return rc < 0 ? gr_lua_fail(L, rc) : push_status(L, status);
}

static int l_process_kill(lua_State *L)
{
	struct gr_process *p = check_process(L);
	int rc = gr_process_kill(p, lua_isnoneornil(L, 2) ? SIGTERM : check_signal(L, 2));

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_process_gc(lua_State *L)
{
	struct gr_lua_process *h = lua_touserdata(L, 1);

	if (h->process)
		gr_process_free(h->process);
	h->process = NULL;
	return 0;
}

static int l_process_tostring(lua_State *L)
{
	struct gr_process *p = check_process(L);
	int status;

	lua_getfenv(L, 1);
	lua_getfield(L, -1, "command");
	lua_pushfstring(L, "process %d (%s)", (int)gr_process_pid(p), lua_tostring(L, -1));
	if (!gr_process_ended(p, &status))
		lua_pushliteral(L, "");
	else if (status < 0)
		lua_pushliteral(L, " ended");
	else if (WIFEXITED(status))
		lua_pushfstring(L, " ended: %d", WEXITSTATUS(status));
	else
		lua_pushfstring(L, " ended: %s", gr_signal_name(WTERMSIG(status)));
	lua_concat(L, 2);
	return 1;
}

/* Upvalues: metatable, methods. Everything else is a field of the handle. */
static int l_process_index(lua_State *L)
{
	gr_net_check_self(L, LABEL);
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(2));
	if (!lua_isnil(L, -1))
		return 1;
	lua_getfenv(L, 1);
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	return 1;
}

/* ---- For grun.wait ---- */

static int l_process_poll(lua_State *L)
{
	int status;

	lua_pushboolean(L, gr_process_ended(check_process(L), &status));
	return 1;
}

static int l_process_subscribe(lua_State *L)
{
	int rc = gr_process_subscribe(check_process(L));

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_process_unsubscribe(lua_State *L)
{
	gr_process_unsubscribe(check_process(L));
	return 0;
}

/* ---- The module ---- */

/* environ() -> table of this process's variables */
static int l_process_environ(lua_State *L)
{
	lua_newtable(L);
	for (char **entry = environ; *entry; entry++) {
		const char *value = strchr(*entry, '=');

		if (value == NULL)
			continue;
		lua_pushlstring(L, *entry, (size_t)(value - *entry));
		lua_pushstring(L, value + 1);
		lua_rawset(L, -3);
	}
	return 1;
}

static const luaL_Reg methods[] = {
	{"wait", l_process_wait},
	{"kill", l_process_kill},
	{"_poll", l_process_poll},
	{"_subscribe", l_process_subscribe},
	{"_unsubscribe", l_process_unsubscribe},
	{NULL, NULL},
};

static const luaL_Reg meta[] = {
	{"__gc", l_process_gc},
	{"__tostring", l_process_tostring},
	{NULL, NULL},
};

int luaopen_grun_core_process(lua_State *L)
{
	gr_net_new_class(L, "grun.process", LABEL, methods, meta);
	lua_getfield(L, -1, "__index");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "_polled");
	lua_newtable(L);
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, gr_lua_spawn, 1);
	lua_setfield(L, -2, "spawn");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, gr_lua_adopt, 1);
	lua_setfield(L, -2, "adopt");
	lua_pushcfunction(L, l_process_environ);
	lua_setfield(L, -2, "environ");
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "methods");
	lua_pushvalue(L, -3);
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, l_process_index, 2);
	lua_setfield(L, -4, "__index");
	return 1;
}
