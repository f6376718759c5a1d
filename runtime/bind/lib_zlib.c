/* SPDX-License-Identifier: MIT */
/* Compression for Lua: streams of zlib, which is loaded at their first use. */
#include "bind/lib_zlib.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bind/libz.h"

static const char DEFLATE[] = "grun.deflate", INFLATE[] = "grun.inflate";

enum {
	PIECE = 16 << 10, /* bytes that one step gives at most */
	MEMORY = 8,       /* zlib's default memLevel */
	GZIP_BITS = 16,   /* added to windowBits */
	AUTO_BITS = 32,
};

enum phase {
	CLOSED,
	FRESH, /* nothing was pushed */
	OPEN,
	ENDED,
	FAILED,
};

/* A userdata. */
struct zstream {
	const char *class;
	z_stream z;
	uint8_t phase; /* enum phase */
	bool members;  /* of a gzip file: another may follow */
	uint64_t left; /* bytes that may still come out of inflate */
};

/* ---- The library ---- */

static void load_library(lua_State *L)
{
	const char *problem = gr_libz_load();

	if (problem)
		luaL_error(L, "compression needs libz: %s", problem);
}

/* ---- Objects ---- */

static struct zstream *check_stream(lua_State *L, const char *class)
{
	struct zstream *s = lua_touserdata(L, 1);

	if (s == NULL || lua_objlen(L, 1) != sizeof(*s) || s->class != class)
		luaL_argerror(L, 1, lua_pushfstring(L, "%s expected, got %s", class, luaL_typename(L, 1)));
	return s;
}

static struct zstream *new_stream(lua_State *L, const char *class)
{
	struct zstream *s = lua_newuserdata(L, sizeof(*s));

	memset(s, 0, sizeof(*s));
	s->class = class;
	luaL_getmetatable(L, class);
	lua_setmetatable(L, -2);
	return s;
}

static void open_stream(lua_State *L, struct zstream *s, int rc)
{
	if (rc != Z_OK)
		luaL_error(L, "%s", rc == Z_MEM_ERROR ? "not enough memory" : "cannot use libz");
	s->phase = FRESH;
}

static void release(struct zstream *s)
{
	if (s->phase != CLOSED)
		(s->class == DEFLATE ? gr_libz.deflate_end : gr_libz.inflate_end)(&s->z);
	s->phase = CLOSED;
}

static int l_deflate_close(lua_State *L)
{
	release(check_stream(L, DEFLATE));
	return 0;
}

static int l_inflate_close(lua_State *L)
{
	release(check_stream(L, INFLATE));
	return 0;
}

static void set_input(lua_State *L, struct zstream *s)
{
	size_t len;
	const char *data = luaL_checklstring(L, 2, &len);

	luaL_argcheck(L, len <= UINT32_MAX, 2, "too large");
	s->z.next_in = (Bytef *)(uintptr_t)data;
	s->z.avail_in = (uInt)len;
}

static void set_output(struct zstream *s, char *buf, size_t size)
{
	s->z.next_out = (Bytef *)buf;
	s->z.avail_out = (uInt)size;
}

/* ---- deflate ---- */

static const char *const deflate_formats[] = {"gzip", "zlib", "raw", NULL};
static const int deflate_bits[] = {MAX_WBITS + GZIP_BITS, MAX_WBITS, -MAX_WBITS};

static int l_deflate(lua_State *L)
{
	int level = (int)luaL_optinteger(L, 1, 6);
	int format = luaL_checkoption(L, 2, "gzip", deflate_formats);
	struct zstream *s;

	luaL_argcheck(L, level >= 0 && level <= 9, 1, "level from 0 to 9 expected");
	s = new_stream(L, DEFLATE);
	open_stream(L, s,
		    gr_libz.deflate_init(&s->z, level, Z_DEFLATED, deflate_bits[format], MEMORY, Z_DEFAULT_STRATEGY,
					 ZLIB_VERSION, (int)sizeof(s->z)));
	return 1;
}

