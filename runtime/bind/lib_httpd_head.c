/* SPDX-License-Identifier: MIT */
/* Heads of HTTP responses: what handlers set, what is added, and whether the body is compressed. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "bind/lib_httpd.h"
#include "http/date.h"
#include "http/field.h"
#include "http/write.h"

enum {
	FIELDS_MAX = 128, /* of a response, ours included */
	OWN_FIELDS = 4,   /* that is so many: Server, Content-Type, Vary, Content-Encoding */
};

/* ---- The text ---- */

static struct gr_http_opening opening;

static const char *date_now(void)
{
	static char text[GR_HTTP_DATE];
	static time_t at;
	time_t now = time(NULL);

	if (now != at) {
		gr_http_date_format(now, text);
		opening.len = 0;
	}
	at = now;
	return text;
}

static struct gr_slice slice(const char *text)
{
	return (struct gr_slice){text, strlen(text)};
}

static const char TEXT[] = "text/plain; charset=utf-8";
static const struct gr_slice text_plain = {TEXT, sizeof(TEXT) - 1}, no_type = {NULL, 0};

struct gr_slice gr_httpd_slice_at(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = lua_tolstring(L, idx, &s.len);
	return s;
}

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
		.opening = &opening,
		.method = c->method,
		.minor = c->minor,
		.keep_alive = c->keep && !c->config->stopping && !c->taken && gr_httpd_can_skip_body(c),
		.length = length,
	};
	size_t bound = gr_http_response_bound(&r);
	ssize_t len;

	if (gr_httpd_reserve(c, bound + (length > 0 && length <= GR_HTTPD_COPY_LAST ? (size_t)length : 0)) < 0)
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

/* What most responses are: see gr_http_write_usual. */
static bool is_usual(const struct gr_httpd_conn *c, size_t length)
{
	date_now(); /* which forgets the opening of another date */
	return opening.len > 0 && opening.status == 200 && opening.type == TEXT && !c->config->server[0] &&
	       c->status == 0 && c->nfields == 0 && c->compress == 0 && length > 0 && length <= GR_HTTPD_COPY_LAST &&
	       c->minor > 0 && c->method != GR_METHOD_HEAD && c->method != GR_METHOD_CONNECT && c->keep &&
	       !c->config->stopping && c->body.kind == GR_BODY_NONE;
}

int gr_httpd_send_usual(struct gr_httpd_conn *c, struct gr_slice body)
{
	if (!is_usual(c, body.len) || gr_httpd_reserve(c, opening.len + GR_HTTP_USUAL + body.len) < 0)
		return 1;
	c->head_at = c->out_len;
	c->out_len += gr_http_write_usual(&opening, (int64_t)body.len, c->out + c->out_len);
	memcpy(c->out + c->out_len, body.p, body.len);
	c->out_len += body.len;
	c->sent += body.len;
	c->framing = GR_BODY_LENGTH;
	c->to_send = 0;
	c->status = 200;
	c->reply = GR_REPLY_STARTED;
	return gr_httpd_complete(c, 0);
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

/* ---- Fields ---- */

void gr_httpd_set_field(lua_State *L, struct gr_httpd_conn *c, int env, int name, int value)
{
	if (!lua_isstring(L, value))
		luaL_error(L, "bad response: header '%s' is a %s", lua_tostring(L, name), luaL_typename(L, value));
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	if (!lua_istable(L, -1)) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_rawseti(L, env, GR_HTTPD_FIELDS);
	}
	lua_pushvalue(L, name);
	lua_tostring(L, -1);
	lua_rawseti(L, -2, ++c->nfields);
	lua_pushvalue(L, value);
	lua_tostring(L, -1);
	lua_rawseti(L, -2, ++c->nfields);
	lua_pop(L, 1);
}

