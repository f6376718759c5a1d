/* SPDX-License-Identifier: MIT */
/* HTTP requests for Lua: their bodies. */
#include <math.h>

#include "bind/lib_httpd.h"
#include "bind/luautil.h"
#include "core/hub.h"

enum { SKIP_MAX = 64 << 10 }; /* bytes of an unread body that are worth waiting for */

static int send_continue(struct gr_httpd_conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	double until = gr_until(c->config->write_timeout);
	size_t sent = 0;
	int rc = gr_httpd_flush(c);

	c->want_continue = false;
	if (rc == 0)
		rc = gr_stream_begin_write(c->stream, until);
	if (rc < 0)
		return rc;
	rc = gr_stream_write(c->stream, text, sizeof(text) - 1, until, &sent);
	gr_stream_end_write(c->stream);
	return rc;
}

/* Called before reading. Returns 0 or an error. Who has begun to answer cannot ask for the body any more. */
static int prepare_body(struct gr_httpd_conn *c)
{
	if (!c->want_continue || c->body.error || c->body.kind == GR_BODY_NONE || c->reply != GR_REPLY_OPEN)
		return 0;
	c->body.error = send_continue(c);
	return c->body.error;
}

/* A body that could not be read is the last thing on its connection. */
static int checked(struct gr_httpd_conn *c, int rc)
{
	c->keep = c->keep && rc >= 0;
	return rc;
}

/* The next piece of the body, at *p until gr_stream_done; 0 at its end; or an error. */
static ssize_t read_piece(struct gr_httpd_conn *c, const char **p)
{
	int rc = prepare_body(c);
	ssize_t n =
		rc < 0 ? rc : gr_body_read(&c->body, c->stream, GR_BODY_PIECE, gr_until(c->config->body_timeout), p);

	return n < 0 ? checked(c, (int)n) : n;
}

/* A client that waits for "100 Continue" may or may not send its body now: nobody can tell what follows. */
bool gr_httpd_can_skip_body(const struct gr_httpd_conn *c)
{
	if (c->body.kind == GR_BODY_NONE)
		return true;
	return !c->want_continue && (c->body.kind != GR_BODY_LENGTH || c->body.left <= SKIP_MAX);
}

bool gr_httpd_skip_body(struct gr_httpd_conn *c)
{
	int64_t budget = SKIP_MAX;
	const char *p = NULL;
	ssize_t n;

	if (!gr_httpd_can_skip_body(c))
		return false;
	while (c->body.kind != GR_BODY_NONE && budget > 0) {
		n = read_piece(c, &p);
		gr_stream_done(c->stream);
		if (n < 0)
			return false;
		budget -= n;
	}
	return c->body.kind == GR_BODY_NONE && !c->body.error;
}

/* Pushes up to `max` bytes, or the whole body. Returns 0 or an error. */
static int gather(lua_State *L, struct gr_httpd_conn *c, int64_t max, bool whole)
{
	struct gr_body_time time = {c->config->body_timeout, INFINITY};
	bool too_large = whole && c->body.kind == GR_BODY_LENGTH && c->body.left > max;
	int rc = too_large ? 0 : prepare_body(c); /* nobody is asked for what is not wanted */

	return checked(c, rc < 0 ? rc : gr_body_gather(L, &c->body, c->stream, max, whole, &time));
}

int gr_httpd_l_request_body(lua_State *L)
{
	struct gr_httpd_conn *c = gr_httpd_check_turn(L);
	lua_Number max = luaL_optnumber(L, 2, (lua_Number)c->config->max_body);
	int rc;

	luaL_argcheck(L, max >= 0 && max <= 1e15, 2, "count out of range");
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	rc = gather(L, c, (int64_t)max, true);
	return rc < 0 ? gr_message_fail(L, rc) : 1;
}

int gr_httpd_l_request_read(lua_State *L)
{
	struct gr_httpd_conn *c = gr_httpd_check_turn(L);
	const char *p = NULL;
	ssize_t n;
	int rc;

	if (lua_type(L, 2) == LUA_TSTRING) {
		const char *format = lua_tostring(L, 2);

		format += *format == '*';
		luaL_argcheck(L, *format == 'a', 2, "invalid format");
		lua_settop(L, 1);
		return gr_httpd_l_request_body(L);
	}
	if (!lua_isnoneornil(L, 2))
		luaL_argcheck(L, luaL_checknumber(L, 2) >= 1 && lua_tonumber(L, 2) <= 1e15, 2, "count out of range");
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	if (!lua_isnoneornil(L, 2)) {
		rc = gather(L, c, (int64_t)lua_tonumber(L, 2), false);
		return rc < 0 ? gr_message_fail(L, rc) : lua_objlen(L, -1) > 0;
	}
	n = read_piece(c, &p);
	if (n <= 0)
		return n < 0 ? gr_message_fail(L, (int)n) : 0;
	lua_pushlstring(L, p, (size_t)n);
	gr_stream_done(c->stream);
	return 1;
}
