/* SPDX-License-Identifier: MIT */
/* The sampling profiler for Lua: grun.core.profile. */
#ifndef GR_BIND_LIB_PROFILE_H
#define GR_BIND_LIB_PROFILE_H

#include <lua.h>

int luaopen_grun_core_profile(lua_State *L);

/* Samples from now on, every so many milliseconds of processor time; gr_profile_finish writes to the file of that name, in
 * which %p stands for the process's id (children of this process without %p, and workers: "<path>.<id>"). NULL: to no file.
 * Returns 0; -EALREADY if it runs already; another negative errno when that file cannot be written. */
int gr_profile_start(int interval, const char *path);

/* The process is at its end: writes what was sampled, if a file was named. */
void gr_profile_finish(void);

#endif
