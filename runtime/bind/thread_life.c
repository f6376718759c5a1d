/* SPDX-License-Identifier: MIT */
/* How a thread of Lua's begins and ends. */
#include "bind/thread_life.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "bind/lib_thread.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "core/error.h"
#include "core/hub.h"
#include "core/log.h"

enum slot { SLOT_GREEN = 1, SLOT_ID, SLOT_SPAWNER, SLOT_LINE, SLOT_END, SLOT_RESULTS, SLOTS = 7 };

/* The bottom of every thread's lua_State: message handler, table of handles, its own handle, then the body. */
enum base { BASE_TRACEBACK = 1, BASE_THREADS, BASE_HANDLE, BASE_BODY };

/* How a thread ended. */
enum ending { ENDED, FAILED, CANCELLED };

/* Registry references to what is needed where nothing may run the collector, since an error of some script's finalizer
 * would come out there: outside of any protected call it ends the process. So no new strings, closures or tables. */
static struct {
	int store, tell, report, collect;            /* C functions */
	int failed, cancelled, key_cancel, key_born; /* strings */
} ref;

/* ---- The end of a thread ---- */

static void write_end(lua_State *L, int handle, int first, int n, enum ending how)
{
	lua_pushboolean(L, 0);
	lua_rawseti(L, handle, SLOT_GREEN);
	if (how == ENDED)
		lua_pushinteger(L, n);
	else
		lua_rawgeti(L, LUA_REGISTRYINDEX, how == FAILED ? ref.failed : ref.cancelled);
	lua_rawseti(L, handle, SLOT_END);
	for (int i = 0; i < n; i++) {
		lua_pushvalue(L, first + i);
		lua_rawseti(L, handle, SLOT_RESULTS + i);
	}
}

/* (handle, how, results…): may run out of memory. */
static int l_store(lua_State *L)
{
	luaL_checkstack(L, 10, NULL);
	write_end(L, 1, 3, lua_gettop(L) - 2, (enum ending)lua_tointeger(L, 2));
	return 0;
}

static int call_with_handle(lua_State *L, const char *hook)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.core);
	lua_getfield(L, -1, "hooks");
	lua_getfield(L, -1, hook);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 0);
	return 0;
}

/* (handle): wakes those who wait for the end. */
static int l_tell(lua_State *L)
{
	return call_with_handle(L, "tell");
}

/* (handle): may wait. */
static int l_report(lua_State *L)
{
	return call_with_handle(L, "failed");
}

static int l_collect(lua_State *L)
{
	lua_gc(L, LUA_GCCOLLECT, 0);
	return 0;
}

static void report_broken_end(lua_State *L)
{
	const char *message = lua_tostring(L, -1);

	gr_log(GR_LOG_ERROR, "thread #%llu could not end in order: %s", (unsigned long long)gr_current->id,
	       message ? message : "error object is not a string");
}

static int call_at_end(lua_State *L, int function)
{
	lua_settop(L, BASE_HANDLE);
	lua_rawgeti(L, LUA_REGISTRYINDEX, function);
	lua_pushvalue(L, BASE_HANDLE);
	return lua_pcall(L, 1, 0, 0);
}

/* An error in a finalizer of somebody else's may strike here, while others wait to be told: once more then, without the
 * collector. */
static void tell(lua_State *L)
{
	int rc = call_at_end(L, ref.tell);

	if (rc != 0) {
		int running = lua_gc(L, LUA_GCISRUNNING, 0);

		lua_gc(L, LUA_GCSTOP, 0);
		rc = call_at_end(L, ref.tell);
		if (running)
			lua_gc(L, LUA_GCRESTART, 0);
	}
	if (rc != 0)
		report_broken_end(L);
}

/* The way for everything that may allocate or calls Lua. Stack above BASE_HANDLE: results, or the error. */
static void finish_slowly(lua_State *L, enum ending how)
{
	int n = lua_gettop(L) - BASE_HANDLE;

	/* Waiting in what the end triggers (an on_error function, say) must work again. */
	gr_current->attention = 0;
	gr_current->user_flags |= GR_THREAD_ENDING;
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref.store);
	lua_insert(L, BASE_BODY);
	lua_pushvalue(L, BASE_HANDLE);
	lua_insert(L, BASE_BODY + 1);
	lua_pushinteger(L, how);
	lua_insert(L, BASE_BODY + 2);
	if (lua_pcall(L, n + 2, 0, 0) != 0)
		report_broken_end(L);
	if (how != ENDED || (gr_current->user_flags & GR_THREAD_WATCHED))
		tell(L);
	if (how == FAILED && call_at_end(L, ref.report) != 0)
		report_broken_end(L);
}

