/* SPDX-License-Identifier: MIT */
/* Connections for Lua: writing, corks and files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"

enum { BATCH = 64 /* pieces per system call */ };

/* ---- write ---- */

/* Pieces stay on the Lua stack from `base` up until they are written, so that nobody can collect them meanwhile. */
struct batch {
	struct gr_stream *s;
	double until;
	size_t sent;
	int base, n;
	struct iovec iov[BATCH];
};

static int flush(lua_State *L, struct batch *b)
{
	int rc = gr_stream_writev(b->s, b->iov, b->n, b->until, &b->sent);

	b->n = 0;
	lua_settop(L, b->base);
	return rc;
}

/* Takes the string or number from the top of the stack. */
static int add_piece(lua_State *L, struct batch *b)
{
	size_t len;
	const char *p = lua_tolstring(L, -1, &len);

	if (p == NULL)
		return luaL_error(L, "table changed while it was written");
	b->iov[b->n].iov_base = (void *)p;
	b->iov[b->n].iov_len = len;
	return ++b->n == BATCH ? flush(L, b) : 0;
}

static int add_inner(lua_State *L, struct batch *b, int outer, int at)
{
	int rc = 0;
	size_t n;

	lua_rawgeti(L, outer, at);
	n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
	lua_pop(L, 1);
	for (size_t i = 1; i <= n && rc == 0; i++) {
		lua_rawgeti(L, outer, at);
		if (!lua_istable(L, -1))
			return luaL_error(L, "table changed while it was written");
		lua_rawgeti(L, -1, (int)i);
		lua_replace(L, -2);
		rc = add_piece(L, b);
	}
	return rc;
}

static int add_table(lua_State *L, struct batch *b, int idx)
{
	size_t n = lua_objlen(L, idx);
	int rc = 0;

	for (size_t i = 1; i <= n && rc == 0; i++) {
		lua_rawgeti(L, idx, (int)i);
		if (!lua_istable(L, -1)) {
			rc = add_piece(L, b);
			continue;
		}
		lua_pop(L, 1);
		rc = add_inner(L, b, idx, (int)i);
	}
	return rc;
}

static void bad_argument(lua_State *L, int arg, const char *got)
{
	luaL_argerror(L, arg, lua_pushfstring(L, "string, number or table expected, got %s", got));
}

static void bad_element(lua_State *L, int arg, int i, const char *got)
{
	luaL_argerror(L, arg, lua_pushfstring(L, "element %d of the table is a %s", i, got));
}

static bool is_piece(int type)
{
	return type == LUA_TSTRING || type == LUA_TNUMBER;
}

/* Raises unless the table at the top holds only strings, numbers and, if `outer`, tables of them. */
static void check_table(lua_State *L, int arg, bool outer)
{
	size_t n = lua_objlen(L, -1);

	for (size_t i = 1; i <= n; i++) {
		lua_rawgeti(L, -1, (int)i);
		if (outer && lua_istable(L, -1))
			check_table(L, arg, false);
		else if (!is_piece(lua_type(L, -1)))
			bad_element(L, arg, (int)i, luaL_typename(L, -1));
		lua_pop(L, 1);
	}
}

static void check_pieces(lua_State *L, int last)
{
	for (int i = 2; i <= last; i++) {
		if (is_piece(lua_type(L, i)))
			continue;
		if (!lua_istable(L, i))
			bad_argument(L, i, luaL_typename(L, i));
		lua_pushvalue(L, i);
		check_table(L, i, true);
		lua_pop(L, 1);
	}
}

static int write_pieces(lua_State *L, struct batch *b, int last)
{
	int rc = 0;

	luaL_checkstack(L, BATCH + 4, "too many arguments");
	for (int i = 2; i <= last && rc == 0; i++) {
		if (lua_istable(L, i)) {
			rc = add_table(L, b, i);
		} else {
			lua_pushvalue(L, i);
			rc = add_piece(L, b);
		}
	}
	return rc == 0 ? flush(L, b) : rc;
}

static int finish_write(lua_State *L, int rc, size_t sent)
{
	int n;

	if (rc == 0) {
		lua_pushboolean(L, 1);
		return 1;
	}
	n = gr_lua_fail(L, rc);
	lua_pushnumber(L, (lua_Number)sent);
	return n + 1;
}

