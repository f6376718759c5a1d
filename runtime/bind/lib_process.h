/* SPDX-License-Identifier: MIT */
/* Child processes for Lua: grun.core.process (lib_process.c) and its spawn (lib_spawn.c). */
#ifndef GR_BIND_LIB_PROCESS_H
#define GR_BIND_LIB_PROCESS_H

#include <lua.h>

int luaopen_grun_core_process(lua_State *L);

/* The userdata of a process; its environment table holds pid, stdin, stdout, stderr and command. */
struct gr_lua_process {
	struct gr_process *process; /* NULL until it runs */
};

/* spawn(how [, level]) -> process, or nil, message, code. Level as for error(). Upvalue: the metatable of processes. */
int gr_lua_spawn(lua_State *L);

/* adopt(pid) -> process, or nil, message, code: a child that something else has started. The same upvalue. */
int gr_lua_adopt(lua_State *L);

#endif
