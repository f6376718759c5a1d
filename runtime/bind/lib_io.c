/* SPDX-License-Identifier: MIT */
/* Lua's own io library: files, and what of LuaJIT's is replaced. */
#define _GNU_SOURCE
#include "bind/lib_io.h"

#include <errno.h>
#include <limits.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio_ext.h>

#include "bind/luautil.h"
#include "bind/state.h"
#include "core/error.h"
#include "posix/process.h"

/* Registry references, but for the metatable. */
static struct {
	int defaults[2]; /* io.input() and io.output() */
	int standard;    /* print's file */
	int open;        /* LuaJIT's io.open, which alone can make files */
	int states;      /* weak table: file -> userdata with its struct gr_file */
	const void *metatable;
} io;

/* ---- Files ---- */

static struct gr_luafile *check_userdata(lua_State *L, int idx)
{
	struct gr_luafile *u = lua_touserdata(L, idx);
	const void *metatable;

	if (u == NULL || !lua_getmetatable(L, idx))
		luaL_typerror(L, idx, LUA_FILEHANDLE);
	metatable = lua_topointer(L, -1);
	lua_pop(L, 1);
	if (metatable != io.metatable)
		luaL_typerror(L, idx, LUA_FILEHANDLE);
	return u;
}

struct gr_luafile *gr_io_check(lua_State *L, int idx)
{
	struct gr_luafile *u = check_userdata(L, idx);

	if (u->fp == NULL)
		luaL_error(L, "attempt to use a closed file");
	return u;
}

struct gr_luafile *gr_io_push_default(lua_State *L, enum gr_io_default which)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, io.defaults[which]);
	return lua_touserdata(L, -1);
}

struct gr_luafile *gr_io_push_open_default(lua_State *L, enum gr_io_default which)
{
	struct gr_luafile *u = gr_io_push_default(L, which);

	if (u->fp == NULL)
		luaL_error(L, "standard file is closed");
	return u;
}

struct gr_luafile *gr_io_push_stdout(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, io.standard);
	return lua_touserdata(L, -1);
}

int gr_io_push_open(lua_State *L, const char *name, const char *mode)
{
	int top = lua_gettop(L);

	lua_rawgeti(L, LUA_REGISTRYINDEX, io.open);
	lua_pushstring(L, name);
	lua_pushstring(L, mode);
	lua_call(L, 2, LUA_MULTRET);
	return lua_gettop(L) - top;
}

/* Only LuaJIT can make a file: one that is open loses its FILE. */
struct gr_luafile *gr_io_push_closed(lua_State *L)
{
	struct gr_luafile *u;

	if (gr_io_push_open(L, "/dev/null", "r") != 1)
		return NULL;
	u = lua_touserdata(L, -1);
	fclose(u->fp);
	u->fp = NULL;
	return u;
}

/* ---- What they need for waiting ---- */

void gr_io_push_states(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, io.states);
}

static bool has_type(lua_State *L, int idx)
{
	return lua_objlen(L, idx) >= sizeof(struct gr_luafile);
}

static void mark(lua_State *L, int idx, struct gr_luafile *u, uint32_t bit)
{
	if (has_type(L, idx))
		u->type |= bit;
}

bool gr_io_is_plain(lua_State *L, int idx, const struct gr_luafile *u)
{
	return has_type(L, idx) && (u->type & GR_IO_PLAIN);
}

struct gr_file *gr_io_known_file(lua_State *L, int idx, const struct gr_luafile *u)
{
	struct gr_file *f;

	if (has_type(L, idx) && !(u->type & GR_IO_STATE))
		return NULL;
	if (u->fp == stdout)
		return gr_file_stdout();
	lua_pushvalue(L, idx);
	gr_io_push_states(L);
	lua_insert(L, -2);
	lua_rawget(L, -2);
	f = lua_touserdata(L, -1);
	lua_pop(L, 2);
	return f;
}

static struct gr_file *new_file(lua_State *L, int idx, struct gr_luafile *u)
{
	struct gr_file *f;

	lua_pushvalue(L, idx);
	gr_io_push_states(L);
	lua_insert(L, -2);
	f = lua_newuserdata(L, sizeof(*f));
	gr_file_init(f, u->fp);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	return f;
}

struct gr_file *gr_io_file(lua_State *L, int idx, struct gr_luafile *u)
{
	struct gr_file *f;

