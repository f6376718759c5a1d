/* SPDX-License-Identifier: MIT */
/* Child processes for Lua: grun.core.process, on which lualib/grun/process.lua stands. */
#ifndef GR_BIND_LIB_PROCESS_H
#define GR_BIND_LIB_PROCESS_H

#include <lua.h>

int luaopen_grun_core_process(lua_State *L);

/* The number of the signal at idx, a name or a number; raises if there is none. */
int gr_lua_check_signal(lua_State *L, int idx);

#endif
