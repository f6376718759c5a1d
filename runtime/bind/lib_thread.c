/* SPDX-License-Identifier: MIT */
/* Threads for Lua: grun.core, the primitives under lualib/grun/thread.lua. */
#include "bind/lib_thread.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_hibernate.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "core/hibernate.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/wait.h"

enum slot { SLOT_GREEN = 1, SLOT_ID, SLOT_SPAWNER, SLOT_LINE, SLOT_END, SLOT_RESULTS, SLOTS = 7 };

/* The bottom of every thread's lua_State: message handler, table of handles, its own handle, then the body. */
enum base { BASE_TRACEBACK = 1, BASE_THREADS, BASE_HANDLE, BASE_BODY };

/* Every function of grun.core has the table of handles and the metatable of handles as upvalues. */
enum upvalue { UP_THREADS = 1, UP_METATABLE };

/* How a thread ended. */
enum ending { ENDED, FAILED, CANCELLED };

/* Registry references to what is needed where nothing may run the collector, since an error of some script's finalizer
 * would come out there: outside of any protected call it ends the process. So no new strings, closures or tables. */
static struct {
	int core;                                                        /* the table grun.core */
	int store, tell, report, collect, call_hook;                     /* C functions */
	int failed, cancelled, key_cancel, key_born, ok, timeout, raise; /* strings */
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
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref.core);
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

static void check_callable(lua_State *L, int idx)
{
	if (lua_isfunction(L, idx))
		return;
	if (!luaL_getmetafield(L, idx, "__call"))
		luaL_argerror(L, idx, lua_pushfstring(L, "function expected, got %s", luaL_typename(L, idx)));
	lua_pop(L, 1);
}

/* Stack: function, arguments…; leaves the handle on top. Returns the thread, not started. */
static struct gr_green *spawn(lua_State *L, int level)
{
	struct gr_green *g __attribute__((cleanup(drop_green))) = gr_green_take(run), *taken;
	int n = lua_gettop(L);

	if (g == NULL)
		raise_limit(L);
	if (g->user == NULL)
		attach_state(L, g);
	push_new_handle(L, g, lua_upvalueindex(UP_METATABLE));
	record_site(L, n + 1, level);
	lua_pushvalue(L, n + 1);
	lua_rawseti(L, lua_upvalueindex(UP_THREADS), (int)g->index + 1);
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

static int l_thread_spawn(lua_State *L)
{
	check_callable(L, 1);
	gr_green_start(spawn(L, 1));
	return 1;
}

/* spawn_for(fn, ...): as spawn, in the name of the caller's caller. */
static int l_thread_spawn_for(lua_State *L)
{
	check_callable(L, 1);
	gr_green_start(spawn(L, 2));
	return 1;
}

static int l_thread_spawn_later(lua_State *L)
{
	double seconds = luaL_checknumber(L, 1);

	luaL_argcheck(L, seconds >= 0, 1, "seconds must be 0 or more");
	check_callable(L, 2);
	lua_remove(L, 1);
	gr_green_start_later(spawn(L, 1), seconds);
	return 1;
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

struct hook_call {
	const char *name, *argument;
	int result;
};

static int l_call_hook(lua_State *L)
{
	struct hook_call *call = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, ref.core);
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
	{"set_name", l_thread_set_name},
	{"list", l_thread_list},
	{"info", l_thread_info},
	{"stack", l_thread_stack},
	{"set_status", l_thread_set_status},
	{"hibernate_after", gr_lua_hibernate_after},
	{"hibernated", gr_lua_hibernated},
	{NULL, NULL},
};

static int function_ref(lua_State *L, lua_CFunction f)
{
	lua_pushcfunction(L, f);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int string_ref(lua_State *L, const char *text)
{
	lua_pushstring(L, text);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void make_refs(lua_State *L)
{
	ref.store = function_ref(L, l_store);
	ref.tell = function_ref(L, l_tell);
	ref.report = function_ref(L, l_report);
	ref.collect = function_ref(L, l_collect);
	ref.call_hook = function_ref(L, l_call_hook);
	ref.failed = string_ref(L, "failed");
	ref.cancelled = string_ref(L, "cancelled");
	ref.key_cancel = string_ref(L, "_cancel");
	ref.key_born = string_ref(L, "_born");
	ref.ok = string_ref(L, "ok");
	ref.timeout = string_ref(L, "timeout");
	ref.raise = string_ref(L, "raise");
}

int luaopen_grun_core(lua_State *L)
{
	make_refs(L);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	ref.core = luaL_ref(L, LUA_REGISTRYINDEX);
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