static bool error_is_field(lua_State *L, int key)
{
	bool is;

	lua_rawgeti(L, LUA_REGISTRYINDEX, key);
	lua_rawget(L, BASE_HANDLE);
	is = !lua_isnil(L, -1) && lua_rawequal(L, -1, -2);
	lua_pop(L, 1);
	return is;
}

/* Is the error on top the cancel object of this very thread, or the end of a deadline that it was born with? */
static bool is_own_cancel(lua_State *L)
{
	return error_is_field(L, ref.key_cancel) || error_is_field(L, ref.key_born);
}

/* The FFI keeps a pointer to the lua_State that used it last: make that one which stays. */
static void point_ffi_elsewhere(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.ffi_sizeof);
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.ffi_type);
	lua_pcall(L, 1, 0, 0);
	lua_settop(L, 0);
}

bool gr_thread_owns(lua_State *L)
{
	lua_State *hub = gr_lua.hub;
	bool owns;

	lua_rawgeti(hub, LUA_REGISTRYINDEX, gr_lua.states);
	lua_pushlightuserdata(hub, L);
	lua_rawget(hub, -2);
	owns = lua_toboolean(hub, -1);
	lua_pop(hub, 2);
	return owns;
}

static void forget_state(lua_State *L, struct gr_green *g)
{
	void *state = g->user;

	g->user = NULL;
	if (g->user_flags & GR_THREAD_MAIN)
		return;
	if (gr_lua.ffi_loaded)
		point_ffi_elsewhere(gr_lua.hub);
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.states);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, (int)g->index + 1);
	lua_pushlightuserdata(L, state);
	lua_pushnil(L);
	lua_rawset(L, -3);
}

/* After an error for want of memory: what the thread had is garbage now, and telling of its end takes some. */
static void collect(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref.collect);
	if (lua_pcall(L, 0, 0, 0) != 0)
		lua_pop(L, 1);
}

/* Runs the body, or not if it was cancelled before. Results or error lie above BASE_HANDLE then. */
static enum ending run_body(lua_State *L, struct gr_green *self)
{
	int rc;

	if (self->attention & GR_ATTN_CANCEL) {
		lua_settop(L, BASE_HANDLE);
		lua_rawgeti(L, LUA_REGISTRYINDEX, ref.key_cancel);
		lua_rawget(L, BASE_HANDLE);
		return CANCELLED;
	}
	rc = lua_pcall(L, lua_gettop(L) - BASE_BODY, LUA_MULTRET, BASE_TRACEBACK);
	if (rc == 0)
		return ENDED;
	if (rc == LUA_ERRMEM)
		collect(L);
	return is_own_cancel(L) ? CANCELLED : FAILED;
}

static void run(struct gr_green *self)
{
	lua_State *L = self->user;
	enum ending how;
	int n;

	self->wait_user = L;
	how = run_body(L, self);
	n = lua_gettop(L) - BASE_HANDLE;

	/* What the handle has room for can be written without a protected call: it allocates nothing. */
	if (how != ENDED || n > SLOTS - SLOT_RESULTS || (self->user_flags & GR_THREAD_WATCHED)) {
		finish_slowly(L, how);
	} else if (n > 0) {
		write_end(L, BASE_HANDLE, BASE_BODY, n, ENDED);
	} else {
		lua_pushboolean(L, 0);
		lua_rawseti(L, BASE_HANDLE, SLOT_GREEN);
	}
	lua_pushboolean(L, 0);
	lua_rawseti(L, BASE_THREADS, (int)self->index + 1);
	if (self->user_flags & (GR_THREAD_IDENTITY | GR_THREAD_MAIN)) {
		forget_state(L, self);
		lua_settop(L, 0); /* or the script could resume what is left there */
	} else {
		lua_settop(L, BASE_THREADS);
	}
}

void gr_thread_release(struct gr_green *g)
{
	if (g->user) {
		g->user_flags = 0;
		forget_state(gr_lua.hub, g);
		lua_settop(gr_lua.hub, 0);
	}
}

/* ---- The beginning of a thread ---- */

static void drop_green(struct gr_green **g)
{
	if (*g)
		gr_green_drop(*g);
}

__attribute__((noreturn)) static void raise_limit(lua_State *L)
{
	int n = (int)gr_green_live();

	if (errno == EAGAIN)
		luaL_error(L, "cannot spawn: the limit of threads is reached (%d)", n);
	luaL_error(L, "cannot spawn: out of memory for another stack (%d threads)", n);
	abort();
}

