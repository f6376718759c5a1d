/* SPDX-License-Identifier: MIT */
/* The log for Lua: grun.core.log, on which lualib/grun/log.lua stands. */
#include "bind/lib_log.h"

#include <lauxlib.h>

#include "bind/luautil.h"
#include "core/log.h"

/* write(level, text) */
static int l_log_write(lua_State *L)
{
	size_t n;
	const char *text;

	gr_log_stamp();
	text = luaL_checklstring(L, 2, &n);
	gr_log_text((enum gr_log_level)luaL_checkinteger(L, 1), text, n);
	return 0;
}

/* report(text [, level]): an error by default, in the form that the runtime's own messages have. */
static int l_log_report(lua_State *L)
{
	size_t n;
	const char *text = luaL_checklstring(L, 1, &n);

	gr_log_text((enum gr_log_level)luaL_optinteger(L, 2, GR_LOG_ERROR), text, n);
	return 0;
}

/* level([name]) -> the former level's name and number; nothing for an unknown name */
static int l_log_level(lua_State *L)
{
	enum gr_log_level former = gr_log_level;
	const char *name = luaL_optstring(L, 1, NULL);

	if (name && gr_log_set(name) < 0)
		return 0;
	lua_pushstring(L, gr_log_level_name(former));
	lua_pushinteger(L, former);
	return 2;
}

static int finish(lua_State *L, int rc, const char *what)
{
	if (rc < 0)
		return gr_lua_failf(L, rc, "cannot open %s", what);
	lua_pushboolean(L, 1);
	return 1;
}

/* to_stderr(), to_file(path), to_syslog(path|nil, facility, ident) -> true, or nil, message, code */
static int l_log_to_stderr(lua_State *L)
{
	return finish(L, gr_log_to_stderr(), "stderr");
}

static int l_log_to_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	return finish(L, gr_log_to_file(path), path);
}

static int l_log_to_syslog(lua_State *L)
{
	const char *path = luaL_optstring(L, 1, NULL);

	return finish(L, gr_log_to_syslog(path, luaL_checkstring(L, 2), luaL_checkstring(L, 3)),
		      path ? path : "/dev/log");
}

static int l_log_reopen(lua_State *L)
{
	return finish(L, gr_log_reopen(), "the log again");
}

/* stats() -> messages written, messages dropped, bytes queued */
static int l_log_stats(lua_State *L)
{
	struct gr_sink_stats stats = gr_log_stats();

	lua_pushnumber(L, (lua_Number)stats.written);
	lua_pushnumber(L, (lua_Number)stats.dropped);
	lua_pushnumber(L, (lua_Number)stats.queued);
	return 3;
}

static const luaL_Reg functions[] = {
	{"write", l_log_write},         {"report", l_log_report},   {"level", l_log_level},
	{"to_stderr", l_log_to_stderr}, {"to_file", l_log_to_file}, {"to_syslog", l_log_to_syslog},
	{"reopen", l_log_reopen},       {"stats", l_log_stats},     {NULL, NULL},
};

int luaopen_grun_core_log(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
