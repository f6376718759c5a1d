/* SPDX-License-Identifier: MIT */
/* Datagram sockets for Lua: grun.core.dgram (lib_dgram.c), how they send and receive (lib_dgram_io.c) and the
 * addresses of those they talk to (lib_peer.c). */
#ifndef GR_BIND_LIB_DGRAM_H
#define GR_BIND_LIB_DGRAM_H

#include <lauxlib.h>
#include <lua.h>

#include "net/dgram.h"

int luaopen_grun_core_dgram(lua_State *L);

/* The socket at index 1; raises if it is none, or if a method of another class is called. */
struct gr_dgram *gr_dgram_check(lua_State *L);

/* The methods that send and receive. */
extern const luaL_Reg gr_dgram_io_methods[];

/* The address of an inet host or a unix path as arguments from idx on: host and port, or path. Pushes the failure
 * and returns its count, or returns 0. A name is looked up until the time given, which parks. */
int gr_dgram_check_address(lua_State *L, int idx, struct gr_dgram *d, double until, struct gr_addr *out);

/* Makes the metatable of peers. */
void gr_peer_init(lua_State *L);

/* Pushes the peer of that address, always the same object while anybody has it. */
void gr_peer_push(lua_State *L, const struct gr_addr *addr);

/* The address of the peer at idx, which stays while the peer does; NULL if it is none. Only addr->len bytes are
 * there. */
const struct gr_addr *gr_peer_test(lua_State *L, int idx);

/* Pushes the address as text. */
void gr_peer_push_text(lua_State *L, const struct gr_addr *addr);

#endif
