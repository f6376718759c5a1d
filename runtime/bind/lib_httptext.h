/* SPDX-License-Identifier: MIT */
/* grun.core.httptext: the small formats of HTTP for Lua. */
#ifndef GR_BIND_LIB_HTTPTEXT_H
#define GR_BIND_LIB_HTTPTEXT_H

#include <lua.h>

int luaopen_grun_core_httptext(lua_State *L);

#endif
