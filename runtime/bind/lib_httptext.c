/* SPDX-License-Identifier: MIT */
/* The small formats of HTTP for Lua: escapes, base64, dates, media types, qualities, conditions, ranges, cookies. */
#include "bind/lib_httptext.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <lauxlib.h>

#include "bind/lib_net.h"
#include "http/base64.h"
#include "http/condition.h"
#include "http/cookie.h"
#include "http/date.h"
#include "http/field.h"
#include "http/target.h"

enum { RANGES_MAX = 64, COOKIE_MAX = 8192 };

static struct gr_slice check_slice(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = luaL_checklstring(L, idx, &s.len);
	return s;
}

/* p == NULL for nil. */
static struct gr_slice opt_slice(lua_State *L, int idx)
{
	return lua_isnoneornil(L, idx) ? (struct gr_slice){NULL, 0} : check_slice(L, idx);
}

static void push_lower(lua_State *L, struct gr_slice s)
{
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (size_t i = 0; i < s.len; i++)
		luaL_addchar(&b, (char)tolower((unsigned char)s.p[i]));
	luaL_pushresult(&b);
}

static int fail_text(lua_State *L, int rc)
{
	lua_pushnil(L);
	lua_pushstring(L, gr_http_error_text(rc));
	lua_pushliteral(L, "protocol");
	return 3;
}

/* ---- Escapes and base64 ---- */

/* percent_decode(text [, plus]) */
static int l_percent_decode(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);
	int flags = lua_toboolean(L, 2) ? GR_DECODE_PLUS : 0;
	char *out = lua_newuserdata(L, in.len + 1);
	ssize_t n = gr_percent_decode(out, in.p, in.len, flags);

	if (n < 0)
		return fail_text(L, (int)n);
	lua_pushlstring(L, out, (size_t)n);
	return 1;
}

/* percent_encode(text [, "component" | "path" | "form"]) */
static int l_percent_encode(lua_State *L)
{
	static const char *const kinds[] = {"component", "path", "form", NULL};
	static const enum gr_encode how[] = {GR_ENCODE_COMPONENT, GR_ENCODE_PATH, GR_ENCODE_FORM};
	struct gr_slice in = check_slice(L, 1);
	int kind = luaL_checkoption(L, 2, "component", kinds);
	char *out = lua_newuserdata(L, 3 * in.len + 1);

	lua_pushlstring(L, out, gr_percent_encode(out, in.p, in.len, how[kind]));
	return 1;
}

static int l_base64_encode(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);
	char *out = lua_newuserdata(L, gr_base64_len(in.len) + 1);

	gr_base64_encode(out, in.p, in.len);
	lua_pushlstring(L, out, gr_base64_len(in.len));
	return 1;
}

static int l_base64_decode(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);
	char *out = lua_newuserdata(L, in.len + 1);
	ssize_t n = gr_base64_decode(out, in.p, in.len);

	if (n < 0)
		return 0;
	lua_pushlstring(L, out, (size_t)n);
	return 1;
}

/* mask_password(url) -> the same with "***" for its password */
static int l_mask_password(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);

	gr_net_push_masked(L, in.p, in.len);
	return 1;
}

/* resolve_path(path): that of a file relative to its root. */
static int l_resolve_path(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);
	char *out = lua_newuserdata(L, in.len + 1);
	ssize_t n = gr_path_resolve(out, in.p, in.len);

	if (n < 0)
		return fail_text(L, (int)n);
	lua_pushlstring(L, out, (size_t)n);
	return 1;
}

/* ---- Dates ---- */

