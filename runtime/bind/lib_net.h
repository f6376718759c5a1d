/* SPDX-License-Identifier: MIT */
/* Sockets for Lua: grun.core.net (lib_net.c) and its connections (lib_conn.c). */
#ifndef GR_BIND_LIB_NET_H
#define GR_BIND_LIB_NET_H

#include <lauxlib.h>
#include <lua.h>

#include "net/stream.h"

int luaopen_grun_core_net(lua_State *L);

/* Makes the metatable of connections; luaopen_grun_core_net calls it first. */
void gr_conn_init(lua_State *L);

/* The userdata of a connection. */
struct gr_conn {
	const char *class; /* gr_conn_class: tells it from other userdata of this size */
	struct gr_stream stream;
};

extern const char gr_conn_class[];

int gr_conn_bad_self(lua_State *L);

/* The stream of the connection at index 1; raises if it is none. */
static inline struct gr_stream *gr_conn_check(lua_State *L)
{
	struct gr_conn *c = lua_touserdata(L, 1);

	if (c == NULL || lua_objlen(L, 1) != sizeof(*c) || c->class != gr_conn_class)
		gr_conn_bad_self(L);
	return &c->stream;
}

/* Pushes a new, closed connection. Collecting it closes it. */
struct gr_stream *gr_conn_new(lua_State *L);

/* The methods that read (lib_conn_read.c) and write (lib_conn_write.c). */
extern const luaL_Reg gr_conn_read_methods[], gr_conn_write_methods[];

/* Adds functions to the table on top of the stack, with the value at `metatable` as their first upvalue. */
void gr_net_set_functions(lua_State *L, const luaL_Reg *f, int metatable);

/* Creates the registry's metatable `name`: `methods` become its __index and `meta` its own fields, all with it as their
 * first upvalue. `label` is what people read. Pushes it. */
void gr_net_new_class(lua_State *L, const char *name, const char *label, const luaL_Reg *methods, const luaL_Reg *meta);

/* Returns the userdata at index 1 if it is of the class of the running function; raises otherwise. */
void *gr_net_check_self(lua_State *L, const char *label);

/* Pushes nil, the message and the code of rc; returns 3. */
int gr_net_fail_text(lua_State *L, int rc, const char *message);

/* Pushes a URL or an address with "***" for its password. */
void gr_net_push_masked(lua_State *L, const char *text, size_t len);

/* The same of an address that is bad, and why. */
int gr_net_fail_address(lua_State *L, const char *text, size_t len, const char *why);

/* The methods getoption (name at index 2) and setoption (name, value) of a socket with this descriptor, -1 = closed. */
int gr_net_getoption(lua_State *L, int fd);
int gr_net_setoption(lua_State *L, int fd);

/* Of the methods that grun.wait and grun.select call: 0 = "r", also when the argument at index 2 is the waiter that
 * lualib/grun/wait.lua passes to every kind of object; 1 = "w". */
int gr_net_check_direction(lua_State *L);

/* For a table of options as argument idx with the value of option `name` at the top of the stack: raises; or returns
 * permissions, which are a number or, since Lua has no octal numbers, octal digits in a string. */
void gr_net_bad_option(lua_State *L, int idx, const char *name, const char *wanted);
int gr_net_check_mode(lua_State *L, int idx, const char *name);

/* Pushes an address as text. */
void gr_net_push_addr(lua_State *L, const struct gr_addr *addr);

#endif
