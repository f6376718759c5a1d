/* SPDX-License-Identifier: MIT */
/* What all bindings share. */
#include "bind/luautil.h"

#include <luajit.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "bind/lib_thread.h"
#include "bind/state.h"
#include "core/error.h"
#include "core/wait.h"

int gr_lua_ref_function(lua_State *L, lua_CFunction f)
{
	lua_pushcfunction(L, f);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

int gr_lua_ref_string(lua_State *L, const char *text)
{
	lua_pushstring(L, text);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* luaJIT_setmode refuses to work in a finalizer; an unknown mode makes it do nothing else. */
static int l_probe_finalizer(lua_State *L)
{
	luaJIT_setmode(L, 0, 0xf);
	return 0;
}

int gr_lua_in_finalizer(lua_State *L)
{
	int top, rc;

	/* The collector does not count as running in a finalizer, nor when the script has stopped it. */
	if (gr_lua.gc(L, LUA_GCISRUNNING, 0) == 1)
		return 0;
	top = lua_gettop(L);
	lua_pushcfunction(L, l_probe_finalizer);
	rc = lua_pcall(L, 0, 0, 0);
	lua_settop(L, top);
	return rc != 0;
}

static int push_failure(lua_State *L, int rc, const char *text)
{
	const char *message = gr_strerror(rc);

	lua_pushnil(L);
	if (text == NULL || rc == GR_TIMEOUT || rc == GR_CLOSED)
		lua_pushstring(L, message);
	else
		lua_pushfstring(L, "%s: %s", text, message);
	lua_pushstring(L, gr_errname(rc));
	return 3;
}

/* Says why waiting is not possible here: returns in a finalizer, raises elsewhere. */
static int fail_misuse(lua_State *L)
{
	if (gr_lua_in_finalizer(L)) {
		lua_pushnil(L);
		lua_pushliteral(L, "cannot wait in a finalizer");
		lua_pushliteral(L, "misuse");
		return 3;
	}
	return luaL_error(L, "cannot wait %s", gr_lua.nopark ? gr_lua.nopark : "outside a thread");
}

int gr_lua_fail(lua_State *L, int rc)
{
	if (rc == GR_CANCELED || rc == GR_DEADLINE)
		return gr_thread_raise(L, rc);
	return rc == GR_MISUSE ? fail_misuse(L) : push_failure(L, rc, NULL);
}

int gr_lua_failf(lua_State *L, int rc, const char *format, ...)
{
	va_list ap;

	if (rc == GR_CANCELED || rc == GR_DEADLINE)
		return gr_thread_raise(L, rc);
	if (rc == GR_MISUSE)
		return fail_misuse(L);
	va_start(ap, format);
	lua_pushvfstring(L, format, ap);
	va_end(ap);
	return push_failure(L, rc, lua_tostring(L, -1));
}

int gr_lua_may_wait(void)
{
	return gr_lua.nopark || gr_lua_in_finalizer(gr_current->wait_user) ? GR_MISUSE : 0;
}

/* With a cancel or a deadline the check may raise, and lets others run before that: neither in a finalizer. */
static int enter_checked(lua_State *L)
{
	int rc;

	if (gr_lua_may_wait() < 0)
		return fail_misuse(L);
	rc = gr_check();
	return rc < 0 ? gr_thread_raise(L, rc) : 0;
}

int gr_lua_enter_try(lua_State *L)
{
	gr_current->wait_user = L;
	return gr_current->attention ? enter_checked(L) : 0;
}

void gr_lua_enter_always(lua_State *L)
{
	gr_current->wait_user = L;
}

int gr_lua_enter_wait(lua_State *L)
{
	if (gr_lua.nopark || !gr_on_green() || gr_lua_in_finalizer(L))
		return fail_misuse(L);
	return gr_lua_enter_try(L);
}

double gr_lua_opt_until(lua_State *L, int idx)
{
	double seconds;

	if (lua_isnoneornil(L, idx))
		return INFINITY;
	seconds = luaL_checknumber(L, idx);
	luaL_argcheck(L, seconds >= 0, idx, "timeout must be a number of seconds, 0 or more");
	return gr_until(seconds);
}
