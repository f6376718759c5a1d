/* SPDX-License-Identifier: MIT */
/* Hibernation for Lua, and what Lua means for it. */
#ifndef GR_BIND_LIB_HIBERNATE_H
#define GR_BIND_LIB_HIBERNATE_H

#include <lua.h>

/* hibernate_after([seconds]) -> seconds before; of grun.core. */
int gr_lua_hibernate_after(lua_State *L);

/* hibernated() -> table of figures; of grun.core. */
int gr_lua_hibernated(lua_State *L);

/* Sets up what the core asks, and the time that the environment gives. Once gr_lua is filled. */
void gr_lua_hibernate_init(void);

#endif