static int l_date(lua_State *L)
{
	char text[GR_HTTP_DATE];

	gr_http_date_format((int64_t)luaL_optnumber(L, 1, (lua_Number)time(NULL)), text);
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/* parse_date(text [, now]) -> seconds since 1970 | nil; now tells the century of two digits. */
static int l_parse_date(lua_State *L)
{
	struct gr_slice in = check_slice(L, 1);
	int64_t now = lua_isnoneornil(L, 2) ? time(NULL) : (int64_t)luaL_checknumber(L, 2), at;

	if (!gr_http_date_parse(in.p, in.len, now, &at))
		return 0;
	lua_pushnumber(L, (lua_Number)at);
	return 1;
}

/* ---- Values of fields ---- */

/* The pairs of `params` into the table on top. Returns 0 or GR_HTTP_BAD_VALUE. */
static int add_params(lua_State *L, struct gr_slice params)
{
	struct gr_slice name, value;
	int rc;

	while ((rc = gr_param_next(&params, &name, &value)) > 0) {
		char *out;

		push_lower(L, name);
		out = lua_newuserdata(L, value.len + 1);
		lua_pushlstring(L, out, gr_unquote(out, value));
		lua_remove(L, -2);
		lua_rawset(L, -3);
	}
	return rc;
}

/* media_type(value) -> "text/html", {charset = "utf-8"}; nothing if it is malformed. */
static int l_media_type(lua_State *L)
{
	struct gr_slice type, params;

	if (gr_media_parse(check_slice(L, 1), &type, &params) < 0)
		return 0;
	push_lower(L, type);
	lua_newtable(L);
	return add_params(L, params) < 0 ? 0 : 2;
}

/* accept_quality(list, name) -> 0 to 1, or nil when the list does not say. */
static int l_accept_quality(lua_State *L)
{
	int quality = gr_accept_quality(check_slice(L, 1), luaL_checkstring(L, 2));

	if (quality < 0)
		return 0;
	lua_pushnumber(L, quality / 1000.0);
	return 1;
}

/* ---- Conditions and ranges ---- */

/* etag_match(list, etag [, weak]) */
static int l_etag_match(lua_State *L)
{
	lua_pushboolean(L, gr_etag_match(check_slice(L, 1), check_slice(L, 2), lua_toboolean(L, 3)));
	return 1;
}

/* precondition_failed(if_match, if_unmodified_since, etag, mtime) */
static int l_precondition_failed(lua_State *L)
{
	int64_t mtime = (int64_t)luaL_checknumber(L, 4);

	lua_pushboolean(L,
			gr_precondition_failed(opt_slice(L, 1), opt_slice(L, 2), opt_slice(L, 3), mtime, time(NULL)));
	return 1;
}

/* not_modified(if_none_match, if_modified_since, etag, mtime) */
static int l_not_modified(lua_State *L)
{
	int64_t mtime = (int64_t)luaL_checknumber(L, 4);

	lua_pushboolean(L, gr_not_modified(opt_slice(L, 1), opt_slice(L, 2), opt_slice(L, 3), mtime, time(NULL)));
	return 1;
}

/* if_range(value, etag, mtime) */
static int l_if_range(lua_State *L)
{
	int64_t mtime = (int64_t)luaL_checknumber(L, 3);

	lua_pushboolean(L, gr_if_range(check_slice(L, 1), opt_slice(L, 2), mtime, time(NULL)));
	return 1;
}

/* ranges(value, size, max) -> {first, last, first, last ...}; nil: send the whole; false: there are no such bytes. */
static int l_ranges(lua_State *L)
{
	struct gr_range list[RANGES_MAX];
	int64_t size = (int64_t)luaL_checknumber(L, 2);
	int max = (int)luaL_checkinteger(L, 3), n;

	luaL_argcheck(L, max >= 0 && max <= RANGES_MAX, 3, "count out of range");
	n = gr_range_parse(check_slice(L, 1), size, list, max);
	if (n <= 0) {
		if (n == 0)
			lua_pushnil(L);
		else
			lua_pushboolean(L, 0);
		return 1;
	}
	lua_createtable(L, 2 * n, 0);
	for (int i = 0; i < n; i++) {
		lua_pushnumber(L, (lua_Number)list[i].first);
		lua_rawseti(L, -2, 2 * i + 1);
		lua_pushnumber(L, (lua_Number)list[i].last);
		lua_rawseti(L, -2, 2 * i + 2);
	}
	return 1;
}

/* ---- Cookies ---- */

/* parse_cookies(text) -> {name = value}; the first of several with one name counts. */
static int l_parse_cookies(lua_State *L)
{
	struct gr_slice rest = check_slice(L, 1), name, value;

	lua_newtable(L);
	while (gr_cookie_next(&rest, &name, &value)) {
		if (name.len == 0)
			continue;
		lua_pushlstring(L, name.p, name.len);
		lua_pushvalue(L, -1);
		lua_rawget(L, -3);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_pushlstring(L, value.p, value.len);
			lua_rawset(L, -3);
		} else {
			lua_pop(L, 2);
		}
	}
	return 1;
}

