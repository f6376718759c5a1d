/* SPDX-License-Identifier: MIT */
/* Looking at threads and at the process: grun.core.inspect, under lualib/grun/inspect.lua and stats.lua. */
#ifndef GR_BIND_LIB_INSPECT_H
#define GR_BIND_LIB_INSPECT_H

#include <lua.h>

int luaopen_grun_core_inspect(lua_State *L);

#endif
