/* SPDX-License-Identifier: MIT */
/* inotify for Lua: grun.core.watch, on which lualib/grun/watch.lua stands. */
#include "bind/lib_watch.h"

#include <errno.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "posix/notify.h"

static const char LABEL[] = "notify";

/* By rank, since some events have several bits. */
static const struct {
	uint32_t mask;
	const char *kind;
} kinds[] = {
	{IN_Q_OVERFLOW, "overflow"},     {IN_IGNORED, "ignored"},
	{IN_UNMOUNT, "unmount"},         {IN_CREATE, "create"},
	{IN_MODIFY, "modify"},           {IN_DELETE, "delete"},
	{IN_MOVED_TO, "move_in"},        {IN_MOVED_FROM, "move_out"},
	{IN_ATTRIB, "attrib"},           {IN_CLOSE_WRITE, "closed_write"},
	{IN_DELETE_SELF, "delete_self"}, {IN_MOVE_SELF, "move_self"},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const uint32_t MASK = IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ATTRIB |
			     IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK | IN_ONLYDIR;

static struct gr_notify *check_open(lua_State *L)
{
	return gr_net_check_self(L, LABEL);
}

/* open() -> notify */
static int l_watch_open(lua_State *L)
{
	struct gr_notify *n = lua_newuserdata(L, sizeof(*n));
	int rc;

	gr_notify_create(n);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_setmetatable(L, -2);
	rc = gr_notify_open(n);
	return rc < 0 ? gr_lua_fail(L, rc) : 1;
}

/* add(directory) -> number of the watch; the same for the same directory */
static int l_watch_add(lua_State *L)
{
	const struct gr_notify *n = check_open(L);
	const char *path = luaL_checkstring(L, 2);
	int wd = n->fd < 0 ? GR_CLOSED : inotify_add_watch(n->fd, path, MASK);

	if (wd == -1)
		return gr_lua_failf(L, -errno, "%s", path);
	if (wd < 0)
		return gr_lua_fail(L, wd);
	lua_pushinteger(L, wd);
	return 1;
}

static int l_watch_remove(lua_State *L)
{
	const struct gr_notify *n = check_open(L);

	if (n->fd >= 0)
		inotify_rm_watch(n->fd, (int)luaL_checkinteger(L, 2));
	return 0;
}

static const char *kind_of(uint32_t mask)
{
	for (int i = 0; i < KINDS; i++)
		if (mask & kinds[i].mask)
			return kinds[i].kind;
	return "other";
}

/* next([seconds]) -> watch, kind, name or nil, is it a directory, cookie of a move */
static int l_watch_next(lua_State *L)
{
	struct gr_notify *n = check_open(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);
	const struct inotify_event *e;

	if (rc)
		return rc;
	rc = gr_notify_next(n, until, &e);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushinteger(L, e->wd);
	lua_pushstring(L, kind_of(e->mask));
	lua_pushstring(L, e->len > 0 ? e->name : NULL);
	lua_pushboolean(L, (e->mask & IN_ISDIR) != 0);
	lua_pushinteger(L, (lua_Integer)e->cookie);
	return 5;
}

static int l_watch_close(lua_State *L)
{
	gr_notify_close(check_open(L));
	return 0;
}

static int l_watch_fd(lua_State *L)
{
	lua_pushinteger(L, check_open(L)->fd);
	return 1;
}

static const luaL_Reg methods[] = {
	{"add", l_watch_add},     {"remove", l_watch_remove}, {"next", l_watch_next},
	{"close", l_watch_close}, {"fd", l_watch_fd},         {NULL, NULL},
};

static const luaL_Reg meta[] = {
	{"__gc", l_watch_close},
	{NULL, NULL},
};

int luaopen_grun_core_watch(lua_State *L)
{
	lua_createtable(L, 0, 1);
	gr_net_new_class(L, "grun.notify", LABEL, methods, meta);
	lua_pushcclosure(L, l_watch_open, 1);
	lua_setfield(L, -2, "open");
	return 1;
}
