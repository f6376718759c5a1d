/* SPDX-License-Identifier: MIT */
/* Threads for Lua: the primitives under lualib/grun/thread.lua.
 *
 * A thread's handle is a Lua table whose first slots thread_life.c fills, small enough for one allocation:
 *   [1] light userdata of the green thread; false once it ended
 *   [2] id   [3] function that spawned it (or false)   [4] line there
 *   [5] once ended: the number of results (nil: none), or "failed", or "cancelled"   [6]… results, or the error
 * Lua adds: traceback, _cancel (its cancel object), _scope (innermost deadline), _watchers, and what the user sets. */
#ifndef GR_BIND_LIB_THREAD_H
#define GR_BIND_LIB_THREAD_H

#include <lua.h>
#include <stdbool.h>

struct gr_green;

enum gr_thread_flags {
	GR_THREAD_WATCHED = 1,  /* Lua wants to be told of the end */
	GR_THREAD_IDENTITY = 2, /* the script holds this lua_State itself: it is not used again */
	GR_THREAD_MAIN = 4,     /* runs on the state's main thread */
	GR_THREAD_ENDING = 8,   /* its body has ended, others are being told: no debug hooks */
};

int luaopen_grun_core(lua_State *L);

/* Raises the current thread's cancel object (GR_CANCELED) or deadline object (GR_DEADLINE). */
int gr_thread_raise(lua_State *L, int rc);

/* The lua_State to look at for where a thread stands, or NULL for the running one and one that has not begun. Every look at a
 * parked thread's stacks, Lua's or C's, begins with this call. */
lua_State *gr_thread_look(struct gr_green *g);

/* Calls grun.core's hook of that name ("deadlock", "signal") with one string argument, in the hub; returns what it
 * returned as a boolean; errors are reported on stderr. */
int gr_thread_call_hook(const char *name, const char *argument);

#endif
