/* SPDX-License-Identifier: MIT */
/* TLS for Lua: grun.core.tls, under lualib/grun/tls.lua. */
#ifndef GR_BIND_LIB_TLS_H
#define GR_BIND_LIB_TLS_H

#include <lua.h>

#include "net/tls.h"

int luaopen_grun_core_tls(lua_State *L);

/* The context at idx, or NULL if it is none. */
struct gr_tls_context *gr_tls_to_context(lua_State *L, int idx);

#endif
