/* SPDX-License-Identifier: MIT */
/* Programs with Lua's own library: io.popen and os.execute. */
#define _GNU_SOURCE
#include "bind/lib_io.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "core/error.h"
#include "posix/process.h"

int gr_io_wait_program(struct gr_process *p, int written)
{
	int status, rc;

	if (gr_io_is_raised(written))
		rc = written;
	else if (gr_file_may_park())
		rc = gr_process_wait(p, INFINITY, &status);
	else
		rc = gr_process_wait_blocking(p, &status);
	gr_process_free(p);
	if (rc < 0)
		return rc;
	return status ? 0 : written;
}

/* ---- popen ---- */

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Pushes the files on pipes and terminals that have something to write, as a list. */
static int push_unwritten(lua_State *L)
{
	int n = 0;

	lua_newtable(L);
	gr_io_push_states(L);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const struct gr_file *f = lua_touserdata(L, -1);

		lua_pop(L, 1);
		if (f->fp && __fpending(f->fp) > 0) {
			lua_pushvalue(L, -1);
			lua_rawseti(L, -4, ++n);
		}
	}
	lua_pop(L, 1);
	return n;
}

/* As LuaJIT's popen: what was written before comes before what the program writes. */
static int flush_all(lua_State *L)
{
	int top = lua_gettop(L), rc = gr_io_flush(L, top + 1, gr_io_push_stdout(L)), n = push_unwritten(L);

	for (int i = 1; i <= n && !gr_io_is_raised(rc); i++) {
		struct gr_luafile *u;

		lua_rawgeti(L, top + 2, i);
		u = lua_touserdata(L, -1);
		if (u->fp)
			rc = gr_io_flush(L, lua_gettop(L), u);
		lua_pop(L, 1);
	}
	lua_settop(L, top);
	if (gr_io_is_raised(rc))
		return rc;
	fflush(NULL);
	return 0;
}

/* Only r and w, one of them; e is what all of ours are: closed in other programs. */
static bool is_mode(const char *mode)
{
	return mode[strspn(mode, "rwe")] == '\0' && (strchr(mode, 'r') != NULL) != (strchr(mode, 'w') != NULL);
}

/* Starts the command with one end of a pipe; the file at idx, still closed, gets the other one. */
static int start_program(lua_State *L, int idx, struct gr_luafile *u, const char *command, bool read)
{
	struct gr_spawn how = {.argv = GR_SHELL(command), .fds = {0, 1, 2}, .keep_fds = true};
	int theirs __attribute__((cleanup(close_fd))) = -1, fds[2], rc;
	struct gr_file *f;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	theirs = fds[read];
	how.fds[read] = theirs;
	u->fp = fdopen(fds[!read], read ? "r" : "w");
	if (u->fp == NULL) {
		rc = -errno;
		close(fds[!read]);
		return rc;
	}
	f = gr_io_file(L, idx, u);
	rc = gr_process_spawn(&how, &f->process);
	if (rc < 0) {
		f->process = NULL;
		fclose(u->fp);
		gr_file_end(f);
		u->fp = NULL;
	}
	return rc;
}

int gr_io_l_popen(lua_State *L)
{
	const char *command = luaL_checkstring(L, 1), *mode = luaL_optstring(L, 2, "r");
	struct gr_luafile *u;
	int rc;

	lua_settop(L, 2);
	rc = flush_all(L);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	u = gr_io_push_closed(L);
	if (u == NULL)
		rc = -(int)lua_tointeger(L, -1);
	else
		rc = is_mode(mode) ? start_program(L, 3, u, command, strchr(mode, 'r') != NULL) : -EINVAL;
	if (rc == 0)
		return 1;
	errno = -rc;
	return luaL_fileresult(L, 0, command);
}

/* ---- execute ---- */

static int execute_blocking(const char *command, int *status)
{
	struct gr_spawn how = {.argv = GR_SHELL(command), .fds = {0, 1, 2}, .keep_fds = true};
	struct gr_process *p;
	int rc = gr_process_spawn(&how, &p);

	if (rc < 0)
		return rc;
	rc = gr_process_wait_blocking(p, status);
	gr_process_free(p);
	return rc;
}

static int execute(const char *command, int *status)
{
	int rc;

	if (!gr_file_may_park())
		return execute_blocking(command, status);
	rc = gr_check();
	return rc < 0 ? rc : gr_process_system(command, INFINITY, status);
}

/* As LuaJIT's: the status as waitpid(2) gives it. */
int gr_io_l_execute(lua_State *L)
{
	const char *command = luaL_optstring(L, 1, NULL);
	int status = 1, rc;

	gr_current->wait_user = L;
	rc = command ? execute(command, &status) : 0;
	if (gr_io_is_raised(rc))
		return gr_lua_fail(L, rc);
	lua_pushinteger(L, rc < 0 ? -1 : status);
	return 1;
}
