/* SPDX-License-Identifier: MIT */
/* grun.core.coop: what lualib/grun/coop.lua is made of. */
#ifndef GR_BIND_LIB_COOP_H
#define GR_BIND_LIB_COOP_H

#include <lua.h>

int luaopen_grun_core_coop(lua_State *L);

/* A C function around an FFI function (upvalue 1): nothing compiled is below it, so what it calls may park. */
int gr_coop_call_ffi(lua_State *L);

#endif
