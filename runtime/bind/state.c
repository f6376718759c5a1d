/* SPDX-License-Identifier: MIT */
/* The Lua state, and what makes LuaJIT stand the switching of C stacks below it. */
#define _GNU_SOURCE
#include "bind/state.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bind/heap.h"
#include "bind/lib_control.h"
#include "bind/lib_coop.h"
#include "bind/lib_dgram.h"
#include "bind/lib_dns.h"
#include "bind/lib_edit.h"
#include "bind/lib_fs.h"
#include "bind/lib_hibernate.h"
#include "bind/lib_httpc.h"
#include "bind/lib_httpd.h"
#include "bind/lib_httpfile.h"
#include "bind/lib_httptext.h"
#include "bind/lib_inspect.h"
#include "bind/lib_io.h"
#include "bind/lib_log.h"
#include "bind/lib_loop.h"
#include "bind/lib_multipart.h"
#include "bind/lib_net.h"
#include "bind/lib_offload.h"
#include "bind/lib_process.h"
#include "bind/lib_profile.h"
#include "bind/lib_require.h"
#include "bind/lib_signal.h"
#include "bind/lib_terminal.h"
#include "bind/lib_thread.h"
#include "bind/lib_tls.h"
#include "bind/lib_watch.h"
#include "bind/lib_websocket.h"
#include "bind/lib_worker.h"
#include "bind/lib_zlib.h"
#include "bind/lualib.h"
#include "bind/luautil.h"
#include "bind/place.h"
#include "bind/thread_life.h"
#include "core/green.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/wait.h"

struct gr_lua gr_lua;
__thread bool gr_lua_elsewhere;

/* ---- The wrapper around every C function ----
 *
 * When a C function leaves by an error after another lua_State ran below it (a switch of stacks, or a lua_resume of its
 * own), LuaJIT goes on with a stale idea of which lua_State runs, and crashes at the next trace exit. Any call into the VM
 * on the right state repairs it; the unwinder runs it here. Next to the unwinding it costs nothing, so it is done after
 * every error. */

struct frame {
	lua_State *L; /* NULL once the function has returned normally */
	void *outer;  /* the lua_State of the C function around this one */
	uint16_t refused;
};

static void leave(struct frame *frame)
{
	struct gr_green *self = gr_current;
	lua_State *L = frame->L;

	self->wait_user = frame->outer;
	if (L == NULL)
		return;
	self->refused = frame->refused;
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.noop);
	lua_call(L, 0, 0);
}

/* A C library was refused a wait below this function, which has returned normally: now the cancel can be raised. */
static int tell_refusal(lua_State *L, int n)
{
	int rc = gr_check_slow();

	if (rc == 0)
		return n;
	luaL_checkstack(L, 4, NULL);
	return gr_thread_raise(L, rc);
}

/* gr_current->wait_user is kept right because interposed calls of libc may park below any C function. */
int gr_lua_wrap(lua_State *L, lua_CFunction f)
{
	struct gr_green *self = gr_current;
	struct frame frame __attribute__((cleanup(leave))) = {L, self->wait_user, self->refused};
	int n;

	self->wait_user = L;
	n = f(L);
	if (__builtin_expect(self->refused != frame.refused, 0)) {
		self->refused = frame.refused;
		n = tell_refusal(L, n);
	}
	frame.L = NULL;
	return n;
}

static int l_noop(lua_State *L)
{
	(void)L;
	return 0;
}

/* ---- Places where nothing may wait: debug hooks and jit.attach handlers ---- */

void gr_lua_restore_nopark(const char **saved)
{
	if (!gr_lua.forked)
		gr_lua.nopark = *saved;
}

static struct {
	lua_Hook f;
	int mask, count;
} user_hook; /* what the script or a module of its has set */

static void (*peek)(lua_State *L);

static void hook(lua_State *L, lua_Debug *ar)
{
	const char *saved __attribute__((cleanup(gr_lua_restore_nopark))) = gr_lua.nopark;

	/* Hooks belong to the whole VM, so one that raises would break off what tells others of a thread's end. */
	if (gr_current->user_flags & GR_THREAD_ENDING)
		return;
	gr_lua.nopark = "in a debug hook";
	user_hook.f(L, ar);
}

static void set_user_hook(void)
{
	gr_lua.sethook(gr_lua.main, user_hook.f ? hook : NULL, user_hook.mask, user_hook.count);
}

static void peek_hook(lua_State *L, lua_Debug *ar)
{
	if (ar->event == LUA_HOOKCOUNT)
		peek(L);
	else if (user_hook.f)
		hook(L, ar);
}

