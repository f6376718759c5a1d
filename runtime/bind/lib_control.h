/* SPDX-License-Identifier: MIT */
/* The control socket's part in C: grun.core.control, under lualib/grun/control.lua. */
#ifndef GR_BIND_LIB_CONTROL_H
#define GR_BIND_LIB_CONTROL_H

#include <lua.h>

int luaopen_grun_core_control(lua_State *L);

/* Makes the process listen, through the hook "control", and count its threads' processor time once it has lived for a
 * while: short scripts pay nothing. */
void gr_control_start_later(void);

/* Removes the socket's path, if this very process made it. At the end of the process. */
void gr_control_remove(void);

#endif
