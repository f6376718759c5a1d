/* SPDX-License-Identifier: MIT */
/* WebSockets for Lua: grun.core.websocket. */
#ifndef GR_BIND_LIB_WEBSOCKET_H
#define GR_BIND_LIB_WEBSOCKET_H

#include <lauxlib.h>
#include <lua.h>

int luaopen_grun_core_websocket(lua_State *L);

/* ---- Handshakes (lib_websocket_open.c) ---- */

/* request(req) */
int gr_ws_l_request(lua_State *L);

/* connect(conn, host, target, fields, seconds) */
int gr_ws_l_connect(lua_State *L);

#endif
