/* SPDX-License-Identifier: MIT */
/* Multipart bodies for Lua: a scanner that is fed pieces and gives events. */
#include "bind/lib_multipart.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "http/field.h"
#include "http/multipart.h"

static const char CLASS[] = "grun.http.multipart";

enum { FIELDS = 16 }; /* of one part */

/* A userdata, which does not move: `m` points into it. */
struct scanner {
	const char *class;
	struct gr_multipart m;
	struct gr_http_limits limits;
	struct gr_http_field fields[FIELDS];
	char *buf;           /* heap */
	size_t at, len, cap; /* bytes [at, len) are not looked at yet */
};

static struct scanner *check_scanner(lua_State *L)
{
	struct scanner *s = lua_touserdata(L, 1);

	if (s == NULL || lua_objlen(L, 1) != sizeof(*s) || s->class != CLASS)
		luaL_argerror(L, 1, "multipart scanner expected");
	return s;
}

static int fail(lua_State *L, int rc)
{
	lua_pushnil(L);
	lua_pushstring(L, gr_http_error_text(rc));
	if (gr_http_error_status(rc) == 400)
		lua_pushliteral(L, "protocol");
	else
		lua_pushliteral(L, "too_large");
	return 3;
}

/* new(boundary, parts, block): at most so many parts, with so many bytes of fields each. */
static int l_new(lua_State *L)
{
	struct gr_slice boundary;
	double parts = luaL_checknumber(L, 2), block = luaL_checknumber(L, 3);
	struct scanner *s;
	int rc;

	boundary.p = luaL_checklstring(L, 1, &boundary.len);
	luaL_argcheck(L, parts >= 0 && parts <= 1e9, 2, "count out of range");
	luaL_argcheck(L, block >= 1 && block <= 1 << 20, 3, "count out of range");
	s = lua_newuserdata(L, sizeof(*s));
	memset(s, 0, sizeof(*s));
	s->class = CLASS;
	s->limits = (struct gr_http_limits){.line = (uint32_t)block, .block = (uint32_t)block, .fields = FIELDS};
	luaL_getmetatable(L, CLASS);
	lua_setmetatable(L, -2);
	rc = gr_multipart_init(&s->m, boundary, s->fields, &s->limits, (uint32_t)parts);
	return rc < 0 ? fail(L, rc) : 1;
}

static int l_gc(lua_State *L)
{
	struct scanner *s = check_scanner(L);

	free(s->buf);
	s->buf = NULL;
	s->at = s->len = s->cap = 0;
	return 0;
}

/* add(piece): what comes next in the body. */
static int l_add(lua_State *L)
{
	struct scanner *s = check_scanner(L);
	size_t n, rest = s->len - s->at;
	const char *p = luaL_checklstring(L, 2, &n);

	if (s->at > 0)
		memmove(s->buf, s->buf + s->at, rest);
	s->at = 0;
	s->len = rest;
	if (rest + n > s->cap) {
		char *buf = realloc(s->buf, rest + n);

		if (buf == NULL)
			return luaL_error(L, "not enough memory");
		s->buf = buf;
		s->cap = rest + n;
	}
	memcpy(s->buf + s->len, p, n);
	s->len += n;
	return 0;
}

static void push_unquoted(lua_State *L, struct gr_slice value)
{
	char *out;

	if (value.p == NULL) {
		lua_pushnil(L);
		return;
	}
	out = lua_newuserdata(L, value.len + 1);
	lua_pushlstring(L, out, gr_multipart_unquote(out, value));
	lua_remove(L, -2);
}

/* Pushes "part", name, filename or nil, {lower-case name = value}. */
static int push_part(lua_State *L, const struct scanner *s, const char *block)
{
	struct gr_slice name, filename;
	int rc = gr_multipart_names(&s->m, block, &name, &filename);

	if (rc < 0)
		return fail(L, rc);
	lua_pushliteral(L, "part");
	push_unquoted(L, name);
	push_unquoted(L, filename);
	lua_newtable(L);
	for (uint32_t i = 0; i < s->m.head.nfields; i++) {
		struct gr_slice field = gr_http_name(&s->m.head, block, i);
		struct gr_slice value = gr_http_value(&s->m.head, block, i);
		luaL_Buffer b;

		luaL_buffinit(L, &b);
		for (size_t k = 0; k < field.len; k++)
			luaL_addchar(&b, (char)tolower((unsigned char)field.p[k]));
		luaL_pushresult(&b);
		lua_pushlstring(L, value.p, value.len);
		lua_rawset(L, -3);
	}
	return 4;
}

/* next() -> "more" | "part", name, filename, headers | "data", bytes | "end" | "over", or nil, message, code. */
static int l_next(lua_State *L)
{
	static const char *const names[] = {
		[GR_PART_MORE] = "more",
		[GR_PART_DATA] = "data",
		[GR_PART_END] = "end",
		[GR_MULTIPART_END] = "over",
	};
	struct scanner *s = check_scanner(L);
	struct gr_slice piece;
	size_t used;
	int event = gr_multipart_next(&s->m, s->buf + s->at, s->len - s->at, &used, &piece);

	if (event < 0)
		return fail(L, event);
	s->at += used;
	if (event == GR_PART_BEGIN)
		return push_part(L, s, piece.p);
	lua_pushstring(L, names[event]);
	if (event != GR_PART_DATA)
		return 1;
	lua_pushlstring(L, piece.p, piece.len);
	return 2;
}

int luaopen_grun_core_multipart(lua_State *L)
{
	luaL_newmetatable(L, CLASS);
	lua_pushcfunction(L, l_gc);
	lua_setfield(L, -2, "__gc");
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, l_add);
	lua_setfield(L, -2, "add");
	lua_pushcfunction(L, l_next);
	lua_setfield(L, -2, "next");
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, l_new);
	lua_setfield(L, -2, "new");
	return 1;
}
