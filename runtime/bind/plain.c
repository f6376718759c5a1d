/* SPDX-License-Identifier: MIT */
/* Plain data as bytes: a letter for the type, then the value as it is in memory. Never leaves the process. */
#include "bind/plain.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 100 };

/* A table is followed by its keys and values and an END; tables are numbered in order of their first occurrence, and SAME
 * is followed by such a number. */
enum letter { NIL = 'n', FALSE = 'f', TRUE = 't', NUMBER = 'd', STRING = 's', TABLE = '{', END = '}', SAME = '=' };

/* ---- Writing ---- */

struct writer {
	lua_State *L;
	struct gr_plain *p;
	int seen; /* index of a table: table -> its number */
	int tables, depth;
	char *why;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
	struct gr_plain *p = w->p;

	if (p->len + n > p->cap) {
		size_t cap = p->cap * 2 > p->len + n ? p->cap * 2 : p->len + n + 64;
		char *data = realloc(p->data, cap);

		if (data == NULL)
			luaL_error(w->L, "not enough memory");
		p->data = data;
		p->cap = cap;
	}
	if (n > 0)
		memcpy(p->data + p->len, bytes, n);
	p->len += n;
}

static void put_letter(struct writer *w, enum letter letter)
{
	char c = (char)letter;

	put(w, &c, 1);
}

static int refuse(const struct writer *w, const char *what)
{
	snprintf(w->why, GR_PLAIN_WHY, "%s cannot be passed to another Lua state", what);
	return -1;
}

static int put_value(struct writer *w, int idx);

static int put_fields(struct writer *w, int idx)
{
	int rc = 0;

	luaL_checkstack(w->L, 8, "too many nested tables");
	lua_pushnil(w->L);
	while (rc == 0 && lua_next(w->L, idx)) {
		int top = lua_gettop(w->L);

		rc = put_value(w, top - 1);
		if (rc == 0)
			rc = put_value(w, top);
		lua_pop(w->L, 1);
	}
	put_letter(w, END);
	return rc;
}

static int put_table(struct writer *w, int idx)
{
	lua_State *L = w->L;
	int number;

	lua_pushvalue(L, idx);
	lua_rawget(L, w->seen);
	number = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	if (number > 0) {
		put_letter(w, SAME);
		put(w, &number, sizeof(number));
		return 0;
	}
	if (lua_getmetatable(L, idx)) {
		lua_pop(L, 1);
		return refuse(w, "a table with a metatable");
	}
	if (w->depth >= DEPTH_MAX)
		return refuse(w, "a table nested so deeply");
	lua_pushvalue(L, idx);
	lua_pushinteger(L, ++w->tables);
	lua_rawset(L, w->seen);
	put_letter(w, TABLE);
	w->depth++;
	number = put_fields(w, idx);
	w->depth--;
	return number;
}

static int put_value(struct writer *w, int idx)
{
	lua_State *L = w->L;
	lua_Number number;
	const char *s;
	size_t len;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		put_letter(w, NIL);
		return 0;
	case LUA_TBOOLEAN:
		put_letter(w, lua_toboolean(L, idx) ? TRUE : FALSE);
		return 0;
	case LUA_TNUMBER:
		number = lua_tonumber(L, idx);
		put_letter(w, NUMBER);
		put(w, &number, sizeof(number));
		return 0;
	case LUA_TSTRING:
		s = lua_tolstring(L, idx, &len);
		put_letter(w, STRING);
		put(w, &len, sizeof(len));
		put(w, s, len);
		return 0;
	case LUA_TTABLE:
		return put_table(w, idx);
	default:
		return refuse(w, lua_pushfstring(L, "a %s", luaL_typename(L, idx)));
	}
}

int gr_plain_put(lua_State *L, struct gr_plain *p, int first, int n, char why[GR_PLAIN_WHY], int *which)
{
	struct writer w = {.L = L, .p = p, .why = why};
	int top = lua_gettop(L), rc = 0;

	luaL_checkstack(L, 4, NULL);
	lua_newtable(L);
	w.seen = top + 1;
	for (int i = 0; i < n && rc == 0; i++) {
		rc = put_value(&w, first + i);
		*which = i + 1;
	}
	lua_settop(L, top);
	return rc;
}

/* ---- Reading ---- */

struct reader {
	lua_State *L;
	const char *at;
	int seen; /* index of a list of the tables so far */
	int tables;
};

static void get(struct reader *r, void *out, size_t n)
{
	memcpy(out, r->at, n);
	r->at += n;
}

static void push_value(struct reader *r);

static void push_table(struct reader *r)
{
	lua_State *L = r->L;

	luaL_checkstack(L, 4, NULL);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_rawseti(L, r->seen, ++r->tables);
	while (*r->at != END) {
		push_value(r);
		push_value(r);
		lua_rawset(L, -3);
	}
	r->at++;
}

static void push_value(struct reader *r)
{
	lua_State *L = r->L;
	lua_Number number;
	size_t len;
	int same;

	switch ((enum letter) * r->at++) {
	case FALSE:
		lua_pushboolean(L, 0);
		break;
	case TRUE:
		lua_pushboolean(L, 1);
		break;
	case NUMBER:
		get(r, &number, sizeof(number));
		lua_pushnumber(L, number);
		break;
	case STRING:
		get(r, &len, sizeof(len));
		lua_pushlstring(L, r->at, len);
		r->at += len;
		break;
	case TABLE:
		push_table(r);
		break;
	case SAME:
		get(r, &same, sizeof(same));
		lua_rawgeti(L, r->seen, same);
		break;
	default:
		lua_pushnil(L);
		break;
	}
}

int gr_plain_push(lua_State *L, const struct gr_plain *p)
{
	struct reader r = {.L = L, .at = p->data};
	int n = 0;

	luaL_checkstack(L, 4, NULL);
	lua_newtable(L);
	r.seen = lua_gettop(L);
	for (; p->data && r.at < p->data + p->len; n++) {
		luaL_checkstack(L, 4, "too many values");
		push_value(&r);
	}
	lua_remove(L, r.seen);
	return n;
}

void gr_plain_free(struct gr_plain *p)
{
	free(p->data);
	p->data = NULL;
	p->len = p->cap = 0;
}