void gr_lua_peek(void (*f)(lua_State *L))
{
	peek = f;
	gr_lua.sethook(gr_lua.main, peek_hook, user_hook.mask | LUA_MASKCOUNT, 1);
}

void gr_lua_unpeek(void)
{
	set_user_hook();
}

/* LuaJIT's own debug.sethook and C modules alike come here instead of to libluajit (see posix/export.list). */
int lua_sethook(lua_State *L, lua_Hook f, int mask, int count)
{
	if (gr_lua_elsewhere)
		return gr_lua.sethook(L, f, mask, count);
	user_hook.f = mask ? f : NULL;
	user_hook.mask = f ? mask : 0;
	user_hook.count = count;
	set_user_hook();
	return 1;
}

lua_Hook lua_gethook(lua_State *L)
{
	static lua_Hook (*next)(lua_State *);

	if (!gr_lua_elsewhere)
		return user_hook.f;
	if (next == NULL)
		next = (lua_Hook(*)(lua_State *))dlsym(RTLD_NEXT, "lua_gethook");
	return next(L);
}

static int l_attached(lua_State *L)
{
	const char *saved __attribute__((cleanup(gr_lua_restore_nopark))) = gr_lua.nopark;

	gr_lua.nopark = "in a jit.attach handler";
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 0);
	return 0;
}

/* Upvalues: LuaJIT's jit.attach; a weak table from handlers to what was attached in their place. */
static int l_attach(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_rawget(L, lua_upvalueindex(2));
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushvalue(L, 1);
		lua_pushcclosure(L, l_attached, 1);
		lua_pushvalue(L, 1);
		lua_pushvalue(L, -2);
		lua_rawset(L, lua_upvalueindex(2));
	}
	if (lua_isnil(L, 2)) {
		lua_call(L, 1, 0);
	} else {
		lua_pushvalue(L, 2);
		lua_call(L, 2, 0);
	}
	return 0;
}

static void replace_attach(lua_State *L)
{
	lua_getglobal(L, "jit");
	lua_getfield(L, -1, "attach");
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_pushcclosure(L, l_attach, 2);
	lua_setfield(L, -2, "attach");
	lua_pop(L, 1);
}

/* ---- Library functions that know about green threads ---- */

/* As LuaJIT's; besides it marks a thread whose identity got out, because its lua_State cannot serve another one. */
static int l_running(lua_State *L)
{
	if (lua_pushthread(L))
		lua_pushnil(L);
	if (gr_on_green() && L == gr_current->user)
		gr_current->user_flags |= GR_THREAD_IDENTITY;
	return 1;
}

static int l_exit(lua_State *L)
{
	if (lua_isboolean(L, 1))
		gr_lua.exit_status = lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
	else
		gr_lua.exit_status = (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
	gr_lua.exit_close = lua_toboolean(L, 2);
	gr_lua.exited = true;
	gr_lua.nopark = "while the process ends";
	/* Exit handlers run on the process's own stack. */
	gr_hub_stop();
	return 0;
}

static void set_function(lua_State *L, const char *library, const char *name, lua_CFunction f)
{
	lua_getglobal(L, library);
	lua_pushcfunction(L, f);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
}

/* libluajit takes this one for require "ffi" (see posix/export.list). */
int luaopen_ffi(lua_State *L)
{
	int (*next)(lua_State *) = (int (*)(lua_State *))dlsym(RTLD_NEXT, "luaopen_ffi");
	int n = next(L);

	if (gr_lua_elsewhere)
		return n;
	lua_getfield(L, -1, "sizeof");
	gr_lua.ffi_sizeof = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushliteral(L, "int");
	gr_lua.ffi_type = luaL_ref(L, LUA_REGISTRYINDEX);
	gr_lua.ffi_loaded = true;
	return n;
}

/* A finalizer is known by the collector standing still meanwhile (see luautil.c). One that collects by itself would make
 * it run again, so it is stopped at once; after the finalizer LuaJIT sets it as it was. */
int lua_gc(lua_State *L, int what, int data)
{
	bool runs = what == LUA_GCCOLLECT || what == LUA_GCSTEP || what == LUA_GCRESTART;
	bool ours = !gr_lua_elsewhere, finalizer = runs && ours && gr_lua_in_finalizer(L);
	int n = what == LUA_GCSETPAUSE && ours ? gr_heap_set_pause(L, data) : gr_lua.gc(L, what, data);

	if (finalizer)
		gr_lua.gc(L, LUA_GCSTOP, 0);
	return n;
}

/* ---- grun's own modules ---- */

/* Upvalues: what makes the module (a function, or an entry of gr_lualib); the module once made. Scripts that empty
 * package.loaded, as test frameworks do, must not get a second copy: the first one's threads and metatables live on. */
static int l_load_once(lua_State *L)
{
	const struct gr_lualib_entry *entry = lua_touserdata(L, lua_upvalueindex(1));

	if (lua_isnil(L, lua_upvalueindex(2))) {
		if (entry == NULL)
			lua_pushvalue(L, lua_upvalueindex(1));
		else if (luaL_loadbuffer(L, (const char *)entry->data, entry->size, entry->name) != 0)
			return lua_error(L);
		lua_pushvalue(L, 1);
		lua_call(L, 1, 1);
		lua_replace(L, lua_upvalueindex(2));
	}
	lua_pushvalue(L, lua_upvalueindex(2));
	return 1;
}

/* Stack: package.preload, what makes the module. */
static void set_module(lua_State *L, const char *name)
{
	lua_pushnil(L);
	lua_pushcclosure(L, l_load_once, 2);
	lua_setfield(L, -2, name);
}

/* Modules that are repaired when a script loads them; see lualib/grun/repair.lua. */
static const char *const repaired[] = {"cqueues", "socket.core", NULL};

static int l_load_repaired(lua_State *L)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "grun.repair");
	lua_call(L, 1, 1);
	lua_getfield(L, -1, "load");
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