static int l_deflate_push(lua_State *L)
{
	static const char *const names[] = {"none", "flush", "finish", NULL};
	static const int how[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
	struct zstream *s = check_stream(L, DEFLATE);
	int mode = luaL_checkoption(L, 3, "none", names);
	char piece[PIECE];
	luaL_Buffer b;

	if (s->phase == CLOSED || s->phase == ENDED)
		return luaL_error(L, "the stream has ended");
	set_input(L, s);
	s->phase = OPEN;
	luaL_buffinit(L, &b);
	do {
		set_output(s, piece, sizeof(piece));
		gr_libz.deflate(&s->z, how[mode]);
		luaL_addlstring(&b, piece, sizeof(piece) - s->z.avail_out);
	} while (s->z.avail_out == 0);
	if (how[mode] == Z_FINISH)
		s->phase = ENDED;
	luaL_pushresult(&b);
	return 1;
}

/* ---- inflate ---- */

static const char *const inflate_formats[] = {"auto", "gzip", "zlib", "raw", NULL};
static const int inflate_bits[] = {MAX_WBITS + AUTO_BITS, MAX_WBITS + GZIP_BITS, MAX_WBITS, -MAX_WBITS};

static int l_inflate(lua_State *L)
{
	int format = luaL_checkoption(L, 1, "auto", inflate_formats);
	lua_Number max = luaL_optnumber(L, 2, 1e15);
	struct zstream *s;

	luaL_argcheck(L, max >= 0, 2, "count out of range");
	s = new_stream(L, INFLATE);
	s->left = max < 1e15 ? (uint64_t)max : (uint64_t)1e15;
	s->members = format <= 1;
	open_stream(L, s, gr_libz.inflate_init(&s->z, inflate_bits[format], ZLIB_VERSION, (int)sizeof(s->z)));
	return 1;
}

static int fail(lua_State *L, struct zstream *s, const char *message, const char *code)
{
	s->phase = FAILED;
	lua_pushnil(L);
	lua_pushstring(L, message);
	lua_pushstring(L, code);
	return 3;
}

/* One step. Returns what zlib says; what came out is at `buf`, `*n` bytes. */
static int step(struct zstream *s, char *buf, size_t *n)
{
	int rc;

	if (s->phase == ENDED) {
		if (!s->members || s->z.next_in[0] != 0x1f)
			return Z_DATA_ERROR;
		gr_libz.inflate_reset(&s->z);
	}
	set_output(s, buf, *n);
	rc = gr_libz.inflate(&s->z, Z_NO_FLUSH);
	*n -= s->z.avail_out;
	s->phase = rc == Z_STREAM_END ? ENDED : OPEN;
	return rc;
}

static int l_inflate_push(lua_State *L)
{
	static const char *const names[] = {"none", "finish", NULL};
	struct zstream *s = check_stream(L, INFLATE);
	bool finish = luaL_checkoption(L, 3, "none", names) == 1;
	char piece[PIECE];
	luaL_Buffer b;
	size_t n = 0;
	int rc = Z_OK;

	if (s->phase == CLOSED)
		return luaL_error(L, "the stream is closed");
	if (s->phase == FAILED)
		return fail(L, s, "malformed compressed data", "protocol");
	set_input(L, s);
	luaL_buffinit(L, &b);
	while (s->z.avail_in > 0 || n == sizeof(piece)) {
		if (s->z.avail_in == 0 && s->phase == ENDED)
			break;
		n = sizeof(piece);
		rc = step(s, piece, &n);
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return fail(L, s, "malformed compressed data", "protocol");
		if (n > s->left)
			return fail(L, s, "uncompressed data too large", "too_large");
		s->left -= n;
		luaL_addlstring(&b, piece, n);
		if (rc == Z_BUF_ERROR)
			break;
	}
	if (finish && s->phase == OPEN)
		return fail(L, s, "compressed data ends too early", "protocol");
	luaL_pushresult(&b);
	return 1;
}

/* ---- The module ---- */

static void new_class(lua_State *L, const char *class, lua_CFunction push, lua_CFunction close)
{
	luaL_newmetatable(L, class);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, push);
	lua_setfield(L, -2, "push");
	lua_pushcfunction(L, close);
	lua_setfield(L, -2, "close");
	lua_pushcfunction(L, close);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}

int luaopen_grun_core_zlib(lua_State *L)
{
	load_library(L);
	new_class(L, DEFLATE, l_deflate_push, l_deflate_close);
	new_class(L, INFLATE, l_inflate_push, l_inflate_close);
	lua_newtable(L);
	lua_pushcfunction(L, l_deflate);
	lua_setfield(L, -2, "deflate");
	lua_pushcfunction(L, l_inflate);
	lua_setfield(L, -2, "inflate");
	return 1;
}
