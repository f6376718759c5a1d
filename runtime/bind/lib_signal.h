/* SPDX-License-Identifier: MIT */
/* Signals for Lua: grun.core.signal. */
#ifndef GR_BIND_LIB_SIGNAL_H
#define GR_BIND_LIB_SIGNAL_H

#include <lua.h>

int luaopen_grun_core_signal(lua_State *L);

#endif
