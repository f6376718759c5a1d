/* SPDX-License-Identifier: MIT */
/* The log for Lua: grun.core.log. */
#ifndef GR_BIND_LIB_LOG_H
#define GR_BIND_LIB_LOG_H

#include <lua.h>

int luaopen_grun_core_log(lua_State *L);

#endif
