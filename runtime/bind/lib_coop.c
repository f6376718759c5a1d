/* SPDX-License-Identifier: MIT */
/* The cooperative libc for Lua: figures, a way around it, and a way for the FFI into it. */
#include "bind/lib_coop.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <string.h>

#include "posix/coop.h"

/* ---- stats ---- */

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static void push_count(lua_State *L, const struct gr_coop_count *count)
{
	lua_createtable(L, 0, 5);
	set_number(L, "parked", (double)count->parked);
	set_number(L, "blocked", (double)count->blocked);
	set_number(L, "seconds", count->seconds);
	set_number(L, "refused", (double)count->refused);
	set_number(L, "foreign", (double)__atomic_load_n(&count->foreign, __ATOMIC_RELAXED));
}

static void push_sites(lua_State *L)
{
	lua_createtable(L, gr_coop.nsites, 0);
	for (int i = 0; i < gr_coop.nsites; i++) {
		const struct gr_coop_site *site = &gr_coop.sites[i];

		lua_createtable(L, 0, 4);
		lua_pushstring(L, site->where);
		lua_setfield(L, -2, "where");
		lua_pushstring(L, gr_coop_names[site->call]);
		lua_setfield(L, -2, "call");
		set_number(L, "count", (double)site->count);
		set_number(L, "seconds", site->seconds);
		lua_rawseti(L, -2, i + 1);
	}
}

/* stats() -> {enabled, calls = {name = {…}}, sites = {…}} */
static int l_coop_stats(lua_State *L)
{
	lua_createtable(L, 0, 3);
	lua_pushboolean(L, gr_coop.enabled);
	lua_setfield(L, -2, "enabled");
	lua_createtable(L, 0, GR_CALLS);
	for (int i = 0; i < GR_CALLS; i++) {
		push_count(L, &gr_coop.count[i]);
		lua_setfield(L, -2, gr_coop_names[i]);
	}
	lua_setfield(L, -2, "calls");
	push_sites(L);
	lua_setfield(L, -2, "sites");
	return 1;
}

/* ---- original ---- */

static void restore(struct gr_green **self)
{
	(*self)->plain--;
}

/* original(fn, ...) -> fn's results */
static int l_coop_original(lua_State *L)
{
	struct gr_green *self __attribute__((cleanup(restore))) = gr_current;

	self->plain++;
	luaL_checkany(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* ---- wrap ---- */

int gr_coop_call_ffi(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* wrap(cdata): a C closure. The caller has made sure that it is a function of the FFI. */
static int l_coop_wrap(lua_State *L)
{
	lua_settop(L, 1);
	lua_pushcclosure(L, gr_coop_call_ffi, 1);
	return 1;
}

/* ---- poll, for socket.select ---- */

static struct pollfd *to_poll(lua_State *L, int n)
{
	struct pollfd *fds = lua_newuserdata(L, (size_t)(n > 0 ? n : 1) * sizeof(*fds));

	for (int i = 0; i < n; i++) {
		lua_rawgeti(L, 1, i + 1);
		lua_rawgeti(L, 2, i + 1);
		fds[i].fd = (int)lua_tointeger(L, -2);
		fds[i].events = lua_tostring(L, -1)[0] == 'r' ? POLLIN : POLLOUT;
		fds[i].revents = 0;
		lua_pop(L, 2);
	}
	return fds;
}

/* poll(fds, events, seconds) -> list of booleans; nil, message. events: "r" or "w" for each; below 0: for ever. Parks. */
static int l_coop_poll(lua_State *L)
{
	int n = (int)lua_objlen(L, 1);
	double ms = ceil(luaL_checknumber(L, 3) * 1000);
	struct pollfd *fds = to_poll(L, n);

	if (gr_coop_poll(fds, (nfds_t)n, ms < 0 ? -1 : ms < INT_MAX ? (int)ms : INT_MAX) < 0) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(errno));
		return 2;
	}
	lua_createtable(L, n, 0);
	for (int i = 0; i < n; i++) {
		lua_pushboolean(L, fds[i].revents != 0);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{"stats", l_coop_stats},
	{"original", l_coop_original},
	{"wrap", l_coop_wrap},
	{"poll", l_coop_poll},
	{NULL, NULL},
};

int luaopen_grun_core_coop(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
