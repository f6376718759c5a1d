/* SPDX-License-Identifier: MIT */
/* Files for Lua: grun.core.fs. */
#ifndef GR_BIND_LIB_FS_H
#define GR_BIND_LIB_FS_H

#include <lua.h>

int luaopen_grun_core_fs(lua_State *L);

#endif
