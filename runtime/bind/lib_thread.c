/* SPDX-License-Identifier: MIT */
/* Threads for Lua: grun.core, the primitives under lualib/grun/thread.lua. */
#include "bind/lib_thread.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_hibernate.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "bind/thread_life.h"
#include "core/hibernate.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/wait.h"

/* Every function of grun.core has the table of handles and the metatable of handles as upvalues. */
enum upvalue { UP_THREADS = 1, UP_METATABLE };

/* Registry references, as in thread_life.c. */
static struct {
	int call_hook;          /* a C function */
	int ok, timeout, raise; /* strings */
} ref;

static void push_handle(lua_State *L, const struct gr_green *g)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.threads);
	lua_rawgeti(L, -1, (int)g->index + 1);
	lua_remove(L, -2);
}

/* A handle's green thread, or NULL if it ended. */
static struct gr_green *check_green(lua_State *L, int idx)
{
	if (!lua_islightuserdata(L, idx)) {
		luaL_argcheck(L, lua_isboolean(L, idx), idx, "thread expected");
		return NULL;
	}
	return lua_touserdata(L, idx);
}

int gr_thread_raise(lua_State *L, int rc)
{
	push_handle(L, gr_current);
	if (rc == GR_CANCELED) {
		lua_getfield(L, -1, "_cancel");
	} else {
		lua_getfield(L, -1, "_scope");
		lua_getfield(L, -1, "near");
	}
	return lua_error(L);
}

/* ---- The beginning of a thread ---- */

static void check_callable(lua_State *L, int idx)
{
	if (lua_isfunction(L, idx))
		return;
	if (!luaL_getmetafield(L, idx, "__call"))
		luaL_argerror(L, idx, lua_pushfstring(L, "function expected, got %s", luaL_typename(L, idx)));
	lua_pop(L, 1);
}

static int l_thread_spawn(lua_State *L)
{
	check_callable(L, 1);
	gr_green_start(gr_thread_new(L, 1, UP_THREADS, UP_METATABLE));
	return 1;
}

/* spawn_for(fn, ...): as spawn, in the name of the caller's caller. */
static int l_thread_spawn_for(lua_State *L)
{
	check_callable(L, 1);
	gr_green_start(gr_thread_new(L, 2, UP_THREADS, UP_METATABLE));
	return 1;
}

static int l_thread_spawn_later(lua_State *L)
{
	double seconds = luaL_checknumber(L, 1);

	luaL_argcheck(L, seconds >= 0, 1, "seconds must be 0 or more");
	check_callable(L, 2);
	lua_remove(L, 1);
	gr_green_start_later(gr_thread_new(L, 1, UP_THREADS, UP_METATABLE), seconds);
	return 1;
}

/* ---- Waiting ---- */

static int l_thread_sleep(lua_State *L)
{
	double seconds = luaL_checknumber(L, 1);
	int rc;

	luaL_argcheck(L, !isnan(seconds), 1, "seconds must be a number, not NaN");
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	if (seconds <= 0) {
		gr_yield();
		return 0;
	}
	rc = gr_sleep_until(gr_until(seconds));
	return rc < 0 ? gr_thread_raise(L, rc) : 0;
}

/* nap(seconds): see gr_nap_until. */
static int l_thread_nap(lua_State *L)
{
	double until = gr_until(luaL_checknumber(L, 1));
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	rc = gr_nap_until(until);
	return rc < 0 ? gr_thread_raise(L, rc) : 0;
}

static int l_thread_yield(lua_State *L)
{
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	gr_yield();
	return 0;
}

static int l_thread_idle(lua_State *L)
{
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	rc = gr_idle();
	return rc < 0 ? gr_thread_raise(L, rc) : 0;
}

/* park(what [, seconds [, token]]) -> "ok" | "timeout" | "raise". Never raises by itself, so that the caller can undo what it
 * registered; after "raise" it calls check(). `what` must be a constant of lualib: its bytes are kept by reference. */
static int l_thread_park(lua_State *L)
{
	const char *what = luaL_checkstring(L, 1);
	double until = gr_lua_opt_until(L, 2);
	int rc;

	gr_current->wait_user = L;
	gr_current->wait_token = lua_istable(L, 3) ? lua_topointer(L, 3) : NULL;
	rc = gr_wait(until, what);
	gr_current->wait_token = NULL;
	/* No new string: the collector could bring up an error of some finalizer. */
	lua_rawgeti(L, LUA_REGISTRYINDEX, rc == 0 ? ref.ok : rc == GR_TIMEOUT ? ref.timeout : ref.raise);
	return 1;
}

/* Raises if the thread is cancelled, past a deadline or where nothing may wait; nil, message, "misuse" in a finalizer. */
static int l_thread_check(lua_State *L)
{
	return gr_lua_enter_wait(L);
}