static int write_string(lua_State *L, struct gr_stream *s, double until, size_t *sent)
{
	size_t len;
	const char *p = lua_tolstring(L, 2, &len);
	int rc = gr_stream_write(s, p, len, until, sent);

	gr_stream_end_write(s);
	return rc;
}

/* An error may be raised between the pieces. */
static void end_turn(struct batch *b)
{
	gr_stream_end_write(b->s);
}

static int write_many(lua_State *L, struct gr_stream *s, int last, double until, size_t *sent)
{
	struct batch b __attribute__((cleanup(end_turn))) = {.s = s, .until = until, .base = last};
	int rc = write_pieces(L, &b, last);

	*sent = b.sent;
	return rc;
}

static int l_conn_write(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	int last = lua_gettop(L), rc;
	bool one = last == 2 && lua_type(L, 2) == LUA_TSTRING;
	size_t sent = 0;
	double until;

	if (!one)
		check_pieces(L, last);
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	until = gr_stream_until(s);
	rc = gr_stream_begin_write(s, until);
	if (rc == 0)
		rc = one ? write_string(L, s, until, &sent) : write_many(L, s, last, until, &sent);
	return finish_write(L, rc, sent);
}

/* ---- Corks ---- */

static int l_conn_flush(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_stream_until(s);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	rc = gr_stream_begin_write(s, until);
	if (rc == 0) {
		rc = gr_stream_flush(s, until);
		gr_stream_end_write(s);
	}
	return finish_write(L, rc, 0);
}

/* Returns whether the thread has a cork now that _uncork has to end; or nil, message, code. */
static int l_conn_cork(lua_State *L)
{
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	rc = gr_stream_cork(gr_conn_check(L));
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, rc == 0);
	return 1;
}

/* Argument: whether somebody wants to know of a failure. Ends the cork also when the thread is cancelled. */
static int l_conn_uncork(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	bool report = lua_toboolean(L, 2);
	size_t sent;
	int rc;

	gr_lua_enter_always(L);
	rc = gr_stream_uncork(s, gr_stream_until(s), &sent);
	return report ? finish_write(L, rc, sent) : 0;
}

/* ---- sendfile ---- */

/* What to send. The descriptor is ours. */
struct source {
	int fd;
	double from; /* -1: from the start, or where the FILE stands */
	double len;  /* -1: up to the end */
	off_t start;
	size_t count;
	bool follow; /* the FILE moves on by what was sent */
};

static double check_offset(lua_State *L, int idx)
{
	double n;

	if (lua_isnoneornil(L, idx))
		return -1;
	n = luaL_checknumber(L, idx);
	luaL_argcheck(L, n >= 0 && n <= 9e15, idx, "out of range");
	return n < 1 ? 0 : n;
}

/* The FILE of one of Lua's files at idx, NULL if it is closed. LuaJIT keeps it first in its userdata, as Lua does. */
static FILE *check_file(lua_State *L, int idx)
{
	return *(FILE **)luaL_checkudata(L, idx, LUA_FILEHANDLE);
}

static void check_source(lua_State *L, int idx)
{
	size_t len;

	if (lua_type(L, idx) == LUA_TSTRING)
		luaL_argcheck(L, strlen(lua_tolstring(L, idx, &len)) == len, idx, "path with a zero byte");
	else if (lua_type(L, idx) != LUA_TUSERDATA)
		luaL_argerror(L, idx, lua_pushfstring(L, "path or file expected, got %s", luaL_typename(L, idx)));
	else
		luaL_argcheck(L, check_file(L, idx), idx, "closed file");
}

