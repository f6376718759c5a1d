/* SPDX-License-Identifier: MIT */
/* Lua's require, for threads. */
#ifndef GR_BIND_LIB_REQUIRE_H
#define GR_BIND_LIB_REQUIRE_H

#include <lua.h>

/* Puts it in place of the global function. */
void gr_require_init(lua_State *L);

#endif
