/* SPDX-License-Identifier: MIT */
/* At which places of Lua and C an interposed call of libc may park. */
#ifndef GR_BIND_PLACE_H
#define GR_BIND_PLACE_H

/* Finds libluajit's functions and answers posix/coop's questions from now on. Before the first lua_State is made. */
void gr_place_init(void);

#endif
