/* SPDX-License-Identifier: MIT */
/* Reading lines at a prompt: the primitives under lualib/grun/repl.lua. */
#ifndef GR_BIND_LIB_EDIT_H
#define GR_BIND_LIB_EDIT_H

#include <lua.h>

int luaopen_grun_core_edit(lua_State *L);

#endif