	if (gr_io_is_plain(L, idx, u))
		return NULL;
	f = gr_io_known_file(L, idx, u);
	if (f)
		return f;
	if (gr_file_is_plain(u->fp)) {
		mark(L, idx, u, GR_IO_PLAIN);
		return NULL;
	}
	f = u->fp == stdout ? gr_file_stdout() : new_file(L, idx, u);
	mark(L, idx, u, GR_IO_STATE);
	return f;
}

int gr_io_take_turn(lua_State *L, struct gr_file *f, struct gr_turn *t, const char *what)
{
	int rc;

	gr_current->wait_user = L;
	if (!gr_file_may_park() || t->owner == gr_current)
		return 0;
	rc = gr_turn_take(t, what);
	if (rc < 0)
		return rc;
	if (f->fp)
		return 1;
	gr_turn_give(t);
	return GR_CLOSED;
}

void gr_io_give_turn(struct gr_turn **t)
{
	if (*t)
		gr_turn_give(*t);
	*t = NULL;
}

enum { MAX_ERRNO = 4095 }; /* beyond: the GR_* of core/error.h */

int gr_io_result(lua_State *L, int rc)
{
	if (rc < -MAX_ERRNO)
		return gr_lua_fail(L, rc);
	errno = -rc;
	return luaL_fileresult(L, rc == 0, NULL);
}

/* ---- Closing ---- */

static bool is_standard(const FILE *fp)
{
	return fp == stdin || fp == stdout || fp == stderr;
}

static int close_waiting(lua_State *L, int idx, struct gr_luafile *u, struct gr_file *f)
{
	FILE *fp = u->fp;
	struct gr_process *p;
	int rc = 0;

	/* A write that another thread is in the middle of is broken off. */
	if (f->writing.owner == NULL && __fpending(fp) > 0)
		rc = gr_io_flush(L, idx, u);
	if (u->fp == NULL)
		return gr_io_is_raised(rc) ? rc : GR_CLOSED;
	if (gr_io_is_raised(rc))
		__fpurge(fp);
	p = f->process;
	f->process = NULL;
	gr_file_end(f);
	u->fp = NULL;
	if (fclose(fp) != 0 && rc == 0)
		rc = -errno;
	gr_current->wait_user = L;
	return p ? gr_io_wait_program(p, rc) : rc;
}

int gr_io_close(lua_State *L, int idx, struct gr_luafile *u)
{
	struct gr_file *f;
	int ok;

	if (is_standard(u->fp)) {
		lua_pushnil(L);
		lua_pushliteral(L, "cannot close standard file");
		return 2;
	}
	f = gr_io_file(L, idx, u);
	if (f)
		return gr_io_result(L, close_waiting(L, idx, u, f));
	ok = fclose(u->fp) == 0;
	u->fp = NULL;
	return luaL_fileresult(L, ok, NULL);
}

static int l_close(lua_State *L)
{
	if (lua_gettop(L) == 0)
		gr_io_push_default(L, GR_IO_OUTPUT);
	return gr_io_close(L, 1, gr_io_check(L, 1));
}

static void *close_thread(void *fp)
{
	fclose(fp);
	return NULL;
}

/* For finalizers: what is still buffered for a pipe that is full is left to another OS thread. */
static void close_elsewhere(FILE *fp)
{
	struct pollfd p = {.fd = fileno(fp), .events = POLLOUT};
	size_t n = __fpending(fp);
	sigset_t all, before;
	pthread_t thread;

	if (n == 0 || (n <= PIPE_BUF && poll(&p, 1, 0) != 0)) {
		fclose(fp);
		return;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, close_thread, fp) == 0)
		pthread_detach(thread);
	else
		fclose(fp);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int l_file_gc(lua_State *L)
{
	struct gr_luafile *u = check_userdata(L, 1);
	struct gr_process *p = NULL;
	struct gr_file *f;
	FILE *fp = u->fp;

	if (fp == NULL || is_standard(fp))
		return 0;
	f = gr_io_known_file(L, 1, u);
	if (f) {
		p = f->process;
		gr_file_end(f);
	}
	u->fp = NULL;
	if (gr_io_is_plain(L, 1, u) || (gr_lua.nopark && !gr_on_green()))
		fclose(fp);
	else
		close_elsewhere(fp);
	/* As LuaJIT's, the end of the process waits for programs. */
	if (p && gr_lua.nopark && !gr_on_green())
		gr_io_wait_program(p, 0);
	else if (p)
		gr_process_free(p);
	return 0;
}

