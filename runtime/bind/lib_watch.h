/* SPDX-License-Identifier: MIT */
/* inotify for Lua: grun.core.watch. */
#ifndef GR_BIND_LIB_WATCH_H
#define GR_BIND_LIB_WATCH_H

#include <lua.h>

int luaopen_grun_core_watch(lua_State *L);

#endif
