/* SPDX-License-Identifier: MIT */
/* grun.core.httpfile: files to be served, never outside their root. */
#ifndef GR_BIND_LIB_HTTPFILE_H
#define GR_BIND_LIB_HTTPFILE_H

#include <lua.h>

int luaopen_grun_core_httpfile(lua_State *L);

/* The descriptor of the open file at idx; raises if it is none. */
int gr_httpfile_check(lua_State *L, int idx);

#endif
