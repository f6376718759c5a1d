/* SPDX-License-Identifier: MIT */
/* HTTP clients for Lua: sending a body while the server may already answer. */
#include <lauxlib.h>

#include "bind/http_message.h"
#include "bind/lib_httpc.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"

enum {
	INTERIM_FIELDS = 50, /* of a response before the final one */
	PIECES = 3,          /* that are sent at once: a chunk */
};

/* What may come meanwhile: a response before the final one, which is consumed, or the final one, which is left alone. */
struct early_scan {
	struct gr_http_head head;
	struct gr_http_field fields[INTERIM_FIELDS];
	bool final; /* or nothing that can be understood */
};

static ssize_t scan_early(void *user, const char *p, size_t n)
{
	struct early_scan *scan = user;
	ssize_t len = gr_http_parse_response(&scan->head, p, n, GR_METHOD_GET);

	scan->final = len < 0 || (len > 0 && (scan->head.status >= 200 || scan->head.status == 101));
	return scan->final ? GR_PROTOCOL : len;
}

/* Looks for such a response until then: > 0: "100 Continue" or the like came; GR_TIMEOUT: nothing complete did; what a wait
 * returns; else the final response, or the end, is there. Parks. */
static ssize_t take_early(struct gr_stream *s, double until)
{
	static const struct gr_http_limits limits = {.line = 1000, .block = 8000, .fields = INTERIM_FIELDS};
	struct early_scan scan = {.final = false};
	const char *p;
	ssize_t n;

	gr_http_head_init(&scan.head, scan.fields, &limits);
	n = gr_stream_scan(s, scan_early, &scan, &until, &p);
	gr_stream_done(s);
	return n;
}

static bool is_answered(struct gr_stream *s)
{
	ssize_t n = 1;

	while (n > 0 && gr_stream_readable(s))
		n = take_early(s, 0);
	return n <= 0 && n != GR_TIMEOUT;
}

static bool is_raised(ssize_t rc)
{
	return rc == GR_CANCELED || rc == GR_DEADLINE || rc == GR_MISUSE;
}

/* early(conn, seconds) -> "continue" when "100 Continue" or the like came; "answer" when the final response, or the end,
 * is there for receive(); nil when nothing complete came. Parks. */
static int l_early(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);
	ssize_t n;

	if (rc)
		return rc;
	n = take_early(s, until);
	if (is_raised(n))
		return gr_lua_fail(L, (int)n);
	if (n == GR_TIMEOUT)
		return 0;
	lua_pushstring(L, n > 0 ? "continue" : "answer");
	return 1;
}

/* is_answered(conn): the final response, or the end, is there; what comes before it is dropped. */
static int l_is_answered(lua_State *L)
{
	lua_pushboolean(L, is_answered(gr_conn_check(L)));
	return 1;
}

/* Until it can be written to, or something came. Returns 0 or an error. */
static int wait_either(struct gr_stream *s, double until)
{
	int rc = gr_io_subscribe(&s->wr);

	if (rc < 0)
		return rc;
	rc = gr_io_subscribe(&s->rd);
	if (rc == 0) {
		rc = gr_wait(until, "http client (sending)");
		gr_io_unsubscribe(&s->rd);
	}
	gr_io_unsubscribe(&s->wr);
	return rc;
}

/* wait(conn, seconds) -> true when it can be written to, or something came; or nil, message, code. Parks. */
static int l_wait(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	rc = s->fd < 0 ? GR_CLOSED : wait_either(s, until);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* The first `done` bytes of these are sent. Returns how many entries there are left. */
static int rest_of(const struct iovec *all, int n, size_t done, struct iovec *rest)
{
	int left = 0;

	for (int i = 0; i < n; i++) {
		size_t skip = done < all[i].iov_len ? done : all[i].iov_len;

		done -= skip;
		if (all[i].iov_len > skip)
			rest[left++] = (struct iovec){(char *)all[i].iov_base + skip, all[i].iov_len - skip};
	}
	return left;
}

/* In one's turn to write. Returns 1, 0 when the server answered before all was sent, or an error. */
static int send_watching(struct gr_stream *s, const struct iovec *all, int n, double until)
{
	struct iovec rest[PIECES];
	size_t sent = 0;
	int rc;

	for (;;) {
		rc = gr_stream_writev(s, rest, rest_of(all, n, sent, rest), 0, &sent);
		if (rc != GR_TIMEOUT)
			return rc < 0 ? rc : 1;
		rc = wait_either(s, until);
		if (rc < 0)
			return rc;
		if (is_answered(s))
			return 0;
	}
}

/* send(conn, seconds, text...) -> true; false when the server answered while not all could be sent; or nil, message,
 * code. At most PIECES texts. Parks. */
static int l_send(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	int n = lua_gettop(L) - 2, rc;
	struct iovec all[PIECES];

	luaL_argcheck(L, n >= 1 && n <= PIECES, 3, "1 to 3 texts expected");
	for (int i = 0; i < n; i++)
		all[i].iov_base = (void *)luaL_checklstring(L, 3 + i, &all[i].iov_len);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = s->fd < 0 ? GR_CLOSED : gr_stream_begin_write(s, until);
	if (rc == 0) {
		rc = send_watching(s, all, n, until);
		gr_stream_end_write(s);
	}
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, rc);
	return 1;
}

const luaL_Reg gr_httpc_sending[] = {
	{"early", l_early}, {"is_answered", l_is_answered}, {"wait", l_wait}, {"send", l_send}, {NULL, NULL},
};
