/* SPDX-License-Identifier: MIT */
/* Lua's require, for threads: who asks for a module that another thread is loading waits until it is loaded. */
#include "bind/lib_require.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bind/luautil.h"
#include "core/wait.h"

/* A thread that loads a module, or waits for it. In the heap; the name belongs to a string on the thread's Lua stack. */
struct user {
	struct user *next;
	struct gr_green *green;
	const char *name;
};

static struct user *loading, *waiting;

/* In package.loaded while the module's loader runs, and when it has failed. */
static char sentinel;

static struct user *enter(struct user **list, const char *name)
{
	struct user *u = malloc(sizeof(*u));

	if (u) {
		*u = (struct user){.next = *list, .green = gr_current, .name = name};
		*list = u;
	}
	return u;
}

static void leave(struct user **list, struct user *u)
{
	while (*list && *list != u)
		list = &(*list)->next;
	if (*list)
		*list = u->next;
	free(u);
}

static struct gr_green *loader_of(const char *name)
{
	const struct user *u = loading;

	while (u && strcmp(u->name, name) != 0)
		u = u->next;
	return u ? u->green : NULL;
}

static const char *awaited_by(const struct gr_green *green)
{
	const struct user *u = waiting;

	while (u && u->green != green)
		u = u->next;
	return u ? u->name : NULL;
}

/* True if another thread loads the module, and does not itself wait for us. */
static bool is_coming(const char *name)
{
	const struct gr_green *green = loader_of(name);
	bool coming = green != NULL;

	while (green && green != gr_current) {
		name = awaited_by(green);
		green = name ? loader_of(name) : NULL;
	}
	return coming && green == NULL;
}

static int await(const char *name)
{
	struct user *self = enter(&waiting, name);
	int rc;

	if (self == NULL)
		return -ENOMEM;
	rc = gr_wait(INFINITY, "require");
	leave(&waiting, self);
	return rc;
}

/* Also when the loader fails. */
static void loaded(struct user **self)
{
	for (const struct user *w = waiting; w && *self; w = w->next)
		if (strcmp(w->name, (*self)->name) == 0)
			gr_wake(w->green, 0);
	if (*self)
		leave(&loading, *self);
}

/* Pushes the loader that one of package.loaders finds; raises when none does. */
static void find_loader(lua_State *L, const char *name)
{
	int loaders, reasons;

	lua_getfield(L, lua_upvalueindex(1), "loaders");
	if (!lua_istable(L, -1))
		luaL_error(L, "'package.loaders' must be a table");
	loaders = lua_gettop(L);
	lua_pushliteral(L, "");
	reasons = lua_gettop(L);
	for (int i = 1;; i++) {
		lua_settop(L, reasons);
		lua_rawgeti(L, loaders, i);
		if (lua_isnil(L, -1))
			luaL_error(L, "module '%s' not found:%s", name, lua_tostring(L, reasons));
		lua_pushstring(L, name);
		lua_call(L, 1, 1);
		if (lua_isfunction(L, -1))
			return;
		if (lua_isstring(L, -1))
			lua_concat(L, 2);
	}
}

static bool is_sentinel(lua_State *L)
{
	return lua_touserdata(L, -1) == &sentinel;
}

/* Stack: name, package.loaded. Leaves the module on top. */
static void load(lua_State *L, const char *name)
{
	struct user *self __attribute__((cleanup(loaded))) = NULL;

	find_loader(L, name);
	self = enter(&loading, name);
	if (self == NULL)
		luaL_error(L, "not enough memory");
	lua_pushlightuserdata(L, &sentinel);
	lua_setfield(L, 2, name);
	lua_pushstring(L, name);
	lua_call(L, 1, 1);
	if (!lua_isnil(L, -1))
		lua_setfield(L, 2, name);
	lua_getfield(L, 2, name);
	if (is_sentinel(L)) {
		lua_pushboolean(L, 1);
		lua_pushvalue(L, -1);
		lua_setfield(L, 2, name);
	}
}

/* Upvalue: the package table. */
static int l_require(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	int rc;

	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
	lua_getfield(L, 2, name);
	while (is_sentinel(L) && is_coming(name)) {
		rc = gr_lua_enter_wait(L);
		if (rc == 0)
			rc = await(name);
		if (rc < 0)
			return gr_lua_fail(L, rc);
		if (rc > 0)
			break;
		lua_settop(L, 2);
		lua_getfield(L, 2, name);
	}
	if (is_sentinel(L))
		return luaL_error(L, "loop or previous error loading module '%s'", name);
	if (!lua_toboolean(L, -1))
		load(L, name);
	return 1;
}

void gr_require_init(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_pushcclosure(L, l_require, 1);
	lua_setglobal(L, "require");
}
