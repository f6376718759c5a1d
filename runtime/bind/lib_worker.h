/* SPDX-License-Identifier: MIT */
/* Worker processes for Lua: grun.core.worker. */
#ifndef GR_BIND_LIB_WORKER_H
#define GR_BIND_LIB_WORKER_H

#include <lua.h>

int luaopen_grun_core_worker(lua_State *L);

#endif