/* ---- Position and buffer ---- */

static int l_file_seek(lua_State *L)
{
	static const char *const names[] = {"set", "cur", "end", NULL};
	static const int whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
	struct gr_luafile *u = gr_io_check(L, 1);
	int how = whence[luaL_checkoption(L, 2, "cur", names)], rc;
	off_t offset = 0;

	if (lua_type(L, 3) == LUA_TNUMBER)
		offset = (off_t)lua_tonumber(L, 3);
	else if (!lua_isnoneornil(L, 3))
		return luaL_typerror(L, 3, "number");
	rc = __fpending(u->fp) > 0 ? gr_io_flush(L, 1, u) : 0;
	if (gr_io_is_raised(rc) || rc == GR_CLOSED)
		return gr_lua_fail(L, rc);
	if (fseeko(u->fp, offset, how) != 0)
		return luaL_fileresult(L, 0, NULL);
	lua_pushnumber(L, (lua_Number)ftello(u->fp));
	return 1;
}

static int l_file_setvbuf(lua_State *L)
{
	static const char *const names[] = {"full", "line", "no", NULL};
	static const int modes[] = {_IOFBF, _IOLBF, _IONBF};
	struct gr_luafile *u = gr_io_check(L, 1);
	int mode = modes[luaL_checkoption(L, 2, NULL, names)], rc;
	size_t size = (size_t)luaL_optinteger(L, 3, LUAL_BUFFERSIZE);

	rc = __fpending(u->fp) > 0 ? gr_io_flush(L, 1, u) : 0;
	if (gr_io_is_raised(rc) || rc == GR_CLOSED)
		return gr_lua_fail(L, rc);
	return luaL_fileresult(L, setvbuf(u->fp, NULL, mode, size) == 0, NULL);
}

/* ---- Default files ---- */

static int set_default(lua_State *L, enum gr_io_default which, const char *mode)
{
	if (lua_isnoneornil(L, 1)) {
		gr_io_push_default(L, which);
		return 1;
	}
	if (lua_isuserdata(L, 1)) {
		gr_io_check(L, 1);
		lua_settop(L, 1);
	} else if (gr_io_push_open(L, luaL_checkstring(L, 1), mode) != 1) {
		return luaL_argerror(L, 1, lua_tostring(L, -2));
	}
	lua_pushvalue(L, -1);
	lua_rawseti(L, LUA_REGISTRYINDEX, io.defaults[which]);
	return 1;
}

static int l_input(lua_State *L)
{
	return set_default(L, GR_IO_INPUT, "r");
}

static int l_output(lua_State *L)
{
	return set_default(L, GR_IO_OUTPUT, "w");
}

/* ---- In place of LuaJIT's ---- */

static const luaL_Reg methods[] = {
	{"close", l_close},
	{"read", gr_io_l_file_read},
	{"lines", gr_io_l_file_lines},
	{"write", gr_io_l_file_write},
	{"flush", gr_io_l_file_flush},
	{"seek", l_file_seek},
	{"setvbuf", l_file_setvbuf},
	{"__gc", l_file_gc},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"close", l_close},       {"read", gr_io_l_read},   {"lines", gr_io_l_lines},
	{"write", gr_io_l_write}, {"flush", gr_io_l_flush}, {"input", l_input},
	{"output", l_output},     {"popen", gr_io_l_popen}, {NULL, NULL},
};

static int ref_field(lua_State *L, const char *name)
{
	lua_getfield(L, -1, name);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void init_states(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	io.states = luaL_ref(L, LUA_REGISTRYINDEX);
}

void gr_io_open(lua_State *L)
{
	init_states(L);
	luaL_getmetatable(L, LUA_FILEHANDLE);
	io.metatable = lua_topointer(L, -1);
	luaL_register(L, NULL, methods);
	lua_getglobal(L, "io");
	io.open = ref_field(L, "open");
	io.standard = ref_field(L, "stdout");
	io.defaults[GR_IO_INPUT] = ref_field(L, "stdin");
	io.defaults[GR_IO_OUTPUT] = ref_field(L, "stdout");
	luaL_register(L, NULL, functions);
	lua_getglobal(L, "os");
	lua_pushcfunction(L, gr_io_l_execute);
	lua_setfield(L, -2, "execute");
	lua_getglobal(L, "tostring");
	lua_pushcclosure(L, gr_io_l_print, 1);
	lua_setglobal(L, "print");
	lua_pop(L, 3);
}