static void set_modules(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	for (const struct gr_lualib_entry *module = gr_lualib; module->name; module++) {
		lua_pushlightuserdata(L, (void *)module);
		set_module(L, module->name);
	}
	lua_pushcfunction(L, luaopen_grun_core);
	set_module(L, "grun.core");
	lua_pushcfunction(L, luaopen_grun_core_net);
	set_module(L, "grun.core.net");
	lua_pushcfunction(L, luaopen_grun_core_httpc);
	set_module(L, "grun.core.httpc");
	lua_pushcfunction(L, luaopen_grun_core_httpd);
	set_module(L, "grun.core.httpd");
	lua_pushcfunction(L, luaopen_grun_core_httpfile);
	set_module(L, "grun.core.httpfile");
	lua_pushcfunction(L, luaopen_grun_core_httptext);
	set_module(L, "grun.core.httptext");
	lua_pushcfunction(L, luaopen_grun_core_multipart);
	set_module(L, "grun.core.multipart");
	lua_pushcfunction(L, luaopen_grun_core_websocket);
	set_module(L, "grun.core.websocket");
	lua_pushcfunction(L, luaopen_grun_core_dgram);
	set_module(L, "grun.core.dgram");
	lua_pushcfunction(L, luaopen_grun_core_process);
	set_module(L, "grun.core.process");
	lua_pushcfunction(L, luaopen_grun_core_fs);
	set_module(L, "grun.core.fs");
	lua_pushcfunction(L, luaopen_grun_core_offload);
	set_module(L, "grun.core.offload");
	lua_pushcfunction(L, luaopen_grun_core_signal);
	set_module(L, "grun.core.signal");
	lua_pushcfunction(L, luaopen_grun_core_watch);
	set_module(L, "grun.core.watch");
	lua_pushcfunction(L, luaopen_grun_core_worker);
	set_module(L, "grun.core.worker");
	lua_pushcfunction(L, luaopen_grun_core_dns);
	set_module(L, "grun.core.dns");
	lua_pushcfunction(L, luaopen_grun_core_tls);
	set_module(L, "grun.core.tls");
	lua_pushcfunction(L, luaopen_grun_core_zlib);
	set_module(L, "grun.core.zlib");
	lua_pushcfunction(L, luaopen_grun_core_edit);
	set_module(L, "grun.core.edit");
	lua_pushcfunction(L, luaopen_grun_core_coop);
	set_module(L, "grun.core.coop");
	lua_pushcfunction(L, luaopen_grun_core_inspect);
	set_module(L, "grun.core.inspect");
	lua_pushcfunction(L, luaopen_grun_core_terminal);
	set_module(L, "grun.core.terminal");
	lua_pushcfunction(L, luaopen_grun_core_control);
	set_module(L, "grun.core.control");
	lua_pushcfunction(L, luaopen_grun_core_log);
	set_module(L, "grun.core.log");
	lua_pushcfunction(L, luaopen_grun_core_loop);
	set_module(L, "grun.core.loop");
	lua_pushcfunction(L, luaopen_grun_core_profile);
	set_module(L, "grun.core.profile");
	for (int i = 0; repaired[i]; i++) {
		lua_pushcfunction(L, l_load_repaired);
		lua_setfield(L, -2, repaired[i]);
	}
	lua_pop(L, 2);
}