void gr_thread_push_base(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.traceback);
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.threads);
}

static void attach_state(lua_State *L, struct gr_green *g)
{
	lua_State *co = lua_newthread(L);

	gr_thread_push_base(co);
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.states);
	lua_insert(L, -2);
	lua_rawseti(L, -2, (int)g->index + 1);
	lua_pushlightuserdata(L, co);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	g->user = co;
}

/* Fills in where the function of that level stands; 1 is the caller. */
static void record_site(lua_State *L, int handle, int level)
{
	lua_Debug ar;

	for (; lua_getstack(L, level, &ar) && lua_getinfo(L, "lf", &ar); level++) {
		if (ar.currentline < 0) { /* a C function, such as pcall */
			lua_pop(L, 1);
			continue;
		}
		lua_rawseti(L, handle, SLOT_SPAWNER);
		lua_pushinteger(L, ar.currentline);
		lua_rawseti(L, handle, SLOT_LINE);
		return;
	}
}

static void push_new_handle(lua_State *L, struct gr_green *g, int metatable)
{
	lua_createtable(L, SLOTS, 0);
	lua_pushvalue(L, metatable);
	lua_setmetatable(L, -2);
	lua_pushlightuserdata(L, g);
	lua_rawseti(L, -2, SLOT_GREEN);
	lua_pushnumber(L, (lua_Number)g->id);
	lua_rawseti(L, -2, SLOT_ID);
}

struct gr_green *gr_thread_new(lua_State *L, int level, int threads, int metatable)
{
	struct gr_green *g __attribute__((cleanup(drop_green))) = gr_green_take(run), *taken;
	int n = lua_gettop(L);

	if (g == NULL)
		raise_limit(L);
	if (g->user == NULL)
		attach_state(L, g);
	push_new_handle(L, g, lua_upvalueindex(metatable));
	record_site(L, n + 1, level);
	lua_pushvalue(L, n + 1);
	lua_rawseti(L, lua_upvalueindex(threads), (int)g->index + 1);
	if (n > 10 && (!lua_checkstack(g->user, n + 8) || !lua_checkstack(L, n + 4)))
		luaL_error(L, "too many arguments");
	lua_pushvalue(L, n + 1);
	for (int i = 1; i <= n; i++)
		lua_pushvalue(L, i);
	/* A new thread has the environment of its spawner, as with lua_newthread. */
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	lua_xmove(L, g->user, n + 2);
	lua_replace(g->user, LUA_GLOBALSINDEX);
	taken = g;
	g = NULL;
	return taken;
}

int gr_thread_spawn_main(void)
{
	struct gr_green *g = gr_green_take(run);
	lua_State *L = gr_lua.main;

	if (g == NULL)
		return -errno;
	g->user = L;
	g->user_flags = GR_THREAD_MAIN;
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.metatable);
	push_new_handle(L, g, lua_gettop(L));
	lua_pushvalue(L, -1);
	lua_rawseti(L, BASE_THREADS, (int)g->index + 1);
	lua_insert(L, BASE_HANDLE);
	lua_pop(L, 1);
	gr_green_start(g);
	return 0;
}

const char *gr_thread_site(const struct gr_green *g, int *line)
{
	static lua_Debug ar;
	lua_State *L = gr_lua.hub;
	const char *source = NULL;
	int top = lua_gettop(L);

	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.threads);
	lua_rawgeti(L, -1, (int)g->index + 1);
	if (lua_istable(L, -1)) {
		lua_rawgeti(L, -1, SLOT_LINE);
		*line = (int)lua_tointeger(L, -1);
		lua_rawgeti(L, -2, SLOT_SPAWNER);
		if (lua_isfunction(L, -1) && lua_getinfo(L, ">S", &ar))
			source = ar.short_src;
	}
	lua_settop(L, top);
	return source;
}

void gr_thread_life_init(lua_State *L)
{
	ref.store = gr_lua_ref_function(L, l_store);
	ref.tell = gr_lua_ref_function(L, l_tell);
	ref.report = gr_lua_ref_function(L, l_report);
	ref.collect = gr_lua_ref_function(L, l_collect);
	ref.failed = gr_lua_ref_string(L, "failed");
	ref.cancelled = gr_lua_ref_string(L, "cancelled");
	ref.key_cancel = gr_lua_ref_string(L, "_cancel");
	ref.key_born = gr_lua_ref_string(L, "_born");
}
