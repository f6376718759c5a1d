/* SPDX-License-Identifier: MIT */
/* HTTP clients for Lua: sending a body while the server may already answer. */
#include <lauxlib.h>

#include "bind/http_message.h"
#include "bind/lib_httpc.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"

enum {
	INTERIM_FIELDS = 50, /* of a response before the final one */
};

/* What may come meanwhile: a response before the final one, which is consumed, or the final one, which is left alone. */
struct early_scan {
	struct gr_http_head head;
	struct gr_http_field fields[INTERIM_FIELDS];
};

static ssize_t scan_early(void *user, const char *p, size_t n)
{
	struct early_scan *scan = user;
	ssize_t len = gr_http_parse_response(&scan->head, p, n, GR_METHOD_GET);

	if (len > 0 && (scan->head.status >= 200 || scan->head.status == 101))
		return GR_PROTOCOL;
	return len;
}

static bool is_raised(ssize_t rc)
{
	return rc == GR_CANCELED || rc == GR_DEADLINE || rc == GR_MISUSE;
}

/* early(conn, seconds) -> "continue" when "100 Continue" or the like came, which is dropped; "answer" when the final
 * response, what cannot be understood, or the end, is there for receive(); nil when nothing complete came. Parks. */
static int l_early(lua_State *L)
{
	static const struct gr_http_limits limits = {.line = 1000, .block = 8000, .fields = INTERIM_FIELDS};
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);
	struct early_scan scan;
	const char *p;
	ssize_t n;

	if (rc)
		return rc;
	gr_http_head_init(&scan.head, scan.fields, &limits);
	n = gr_stream_scan(s, scan_early, &scan, &until, &p);
	gr_stream_done(s);
	if (is_raised(n))
		return gr_lua_fail(L, (int)n);
	if (n == GR_TIMEOUT)
		return 0;
	lua_pushstring(L, n > 0 ? "continue" : "answer");
	return 1;
}

/* wait(conn, seconds) -> true when a read would not wait: something came, or it would fail; nil when nothing did. Parks. */
static int l_wait(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	if (s->fd >= 0 && !gr_stream_readable(s))
		rc = gr_io_wait(&s->rd, until, "http client");
	if (is_raised(rc))
		return gr_lua_fail(L, rc);
	if (rc == GR_TIMEOUT)
		return 0;
	lua_pushboolean(L, 1);
	return 1;
}

const luaL_Reg gr_httpc_sending[] = {
	{"early", l_early},
	{"wait", l_wait},
	{NULL, NULL},
};
