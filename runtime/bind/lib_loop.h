/* SPDX-License-Identifier: MIT */
/* The loop for Lua: the watchdog and the order of ready threads: grun.core.loop. */
#ifndef GR_BIND_LIB_LOOP_H
#define GR_BIND_LIB_LOOP_H

#include <lua.h>
#include <stdint.h>

int luaopen_grun_core_loop(lua_State *L);

/* As gr_watchdog_set, with the reports naming lines of Lua. */
void gr_loop_watch(uint32_t ms);

#endif
