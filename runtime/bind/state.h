/* SPDX-License-Identifier: MIT */
/* The Lua state of the process and what has to be changed in LuaJIT so that C stacks may be switched below it. */
#ifndef GR_BIND_STATE_H
#define GR_BIND_STATE_H

#include <stdbool.h>

#include <lua.h>

/* Values anchored in the registry, made once by gr_state_new. */
struct gr_lua {
	lua_State *main; /* the state's main thread: runs the first script, so that coroutine.running() is nil there */
	lua_State *hub;  /* for Lua that runs in the hub */
	int threads;     /* registry reference: [index + 1] = handle of the thread */
	int states;      /* registry reference: [index + 1] = its lua_State */
	int core;        /* registry reference: the table grun.core */
	int noop;        /* registry reference: a C function that does nothing */
	int traceback;   /* registry reference: the message handler below every thread */
	int metatable;   /* registry reference: of thread handles; filled by lualib/grun/thread.lua */
	int ffi_sizeof;  /* registry reference: ffi.sizeof, which makes the FFI remember the calling lua_State */
	int ffi_type;    /* registry reference: an argument for it */
	int exit_status; /* of the process */
	bool exited;     /* os.exit was called … */
	bool exit_close; /* … and wants the state closed */
	bool closing;    /* it is being closed */
	const char *nopark;                          /* why nothing may wait now, or NULL */
	int (*gc)(lua_State *L, int what, int data); /* libluajit's lua_gc, which ours stands in front of */
	int (*sethook)(lua_State *L, lua_Hook f, int mask, int count); /* the same of lua_sethook */
	bool ffi_loaded;
	bool forked;     /* this is a child that a C module forked: nothing waits ever again */
};

extern struct gr_lua gr_lua;

/* True on OS threads that run other Lua states: nothing here is theirs. */
extern __thread bool gr_lua_elsewhere;

/* Creates the state with all libraries, grun's module loader and the repairs. Returns NULL when out of memory.
 * `environment` false: the LUA_PATH and LUA_CPATH variables are not looked at. */
lua_State *gr_state_new(bool environment);

/* Closes it; nothing may wait any more. */
void gr_state_close(void);

/* The wrapper around every C function that LuaJIT calls, see state.c. */
int gr_lua_wrap(lua_State *L, lua_CFunction f);

/* Calls f, async-signal-safe, with the next line of Lua that is interpreted, besides what hook the script has set; until
 * gr_lua_unpeek is called, in f or later. */
void gr_lua_peek(void (*f)(lua_State *L));
void gr_lua_unpeek(void);

/* For __attribute__((cleanup)) on a copy of gr_lua.nopark. */
void gr_lua_restore_nopark(const char **saved);

#endif