/* While developing: GRUN_LUALIB=lualib takes grun's Lua modules from the tree. */
static void set_modules_from(lua_State *L, const char *dir)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	for (const struct gr_lualib_entry *module = gr_lualib; module->name; module++) {
		lua_pushnil(L);
		lua_setfield(L, -2, module->name);
	}
	lua_getfield(L, -2, "path");
	lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
	lua_setfield(L, -4, "path");
	lua_pop(L, 3);
}

/* ---- Creation ---- */

/* Message handler below every thread: keeps the traceback, taken before unwinding, beside the error object. The objects
 * that cancel a thread or end a scope are no accidents and get none. */
static int l_traceback(lua_State *L)
{
	lua_settop(L, 1);
	if (luaL_getmetafield(L, 1, "__grun_signal") || !gr_on_green()) {
		if (!gr_on_green() && lua_isstring(L, 1))
			luaL_traceback(L, L, lua_tostring(L, 1), 1);
		lua_settop(L, gr_on_green() ? 1 : lua_gettop(L));
		return 1;
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_lua.threads);
	lua_rawgeti(L, -1, (int)gr_current->index + 1);
	if (!lua_istable(L, 3))
		return lua_settop(L, 1), 1;
	lua_getfield(L, 3, "_traced");
	/* A scope on the way here may have passed on an error that was traced where it was thrown. */
	if (lua_isnil(L, 4) || !lua_rawequal(L, 4, 1)) {
		luaL_traceback(L, L, NULL, 1);
		lua_setfield(L, 3, "traceback");
		lua_pushvalue(L, 1);
		lua_setfield(L, 3, "_traced");
	}
	lua_settop(L, 1);
	return 1;
}

static int new_table_ref(lua_State *L)
{
	lua_newtable(L);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* LuaJIT throws all compiled code away at 1000 traces or 512 KiB of it, which a server of some size outgrows: it would
 * compile, flush and compile again for ever. Only what is used is allocated; -Omaxtrace and -Omaxmcode still win. */
static void raise_jit_limits(lua_State *L)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "jit.opt");
	lua_call(L, 1, 1);
	lua_getfield(L, -1, "start");
	lua_pushliteral(L, "maxtrace=8000");
	lua_pushliteral(L, "maxmcode=16384");
	lua_call(L, 2, 0);
	lua_pop(L, 1);
}

static int l_setup(lua_State *L)
{
	const char *dir = getenv("GRUN_LUALIB");

	if (!*(bool *)lua_touserdata(L, 1)) {
		lua_pushboolean(L, 1);
		lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
	}
	luaL_openlibs(L);
	raise_jit_limits(L);
	gr_lua.threads = new_table_ref(L);
	gr_lua.states = new_table_ref(L);
	gr_lua.metatable = new_table_ref(L);
	gr_lua.noop = gr_lua_ref_function(L, l_noop);
	gr_lua.traceback = gr_lua_ref_function(L, l_traceback);
	gr_lua.hub = lua_newthread(L);
	luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushlightuserdata(L, (void *)gr_lua_wrap);
	luaJIT_setmode(L, -1, LUAJIT_MODE_WRAPCFUNC | LUAJIT_MODE_ON);
	set_function(L, "coroutine", "running", l_running);
	set_function(L, "os", "exit", l_exit);
	replace_attach(L);
	gr_heap_init(L);
	gr_require_init(L);
	gr_io_open(L);
	set_modules(L);
	if (dir)
		set_modules_from(L, dir);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "grun");
	lua_call(L, 1, 1);
	lua_setglobal(L, "grun");
	return 0;
}

lua_State *gr_state_new(bool environment)
{
	lua_State *L;

	gr_place_init();
	L = luaL_newstate();
	if (L == NULL)
		return NULL;
	memset(&gr_lua, 0, sizeof(gr_lua));
	gr_lua.gc = (int (*)(lua_State *, int, int))dlsym(RTLD_NEXT, "lua_gc");
	gr_lua.sethook = (int (*)(lua_State *, lua_Hook, int, int))dlsym(RTLD_NEXT, "lua_sethook");
	gr_lua.main = L;
	lua_pushcfunction(L, l_setup);
	lua_pushlightuserdata(L, &environment);
	if (lua_pcall(L, 1, 0, 0) != 0) {
		gr_log(GR_LOG_ERROR, "%s", lua_tostring(L, -1));
		lua_close(L);
		return NULL;
	}
	gr_hub.on_release = gr_thread_release;
	gr_hub.spawn_site = gr_thread_site;
	gr_hub.may_wait = gr_lua_may_wait;
	gr_lua_hibernate_init();
	return L;
}

void gr_state_close(void)
{
	gr_lua.nopark = "while the process ends";
	gr_lua.closing = true;
	lua_close(gr_lua.main);
	gr_lua.main = NULL;
}