/* The text of an option, which stays in the table. */
static struct gr_slice text_option(lua_State *L, const char *name)
{
	struct gr_slice s;

	lua_getfield(L, 3, name);
	s = opt_slice(L, -1);
	lua_pop(L, 1);
	return s;
}

static bool flag_option(lua_State *L, const char *name)
{
	bool flag;

	lua_getfield(L, 3, name);
	flag = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return flag;
}

static enum gr_same_site same_site_option(lua_State *L)
{
	struct gr_slice text = text_option(L, "same_site");

	if (text.p == NULL)
		return GR_SAME_SITE_UNSET;
	if (gr_slice_is(text, "lax"))
		return GR_SAME_SITE_LAX;
	if (gr_slice_is(text, "strict"))
		return GR_SAME_SITE_STRICT;
	if (!gr_slice_is(text, "none"))
		luaL_error(L, "cookie: option 'same_site' must be \"lax\", \"strict\" or \"none\"");
	return GR_SAME_SITE_NONE;
}

/* format_cookie(name, value, opts) -> text, or nil and what is wrong. */
static int l_format_cookie(lua_State *L)
{
	struct gr_cookie c = {.name = check_slice(L, 1), .value = check_slice(L, 2), .max_age = -1};
	char buf[COOKIE_MAX];
	ssize_t n;

	luaL_checktype(L, 3, LUA_TTABLE);
	c.domain = text_option(L, "domain");
	c.path = text_option(L, "path");
	c.secure = flag_option(L, "secure");
	c.http_only = flag_option(L, "http_only");
	c.same_site = same_site_option(L);
	lua_getfield(L, 3, "max_age");
	c.max_age = lua_isnil(L, -1) ? -1 : (int64_t)luaL_checknumber(L, -1);
	n = gr_cookie_format(&c, buf, sizeof(buf));
	if (n < 0)
		return fail_text(L, (int)n);
	lua_pushlstring(L, buf, (size_t)n);
	return 1;
}

/* boundary() -> a line that no content of a multipart body holds: nobody can guess it. */
static int l_boundary(lua_State *L)
{
	static const char prefix[] = "grun-";
	char text[sizeof(prefix) + 32];
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return luaL_error(L, "no randomness: %s", strerror(errno));
	strcpy(text, prefix);
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(text + sizeof(prefix) - 1 + 2 * i, 3, "%02x", random[i]);
	lua_pushstring(L, text);
	return 1;
}

static const luaL_Reg functions[] = {
	{"percent_decode", l_percent_decode},
	{"percent_encode", l_percent_encode},
	{"base64_encode", l_base64_encode},
	{"base64_decode", l_base64_decode},
	{"mask_password", l_mask_password},
	{"resolve_path", l_resolve_path},
	{"date", l_date},
	{"parse_date", l_parse_date},
	{"media_type", l_media_type},
	{"accept_quality", l_accept_quality},
	{"etag_match", l_etag_match},
	{"precondition_failed", l_precondition_failed},
	{"not_modified", l_not_modified},
	{"if_range", l_if_range},
	{"ranges", l_ranges},
	{"parse_cookies", l_parse_cookies},
	{"format_cookie", l_format_cookie},
	{"boundary", l_boundary},
	{NULL, NULL},
};

int luaopen_grun_core_httptext(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
