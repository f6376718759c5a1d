/* SPDX-License-Identifier: MIT */
/* Heads that are sent: their bytes, and that nothing is written when something is wrong. The WebSocket handshake. */
#include "http/sha1.h"
#include "http/utf8.h"
#include "http/websocket.h"
#include "http/write.h"
#include "http_check.h"

static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

/* ---- Responses ---- */

struct sent {
	int status, method, minor;
	bool keep_alive;
	int64_t length;
	const char *name, *value; /* a field, or NULL */
	const char *text;         /* what is written */
	int body;
	bool keeps;
};

/* Shared by all responses, as a server's. */
static struct gr_http_opening opening;

static struct gr_http_response response_of(const struct sent *s, struct gr_http_pair *field)
{
	*field = (struct gr_http_pair){slice(s->name), slice(s->value)};
	return (struct gr_http_response){.status = s->status,
					 .fields = field,
					 .nfields = s->name ? 1 : 0,
					 .date = date,
					 .opening = &opening,
					 .method = (enum gr_http_method)s->method,
					 .minor = (uint8_t)s->minor,
					 .keep_alive = s->keep_alive,
					 .length = s->length};
}

/* Writes into a buffer of exactly the bound. Returns true if the text comes out and parses to the same framing. */
static bool writes(const struct sent *s)
{
	struct gr_http_pair field;
	struct gr_http_response r = response_of(s, &field);
	size_t size = gr_http_response_bound(&r);
	struct gr_http_field fields[10];
	struct gr_http_head h;
	char *buf = malloc(size);
	ssize_t n = gr_http_write_response(&r, buf, size);
	bool good = n > 0 && is_text((struct gr_slice){buf, (size_t)n}, s->text) && (int)r.body == s->body &&
		    r.keep_alive == s->keeps;

	gr_http_head_init(&h, fields, &gr_http_limits);
	good = good && gr_http_parse_response(&h, buf, (size_t)n, r.method) == n && h.body == r.body;
	good = good && (r.status < 200 || h.keep_alive == r.keep_alive || r.minor == 0);
	free(buf);
	return good;
}

