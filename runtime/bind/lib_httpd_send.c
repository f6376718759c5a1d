/* SPDX-License-Identifier: MIT */
/* HTTP responses on their way out: heads, bodies in their framing, compressed or not, and the connection below. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bind/lib_httpd.h"
#include "http/date.h"
#include "http/field.h"
#include "http/write.h"

enum {
	COPY_MAX = 16 << 10,    /* larger pieces of a body are sent from where they are … */
	COPY_LAST = 2 << 10,    /* … and so are larger last ones, when nothing more is to go out with them */
	COLLECT_MAX = 64 << 10, /* bytes of pipelined responses that go out together */
	FIELDS_MAX = 128,       /* of a response, ours included */
	OWN_FIELDS = 4,         /* that is so many: Server, Content-Type, Vary, Content-Encoding */
};

/* ---- Sending ---- */

/* The buffer that was given back last, for who needs the next one. */
static struct {
	char *p;
	size_t cap;
} spare;

void gr_httpd_give_back(struct gr_httpd_conn *c)
{
	if (c->out_cap > spare.cap && c->out_cap <= COLLECT_MAX) {
		free(spare.p);
		spare.p = c->out;
		spare.cap = c->out_cap;
	} else {
		free(c->out);
	}
	c->out = NULL;
	c->out_len = c->out_cap = 0;
}

static void take_spare(struct gr_httpd_conn *c)
{
	c->out = spare.p;
	c->out_cap = spare.cap;
	spare.p = NULL;
	spare.cap = 0;
}

/* Makes room for n more bytes. */
static int reserve(struct gr_httpd_conn *c, size_t n)
{
	size_t cap = c->out_len + n;
	char *out;

	if (c->out == NULL)
		take_spare(c);
	if (cap <= c->out_cap)
		return 0;
	if (cap < c->out_cap * 2)
		cap = c->out_cap * 2;
	out = realloc(c->out, cap);
	if (out == NULL)
		return -ENOMEM;
	c->out = out;
	c->out_cap = cap;
	return 0;
}

