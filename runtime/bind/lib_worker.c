/* SPDX-License-Identifier: MIT */
/* Worker processes for Lua: grun.core.worker, on which lualib/grun/master.lua and worker.lua stand. */
#define _GNU_SOURCE
#include "bind/lib_worker.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "core/hub.h"
#include "core/signal.h"
#include "net/listener.h"
#include "posix/fork.h"
#include "posix/worker.h"

static int finish(lua_State *L, int rc)
{
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- The board ---- */

static int l_worker_create_board(lua_State *L)
{
	int fd = gr_board_create();

	if (fd < 0)
		return gr_lua_fail(L, fd);
	lua_pushinteger(L, fd);
	return 1;
}

static struct gr_board_entry *check_entry(lua_State *L, int idx)
{
	struct gr_board_entry *entry = gr_board_at((unsigned)luaL_checkinteger(L, idx));

	luaL_argcheck(L, entry, idx, "no such entry");
	return entry;
}

/* join(fd, index): this process is that worker. Closes the descriptor. */
static int l_worker_join(lua_State *L)
{
	int rc = gr_board_open((int)luaL_checkinteger(L, 1));

	close((int)lua_tointeger(L, 1));
	if (rc == 0) {
		check_entry(L, 2);
		gr_board_join((unsigned)lua_tointeger(L, 2));
	}
	return finish(L, rc);
}

static int l_worker_accept(lua_State *L)
{
	gr_board_accept(lua_toboolean(L, 1));
	return 0;
}

/* entry(index) -> open connections, seconds since it was heard of */
static int l_worker_entry(lua_State *L)
{
	const struct gr_board_entry *entry = check_entry(L, 1);

	lua_pushinteger(L, (lua_Integer)entry->serving);
	if (entry->beat == 0)
		return 1;
	lua_pushnumber(L, gr_now() - entry->beat);
	return 2;
}

/* clear(index): for another worker. */
static int l_worker_clear(lua_State *L)
{
	*check_entry(L, 1) = (struct gr_board_entry){0};
	return 0;
}

static int l_worker_beat(lua_State *L)
{
	return finish(L, gr_worker_beat(luaL_checknumber(L, 1)));
}

/* ---- The process ---- */

static int l_worker_refuse(lua_State *L)
{
	return finish(L, gr_listener_refuse((int)luaL_checkinteger(L, 1)));
}

/* patient(): signals that come again are no reason to end at once. */
static int l_worker_patient(lua_State *L)
{
	(void)L;
	gr_signal_twice_exits(SIGINT, -1);
	gr_signal_twice_exits(SIGTERM, -1);
	return 0;
}

static int l_worker_processors(lua_State *L)
{
	cpu_set_t set;

	lua_pushinteger(L, sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
								      : (int)sysconf(_SC_NPROCESSORS_ONLN));
	return 1;
}

static int l_worker_setenv(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	int rc = lua_isnoneornil(L, 2) ? unsetenv(name) : setenv(name, luaL_checkstring(L, 2), 1);

	return finish(L, rc < 0 ? -errno : 0);
}

static int l_worker_chdir(lua_State *L)
{
	return finish(L, chdir(luaL_checkstring(L, 1)) < 0 ? -errno : 0);
}

/* realpath(path) -> path without links, or nil, message, code. At once, unlike grun.fs. */
static int l_worker_realpath(lua_State *L)
{
	char *path = realpath(luaL_checkstring(L, 1), NULL);

	if (path == NULL)
		return gr_lua_fail(L, -errno);
	lua_pushstring(L, path);
	free(path);
	return 1;
}

static int l_worker_umask(lua_State *L)
{
	umask((mode_t)luaL_checkinteger(L, 1));
	return 0;
}

static int l_worker_pid(lua_State *L)
{
	lua_pushinteger(L, getpid());
	return 1;
}

/* alive(pid) -> whether there is such a process */
static int l_worker_alive(lua_State *L)
{
	pid_t pid = (pid_t)luaL_checkinteger(L, 1);

	lua_pushboolean(L, pid > 0 && (kill(pid, 0) == 0 || errno == EPERM));
	return 1;
}

/* ---- Forking ---- */

/* fork() -> pid; 0 in the copy; or nil, message, code */
static int l_worker_fork(lua_State *L)
{
	pid_t pid = gr_fork();

	if (pid < 0)
		return gr_lua_fail(L, pid);
	lua_pushinteger(L, pid);
	return 1;
}

/* adopt_orphans(on) -> true | nil, message, code */
static int l_worker_adopt_orphans(lua_State *L)
{
	return finish(L, gr_fork_adopt(lua_toboolean(L, 1)));
}

/* random() -> a whole number below 2^32 that nobody can guess */
static int l_worker_random(lua_State *L)
{
	uint32_t n;

	if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return luaL_error(L, "no randomness: %s", strerror(errno));
	lua_pushnumber(L, n);
	return 1;
}

/* ---- Users and groups ---- */

static bool is_number(const char *text, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*out = (unsigned)n;
	return end != text && *end == '\0' && n < 0xffffffffUL;
}

/* user(name or number) -> uid, gid, name (nil: no entry for that number); or nothing */
static int l_worker_user(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct passwd *entry = getpwnam(name);
	unsigned uid;

	if (entry == NULL && is_number(name, &uid)) {
		entry = getpwuid(uid);
		if (entry == NULL) {
			lua_pushinteger(L, (lua_Integer)uid);
			return 1;
		}
	}
	if (entry == NULL)
		return 0;
	lua_pushinteger(L, (lua_Integer)entry->pw_uid);
	lua_pushinteger(L, (lua_Integer)entry->pw_gid);
	lua_pushstring(L, entry->pw_name);
	return 3;
}

/* group(name or number) -> gid, or nothing */
static int l_worker_group(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct group *entry = getgrnam(name);
	unsigned gid;

	if (entry)
		gid = entry->gr_gid;
	else if (!is_number(name, &gid))
		return 0;
	lua_pushinteger(L, (lua_Integer)gid);
	return 1;
}

/* become(uid or nil, gid or nil, name or nil): for good. The groups first, while it may still be done. */
static int l_worker_become(lua_State *L)
{
	bool user = !lua_isnil(L, 1), group = !lua_isnil(L, 2);
	uid_t uid = user ? (uid_t)luaL_checkinteger(L, 1) : 0;
	gid_t gid = group ? (gid_t)luaL_checkinteger(L, 2) : getegid();
	const char *name = luaL_optstring(L, 3, NULL);
	int rc = 0;

	if (user && geteuid() == 0)
		rc = name ? initgroups(name, gid) : setgroups(1, &gid);
	else if (group && geteuid() == 0)
		rc = setgroups(1, &gid);
	if (rc == 0 && group)
		rc = setresgid(gid, gid, gid);
	if (rc == 0 && user)
		rc = setresuid(uid, uid, uid);
	return finish(L, rc < 0 ? -errno : 0);
}

/* ids() -> effective user and group */
static int l_worker_ids(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)geteuid());
	lua_pushinteger(L, (lua_Integer)getegid());
	return 2;
}

/* ---- The module ---- */

static const luaL_Reg functions[] = {
	{"create_board", l_worker_create_board},
	{"join", l_worker_join},
	{"accept", l_worker_accept},
	{"entry", l_worker_entry},
	{"clear", l_worker_clear},
	{"beat", l_worker_beat},
	{"refuse", l_worker_refuse},
	{"patient", l_worker_patient},
	{"processors", l_worker_processors},
	{"setenv", l_worker_setenv},
	{"chdir", l_worker_chdir},
	{"realpath", l_worker_realpath},
	{"umask", l_worker_umask},
	{"pid", l_worker_pid},
	{"alive", l_worker_alive},
	{"fork", l_worker_fork},
	{"adopt_orphans", l_worker_adopt_orphans},
	{"random", l_worker_random},
	{"user", l_worker_user},
	{"group", l_worker_group},
	{"become", l_worker_become},
	{"ids", l_worker_ids},
	{NULL, NULL},
};

int luaopen_grun_core_worker(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
