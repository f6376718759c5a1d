/* SPDX-License-Identifier: MIT */
/* Threads for Lua: the primitives under lualib/grun/thread.lua.
 *
 * A thread's handle is a Lua table whose first slots this file fills, small enough for one allocation:
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

/* Pushes what lies below every thread's handle; for the main lua_State. */
void gr_thread_push_base(lua_State *L);

/* True if L is the lua_State that some thread began with, ended ones kept for reuse included. */
bool gr_thread_owns(lua_State *L);

/* The lua_State to look at for where a thread stands, or NULL for the running one and one that has not begun. Every look at a
 * parked thread's stacks, Lua's or C's, begins with this call. */
lua_State *gr_thread_look(struct gr_green *g);

/* Where the thread was spawned, for gr_hub.spawn_site. */
const char *gr_thread_site(const struct gr_green *g, int *line);

/* Drops what the binding keeps for a thread whose stack goes back; for gr_hub.on_release. */
void gr_thread_release(struct gr_green *g);

/* Spawns what lies on the main lua_State (what gr_thread_push_base pushed, function, arguments…) as a thread that runs on that state
 * itself. Returns 0 or a negative errno. */
int gr_thread_spawn_main(void);

/* Calls grun.core's hook of that name ("deadlock", "signal") with one string argument, in the hub; returns what it
 * returned as a boolean; errors are reported on stderr. */
int gr_thread_call_hook(const char *name, const char *argument);

#endif
