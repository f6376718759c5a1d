/* SPDX-License-Identifier: MIT */
/* The Lua functions on a stack in words, without allocating anything. */
#ifndef GR_BIND_LUAFRAMES_H
#define GR_BIND_LUAFRAMES_H

#include <lua.h>
#include <stddef.h>

/* Writes "\n\tfile.lua:12: in function 'name'" for each function, innermost first, at most `levels`. Returns the length.
 * Async-signal-safe where the VM is at rest. */
size_t gr_lua_frames(lua_State *L, int levels, char *text, size_t size);

#endif
