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
	bool final;   /* or nothing that can be understood */
	bool success; /* 2xx */
};

enum answer {
	ANSWER_NONE,
	ANSWER_EARLY, /* of success: it may depend on what is yet to be sent */
	ANSWER_FINAL, /* or the end: the server wants no more */
};

static ssize_t scan_early(void *user, const char *p, size_t n)
{
	struct early_scan *scan = user;
	ssize_t len = gr_http_parse_response(&scan->head, p, n, GR_METHOD_GET);

	scan->success = len > 0 && scan->head.status >= 200 && scan->head.status < 300;
	scan->final = len < 0 || (len > 0 && (scan->head.status >= 200 || scan->head.status == 101));
	return scan->final ? GR_PROTOCOL : len;
}

/* Looks for such a response until then: > 0: "100 Continue" or the like came; GR_TIMEOUT: nothing complete did; what a wait
 * returns; else the final response, or the end, is there. *success: it is a 2xx. Parks. */
static ssize_t take_early(struct gr_stream *s, double until, bool *success)
{
	static const struct gr_http_limits limits = {.line = 1000, .block = 8000, .fields = INTERIM_FIELDS};
	struct early_scan scan = {.final = false};
	const char *p;
	ssize_t n;

	gr_http_head_init(&scan.head, scan.fields, &limits);
	n = gr_stream_scan(s, scan_early, &scan, &until, &p);
	gr_stream_done(s);
	*success = scan.success;
	return n;
}

/* Brings what is there of the response into the buffer, up to `room` bytes, so that a server which sends while it reads is
 * not kept from either. Parks, though not to wait. */
static void collect(struct gr_stream *s, size_t room)
{
	const char *p;
	size_t want = 0;

	while (s->len < room && s->len >= want) {
		want = s->len + 1;
		if (gr_stream_peek(s, want, 0, &p) < 0)
			break;
	}
	gr_stream_done(s);
}

/* Looks for an answer. Too many responses before the final one count as that: receive() knows what to say of them. */
static enum answer look(struct gr_stream *s, size_t room)
{
	bool success;

	for (int i = 0; i <= GR_HTTPC_INTERIM; i++) {
		ssize_t n;

		if (!gr_stream_readable(s))
			return ANSWER_NONE;
		n = take_early(s, 0, &success);
		if (n == GR_TIMEOUT)
			return ANSWER_NONE;
		if (n <= 0 && !success)
			return ANSWER_FINAL;
		if (n <= 0) {
			collect(s, room);
			return ANSWER_EARLY;
		}
	}
	return ANSWER_FINAL;
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
	bool success;
	ssize_t n;

	if (rc)
		return rc;
	n = take_early(s, until, &success);
	if (is_raised(n))
		return gr_lua_fail(L, (int)n);
	if (n == GR_TIMEOUT)
		return 0;
	lua_pushstring(L, n > 0 ? "continue" : "answer");
	return 1;
}

static size_t check_room(lua_State *L, int idx)
{
	lua_Number room = luaL_checknumber(L, idx);

	return room < 1e15 ? (size_t)room : (size_t)1e15;
}

/* answered(conn, room) -> "final" when the final response, or the end, is there; "early" when it is one of success, which
 * is read ahead, up to `room` bytes; or nil. What comes before it is dropped. Parks, though not to wait. */
static int l_answered(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	size_t room = check_room(L, 2);
	int rc = gr_lua_enter_wait(L);
	enum answer answer;

	if (rc)
		return rc;
	answer = look(s, room);
	if (answer == ANSWER_NONE)
		return 0;
	lua_pushstring(L, answer == ANSWER_EARLY ? "early" : "final");
	return 1;
}

/* Until it can be written to, or something came that there is room for. Returns 0 or an error. */
static int wait_either(struct gr_stream *s, size_t room, double until)
{
	bool reads = !s->eof && s->len < room;
	int rc = gr_io_subscribe(&s->wr);

	if (rc < 0)
		return rc;
	rc = reads ? gr_io_subscribe(&s->rd) : 0;
	if (rc == 0) {
		rc = gr_wait(until, "http client (sending)");
		if (reads)
			gr_io_unsubscribe(&s->rd);
	}
	gr_io_unsubscribe(&s->wr);
	return rc;
}

/* wait(conn, seconds, room) -> true when it can be written to, or something came; or nil, message, code. Parks. */
static int l_wait(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	size_t room = check_room(L, 3);
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	rc = s->fd < 0 ? GR_CLOSED : wait_either(s, room, until);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* In one's turn to write. Returns 1, 0 when the server answered before all was sent, or an error. */
static int send_watching(struct gr_stream *s, size_t room, const struct iovec *all, int n, double until)
{
	struct iovec rest[PIECES];
	size_t sent = 0;
	int rc;

	for (;;) {
		rc = gr_stream_writev(s, rest, gr_stream_rest(all, n, sent, rest), 0, &sent);
		if (rc != GR_TIMEOUT)
			return rc < 0 ? rc : 1;
		rc = wait_either(s, room, until);
		if (rc < 0)
			return rc;
		if (look(s, room) == ANSWER_FINAL)
			return 0;
	}
}

/* send(conn, seconds, room, text...) -> true; false when the server gave its final answer while not all could be sent; or
 * nil, message, code. At most PIECES texts; `room` as for answered(). Parks. */
static int l_send(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = gr_lua_opt_until(L, 2);
	size_t room = check_room(L, 3);
	int n = lua_gettop(L) - 3, rc;
	struct iovec all[PIECES];

	luaL_argcheck(L, n >= 1 && n <= PIECES, 4, "1 to 3 texts expected");
	for (int i = 0; i < n; i++)
		all[i].iov_base = (void *)luaL_checklstring(L, 4 + i, &all[i].iov_len);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = s->fd < 0 ? GR_CLOSED : gr_stream_begin_write(s, until);
	if (rc == 0) {
		rc = send_watching(s, room, all, n, until);
		gr_stream_end_write(s);
	}
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, rc);
	return 1;
}

const luaL_Reg gr_httpc_sending[] = {
	{"early", l_early}, {"answered", l_answered}, {"wait", l_wait}, {"send", l_send}, {NULL, NULL},
};