static void put(struct gr_httpd_conn *c, const char *p, size_t n)
{
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

/* How a client takes what is sent to it. A short step comes first: most writes end in it, and nobody has to ask the kernel
 * how far the client was. */
struct pace {
	double seconds; /* that the next step may take */
	int64_t taken;  /* bytes by the beginning of it */
};

enum { FIRST_STEP = 64 }; /* part of write_timeout */

static struct pace begin_pace(const struct gr_httpd_conn *c)
{
	return (struct pace){c->config->write_timeout / FIRST_STEP, -1};
}

/* After a step that timed out: whether the client has taken enough for another one. What the kernel keeps for it is no
 * sign of life; that is to be forgotten when the connection of a client who takes nothing is closed. */
static bool goes_on(struct gr_httpd_conn *c, struct pace *pace)
{
	int64_t taken, bytes;

	if (c->stream->fd < 0)
		return false;
	taken = (int64_t)c->stream->sent - gr_sock_unacked(c->stream->fd);
	bytes = taken - pace->taken;
	if (pace->taken >= 0 && (bytes <= 0 || (double)bytes < c->config->min_rate * pace->seconds)) {
		gr_stream_break(c->stream);
		return false;
	}
	*pace = (struct pace){c->config->write_timeout, taken};
	return true;
}

/* So many bytes could not be sent after all. */
static void discount(struct gr_httpd_conn *c, size_t n)
{
	c->sent -= n < c->sent ? n : c->sent;
}

/* Sends what is left of all, in one's turn. A client may take any time as long as it takes enough. */
static int send_steadily(struct gr_httpd_conn *c, const struct iovec all[2], size_t *sent)
{
	struct pace pace = begin_pace(c);
	int rc = gr_stream_begin_write(c->stream, gr_until(c->config->write_timeout));

	if (rc < 0)
		return rc;
	do {
		struct iovec rest[2];
		int n = gr_stream_rest(all, 2, *sent, rest);

		rc = gr_stream_writev(c->stream, rest, n, gr_until(pace.seconds), sent);
	} while (rc == GR_TIMEOUT && goes_on(c, &pace));
	gr_stream_end_write(c->stream);
	return rc;
}

/* Sends what is collected and then these bytes, which stay where they are. Mostly the kernel takes all at once. */
static int send_with(struct gr_httpd_conn *c, const char *p, size_t n)
{
	struct iovec all[2] = {{c->out, c->out_len}, {(void *)p, n}}, parts[2];
	size_t sent = 0;
	int rc;

	c->head_at = SIZE_MAX;
	rc = gr_stream_write_now(c->stream, parts, gr_stream_rest(all, 2, 0, parts), &sent);
	if (rc > 0)
		rc = send_steadily(c, all, &sent);
	if (rc < 0)
		discount(c, c->out_len + n - sent);
	gr_httpd_give_back(c);
	return rc;
}

/* Threads that share a response take turns, each with all that it adds. -EALREADY: another one has finished it meanwhile. */
static int take_turn(struct gr_httpd_conn *c)
{
	uint32_t turn = c->turn;
	int rc = gr_turn_take(&c->sending, "response (its turn)");

	if (rc == 0 && (c->turn != turn || c->reply == GR_REPLY_DONE)) {
		gr_turn_give(&c->sending);
		return -EALREADY;
	}
	return rc;
}

/* Ends the turn; returns rc. */
static int give_turn(struct gr_httpd_conn *c, int rc)
{
	gr_turn_give(&c->sending);
	return rc;
}

int gr_httpd_checked(struct gr_httpd_conn *c, int rc)
{
	c->keep = c->keep && rc == 0;
	return rc;
}

static int flush(struct gr_httpd_conn *c)
{
	return c->out_len > 0 ? gr_httpd_checked(c, send_with(c, NULL, 0)) : 0;
}

int gr_httpd_flush(struct gr_httpd_conn *c)
{
	int rc = gr_turn_take(&c->sending, "response (its turn)");

	return rc < 0 ? rc : give_turn(c, flush(c));
}

/* Adds bytes, by copy unless they are many. */
static int add(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc;

	if (n > COPY_MAX)
		return send_with(c, p, n);
	rc = reserve(c, n);
	if (rc == 0)
		put(c, p, n);
	return rc;
}

/* ---- The head ---- */

static const char *date_now(void)
{
	static char text[GR_HTTP_DATE];
	static time_t at;
	time_t now = time(NULL);

	if (now != at)
		gr_http_date_format(now, text);
	at = now;
	return text;
}

static struct gr_slice slice(const char *text)
{
	return (struct gr_slice){text, strlen(text)};
}

struct gr_slice gr_httpd_slice_at(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = lua_tolstring(L, idx, &s.len);
	return s;
}

static const char TEXT[] = "text/plain; charset=utf-8";
static const struct gr_slice text_plain = {TEXT, sizeof(TEXT) - 1}, no_type = {NULL, 0};

/* Writes the head of a response whose body has that length (-1: unknown), with these fields and that Content-Type, or
 * no_type. Returns 0 or an enum gr_http_error. */
static int add_head(struct gr_httpd_conn *c, const struct gr_http_pair *fields, int n, struct gr_slice type,
		    int64_t length)
{
	struct gr_http_response r = {
		.status = c->status ? c->status : 200,
		.fields = fields,
		.nfields = (size_t)n,
		.type = type,
		.date = date_now(),
		.method = c->method,
		.minor = c->minor,
		.keep_alive = c->keep && !c->config->stopping && !c->taken && gr_httpd_can_skip_body(c),
		.length = length,
	};
	size_t bound = gr_http_response_bound(&r);
	ssize_t len;

	if (reserve(c, bound + (length > 0 && length <= COPY_LAST ? (size_t)length : 0)) < 0)
		return -ENOMEM;
	len = gr_http_write_response(&r, c->out + c->out_len, bound);
	if (len < 0)
		return (int)len;
	c->head_at = c->out_len;
	c->out_len += (size_t)len;
	c->keep = r.keep_alive;
	c->framing = r.body;
	c->to_send = r.body == GR_BODY_LENGTH ? r.length : 0;
	c->status = r.status;
	c->reply = GR_REPLY_STARTED;
	return 0;
}

/* Fields for add_head: those that the handler set, and ours. The strings stay in the environment's list. */
struct fields {
	int n;
	struct gr_http_pair list[FIELDS_MAX];
};

static void add_field(struct fields *f, struct gr_slice name, struct gr_slice value)
{
	f->list[f->n++] = (struct gr_http_pair){name, value};
}

/* The first field of that name, or NULL. */
static struct gr_http_pair *find_field(struct fields *f, const char *name)
{
	for (int i = 0; i < f->n; i++)
		if (gr_slice_is(f->list[i].name, name))
			return &f->list[i];
	return NULL;
}

static void drop_fields(struct fields *f, const char *name)
{
	int n = 0;

	for (int i = 0; i < f->n; i++)
		if (!gr_slice_is(f->list[i].name, name))
			f->list[n++] = f->list[i];
	f->n = n;
}

/* Whether a body of that length (-1: unknown) may come, which needs a type. */
static bool has_body(const struct gr_httpd_conn *c, int64_t length)
{
	return length != 0 && c->status != 204 && c->status != 304;
}

static void add_own_fields(const struct gr_httpd_conn *c, struct fields *f, bool body)
{
	if (c->config->server[0] && !find_field(f, "server"))
		add_field(f, GR_SLICE("Server"), slice(c->config->server));
	if (body && !find_field(f, "content-type"))
		add_field(f, GR_SLICE("Content-Type"), text_plain);
}

/* ---- Compression ---- */

/* Whether the response is one that is compressed for those who accept that. */
static bool is_compressible(const struct gr_httpd_conn *c, struct fields *f, int64_t length)
{
	int status = c->status ? c->status : 200;
	const struct gr_http_pair *type = find_field(f, "content-type");
	struct gr_http_pair *control = find_field(f, "cache-control");
	struct gr_slice rest, item;

	if (status == 204 || status == 206 || status == 304 || (length >= 0 && length < c->config->gzip_min))
		return false;
	if (type == NULL || !gr_httpd_gzip_type(c->config, type->value) || find_field(f, "content-encoding"))
		return false;
	rest = control ? control->value : (struct gr_slice){"", 0};
	while (gr_list_next(&rest, &item))
		if (gr_slice_is(item, "no-transform"))
			return false;
	return true;
}

static bool is_accepted(lua_State *L, int env)
{
	const struct gr_httpd_request *r;
	int at;

	lua_rawgeti(L, env, GR_HTTPD_REQUEST);
	r = lua_touserdata(L, -1);
	lua_pop(L, 1);
	at = r && r->head.minor > 0 ? gr_http_find(&r->head, r->bytes, "accept-encoding", 15, 0) : -1;
	return at >= 0 && gr_accept_quality(gr_http_value(&r->head, r->bytes, (uint32_t)at), "gzip") > 0;
}

/* Changes the fields to those of the compressed body. The text of a new one is left on the stack. */
static void convert_fields(lua_State *L, struct fields *f)
{
	struct gr_http_pair *etag = find_field(f, "etag");

	if (etag && etag->value.len > 0 && *etag->value.p == '"') {
		lua_pushliteral(L, "W/");
		lua_pushlstring(L, etag->value.p, etag->value.len);
		lua_concat(L, 2);
		etag->value = gr_httpd_slice_at(L, -1);
	}
	drop_fields(f, "content-length");
	drop_fields(f, "accept-ranges");
	add_field(f, GR_SLICE("Content-Encoding"), GR_SLICE("gzip"));
}

/* Whether the body, of that length, is to be compressed. */
static bool choose_compression(lua_State *L, struct gr_httpd_conn *c, int env, struct fields *f, int64_t length)
{
	if (c->compress == 0 || !is_compressible(c, f, length))
		return false;
	if (!find_field(f, "vary"))
		add_field(f, GR_SLICE("Vary"), GR_SLICE("Accept-Encoding"));
	if (!is_accepted(L, env))
		return false;
	convert_fields(L, f);
	return true;
}

static int fail_head(lua_State *L, int rc)
{
	return luaL_error(L, "bad response: %s", rc > GR_HTTP_ERROR_END ? gr_strerror(rc) : gr_http_error_text(rc));
}

/* In a function of its own, since the list is large: the stack of an idle connection must not have held it. */
static __attribute__((noinline)) void start_with_fields(lua_State *L, struct gr_httpd_conn *c, int env, int64_t length)
{
	struct fields f;
	int rc, list;
	bool gzip;

	f.n = 0;
	if (c->nfields / 2 > FIELDS_MAX - OWN_FIELDS)
		luaL_error(L, "more than %d header fields in a response", FIELDS_MAX - OWN_FIELDS);
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	list = lua_gettop(L);
	luaL_checkstack(L, c->nfields + LUA_MINSTACK, "too many header fields");
	for (int i = 1; i + 1 <= c->nfields; i += 2) {
		lua_rawgeti(L, list, i);
		lua_rawgeti(L, list, i + 1);
		add_field(&f, gr_httpd_slice_at(L, -2), gr_httpd_slice_at(L, -1));
	}
	add_own_fields(c, &f, has_body(c, length));
	gzip = choose_compression(L, c, env, &f, length);
	rc = add_head(c, f.list, f.n, no_type, gzip ? -1 : length);
	if (rc == 0 && gzip && c->framing != GR_BODY_NONE)
		rc = gr_httpd_gzip_begin(c, length);
	lua_settop(L, list - 1);
	if (rc < 0)
		fail_head(L, rc);
}

void gr_httpd_start(lua_State *L, struct gr_httpd_conn *c, int env, int64_t length)
{
	struct gr_http_pair server = {GR_SLICE("Server"), slice(c->config->server)};
	int rc;

	if (c->nfields > 0 || c->compress) {
		start_with_fields(L, c, env, length);
		return;
	}
	rc = add_head(c, &server, server.value.len > 0, has_body(c, length) ? text_plain : no_type, length);
	if (rc < 0)
		fail_head(L, rc);
}

/* ---- The body ---- */

static int add_chunk(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = reserve(c, GR_CHUNK_HEAD_MAX + (n <= COPY_MAX ? n : 0) + 2);

	if (rc < 0)
		return rc;
	c->out_len += gr_chunk_head(c->out + c->out_len, n);
	rc = add(c, p, n);
	return rc < 0 ? rc : add(c, "\r\n", 2);
}

/* More requests are here already, and can be answered before this answer goes out. */
static bool may_collect(const struct gr_httpd_conn *c)
{
	return c->keep && c->stream->len > 0 && c->body.kind == GR_BODY_NONE && c->out_len < COLLECT_MAX;
}

/* Adds a piece of the body in the response's framing. -EMSGSIZE: more than the head promised. */
static int add_framed(struct gr_httpd_conn *c, const char *p, size_t n)
{
	c->sent += c->framing == GR_BODY_NONE ? 0 : n;
	if (n == 0 || c->framing == GR_BODY_NONE)
		return 0;
	if (c->framing == GR_BODY_CHUNKED)
		return add_chunk(c, p, n);
	if (c->framing == GR_BODY_LENGTH) {
		if ((int64_t)n > c->to_send)
			return -EMSGSIZE;
		c->to_send -= (int64_t)n;
		if (c->to_send == 0 && n > COPY_LAST && !may_collect(c))
			return send_with(c, p, n);
	}
	return add(c, p, n);
}

/* What comes out of the compression. */
static int add_compressed(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = add_framed(c, p, n);

	return rc == 0 && c->out_len > COLLECT_MAX ? flush(c) : rc;
}

static int add_body(struct gr_httpd_conn *c, const char *p, size_t n, enum gr_httpd_gzip_flush how)
{
	return c->gzip ? gr_httpd_gzip_add(c, p, n, how, add_compressed) : add_framed(c, p, n);
}

int gr_httpd_add_body(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	return rc < 0 ? rc : give_turn(c, add_body(c, p, n, GR_GZIP_MORE));
}

int gr_httpd_send_piece(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	if (rc < 0)
		return rc;
	rc = add_body(c, p, n, GR_GZIP_PIECE);
	return give_turn(c, rc == 0 ? flush(c) : rc);
}

/* Ends the body. A body shorter than promised can only be told by closing. */
static int end_body(struct gr_httpd_conn *c)
{
	int rc = c->gzip ? gr_httpd_gzip_add(c, NULL, 0, GR_GZIP_END, add_compressed) : 0;

	gr_httpd_gzip_free(c);
	if (rc == 0 && c->framing == GR_BODY_CHUNKED)
		rc = add(c, "0\r\n\r\n", 5);
	c->reply = GR_REPLY_DONE;
	if (c->to_send > 0)
		c->keep = false;
	return rc;
}

/* In one's turn. */
static int complete(struct gr_httpd_conn *c, int rc)
{
	if (rc == 0)
		rc = end_body(c);
	if (rc == 0 && may_collect(c))
		gr_httpd_hold(c);
	else if (rc == 0)
		rc = flush(c);
	return give_turn(c, gr_httpd_checked(c, rc));
}

int gr_httpd_complete(struct gr_httpd_conn *c, int rc)
{
	if (rc == 0)
		rc = take_turn(c);
	if (rc < 0)
		return rc == -EALREADY ? rc : gr_httpd_checked(c, rc);
	return complete(c, 0);
}

int gr_httpd_complete_with(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	if (rc < 0)
		return rc == -EALREADY ? rc : gr_httpd_checked(c, rc);
	return complete(c, add_body(c, p, n, GR_GZIP_MORE));
}

int gr_httpd_send_status(struct gr_httpd_conn *c, int status, const char *text)
{
	char body[160];
	int rc;

	if (c->reply != GR_REPLY_OPEN)
		return 0;
	c->status = status;
	snprintf(body, sizeof(body), "%d %s\n", status, text ? text : gr_http_reason(status));
	rc = add_head(c, NULL, 0, text_plain, (int64_t)strlen(body));
	return rc < 0 ? gr_httpd_complete(c, rc) : gr_httpd_complete_with(c, body, strlen(body));
}

static int send_file(struct gr_httpd_conn *c, int fd, off_t from, size_t len, size_t *sent)
{
	struct pace pace = begin_pace(c);
	int rc = (int64_t)len > c->to_send ? -EMSGSIZE : flush(c);

	if (rc == 0)
		rc = gr_stream_begin_write(c->stream, gr_until(c->config->write_timeout));
	if (rc < 0)
		return rc;
	do {
		rc = gr_stream_sendfile(c->stream, fd, from + (off_t)*sent, len - *sent, gr_until(pace.seconds), sent);
	} while (rc == GR_TIMEOUT && goes_on(c, &pace));
	gr_stream_end_write(c->stream);
	c->sent += *sent;
	c->to_send -= (int64_t)*sent;
	return rc;
}

int gr_httpd_send_file(struct gr_httpd_conn *c, int fd, off_t from, size_t len, size_t *sent)
{
	int rc = take_turn(c);

	return rc < 0 ? rc : give_turn(c, send_file(c, fd, from, len, sent));
}