static void test_responses(void)
{
	enum { GET = GR_METHOD_GET, HEAD = GR_METHOD_HEAD, CONNECT = GR_METHOD_CONNECT };
	static const struct sent cases[] = {
		{200, GET, 1, true, 5, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n",
		 GR_BODY_LENGTH, true},
		{200, GET, 1, true, 0, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n", GR_BODY_NONE,
		 true},
		{200, GET, 1, false, INT64_MAX, "X-Y", "z",
		 "HTTP/1.1 200 OK\r\nX-Y: z\r\n" DATE
		 "Content-Length: 9223372036854775807\r\nConnection: close\r\n\r\n",
		 GR_BODY_LENGTH, false},
		{404, GET, 1, true, -1, NULL, NULL,
		 "HTTP/1.1 404 Not Found\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n", GR_BODY_CHUNKED, true},
		{200, GET, 0, true, -1, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\n",
		 GR_BODY_CLOSE, false},
		{200, GET, 0, true, 5, NULL, NULL,
		 "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n", GR_BODY_LENGTH,
		 true},
		{200, GET, 0, false, 5, NULL, NULL,
		 "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n", GR_BODY_LENGTH, false},
		{200, GET, 1, true, 5, "connection", "Close",
		 "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n", GR_BODY_LENGTH, false},
		{200, GET, 1, true, 5, "Connection", "keep-alive",
		 "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n", GR_BODY_LENGTH, true},
		{200, GET, 1, true, -1, "content-length", "5", "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n",
		 GR_BODY_LENGTH, true},
		{200, GET, 1, true, 5, "Content-Length", "005", "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n",
		 GR_BODY_LENGTH, true},
		{200, GET, 1, true, 0, "date", "now", "HTTP/1.1 200 OK\r\ndate: now\r\nContent-Length: 0\r\n\r\n",
		 GR_BODY_NONE, true},
		{200, HEAD, 1, true, 5, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n",
		 GR_BODY_NONE, true},
		{200, HEAD, 1, true, -1, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{200, HEAD, 0, true, -1, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "Connection: keep-alive\r\n\r\n",
		 GR_BODY_NONE, true},
		{200, HEAD, 1, true, 0, "Content-Length", "7", "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 7\r\n\r\n",
		 GR_BODY_NONE, true},
		{204, GET, 1, true, 5, NULL, NULL, "HTTP/1.1 204 No Content\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{204, GET, 1, true, -1, NULL, NULL, "HTTP/1.1 204 No Content\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{304, GET, 1, true, 0, NULL, NULL, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{304, GET, 1, true, -1, NULL, NULL, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{304, GET, 1, true, 0, "Content-Length", "7",
		 "HTTP/1.1 304 Not Modified\r\n" DATE "Content-Length: 7\r\n\r\n", GR_BODY_NONE, true},
		{100, GET, 1, true, 0, NULL, NULL, "HTTP/1.1 100 Continue\r\n\r\n", GR_BODY_NONE, true},
		{101, GET, 1, true, -1, "Connection", "upgrade",
		 "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", GR_BODY_NONE, true},
		{200, CONNECT, 1, true, -1, NULL, NULL, "HTTP/1.1 200 OK\r\n" DATE "\r\n", GR_BODY_NONE, true},
		{599, GET, 1, true, 0, "X", "", "HTTP/1.1 599 \r\nX: \r\n" DATE "Content-Length: 0\r\n\r\n",
		 GR_BODY_NONE, true},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		good = row(writes(&cases[i]), cases[i].text, strlen(cases[i].text)) && good;
	check(good, "responses: one framing, and what the parser makes of it");
}

/* Into a buffer of the bound and no more, whatever was written before. */
static void test_statuses(void)
{
	static const char type[] = "text/plain; charset=utf-8";
	bool good = true;

	for (int i = 0; i < 2 * 500; i++) {
		struct gr_http_response r = {.status = 100 + i / 2,
					     .type = {i & 1 ? type : NULL, i & 1 ? sizeof(type) - 1 : 0},
					     .date = date,
					     .minor = 1,
					     .keep_alive = true,
					     .length = -1},
					kept = r;
		char *buf = malloc(gr_http_response_bound(&r)), *copy = malloc(gr_http_response_bound(&r));
		ssize_t n = gr_http_write_response(&r, buf, gr_http_response_bound(&r));

		kept.opening = &opening;
		for (int again = 0; again < 2; again++)
			good = good && gr_http_write_response(&kept, copy, gr_http_response_bound(&kept)) == n &&
			       n > 0 && memcmp(buf, copy, (size_t)n) == 0;
		free(buf);
		free(copy);
	}
	check(good, "responses: the same with and without an opening that is kept, for all statuses");
}

static void test_usual(void)
{
	static const char type[] = "text/plain";
	bool good = true;

	for (int64_t length = 1; length > 0 && length < INT64_MAX / 10; length *= 7) {
		struct gr_http_opening o = {.len = 0};
		struct gr_http_response r = {.status = 200,
					     .type = {type, sizeof(type) - 1},
					     .date = date,
					     .opening = &o,
					     .method = GR_METHOD_GET,
					     .minor = 1,
					     .keep_alive = true,
					     .length = length};
		char expected[512], *buf;
		ssize_t n = gr_http_write_response(&r, expected, sizeof(expected));

		buf = malloc(o.len + GR_HTTP_USUAL);
		good = good && n > 0 && gr_http_write_usual(&o, length, buf) == (size_t)n &&
		       memcmp(buf, expected, (size_t)n) == 0;
		free(buf);
	}
	check(good, "the usual response: as any other");
}

struct refused {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
	int error;
};

static const struct refused refused[] = {
	{TEXT("X"), TEXT("a\r\nSet-Cookie: b"), GR_HTTP_BAD_VALUE},
	{TEXT("X"), TEXT("a\rb"), GR_HTTP_BAD_VALUE},
	{TEXT("X"), TEXT("a\nb"), GR_HTTP_BAD_VALUE},
	{TEXT("X"), TEXT("a\0b"), GR_HTTP_BAD_VALUE},
	{TEXT("X"), TEXT("a\x7f"), GR_HTTP_BAD_VALUE},
	{TEXT("X\r\nY"), TEXT("a"), GR_HTTP_BAD_NAME},
	{TEXT("X Y"), TEXT("a"), GR_HTTP_BAD_NAME},
	{TEXT("X:"), TEXT("a"), GR_HTTP_BAD_NAME},
	{TEXT("X\0"), TEXT("a"), GR_HTTP_BAD_NAME},
	{TEXT(""), TEXT("a"), GR_HTTP_BAD_NAME},
	{TEXT("Transfer-Encoding"), TEXT("chunked"), GR_HTTP_BAD_FRAMING},
	{TEXT("transfer-encoding"), TEXT("gzip"), GR_HTTP_BAD_FRAMING},
	{TEXT("Content-Length"), TEXT("6"), GR_HTTP_BAD_FRAMING},
	{TEXT("Content-Length"), TEXT("x"), GR_HTTP_BAD_FRAMING},
	{TEXT("Content-Length"), TEXT("-1"), GR_HTTP_BAD_FRAMING},
	{TEXT("Content-Length"), TEXT(""), GR_HTTP_BAD_FRAMING},
};

static bool untouched(const char *buf, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != '#')
			return false;
	return true;
}

/* The result for a 200 with these fields; 0 if something was written in spite of an error. */
static ssize_t try_response(const struct gr_http_pair *fields, size_t count, int status, int64_t length, size_t size)
{
	struct gr_http_response r = {
		.status = status, .fields = fields, .nfields = count, .minor = 1, .length = length};
	char buf[1000];
	ssize_t n;

	memset(buf, '#', sizeof(buf));
	n = gr_http_write_response(&r, buf, size);
	return n > 0 || untouched(buf, sizeof(buf)) ? n : 0;
}

static void test_refused_responses(void)
{
	struct gr_http_pair pair[2] = {{slice("Content-Length"), slice("5")}, {slice("content-length"), slice("5")}};
	struct gr_http_response r = {.status = 200, .reason = slice("a\r\nb"), .minor = 1};
	char buf[1000];
	bool good = true;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct refused *c = &refused[i];
		struct gr_http_pair f[2] = {{slice("A"), slice("b")},
					    {{c->name, c->name_len}, {c->value, c->value_len}}};

		good = row(try_response(f, 2, 200, 5, sizeof(buf)) == c->error, c->value, c->value_len) && good;
	}
	check(good, "responses: bad fields are refused, nothing is written");
	check(try_response(pair, 2, 200, 5, sizeof(buf)) == GR_HTTP_BAD_FRAMING, "responses: two lengths");
	check(try_response(pair, 1, 204, 5, sizeof(buf)) == GR_HTTP_BAD_FRAMING, "responses: a length with 204");
	check(try_response(pair, 1, 99, 5, sizeof(buf)) == GR_HTTP_BAD_STATUS &&
		      try_response(pair, 1, 1000, 5, sizeof(buf)) == GR_HTTP_BAD_STATUS &&
		      gr_http_write_response(&r, buf, sizeof(buf)) == GR_HTTP_BAD_STATUS,
	      "responses: bad status and reason");
	check(try_response(pair, 1, 200, 5, 40) == GR_HTTP_NO_SPACE, "responses: no space");
}

static void test_reason(void)
{
	struct gr_http_response r = {.status = 200, .reason = slice("Fine"), .minor = 1};
	char buf[1000];
	ssize_t n = gr_http_write_response(&r, buf, sizeof(buf));

	check(n > 0 && memcmp(buf, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n", 38) == 0,
	      "responses: a reason of one's own");
}

/* ---- Requests ---- */

static ssize_t try_request(const char *method, const char *target, const char *host, const char *name,
			   const char *value, bool keep_alive, int64_t length, char *buf, size_t size)
{
	struct gr_http_pair f = {slice(name), slice(value)};
	struct gr_http_request r = {.method = slice(method),
				    .target = slice(target),
				    .host = slice(host),
				    .fields = &f,
				    .nfields = name ? 1 : 0,
				    .keep_alive = keep_alive,
				    .length = length};

	return gr_http_write_request(&r, buf, size);
}

static void test_requests(void)
{
	static const struct {
		const char *method, *target, *name, *value;
		bool keep_alive;
		int64_t length;
		const char *text;
	} cases[] = {
		{"GET", "/", NULL, NULL, true, 0, "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n"},
		{"GET", "/?x", "X", "y", false, 0,
		 "GET /?x HTTP/1.1\r\nHost: a:80\r\nX: y\r\nConnection: close\r\n\r\n"},
		{"POST", "/", NULL, NULL, true, 0, "POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n"},
		{"PUT", "/", NULL, NULL, true, 5, "PUT / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n"},
		{"PUT", "/", "Content-Length", "5", true, -1,
		 "PUT / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n"},
		{"PUT", "/", NULL, NULL, true, -1,
		 "PUT / HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"GET", "/", "host", "b", true, 0, "GET / HTTP/1.1\r\nhost: b\r\n\r\n"},
		{"OPTIONS", "*", NULL, NULL, true, 0, "OPTIONS * HTTP/1.1\r\nHost: a:80\r\n\r\n"},
	};
	struct gr_http_field fields[10];
	char buf[1000];
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t n = try_request(cases[i].method, cases[i].target, "a:80", cases[i].name, cases[i].value,
					cases[i].keep_alive, cases[i].length, buf, sizeof(buf));
		struct gr_http_head h;

		gr_http_head_init(&h, fields, &gr_http_limits);
		good = row(n > 0 && is_text((struct gr_slice){buf, (size_t)n}, cases[i].text) &&
				   gr_http_parse_request(&h, buf, (size_t)n) == n &&
				   h.keep_alive == cases[i].keep_alive,
			   cases[i].text, strlen(cases[i].text)) &&
		       good;
	}
	check(good, "requests: one framing, and what the parser makes of it");
}

static void test_refused_requests(void)
{
	struct gr_http_pair hosts[2] = {{slice("Host"), slice("a")}, {slice("host"), slice("a")}};
	struct gr_http_request two = {
		.method = slice("GET"), .target = slice("/"), .host = slice("a"), .fields = hosts, .nfields = 2};
	char buf[1000];
	bool good = true;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct refused *c = &refused[i];
		struct gr_http_pair f = {{c->name, c->name_len}, {c->value, c->value_len}};
		struct gr_http_request r = {.method = slice("PUT"),
					    .target = slice("/"),
					    .host = slice("a"),
					    .fields = &f,
					    .nfields = 1,
					    .length = 5};

		memset(buf, '#', sizeof(buf));
		good = row(gr_http_write_request(&r, buf, sizeof(buf)) == c->error && untouched(buf, sizeof(buf)),
			   c->value, c->value_len) &&
		       good;
	}
	check(good, "requests: bad fields are refused, nothing is written");
	check(try_request("G T", "/", "a", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_NAME &&
		      try_request("", "/", "a", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_NAME,
	      "requests: bad method");
	check(try_request("GET", "/ b", "a", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_TARGET &&
		      try_request("GET", "", "a", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_TARGET &&
		      try_request("GET", "/\r\n", "a", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_TARGET,
	      "requests: bad target");
	check(try_request("GET", "/", "a b", NULL, NULL, true, 0, buf, sizeof(buf)) == GR_HTTP_BAD_HOST &&
		      gr_http_write_request(&two, buf, sizeof(buf)) == GR_HTTP_BAD_HOST,
	      "requests: bad host, two of them");
	check(try_request("GET", "/", "a", NULL, NULL, true, 0, buf, 20) == GR_HTTP_NO_SPACE, "requests: no space");
}

/* ---- WebSocket ---- */

static bool sha1_is(const char *text, const char *hex)
{
	uint8_t hash[GR_SHA1];
	char found[2 * GR_SHA1 + 1];

	gr_sha1(text, strlen(text), hash);
	for (int i = 0; i < GR_SHA1; i++)
		snprintf(found + 2 * i, 3, "%02x", hash[i]);
	return strcmp(found, hex) == 0;
}

static void test_sha1(void)
{
	static const char a64[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	check(sha1_is("", "da39a3ee5e6b4b0d3255bfef95601890afd80709") &&
		      sha1_is("abc", "a9993e364706816aba3e25717850c26c9cd0d89d") &&
		      sha1_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			      "84983e441c3bd26ebaae4aa1f95129e5e54670f1") &&
		      sha1_is(a64 + 9, "c1c8bbdc22796e28c0e15163d20899b65621d65a") &&
		      sha1_is(a64 + 8, "c2db330f6083854c99d4b5bfb6e8f29f201be699") &&
		      sha1_is(a64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
	      "sha1");
}

static void test_keys(void)
{
	char accept[GR_WEBSOCKET_ACCEPT], key[GR_WEBSOCKET_KEY];
	const char *sample = "dGhlIHNhbXBsZSBub25jZQ==";

	gr_websocket_accept(sample, accept);
	check(is_text((struct gr_slice){accept, sizeof(accept)}, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "websocket: accept");
	gr_websocket_key("the sample nonce", key);
	check(is_text((struct gr_slice){key, sizeof(key)}, sample) &&
		      gr_websocket_key_valid((struct gr_slice){key, sizeof(key)}),
	      "websocket: a key");
	check(!gr_websocket_key_valid(slice("")) && !gr_websocket_key_valid(slice("dGhlIHNhbXBsZSBub25jZQ=")) &&
		      !gr_websocket_key_valid(slice("dGhlIHNhbXBsZSBub25jZQ===")) &&
		      !gr_websocket_key_valid(slice("dGhlIHNhbXBsZSBub25jZQQQ")) &&
		      !gr_websocket_key_valid(slice("dGhlIHNhbXBsZSBub25jZR==")) &&
		      !gr_websocket_key_valid(slice("dGhlIHNhbXBs SBub25jZQ==")),
	      "websocket: what is no key");
}

#define UPGRADE "Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

static void test_handshakes(void)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" UPGRADE KEY VERSION "\r\n", true},
		{"POST / HTTP/1.1\r\n" UPGRADE KEY VERSION "\r\n", false},
		{"GET / HTTP/1.0\r\n" UPGRADE KEY VERSION "\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE VERSION "\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE KEY "\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE KEY KEY VERSION "\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE VERSION "Sec-WebSocket-Key: x\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" UPGRADE KEY VERSION "Content-Length: 3\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" KEY VERSION "\r\n", false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" KEY VERSION "\r\n", false},
	};
	struct gr_http_field fields[10];
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].text);
		struct gr_slice key;
		struct gr_http_head h;

		gr_http_head_init(&h, fields, &gr_http_limits);
		good = row(gr_http_parse_request(&h, cases[i].text, len) == (ssize_t)len &&
				   gr_websocket_request(&h, cases[i].text, &key) == cases[i].good,
			   cases[i].text, len) &&
		       good;
	}
	check(good, "websocket: requests");
}

static void test_handshake_responses(void)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"HTTP/1.1 101 x\r\n" UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", true},
		{"HTTP/1.1 101 x\r\n" UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n", false},
		{"HTTP/1.1 101 x\r\n" UPGRADE "\r\n", false},
		{"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", false},
		{"HTTP/1.1 200 x\r\n" UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", false},
	};
	struct gr_http_field fields[10];
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].text);
		struct gr_http_head h;

		gr_http_head_init(&h, fields, &gr_http_limits);
		good = row(gr_http_parse_response(&h, cases[i].text, len, GR_METHOD_GET) == (ssize_t)len &&
				   gr_websocket_response(&h, cases[i].text, "dGhlIHNhbXBsZSBub25jZQ==") ==
					   cases[i].good,
			   cases[i].text, len) &&
		       good;
	}
	check(good, "websocket: responses");
}

/* ---- UTF-8 ---- */

/* Writes a code point's UTF-8; returns its length, 0 for surrogates, which have none. */
static size_t encode(uint32_t c, char *out)
{
	static const int first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (c >= 0xd800 && c < 0xe000)
		return 0;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 63));
	out[0] = (char)((unsigned)first[n] | c);
	return n;
}

static bool utf8_split(const char *p, size_t len, size_t at)
{
	struct gr_utf8 u = {0};

	return gr_utf8_add(&u, p, at) && gr_utf8_add(&u, p + at, len - at) && gr_utf8_complete(&u);
}

static void test_utf8(void)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{TEXT("\x80")},
		{TEXT("\xc0\x80")},
		{TEXT("\xc1\xbf")},
		{TEXT("\xe0\x9f\xbf")},
		{TEXT("\xed\xa0\x80")},
		{TEXT("\xf0\x8f\xbf\xbf")},
		{TEXT("\xf4\x90\x80\x80")},
		{TEXT("\xf5\x80\x80\x80")},
		{TEXT("\xff")},
		{TEXT("\xc3(")},
		{TEXT("\xe2\x82(")},
		{TEXT("abcdefgh\xc3\xa4\x80zzzzzzzz")},
		{TEXT("\xc3\xc3\xa4")},
		{TEXT("\xc3zzzzzzzz\xa4")},
		{TEXT("\xc3")},
		{TEXT("\xe2\x82")},
		{TEXT("\xf0\x9f\x98")},
	};
	struct gr_utf8 u = {0};
	char text[4];
	bool good = true;

	for (uint32_t c = 0; c < 0x110000; c++) {
		size_t n = encode(c, text);

		good = good && gr_utf8_add(&u, text, n) && gr_utf8_complete(&u);
	}
	check(good, "utf8: every character");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (size_t at = 0; at <= bad[i].len; at++)
			good = row(!utf8_split(bad[i].text, bad[i].len, at), bad[i].text, bad[i].len) && good;
	check(good, "utf8: what is none, at every split");
	for (size_t at = 0; at <= 25; at++)
		good = good && utf8_split("0123456789\xe2\x82\xac"
					  "abcdefgh\xf0\x9f\x98\x80",
					  25, at);
	check(good, "utf8: good text at every split");
	u = (struct gr_utf8){0};
	check(gr_utf8_add(&u, "\xe2\x82", 2) && !gr_utf8_complete(&u), "utf8: an unfinished character");
	check(!gr_utf8_add(&(struct gr_utf8){0}, "\xed\xa0", 2), "utf8: refused as soon as it cannot become valid");
}

int main(void)
{
	test_responses();
	test_statuses();
	test_usual();
	test_refused_responses();
	test_reason();
	test_requests();
	test_refused_requests();
	test_sha1();
	test_keys();
	test_handshakes();
	test_handshake_responses();
	test_utf8();
	return failures > 0;
}