/* Waking takes the token (a table) that park was given, if any, at index 2: who was left behind in some list by an error
 * on the way into or out of its wait cannot end another wait of that thread. */
static bool waits_with(lua_State *L, const struct gr_green *g)
{
	return !lua_istable(L, 2) || g->wait_token == lua_topointer(L, 2);
}

/* handoff(green): as ready, but it runs at once, before everybody else, and the caller after it. */
static int l_thread_handoff(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g && waits_with(L, g) && gr_wake_next(g, 0)) {
		lua_pushboolean(L, 1);
		if (!gr_lua.nopark && gr_on_green()) {
			gr_current->wait_user = L;
			gr_yield();
		}
		return 1;
	}
	lua_pushboolean(L, 0);
	return 1;
}

/* ready_next(green): as ready, but it runs before everybody else: when the caller parks. */
static int l_thread_ready_next(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	lua_pushboolean(L, g && gr_wake_next(g, 0));
	return 1;
}

static int l_thread_ready(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	lua_pushboolean(L, g && waits_with(L, g) && gr_wake(g, 0));
	return 1;
}

/* ---- Cancel and deadlines ---- */

static int l_thread_cancel(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g)
		gr_cancel(g);
	return 0;
}

/* set_deadline(green, time): math.huge removes it. A parked thread whose deadline is over now is woken. */
static int l_thread_set_deadline(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g)
		gr_set_deadline(g, luaL_checknumber(L, 2));
	return 0;
}

/* shield(on) -> was it on */
static int l_thread_shield(lua_State *L)
{
	lua_pushboolean(L, gr_current->attention & GR_ATTN_SHIELD);
	if (lua_toboolean(L, 1))
		gr_current->attention |= GR_ATTN_SHIELD;
	else
		gr_current->attention &= (uint8_t)~GR_ATTN_SHIELD;
	return 1;
}

/* ---- Looking at threads ---- */

static int l_thread_current(lua_State *L)
{
	lua_rawgeti(L, lua_upvalueindex(UP_THREADS), (int)gr_current->index + 1);
	if (!gr_on_green())
		lua_pushnil(L);
	return 1;
}

static int here_ref = LUA_NOREF;

static void forget_here(void)
{
	lua_State *L = gr_lua.hub;

	lua_rawgeti(L, LUA_REGISTRYINDEX, here_ref);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, 1);
	lua_pop(L, 1);
}

/* find() -> as current(). Until the next switch core.here[1] is that, too, for code that the JIT compiler is to take in
 * whole; otherwise false. */
static int l_thread_find(lua_State *L)
{
	l_thread_current(L);
	if (gr_on_green()) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, here_ref);
		lua_pushvalue(L, -2);
		lua_rawseti(L, -2, 1);
		lua_pop(L, 1);
		gr_hub.on_switch = forget_here;
	}
	return 1;
}

static int l_thread_self(lua_State *L)
{
	lua_pushlightuserdata(L, gr_current);
	return 1;
}

static int l_thread_now(lua_State *L)
{
	lua_pushnumber(L, gr_now());
	return 1;
}

static int l_thread_state(lua_State *L)
{
	static const char *const names[] = {"done", "new", "ready", "running", "waiting"};
	struct gr_green *g = check_green(L, 1);

	lua_pushstring(L, g ? names[g->state] : "done");
	return 1;
}

static int l_thread_watch(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g)
		g->user_flags |= GR_THREAD_WATCHED;
	return 0;
}

static int l_thread_daemon(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g)
		gr_green_set_daemon(g);
	return 0;
}

/* overlook(on): see gr_overlook. */
static int l_thread_overlook(lua_State *L)
{
	gr_overlook(lua_toboolean(L, 1));
	return 0;
}

static int l_thread_set_name(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g && gr_green_set_name(g, lua_isnil(L, 2) ? NULL : luaL_checkstring(L, 2)) < 0)
		return luaL_error(L, "not enough memory");
	return 0;
}

/* list() -> the handles of all threads, in order of id no more than by chance */
static int l_thread_list(lua_State *L)
{
	int n = 0;

	lua_createtable(L, (int)gr_green_live(), 0);
	for (uint32_t i = 0; i < gr_green_limit(); i++) {
		if (gr_green_at(i) == NULL)
			continue;
		lua_rawgeti(L, lua_upvalueindex(UP_THREADS), (int)i + 1);
		if (lua_istable(L, -1))
			lua_rawseti(L, -2, ++n);
		else
			lua_pop(L, 1);
	}
	return 1;
}

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

