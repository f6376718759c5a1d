/* SPDX-License-Identifier: MIT */
/* Connections for Lua: reading, shaped like the methods of Lua's files. */
#include <errno.h>
#include <string.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"

enum {
	LINE_MAX_BYTES = 64 << 10, /* without the separator */
	RECV_MAX = 64 << 10,
};

/* A timeout argument, or else the connection's own. */
static double check_until(lua_State *L, int idx, const struct gr_stream *s)
{
	return lua_isnoneornil(L, idx) ? gr_stream_until(s) : gr_lua_opt_until(L, idx);
}

/* A count of bytes; never more than half the address space, so that sums of two do not wrap. */
static size_t check_count(lua_State *L, int idx, double least)
{
	double n = luaL_checknumber(L, idx);

	luaL_argcheck(L, n >= least && n <= 1e15, idx, "count out of range");
	return (size_t)n;
}

/* ---- Reading by format ---- */

/* Pushes what a read returned; n = 0 is the end of the stream. Returns 0 or n's error. */
static int push_read(lua_State *L, struct gr_stream *s, ssize_t n, const char *p, bool chop)
{
	if (n <= 0)
		return n < 0 ? (int)n : GR_CLOSED;
	lua_pushlstring(L, p, (size_t)n - (chop && p[n - 1] == '\n' ? 1 : 0));
	gr_stream_done(s);
	return 0;
}

static int read_line(lua_State *L, struct gr_stream *s, double until, bool chop)
{
	const char *p;
	ssize_t n = gr_stream_read_until(s, "\n", 1, LINE_MAX_BYTES, until, &p);

	return push_read(L, s, n, p, chop);
}

static int read_all(lua_State *L, struct gr_stream *s, double until)
{
	const char *p;
	ssize_t n = gr_stream_read_all(s, until, &p);

	if (n < 0)
		return (int)n;
	lua_pushlstring(L, n ? p : "", (size_t)n);
	gr_stream_done(s);
	return 0;
}

/* -EDOM = there is no number. */
static int read_number(lua_State *L, struct gr_stream *s, double until)
{
	const char *p;
	ssize_t n = gr_stream_read_number(s, until, &p);
	int rc = n == 0 && !(s->eof && s->len == 0) ? -EDOM : push_read(L, s, n, p, false);

	if (rc < 0) {
		gr_stream_done(s);
		return rc;
	}
	if (!lua_isnumber(L, -1)) {
		lua_pop(L, 1);
		return -EDOM;
	}
	lua_pushnumber(L, lua_tonumber(L, -1));
	lua_replace(L, -2);
	return 0;
}

static int read_count(lua_State *L, struct gr_stream *s, size_t count, double until)
{
	const char *p;
	ssize_t n;

	if (count > 0) {
		n = gr_stream_read(s, count, until, &p);
		return push_read(L, s, n, p, false);
	}
	n = gr_stream_peek(s, 1, until, &p);
	gr_stream_done(s);
	if (n <= 0)
		return n < 0 ? (int)n : GR_CLOSED;
	lua_pushliteral(L, "");
	return 0;
}

/* The letter of the format at idx, 'c' for a count; raises if it is none. */
static char check_format(lua_State *L, int idx)
{
	const char *format;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		check_count(L, idx, 0);
		return 'c';
	}
	format = luaL_checkstring(L, idx);
	format += *format == '*';
	if (*format == '\0' || strchr("lLna", *format) == NULL)
		luaL_argerror(L, idx, "invalid format");
	return *format;
}

static int read_format(lua_State *L, struct gr_stream *s, int idx, double until)
{
	switch (check_format(L, idx)) {
	case 'c':
		return read_count(L, s, (size_t)lua_tonumber(L, idx), until);
	case 'n':
		return read_number(L, s, until);
	case 'a':
		return read_all(L, s, until);
	case 'L':
		return read_line(L, s, until, false);
	default:
		return read_line(L, s, until, true);
	}
}

static int fail_read(lua_State *L, int rc)
{
	if (rc == GR_TOO_LARGE)
		return gr_net_fail_text(L, rc, "line too long");
	if (rc == -EDOM)
		return gr_net_fail_text(L, -EINVAL, "not a number");
	return gr_lua_fail(L, rc);
}

/* Reads by the formats from index 2 to `last`, a line without any. Pushes the values, and the failure of the first
 * format that cannot be met; returns how many. */
