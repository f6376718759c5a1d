/* SPDX-License-Identifier: MIT */
/* What all bindings share: the two ways to return, and the question whether a call may wait. */
#ifndef GR_BIND_LUAUTIL_H
#define GR_BIND_LUAUTIL_H

#include <lauxlib.h>
#include <lua.h>

/* Ends a call that failed with rc (< 0): pushes nil, message, code and returns 3. For GR_CANCELED and GR_DEADLINE it
 * raises the thread's cancel or timeout object and does not return. */
int gr_lua_fail(lua_State *L, int rc);

/* The same with a message "<text>: <reason>", except that "timeout" and "closed" stay exactly so. */
int gr_lua_failf(lua_State *L, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Registry references to a new C function and to a string. */
int gr_lua_ref_function(lua_State *L, lua_CFunction f);
int gr_lua_ref_string(lua_State *L, const char *text);

/* First thing in every function that may park. Returns 0: go on (remembers L for reports). Returns 3: this is a
 * finalizer; nil, message, "misuse" are pushed, return them. Raises in a debug hook, in a jit.attach handler, outside a
 * thread, and when the thread is cancelled or past a deadline. */
int gr_lua_enter_wait(lua_State *L);

/* The same for functions that often need not wait: whether the place allows waiting is only looked at when they do. Such a
 * wait then fails with GR_MISUSE, and gr_lua_fail says why. */
int gr_lua_enter_try(lua_State *L);

/* The same for functions that must do their work also when the thread is cancelled: its waits fail then. */
void gr_lua_enter_always(lua_State *L);

/* For gr_hub.may_wait. */
int gr_lua_may_wait(void);

/* The optional timeout argument at idx, as a time for wait.h: nil = INFINITY; raises on negative numbers and NaN. */
double gr_lua_opt_until(lua_State *L, int idx);

/* True in a finalizer (__gc), where nothing may wait and nothing may raise. */
int gr_lua_in_finalizer(lua_State *L);

#endif
