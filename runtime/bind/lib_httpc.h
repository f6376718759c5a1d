/* SPDX-License-Identifier: MIT */
/* HTTP clients for Lua: grun.core.httpc, the thin layer between lualib/grun/http/client.lua and the parsers. */
#ifndef GR_BIND_LIB_HTTPC_H
#define GR_BIND_LIB_HTTPC_H

#include <lauxlib.h>
#include <lua.h>

enum {
	GR_HTTPC_INTERIM = 20, /* 1xx responses before the final one */
};

int luaopen_grun_core_httpc(lua_State *L);

/* Functions of the module: what happens while a body is being sent (lib_httpc_send.c). */
extern const luaL_Reg gr_httpc_sending[];

#endif
