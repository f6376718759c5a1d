/* SPDX-License-Identifier: MIT */
/* How a thread of Lua's begins and ends: its handle (described in lib_thread.h), its lua_State, what others are told. */
#ifndef GR_BIND_THREAD_LIFE_H
#define GR_BIND_THREAD_LIFE_H

#include <lua.h>
#include <stdbool.h>

struct gr_green;

/* Before the first thread. */
void gr_thread_life_init(lua_State *L);

/* Makes a thread of the function and arguments on the stack, and leaves its handle on top; the function of that level is
 * its spawner. The upvalues with these numbers are the tables of handles and their metatable. It is not started yet.
 * Raises at the limit of threads and out of memory. */
struct gr_green *gr_thread_new(lua_State *L, int level, int threads, int metatable);

/* Pushes what lies below every thread's handle; for the main lua_State. */
void gr_thread_push_base(lua_State *L);

/* True if L is the lua_State that some thread began with, ended ones kept for reuse included. */
bool gr_thread_owns(lua_State *L);

/* Where the thread was spawned, for gr_hub.spawn_site. */
const char *gr_thread_site(const struct gr_green *g, int *line);

/* Drops what the binding keeps for a thread whose stack goes back; for gr_hub.on_release. */
void gr_thread_release(struct gr_green *g);

/* Spawns what lies on the main lua_State (what gr_thread_push_base pushed, function, arguments…) as a thread that runs on that state
 * itself. Returns 0 or a negative errno. */
int gr_thread_spawn_main(void);

#endif