/* The table of headers at idx: name = value, or name = list of values. */
static void set_fields(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	int top = lua_gettop(L);

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, top + 1) != LUA_TSTRING)
			luaL_error(L, "bad response: the name of a header is a %s", luaL_typename(L, top + 1));
		if (lua_istable(L, top + 2)) {
			for (size_t i = 1; i <= lua_objlen(L, top + 2); i++) {
				lua_rawgeti(L, top + 2, (int)i);
				gr_httpd_set_field(L, c, env, top + 1, top + 3);
				lua_settop(L, top + 2);
			}
		} else {
			gr_httpd_set_field(L, c, env, top + 1, top + 2);
		}
		lua_settop(L, top + 1);
	}
}

/* Fields for add_head: those that the handler set, and ours. Their strings are the list's or the returned table's. */
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

static bool is_accepted(lua_State *L, struct gr_httpd_conn *c, int env)
{
	const struct gr_httpd_request *r;
	int at;

	gr_httpd_push_present(L, c, env);
	r = lua_touserdata(L, -1);
	lua_pop(L, 1);
	at = r && r->head->minor > 0 ? gr_http_find(r->head, r->bytes, "accept-encoding", 15, 0) : -1;
	return at >= 0 && gr_accept_quality(gr_http_value(r->head, r->bytes, (uint32_t)at), "gzip") > 0;
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
	if (!is_accepted(L, c, env))
		return false;
	convert_fields(L, f);
	return true;
}

static int fail_head(lua_State *L, int rc)
{
	return luaL_error(L, "bad response: %s", rc > GR_HTTP_ERROR_END ? gr_strerror(rc) : gr_http_error_text(rc));
}

/* Takes the fields of the table at idx as they are: each must be a string, which the table keeps alive. Returns false if
 * they must be looked at one by one. */
static bool take_plain(lua_State *L, struct fields *f, int idx)
{
	int top = lua_gettop(L);

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING ||
		    f->n == FIELDS_MAX - OWN_FIELDS) {
			lua_settop(L, top);
			f->n = 0;
			return false;
		}
		add_field(f, gr_httpd_slice_at(L, -2), gr_httpd_slice_at(L, -1));
		lua_pop(L, 1);
	}
	return true;
}

/* Takes those of the list at GR_HTTPD_FIELDS, which keeps them alive. */
static void take_listed(lua_State *L, const struct gr_httpd_conn *c, struct fields *f, int env)
{
	if (c->nfields / 2 > FIELDS_MAX - OWN_FIELDS)
		luaL_error(L, "more than %d header fields in a response", FIELDS_MAX - OWN_FIELDS);
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	for (int i = 1; i + 1 <= c->nfields; i += 2) {
		lua_rawgeti(L, -1, i);
		lua_rawgeti(L, -2, i + 1);
		add_field(f, gr_httpd_slice_at(L, -2), gr_httpd_slice_at(L, -1));
		lua_pop(L, 2);
	}
	lua_pop(L, 1);
}

/* In a function of its own, since the list is large: the stack of an idle connection must not have held it. */
static __attribute__((noinline)) void start_with_fields(lua_State *L, struct gr_httpd_conn *c, int env, int headers,
							int64_t length)
{
	struct fields f;
	int top = lua_gettop(L), rc;
	bool gzip;

	f.n = 0;
	if (headers && (c->nfields > 0 || c->logged || !take_plain(L, &f, headers))) {
		set_fields(L, c, env, headers);
		headers = 0;
	}
	if (!headers)
		take_listed(L, c, &f, env);
	add_own_fields(c, &f, has_body(c, length));
	gzip = choose_compression(L, c, env, &f, length);
	rc = add_head(c, f.list, f.n, no_type, gzip ? -1 : length);
	if (rc == 0 && gzip && c->framing != GR_BODY_NONE)
		rc = gr_httpd_gzip_begin(c, length);
	lua_settop(L, top);
	if (rc < 0)
		fail_head(L, rc);
}

void gr_httpd_start(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int64_t length)
{
	struct gr_http_pair server = {GR_SLICE("Server"), slice(c->config->server)};
	int rc;

	if (c->nfields > 0 || headers || c->compress) {
		start_with_fields(L, c, env, headers, length);
		return;
	}
	rc = add_head(c, &server, server.value.len > 0, has_body(c, length) ? text_plain : no_type, length);
	if (rc < 0)
		fail_head(L, rc);
}
