/* SPDX-License-Identifier: MIT */
/* grun.core.multipart: a scanner for multipart/form-data. */
#ifndef GR_BIND_LIB_MULTIPART_H
#define GR_BIND_LIB_MULTIPART_H

#include <lua.h>

int luaopen_grun_core_multipart(lua_State *L);

#endif
