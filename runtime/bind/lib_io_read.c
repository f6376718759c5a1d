/* SPDX-License-Identifier: MIT */
/* Reading with Lua's own io library. */
#include "bind/lib_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bind/luautil.h"
#include "core/error.h"

/* LuaJIT's limits: of one read, and of upvalues (the file and the formats of lines). */
static const lua_Integer MAX_READ = 0x7fffff00;
enum { MAX_UPVALUES = 60 };

/* ---- Bytes ---- */

/* All that one call takes stays in `data`, so that it can go back if a later wait of the call is broken off. */
struct reader {
	FILE *fp;
	struct gr_file *f;    /* NULL: plain */
	struct gr_turn *turn; /* ours, or NULL */
	char *data;           /* heap */
	size_t len, room;
	size_t start; /* of the present item */
	int rc;       /* < 0: why a wait ended */
};

static void reader_free(struct reader *r)
{
	free(r->data);
	gr_io_give_turn(&r->turn);
}

/* Raises as LuaJIT does. */
static int fail_memory(lua_State *L)
{
	lua_pushliteral(L, "not enough memory");
	return lua_error(L);
}

/* Makes room for n more bytes, and for many small pieces at once. */
static void reserve(lua_State *L, struct reader *r, size_t n)
{
	size_t room = r->room ? r->room : 256;
	char *data;

	if (r->room - r->len >= n)
		return;
	while (room - r->len < n)
		room *= 2;
	data = realloc(r->data, room);
	if (data == NULL)
		fail_memory(L);
	r->data = data;
	r->room = room;
}

static size_t peek(const struct reader *r, const char **p)
{
	return r->f ? gr_file_peek(r->f, p) : gr_file_buffered(r->fp, p);
}

static void take(lua_State *L, struct reader *r, size_t n)
{
	reserve(L, r, n);
	if (r->f)
		gr_file_take(r->f, r->data + r->len, n);
	else
		n = fread(r->data + r->len, 1, n, r->fp);
	r->len += n;
}

/* Makes peek return something. False at the end, after an error and when a wait ended (r->rc). */
static bool fill(struct reader *r)
{
	int rc = r->f ? gr_file_fill(r->f) : gr_file_fill_plain(r->fp);

	r->rc = rc < 0 ? rc : 0;
	return rc > 0;
}

static void push_item(lua_State *L, struct reader *r, size_t chop)
{
	lua_pushlstring(L, r->data ? r->data + r->start : "", r->len - r->start - chop);
}

/* ---- Formats: each pushes one value and returns whether it is one ---- */

static bool read_line(lua_State *L, struct reader *r, bool chop)
{
	const char *p, *end = NULL;

	while (end == NULL) {
		size_t n = peek(r, &p);

		if (n == 0 && !fill(r))
			break;
		n = peek(r, &p);
		end = memchr(p, '\n', n);
		take(L, r, end ? (size_t)(end - p) + 1 : n);
	}
	push_item(L, r, end && chop);
	return r->len > r->start;
}

/* A plain FILE fills large pieces without its own buffer. Returns false at the end. */
static bool take_many(lua_State *L, struct reader *r, size_t n)
{
	const char *p;
	size_t got;

	if (r->f) {
		if (!fill(r))
			return false;
		got = peek(r, &p);
		take(L, r, got < n ? got : n);
		return true;
	}
	reserve(L, r, n);
	got = fread(r->data + r->len, 1, n, r->fp);
	r->len += got;
	return got == n;
}

static void read_all(lua_State *L, struct reader *r)
{
	size_t step = 4096;

	while (take_many(L, r, r->f ? SIZE_MAX : step))
		step = r->len > step ? r->len : step;
	push_item(L, r, 0);
}

static bool read_length(lua_State *L, struct reader *r, size_t n)
{
	bool more = true;

	while (more && r->len - r->start < n) {
		size_t left = n - (r->len - r->start);

		more = take_many(L, r, left < (1 << 20) ? left : 1 << 20);
	}
	push_item(L, r, 0);
	return r->len > r->start;
}

static bool read_nothing(lua_State *L, struct reader *r)
{
	lua_pushliteral(L, "");
	return fill(r);
}

/* What scanf makes of n bytes: 1 a number, 0 none; -1 it needs to know what comes next. *used: how much it takes. */
static int scan(const char *p, size_t n, lua_Number *out, size_t *used)
{
	FILE *text = fmemopen((void *)p, n, "r");
	int found;

	*used = 0;
	if (text == NULL)
		return 0;
	found = fscanf(text, LUA_NUMBER_SCAN, out) == 1;
	*used = (size_t)ftell(text);
	if (feof(text))
		found = -1 - found;
	fclose(text);
	return found;
}

/* Only scanf knows what belongs to a number, and it must not wait: it is shown what has come until that is enough. */
static bool scan_number(lua_State *L, struct reader *r, lua_Number *out)
{
	const char *p;
	size_t used = 0;
	int found = -1;

	while (found < 0 && fill(r)) {
		take(L, r, peek(r, &p));
		found = scan(r->data + r->start, r->len - r->start, out, &used);
	}
	if (r->rc < 0)
		return false;
	if (found >= 0 && gr_file_put_back(r->f, r->data + r->start + used, r->len - r->start - used) == 0)
		r->len = r->start + used;
	return found == 1 || found == -2;
}