/* A descriptor of its own, since the script may close the FILE meanwhile. */
static int open_descriptor(lua_State *L, int idx)
{
	FILE *file;
	int fd;

	if (lua_type(L, idx) == LUA_TSTRING) {
		/* O_NONBLOCK: a pipe without a writer must not stop the process. */
		fd = open(lua_tostring(L, idx), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	} else {
		file = check_file(L, idx);
		if (__fpending(file) > 0 && fflush(file) != 0)
			return -errno;
		fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
	}
	return fd < 0 ? -errno : fd;
}

/* Where a regular file's bytes are and how many. */
static void find_range(lua_State *L, int idx, off_t size, struct source *f)
{
	f->start = f->from < 0 ? 0 : (off_t)f->from;
	f->follow = lua_isuserdata(L, idx) && f->from < 0;
	if (f->follow)
		f->start = ftello(check_file(L, idx));
	/* Files of the kernel, as in /proc, say that they are empty. */
	if (f->len >= 0 || size == 0)
		f->count = f->len < 0 ? SIZE_MAX : (size_t)f->len;
	else
		f->count = f->start < size ? (size_t)(size - f->start) : 0;
}

/* Returns 0 or a negative errno. */
static int open_source(lua_State *L, int idx, struct source *f)
{
	struct stat st;

	f->fd = open_descriptor(L, idx);
	if (f->fd < 0)
		return f->fd;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		find_range(L, idx, S_ISREG(st.st_mode) ? st.st_size : 0, f);
		return 0;
	}
	f->start = -1;
	f->count = f->len < 0 ? SIZE_MAX : (size_t)f->len;
	return f->from < 0 ? 0 : -ESPIPE;
}

/* What stdio has read of a pipe already comes first. The FILE may be closed while that is written. */
static int send_ahead(lua_State *L, int idx, struct gr_stream *s, struct source *f, double until, size_t *sent)
{
	FILE *file = lua_isuserdata(L, idx) ? check_file(L, idx) : NULL;
	size_t n = file && f->start < 0 ? (size_t)(file->_IO_read_end - file->_IO_read_ptr) : 0;
	void *copy;

	n = n < f->count ? n : f->count;
	if (n == 0)
		return 0;
	copy = lua_newuserdata(L, n);
	n = fread(copy, 1, n, file);
	f->count -= f->count == SIZE_MAX ? 0 : n;
	return gr_stream_write(s, copy, n, until, sent);
}

static void end_writing(struct gr_stream **s)
{
	if (*s)
		gr_stream_end_write(*s);
}

static int send_source(lua_State *L, int idx, struct gr_stream *s, struct source *f, size_t *sent)
{
	struct gr_stream *turn __attribute__((cleanup(end_writing))) = NULL;
	double until = gr_stream_until(s);
	int rc = gr_stream_begin_write(s, until);

	if (rc < 0)
		return rc;
	turn = s;
	rc = send_ahead(L, idx, s, f, until, sent);
	if (rc == 0)
		rc = gr_stream_sendfile(s, f->fd, f->start, f->count, until, sent);
	if (f->follow && check_file(L, idx))
		fseeko(check_file(L, idx), f->start + (off_t)*sent, SEEK_SET);
	return rc;
}

static void close_source(struct source *f)
{
	if (f->fd >= 0)
		close(f->fd);
}

/* Pushes the failure of opening the source at idx. */
static int fail_source(lua_State *L, int idx, int rc)
{
	const char *what = lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : "the file";

	gr_lua_failf(L, rc, "cannot send %s", what);
	lua_pushinteger(L, 0);
	return 4;
}

static int finish_sendfile(lua_State *L, int rc, size_t sent)
{
	if (rc < 0 && rc != -ENODATA)
		return finish_write(L, rc, sent);
	if (rc < 0)
		gr_net_fail_text(L, rc, "the file ended early");
	lua_pushnumber(L, (lua_Number)sent);
	return rc < 0 ? 4 : 1;
}

static int l_conn_sendfile(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	struct source f __attribute__((cleanup(close_source))) = {.fd = -1};
	size_t sent = 0;
	int rc;

	check_source(L, 2);
	f.from = check_offset(L, 3);
	f.len = check_offset(L, 4);
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	if (s->fd < 0)
		return finish_write(L, GR_CLOSED, 0);
	rc = open_source(L, 2, &f);
	if (rc < 0)
		return fail_source(L, 2, rc);
	rc = send_source(L, 2, s, &f, &sent);
	return finish_sendfile(L, rc, sent);
}

const luaL_Reg gr_conn_write_methods[] = {
	{"write", l_conn_write}, {"flush", l_conn_flush},    {"sendfile", l_conn_sendfile},
	{"_cork", l_conn_cork},  {"_uncork", l_conn_uncork}, {NULL, NULL},
};