/* info(green) -> {id, parent, name, what, left, switches, daemon, cancelled, hibernates} */
static int l_thread_info(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);

	if (g == NULL)
		return 0;
	lua_newtable(L);
	set_number(L, "id", (double)g->id);
	set_number(L, "parent", (double)g->parent);
	set_number(L, "switches", g->switches);
	if (g->until != INFINITY && (g->state == GR_WAITING || g->delayed))
		set_number(L, "left", g->until - gr_now());
	lua_pushstring(L, g->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, g->state == GR_WAITING ? g->what : NULL);
	lua_setfield(L, -2, "what");
	lua_pushboolean(L, g->daemon);
	lua_setfield(L, -2, "daemon");
	lua_pushboolean(L, g->attention & GR_ATTN_CANCEL);
	lua_setfield(L, -2, "cancelled");
	lua_pushboolean(L, gr_hibernates(g));
	lua_setfield(L, -2, "hibernates");
	return 1;
}

lua_State *gr_thread_look(struct gr_green *g)
{
	if (!gr_green_stands(g))
		return NULL;
	gr_hibernate_wake(g);
	return g->wait_user;
}

/* stack(green) -> the lua_State to look at for tracebacks of a parked thread, or nothing */
static int l_thread_stack(lua_State *L)
{
	struct gr_green *g = check_green(L, 1);
	lua_State *at = g ? gr_thread_look(g) : NULL;

	if (at == NULL)
		return 0;
	lua_pushthread(at);
	if (at != L)
		lua_xmove(at, L, 1);
	return 1;
}

/* ---- The process ---- */

/* set_status(status): the exit status of the process, unless os.exit says otherwise. */
static int l_thread_set_status(lua_State *L)
{
	gr_lua.exit_status = (int)luaL_checkinteger(L, 1);
	return 0;
}

struct hook_call {
	const char *name, *argument;
	int result;
};

static int l_call_hook(lua_State *L)
{
	struct hook_call *call = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.core);
	lua_getfield(L, -1, "hooks");
	lua_getfield(L, -1, call->name);
	lua_pushstring(L, call->argument);
	lua_call(L, 1, 1);
	call->result = lua_toboolean(L, -1);
	return 0;
}

int gr_thread_call_hook(const char *name, const char *argument)
{
	struct hook_call call = {name, argument, 0};
	lua_State *L = gr_lua.hub;

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.traceback);
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref.call_hook);
	lua_pushlightuserdata(L, &call);
	if (lua_pcall(L, 1, 0, 1) != 0)
		gr_log(GR_LOG_ERROR, "%s: %s", name,
		       lua_tostring(L, -1) ? lua_tostring(L, -1) : "error object is not a string");
	lua_settop(L, 0);
	return call.result;
}

static const luaL_Reg functions[] = {
	{"spawn", l_thread_spawn},
	{"spawn_for", l_thread_spawn_for},
	{"spawn_later", l_thread_spawn_later},
	{"nap", l_thread_nap},
	{"sleep", l_thread_sleep},
	{"yield", l_thread_yield},
	{"idle", l_thread_idle},
	{"park", l_thread_park},
	{"check", l_thread_check},
	{"ready", l_thread_ready},
	{"ready_next", l_thread_ready_next},
	{"handoff", l_thread_handoff},
	{"cancel", l_thread_cancel},
	{"set_deadline", l_thread_set_deadline},
	{"shield", l_thread_shield},
	{"current", l_thread_current},
	{"find", l_thread_find},
	{"self", l_thread_self},
	{"now", l_thread_now},
	{"state", l_thread_state},
	{"watch", l_thread_watch},
	{"daemon", l_thread_daemon},
	{"overlook", l_thread_overlook},
	{"set_name", l_thread_set_name},
	{"list", l_thread_list},
	{"info", l_thread_info},
	{"stack", l_thread_stack},
	{"set_status", l_thread_set_status},
	{"hibernate_after", gr_lua_hibernate_after},
	{"hibernated", gr_lua_hibernated},
	{NULL, NULL},
};

static void make_refs(lua_State *L)
{
	ref.call_hook = gr_lua_ref_function(L, l_call_hook);
	ref.ok = gr_lua_ref_string(L, "ok");
	ref.timeout = gr_lua_ref_string(L, "timeout");
	ref.raise = gr_lua_ref_string(L, "raise");
}

int luaopen_grun_core(lua_State *L)
{
	make_refs(L);
	gr_thread_life_init(L);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	gr_lua.core = luaL_ref(L, LUA_REGISTRYINDEX);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.threads);
		lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.metatable);
		lua_pushcclosure(L, f->func, UP_METATABLE);
		lua_setfield(L, -2, f->name);
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.metatable);
	lua_setfield(L, -2, "thread");
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.traceback);
	lua_setfield(L, -2, "traceback");
	lua_newtable(L);
	lua_setfield(L, -2, "hooks");
	lua_createtable(L, 2, 0);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, 1);
	lua_pushvalue(L, -1);
	here_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_setfield(L, -2, "here");
	return 1;
}
