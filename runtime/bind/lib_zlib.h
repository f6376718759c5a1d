/* SPDX-License-Identifier: MIT */
/* Compression for Lua: grun.core.zlib. */
#ifndef GR_BIND_LIB_ZLIB_H
#define GR_BIND_LIB_ZLIB_H

#include <lua.h>

/* Loads libz, which costs start-up nothing that way; raises when it is not there. The module has two functions:
 *
 * deflate([level [, format]]) -> object    level 0-9 (default 6), format "gzip" (default), "zlib" or "raw"
 *   object:push(data [, "flush"|"finish"]) -> bytes, maybe none. "flush": the receiver can read all that was pushed;
 *   "finish": the end, after which push raises.
 * inflate([format [, max]]) -> object      format "auto" (default: gzip or zlib), "gzip", "zlib" or "raw"
 *   object:push(data [, "finish"]) -> bytes | nil, message, code. "too_large": more than `max` bytes in total would come
 *   out (default: no limit); "protocol": no such data, or it does not end with "finish". An error is for good.
 *   gzip data may have several members.
 * object:close() gives the memory back at once; the collector does it too. Nothing of this parks. */
int luaopen_grun_core_zlib(lua_State *L);

#endif
