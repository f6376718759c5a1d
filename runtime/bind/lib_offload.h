/* SPDX-License-Identifier: MIT */
/* Lua code on other OS threads: grun.core.offload. */
#ifndef GR_BIND_LIB_OFFLOAD_H
#define GR_BIND_LIB_OFFLOAD_H

#include <lua.h>

int luaopen_grun_core_offload(lua_State *L);

#endif