static int read_formats(lua_State *L, struct gr_stream *s, int last)
{
	double until = gr_stream_until(s);
	int rc = 0, i;

	if (last < 2) {
		rc = read_line(L, s, until, true);
		return rc < 0 ? fail_read(L, rc) : 1;
	}
	luaL_checkstack(L, last + 3, "too many formats");
	for (i = 2; i <= last && rc == 0; i++)
		rc = read_format(L, s, i, until);
	return rc < 0 ? i - 3 + fail_read(L, rc) : last - 1;
}

static int l_conn_read(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	int last = lua_gettop(L), rc;

	/* All before the first, so that a bad one costs no data. */
	for (int i = 3; i <= last; i++)
		check_format(L, i);
	rc = gr_lua_enter_try(L);
	return rc ? rc : read_formats(L, s, last);
}

/* Upvalues: metatable, connection, format. */
static int l_conn_next_line(lua_State *L)
{
	struct gr_stream *s;
	int n;

	lua_settop(L, 0);
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_pushvalue(L, lua_upvalueindex(3));
	s = gr_conn_check(L);
	n = gr_lua_enter_try(L);
	if (n)
		return n;
	n = read_formats(L, s, 2);
	if (n == 1)
		return 1;
	if (strcmp(lua_tostring(L, -1), "closed") != 0)
		return luaL_error(L, "%s", lua_tostring(L, -2));
	lua_pushnil(L);
	return 1;
}

static int l_conn_lines(lua_State *L)
{
	gr_conn_check(L);
	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		lua_pushliteral(L, "l");
		lua_replace(L, 2);
	}
	check_format(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_pushcclosure(L, l_conn_next_line, 3);
	return 1;
}

/* ---- Other reading ---- */

static int finish_read(lua_State *L, struct gr_stream *s, ssize_t n, const char *p)
{
	int rc = push_read(L, s, n, p, false);

	return rc < 0 ? fail_read(L, rc) : 1;
}

static int l_conn_recv(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	size_t max = lua_isnoneornil(L, 2) ? RECV_MAX : check_count(L, 2, 1);
	double until = check_until(L, 3, s);
	int rc = gr_lua_enter_try(L);
	const char *p;
	ssize_t n;

	if (rc)
		return rc;
	n = gr_stream_recv(s, max, until, &p);
	return finish_read(L, s, n, p);
}

static int l_conn_peek(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	size_t n = lua_isnoneornil(L, 2) ? 1 : check_count(L, 2, 1);
	int rc = gr_lua_enter_try(L);
	const char *p;
	ssize_t got;

	if (rc)
		return rc;
	got = gr_stream_peek(s, n, gr_stream_until(s), &p);
	return finish_read(L, s, got, p);
}

struct until_opts {
	size_t max;
	bool include;
};

static void read_until_opt(lua_State *L, int idx, struct until_opts *o)
{
	const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";

	if (strcmp(name, "max") == 0) {
		if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0) || lua_tonumber(L, -1) > 1e15)
			luaL_argerror(L, idx, "option 'max': number of bytes expected");
		o->max = (size_t)lua_tonumber(L, -1);
	} else if (strcmp(name, "include") == 0) {
		o->include = lua_toboolean(L, -1);
	} else if (strcmp(name, "plain") != 0) {
		luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
	} else if (!lua_toboolean(L, -1)) {
		/* Whether a pattern matches can depend on bytes that have not come yet. */
		luaL_argerror(L, idx, "option 'plain': the separator is always plain text");
	}
}

static struct until_opts check_until_opts(lua_State *L, int idx)
{
	struct until_opts o = {.max = LINE_MAX_BYTES};

	if (lua_isnoneornil(L, idx))
		return o;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		read_until_opt(L, idx, &o);
		lua_pop(L, 1);
	}
	return o;
}

static int l_conn_read_until(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	size_t len;
	const char *sep = luaL_checklstring(L, 2, &len), *p;
	struct until_opts o = check_until_opts(L, 3);
	ssize_t n;
	int rc;

	luaL_argcheck(L, len > 0, 2, "empty separator");
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	n = gr_stream_read_until(s, sep, len, o.max, gr_stream_until(s), &p);
	if (n <= 0)
		return fail_read(L, n < 0 ? (int)n : GR_CLOSED);
	if (!o.include && (size_t)n >= len && memcmp(p + n - len, sep, len) == 0)
		n -= (ssize_t)len;
	lua_pushlstring(L, p, (size_t)n);
	gr_stream_done(s);
	return 1;
}

const luaL_Reg gr_conn_read_methods[] = {
	{"read", l_conn_read}, {"recv", l_conn_recv},   {"read_until", l_conn_read_until},
	{"peek", l_conn_peek}, {"lines", l_conn_lines}, {NULL, NULL},
};
