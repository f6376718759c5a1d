/* SPDX-License-Identifier: MIT */
/* Where an interposed call of libc may park: not below compiled code, not in finalizers, hooks or on a borrowed lua_State. */
#define _GNU_SOURCE
#include "bind/place.h"

#include <dlfcn.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <unwind.h>

#include "bind/lib_coop.h"
#include "bind/lib_thread.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "bind/thread_life.h"
#include "core/green.h"
#include "posix/coop.h"

/* libluajit's functions that ours stand in front of. */
static struct {
	void (*call)(lua_State *, int, int);
	int (*pcall)(lua_State *, int, int, int);
	int (*resume)(lua_State *, int);
} luajit;

/* ---- The C stack ----
 *
 * Switching stacks below machine code that LuaJIT has compiled, or while it records a trace, corrupts the VM. Without the FFI
 * no C function but ours and wrapped ones is ever called. With it the C stack tells: a call may park if the wrapper's frame
 * comes before any of libluajit and of code that belongs to no file. */

struct walk {
	bool inside;  /* in libluajit's frames, which only coop.wrap's function makes good */
	bool may_park;
};

static struct dl_find_object luajit_text;

static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *context, void *data)
{
	struct walk *walk = data;
	uintptr_t function = _Unwind_GetRegionStart(context);
	struct dl_find_object object;
	void *pc = (void *)_Unwind_GetIP(context);

	if (function == (walk->inside ? (uintptr_t)gr_coop_call_ffi : (uintptr_t)gr_lua_wrap)) {
		walk->may_park = true;
		return _URC_END_OF_STACK;
	}
	if (_dl_find_object(pc, &object) != 0)
		return _URC_END_OF_STACK;
	/* Ours, between gr_coop_call_ffi and libluajit's. */
	if (walk->inside && function == (uintptr_t)lua_call)
		return _URC_NO_REASON;
	if (object.dlfo_map_start == luajit_text.dlfo_map_start)
		walk->inside = true;
	else if (walk->inside)
		return _URC_END_OF_STACK;
	return _URC_NO_REASON;
}

static bool below_wrapper(void)
{
	struct walk walk = {false, false};

	if (luajit_text.dlfo_map_start == NULL && _dl_find_object((void *)lua_newthread, &luajit_text) != 0)
		return false;
	_Unwind_Backtrace(look_at_frame, &walk);
	return walk.may_park;
}

static const char *refuse(void)
{
	if (gr_lua.nopark)
		return gr_lua.nopark;
	if (gr_lua.ffi_loaded && !below_wrapper())
		return "in a call of the FFI";
	return gr_lua_in_finalizer(gr_current->wait_user) ? "in a finalizer" : NULL;
}

/* The line of Lua that called the C function below which the current thread is. Nothing can be told on a trace. */
static bool site(char *text, size_t size)
{
	lua_State *L = gr_current->wait_user;
	lua_Debug ar;

	if (gr_lua.ffi_loaded && !below_wrapper())
		return false;
	for (int level = 0; lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar); level++) {
		if (ar.currentline > 0) {
			snprintf(text, size, "%s:%d", ar.short_src, ar.currentline);
			return true;
		}
	}
	return false;
}

static void on_fork(void)
{
	gr_lua.forked = true;
	gr_lua.nopark = "in a forked process";
}

/* ---- Lua entered on another thread's lua_State ----
 *
 * A module that keeps the lua_State of its luaopen function (luv does) calls back there, on the stack of whoever runs. If that
 * parked, two stacks would use one lua_State. */

static bool is_other(lua_State *L)
{
	if (!gr_coop_on || L == gr_current->user || !gr_on_green())
		return false;
	return L == gr_lua.main || gr_thread_owns(L);
}

/* Mostly the lua_State is that of the innermost C function. */
static inline bool is_foreign(lua_State *L)
{
	return __builtin_expect(L != gr_current->wait_user, 0) && is_other(L);
}

static const char foreign[] = "on the lua_State of another thread";

static void call_foreign(lua_State *L, int nargs, int nresults)
{
	const char *saved __attribute__((cleanup(gr_lua_restore_nopark))) = gr_lua.nopark;

	gr_lua.nopark = foreign;
	luajit.call(L, nargs, nresults);
}

static int pcall_foreign(lua_State *L, int nargs, int nresults, int errfunc)
{
	const char *saved __attribute__((cleanup(gr_lua_restore_nopark))) = gr_lua.nopark;

	gr_lua.nopark = foreign;
	return luajit.pcall(L, nargs, nresults, errfunc);
}

static int resume_foreign(lua_State *L, int nargs)
{
	const char *saved __attribute__((cleanup(gr_lua_restore_nopark))) = gr_lua.nopark;

	gr_lua.nopark = foreign;
	return luajit.resume(L, nargs);
}

void lua_call(lua_State *L, int nargs, int nresults)
{
	if (is_foreign(L))
		call_foreign(L, nargs, nresults);
	else
		luajit.call(L, nargs, nresults);
}

int lua_pcall(lua_State *L, int nargs, int nresults, int errfunc)
{
	if (is_foreign(L))
		return pcall_foreign(L, nargs, nresults, errfunc);
	return luajit.pcall(L, nargs, nresults, errfunc);
}

int lua_resume(lua_State *L, int nargs)
{
	return is_foreign(L) ? resume_foreign(L, nargs) : luajit.resume(L, nargs);
}

void gr_place_init(void)
{
	luajit.call = (void (*)(lua_State *, int, int))dlsym(RTLD_NEXT, "lua_call");
	luajit.pcall = (int (*)(lua_State *, int, int, int))dlsym(RTLD_NEXT, "lua_pcall");
	luajit.resume = (int (*)(lua_State *, int))dlsym(RTLD_NEXT, "lua_resume");
	gr_coop.refuse = refuse;
	gr_coop.site = site;
	gr_coop.on_fork = on_fork;
}