static bool read_number(lua_State *L, struct reader *r)
{
	lua_Number d = 0;
	bool found = r->f ? scan_number(L, r, &d) : fscanf(r->fp, LUA_NUMBER_SCAN, &d) == 1;

	if (found)
		lua_pushnumber(L, d);
	else
		lua_pushnil(L);
	return found;
}

static bool read_format(lua_State *L, struct reader *r, int idx)
{
	const char *p;

	r->start = r->len;
	if (lua_type(L, idx) == LUA_TNUMBER) {
		lua_Integer n = (int32_t)lua_tonumber(L, idx);

		if (n < 0 || n > MAX_READ)
			fail_memory(L);
		return n ? read_length(L, r, (size_t)n) : read_nothing(L, r);
	}
	p = lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : NULL;
	if (p == NULL)
		luaL_argerror(L, idx, "invalid option");
	p += *p == '*';
	if (*p == 'n')
		return read_number(L, r);
	if (*p == 'l' || *p == 'L')
		return read_line(L, r, *p == 'l');
	if (*p != 'a')
		luaL_argerror(L, idx, "invalid format");
	read_all(L, r);
	return true;
}

/* ---- read ---- */

static int read_formats(lua_State *L, struct reader *r, int first, int nargs)
{
	int n = 0;
	bool ok = true;

	luaL_checkstack(L, nargs + LUA_MINSTACK, "too many arguments");
	if (nargs == 0) {
		ok = read_line(L, r, true);
		n = 1;
	}
	for (; n < nargs && ok && r->rc == 0; n++)
		ok = read_format(L, r, first + n);
	if (r->rc < 0)
		return 0;
	if (!ok) {
		lua_pop(L, 1);
		lua_pushnil(L);
	}
	return n;
}

int gr_io_read(lua_State *L, int idx, struct gr_luafile *u, int first, int nargs)
{
	struct reader r __attribute__((cleanup(reader_free))) = {.fp = u->fp};
	int n;

	r.f = gr_io_file(L, idx, u);
	if (r.f) {
		int rc = gr_io_take_turn(L, r.f, &r.f->reading, "io.read");

		if (rc < 0)
			return gr_lua_fail(L, rc);
		r.turn = rc ? &r.f->reading : NULL;
	}
	clearerr(r.fp);
	n = read_formats(L, &r, first, nargs);
	if (r.rc < 0) {
		if (r.f && r.f->fp)
			gr_file_put_back(r.f, r.data, r.len);
		return gr_lua_fail(L, r.rc);
	}
	return ferror(r.fp) ? luaL_fileresult(L, 0, NULL) : n;
}

int gr_io_l_read(lua_State *L)
{
	int nargs = lua_gettop(L);
	struct gr_luafile *u = gr_io_push_open_default(L, GR_IO_INPUT);

	return gr_io_read(L, nargs + 1, u, 1, nargs);
}

int gr_io_l_file_read(lua_State *L)
{
	struct gr_luafile *u = gr_io_check(L, 1);

	return gr_io_read(L, 1, u, 2, lua_gettop(L) - 1);
}

/* ---- lines ---- */

/* Upvalues: the file, whether it is closed at its end, how many formats, the formats. */
static int l_iterate(lua_State *L)
{
	struct gr_luafile *u = lua_touserdata(L, lua_upvalueindex(1));
	int nargs = (int)lua_tointeger(L, lua_upvalueindex(3)), n;

	if (u->fp == NULL)
		return luaL_error(L, "attempt to use a closed file");
	lua_settop(L, 0);
	luaL_checkstack(L, nargs, "too many arguments");
	for (int i = 0; i < nargs; i++)
		lua_pushvalue(L, lua_upvalueindex(4 + i));
	n = gr_io_read(L, lua_upvalueindex(1), u, 1, nargs);
	if (u->fp == NULL)
		return luaL_error(L, "attempt to use a closed file");
	if (ferror(u->fp))
		return luaL_error(L, "%s", lua_tostring(L, -2));
	if (lua_isnil(L, -n) && lua_toboolean(L, lua_upvalueindex(2))) {
		gr_io_close(L, lua_upvalueindex(1), u);
		return 0;
	}
	return n;
}

/* Stack: the file, formats. */
static int push_iterator(lua_State *L, bool close)
{
	int nargs = lua_gettop(L) - 1;

	if (nargs + 1 > MAX_UPVALUES)
		return luaL_error(L, "too many results to unpack");
	lua_pushboolean(L, close);
	lua_insert(L, 2);
	lua_pushinteger(L, nargs);
	lua_insert(L, 3);
	lua_pushcclosure(L, l_iterate, nargs + 3);
	return 1;
}

int gr_io_l_file_lines(lua_State *L)
{
	gr_io_check(L, 1);
	return push_iterator(L, false);
}

int gr_io_l_lines(lua_State *L)
{
	bool named = !lua_isnoneornil(L, 1);

	if (lua_gettop(L) == 0)
		lua_pushnil(L);
	if (!named)
		gr_io_push_default(L, GR_IO_INPUT);
	else if (gr_io_push_open(L, luaL_checkstring(L, 1), "r") != 1)
		return luaL_argerror(L, 1, lua_tostring(L, -2));
	lua_replace(L, 1);
	return push_iterator(L, named);
}
