/* SPDX-License-Identifier: MIT */
/* A terminal whose screen a program has to itself: grun.core.terminal, for grun top. */
#ifndef GR_BIND_LIB_TERMINAL_H
#define GR_BIND_LIB_TERMINAL_H

#include <lua.h>

int luaopen_grun_core_terminal(lua_State *L);

#endif
