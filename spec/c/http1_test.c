/* SPDX-License-Identifier: MIT */
/* Heads of requests and responses: what is taken, what is refused, and that splits do not matter. */
#include "http/http1.h"
#include "http_check.h"

enum { REQUEST = -1, TRAILERS = -2 }; /* for parse(); else the method that a response answers */

enum { FIELDS = 100 };

static struct gr_http_field fields[FIELDS + 1];

static ssize_t parse(struct gr_http_head *h, int kind, const char *buf, size_t len)
{
	if (kind == REQUEST)
		return gr_http_parse_request(h, buf, len);
	if (kind == TRAILERS)
		return gr_http_parse_trailers(h, buf, len);
	return gr_http_parse_response(h, buf, len, (enum gr_http_method)kind);
}

/* Everything that was found, as text. */
static void describe(const struct gr_http_head *h, const char *buf, char *out, size_t size)
{
	const struct gr_http_span *spans[] = {&h->verb, &h->target, &h->path,     &h->query,
					      &h->host, &h->reason, &h->protocol, NULL};
	size_t n = (size_t)snprintf(out, size, "%d %d %d %d %d %d%d%d%d %lld", h->status, h->minor, h->method, h->form,
				    h->body, h->keep_alive, h->want_continue, h->upgrade, h->https,
				    (long long)h->content_length);

	for (int i = 0; spans[i]; i++)
		n += (size_t)snprintf(out + n, size - n, "|%.*s", (int)spans[i]->len, buf + spans[i]->off);
	for (uint32_t i = 0; i < h->nfields; i++) {
		struct gr_slice name = gr_http_name(h, buf, i), value = gr_http_value(h, buf, i);

		n += (size_t)snprintf(out + n, size - n, "|%.*s=%.*s", (int)name.len, name.p, (int)value.len, value.p);
	}
}

/* Parses prefixes of the text, each longer by `step` and at another address, until there is a result. */
static ssize_t parse_split(struct gr_http_head *h, int kind, const char *text, size_t len, size_t first, size_t step,
			   char *found, size_t size)
{
	ssize_t rc = 0;

	gr_http_head_init(h, fields, &gr_http_limits);
	for (size_t n = first; rc == 0; n += step) {
		size_t now = n < len ? n : len;
		char *copy = exact(text, now);

		rc = parse(h, kind, copy, now);
		if (rc > 0)
			describe(h, copy, found, size);
		free(copy);
		if (now == len)
			break;
	}
	return rc;
}

/* Parses at once, byte by byte, and in two pieces for every split. Returns the result, or 1 << 30 if they differ. */
static ssize_t parse_all(struct gr_http_head *h, int kind, const char *text, size_t len)
{
	char whole[8192] = "", found[8192] = "";
	ssize_t rc = parse_split(h, kind, text, len, len, 1, whole, sizeof(whole));

	if (parse_split(h, kind, text, len, 0, 1, found, sizeof(found)) != rc || strcmp(found, whole) != 0)
		return 1 << 30;
	for (size_t at = 0; at <= len; at++)
		if (parse_split(h, kind, text, len, at, len, found, sizeof(found)) != rc || strcmp(found, whole) != 0)
			return 1 << 30;
	parse_split(h, kind, text, len, len, 1, whole, sizeof(whole));
	return rc;
}

static bool span_is(const char *buf, struct gr_http_span s, const char *text)
{
	return is_text(gr_http_slice(buf, s), text);
}

/* ---- Requests ---- */

static void test_good_requests(void)
{
	static const struct {
		const char *text, *path, *query, *host;
		int method, form, minor, body;
		bool keep_alive;
		int64_t length;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", GR_METHOD_GET, GR_FORM_ORIGIN, 1, 0, true, -1},
		{"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", GR_METHOD_GET, 0, 1, 0, true, -1},
		{"GET / HTTP/1.0\r\n\r\n", "/", "", "", GR_METHOD_GET, 0, 0, 0, false, -1},
		{"GET /a?b=c?d HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/a", "b=c?d", "", GR_METHOD_GET, 0, 0, 0,
		 true, -1},
		{"GET /? HTTP/1.9\r\nhost:a:80 \r\nconnection: x, CLOSE\r\n\r\n", "/", "", "a:80", GR_METHOD_GET, 0, 1,
		 0, false, -1},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: ,close,\r\n\r\n", "/", "", "a",
		 GR_METHOD_GET, 0, 1, 0, false, -1},
		{"POST /\xc3\xa4 HTTP/1.1\r\nHost:\t[::1]:80\t\r\nContent-Length: 5\r\n\r\n", "/\xc3\xa4", "",
		 "[::1]:80", GR_METHOD_POST, 0, 1, GR_BODY_LENGTH, true, 5},
		{"PUT /x HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 9223372036854775807\r\n\r\n", "/x", "", "a",
		 GR_METHOD_PUT, 0, 1, GR_BODY_LENGTH, true, INT64_MAX},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n", "/", "", "a", GR_METHOD_POST, 0, 1, 0,
		 true, 0},
		{"PATCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked \r\n\r\n", "/", "", "a", GR_METHOD_PATCH, 0,
		 1, GR_BODY_CHUNKED, true, -1},
		{"DELETE http://b.example:8080/p?q HTTP/1.1\r\nHost: a\r\n\r\n", "/p", "q", "b.example:8080",
		 GR_METHOD_DELETE, GR_FORM_ABSOLUTE, 1, 0, true, -1},
		{"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", "", "", "b", GR_METHOD_GET, GR_FORM_ABSOLUTE, 1, 0, true,
		 -1},
		{"GET https://b?x/y HTTP/1.1\r\nHost: a\r\n\r\n", "", "x/y", "b", GR_METHOD_GET, GR_FORM_ABSOLUTE, 1, 0,
		 true, -1},
		{"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "*", "", "", GR_METHOD_OPTIONS, GR_FORM_ASTERISK, 1, 0, true,
		 -1},
		{"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "", "", "b:443", GR_METHOD_CONNECT, GR_FORM_AUTHORITY,
		 1, 0, true, -1},
		{"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: b\r\n\r\n", "", "", "[2001:db8::1]:443",
		 GR_METHOD_CONNECT, GR_FORM_AUTHORITY, 1, 0, true, -1},
		{"get / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", GR_METHOD_OTHER, 0, 1, 0, true, -1},
		{"M-SEARCH / HTTP/1.1\r\nHost: a\r\nX:\r\nY:\ta\tb \t\r\nZ: \xff\r\n\r\n", "/", "", "a",
		 GR_METHOD_OTHER, 0, 1, 0, true, -1},
		{"HEAD //a/../b HTTP/1.1\r\nHost: my_host.\r\n\r\n", "//a/../b", "", "my_host.", GR_METHOD_HEAD, 0, 1,
		 0, true, -1},
		{"TRACE / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", "/", "", "", GR_METHOD_TRACE, 0, 0, 0,
		 false, -1},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *t = cases[i].text;
		size_t len = strlen(t);
		struct gr_http_head h;
		bool same = parse_all(&h, REQUEST, t, len) == (ssize_t)len;

		same = same && span_is(t, h.path, cases[i].path) && span_is(t, h.query, cases[i].query) &&
		       span_is(t, h.host, cases[i].host) && h.method == cases[i].method && h.form == cases[i].form &&
		       h.minor == cases[i].minor && h.body == cases[i].body && h.keep_alive == cases[i].keep_alive &&
		       h.content_length == cases[i].length;
		good = row(same, t, len) && good;
	}
	check(good, "requests: good ones, at every split");
}

static void test_request_details(void)
{
	static const char text[] =
		"GET /x HTTP/1.1\r\nHost: a\r\nCookie: 1\r\nUpgrade: websocket\r\nConnection: keep-alive, "
		"Upgrade\r\ncookie:  2 \r\nEmpty: \t \r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
		"GET / HTTP/1.1\r\n";
	struct gr_http_head h;
	ssize_t rc = parse_all(&h, REQUEST, TEXT(text));
	int first = gr_http_find(&h, text, "COOKIE", 6, 0);

	check(rc == (ssize_t)(sizeof(text) - 1 - strlen("GET / HTTP/1.1\r\n")),
	      "requests: what follows a head is left");
	check(h.upgrade && span_is(text, h.protocol, "websocket"), "requests: upgrade");
	check(h.want_continue, "requests: expect");
	check(span_is(text, h.verb, "GET") && span_is(text, h.target, "/x"), "requests: method and target as written");
	check(first == 1 && is_text(gr_http_value(&h, text, 1), "1"), "find: first of a name, in any case");
	check(gr_http_find(&h, text, "cookie", 6, 2) == 4 && is_text(gr_http_value(&h, text, 4), "2"),
	      "find: the next");
	check(gr_http_find(&h, text, "cookie", 6, 5) == -1 && gr_http_find(&h, text, "cooki", 5, 0) == -1,
	      "find: none");
	check(h.nfields == 8 && gr_http_value(&h, text, 5).len == 0, "requests: an empty value");
}

/* Whether `want_continue` and `upgrade` need all that they need. */
static void test_request_options(void)
{
	static const struct {
		const char *text;
		bool want_continue, upgrade;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", false, false},
		{"GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false, false},
		{"GET / HTTP/1.0\r\nExpect: cake\r\n\r\n", false, false},
		{"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", true,
		 false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n", false, false},
		{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,upgrade ,b\r\nUpgrade: x\r\n\r\n", false, true},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gr_http_head h;
		size_t len = strlen(cases[i].text);
		bool same = parse_all(&h, REQUEST, cases[i].text, len) > 0 && h.upgrade == cases[i].upgrade &&
			    h.want_continue == cases[i].want_continue;

		good = row(same, cases[i].text, len) && good;
	}
	check(good, "requests: expect and upgrade only where they mean something");
}

static void test_offers(void)
{
	static const char good[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a, B/1.2\r\nConnection: upgrade\r\n"
				   "Upgrade: ,c/1\r\n\r\n";
	static const char silent[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ,\r\n\r\n";
	static const char old[] = "GET / HTTP/1.0\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n";
	static const char *const offered[] = {"", "a", "A", "a/2", "b", "B/1.2", "b/7", "C", "c/1"};
	static const char *const not[] = {"d", "ab", "1.2", "a,", "Upgrade"};
	struct gr_http_head h;
	bool all = parse_all(&h, REQUEST, TEXT(good)) > 0;

	for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++)
		all = gr_http_offers(&h, good, (struct gr_slice){offered[i], strlen(offered[i])}) && all;
	check(all, "offers: each protocol of every Upgrade field, whatever its case and version");
	for (size_t i = 0; i < sizeof(not) / sizeof(not[0]); i++)
		all = !gr_http_offers(&h, good, (struct gr_slice){not[i], strlen(not[i])}) && all;
	check(all, "offers: no other");
	check(parse_all(&h, REQUEST, TEXT(silent)) > 0 && !gr_http_offers(&h, silent, GR_SLICE("")) &&
		      parse_all(&h, REQUEST, TEXT(old)) > 0 && !gr_http_offers(&h, old, GR_SLICE("a")),
	      "offers: none in an empty list, none on HTTP/1.0");
}

struct bad {
	const char *text;
	size_t len;
	int error; /* 0: incomplete */
};

static void check_bad(const struct bad *cases, size_t count, int kind, const char *name)
{
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		struct gr_http_head h;
		ssize_t rc = parse_all(&h, kind, cases[i].text, cases[i].len);

		if (rc != cases[i].error)
			fprintf(stderr, "# %zd (%s), not %d\n", rc, gr_http_error_text((int)rc), cases[i].error);
		good = row(rc == cases[i].error, cases[i].text, cases[i].len) && good;
	}
	check(good, name);
}

#define GET11 "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST11 "POST / HTTP/1.1\r\nHost: a\r\n"

static void test_bad_lines(void)
{
	static const struct bad cases[] = {
		{TEXT(""), 0},
		{TEXT("G"), 0},
		{TEXT("\r\n"), 0},
		{TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r"), 0},
		{TEXT("GET / HTTP/1.1\r\nHost : a"), 0}, /* wrong already, but said at the line's end */
		{TEXT("\x16\x03\x01\x02\x00\x01"), GR_HTTP_TLS_HELLO},
		{TEXT("\x80\x2e\x01"), GR_HTTP_NOT_HTTP},
		{TEXT("\0"), GR_HTTP_NOT_HTTP},
		{TEXT(" GET / HTTP/1.1\r\n"), GR_HTTP_NOT_HTTP},
		{TEXT("{}"), GR_HTTP_NOT_HTTP},
		{TEXT("\n"), GR_HTTP_LINE_END},
		{TEXT("\rG"), GR_HTTP_LINE_END},
		{TEXT("\r\n\r\nGET / HTTP/1.1\r\n"), GR_HTTP_EMPTY_LINES},
		{TEXT("\r\n\x16"), GR_HTTP_TLS_HELLO},
		{TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), GR_HTTP_H2_PREFACE},
		{TEXT("GET / HTTP/2.0\r\n"), GR_HTTP_BAD_VERSION},
		{TEXT("GET / HTTP/0.9\r\n"), GR_HTTP_BAD_VERSION},
		{TEXT("GET / HTTP/2.0\n"), GR_HTTP_BAD_VERSION},
		{TEXT("GET / HTTP/3\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / HTTP/1.10\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / HTTP/1.1 \r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / HTTP/1.\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / http/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / HTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / HTTP/1.1\n"), GR_HTTP_LINE_END},
		{TEXT("GET / HTTP/1.1\nHost: a\n\n"), GR_HTTP_LINE_END},
		{TEXT("GET / HTTP/1.1\r\r\n"), GR_HTTP_LINE_END},
		{TEXT("GET / HTTP/1.1\rHost: a\r\n"), GR_HTTP_LINE_END},
		{TEXT("GET /\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / \r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET \r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET  HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET  / HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET /  HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET / a HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET\t/ HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GE(T / HTTP/1.1\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("GET /\t HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET /a\0b HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET /a\x7f HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET /a#b HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET /a?b#c HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET * HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET a HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET ?a HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET ftp://a/ HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET http:///a HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET http:// HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET http://u@a/ HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("GET http://a:99999/ HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("OPTIONS ** HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("CONNECT / HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("CONNECT a HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("CONNECT a: HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("CONNECT [::1] HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("CONNECT http://a:1/ HTTP/1.1\r\n"), GR_HTTP_BAD_TARGET},
		{TEXT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"), GR_HTTP_BAD_METHOD},
	};

	check_bad(cases, sizeof(cases) / sizeof(cases[0]), REQUEST, "requests: bad first lines, at every split");
}

static void test_bad_fields(void)
{
	static const struct bad cases[] = {
		{TEXT(GET11 "A : b\r\n\r\n"), GR_HTTP_SPACE_COLON},
		{TEXT(GET11 "A\t: b\r\n\r\n"), GR_HTTP_SPACE_COLON},
		{TEXT(GET11 ": b\r\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "A\r\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "A\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "A(b): c\r\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "A\0b: c\r\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "\xc3\xa4: c\r\n\r\n"), GR_HTTP_BAD_NAME},
		{TEXT(GET11 "A: b\r\n c\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT(GET11 "A: b\r\n\tc\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT(GET11 " \r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT(GET11 "A: b\0\r\n\r\n"), GR_HTTP_BAD_VALUE},
		{TEXT(GET11 "A: b\x01"
			    "c\r\n\r\n"),
		 GR_HTTP_BAD_VALUE},
		{TEXT(GET11 "A: b\x7f\r\n\r\n"), GR_HTTP_BAD_VALUE},
		{TEXT(GET11 "A: 1234567\x0b"
			    "89\r\n\r\n"),
		 GR_HTTP_BAD_VALUE},
		{TEXT(GET11 "A: b\n\r\n"), GR_HTTP_LINE_END},
		{TEXT(GET11 "A: b\rc\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT(GET11 "A: b\r\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT(GET11 "A:\r\rB: c\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT(GET11 "\n"), GR_HTTP_LINE_END},
		{TEXT(GET11 "\rX\r\n"), GR_HTTP_LINE_END},
		{TEXT("GET / HTTP/1.1\r\n\r\n"), GR_HTTP_NO_HOST},
		{TEXT(GET11 "Host: a\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.0\r\nHost: a\r\nhOST: b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET http://b/ HTTP/1.1\r\nHost: a/b\r\n\r\n"), GR_HTTP_BAD_HOST},
		{TEXT("GET http://b/ HTTP/1.1\r\n\r\n"), GR_HTTP_NO_HOST},
		{TEXT(POST11 "Expect: 200-ok\r\n\r\n"), GR_HTTP_BAD_EXPECT},
	};

	check_bad(cases, sizeof(cases) / sizeof(cases[0]), REQUEST, "requests: bad fields, at every split");
}

static void test_smuggling(void)
{
	static const struct bad cases[] = {
		{TEXT(POST11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_TWO_FRAMINGS},
		{TEXT(POST11 "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), GR_HTTP_TWO_FRAMINGS},
		{TEXT(POST11 "Transfer-Encoding: gzip, chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: chunked, chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: chunked, identity\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: identity\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: xchunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: \"chunked\"\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: chunked;q=1\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: chunked,\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding:\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Transfer-Encoding: \x0b"
			     "chunked\r\n\r\n"),
		 GR_HTTP_BAD_VALUE},
		{TEXT(POST11 "Transfer-Encoding : chunked\r\n\r\n"), GR_HTTP_SPACE_COLON},
		{TEXT(POST11 "X: y\r\n Transfer-Encoding: chunked\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT(POST11 "X: y\rTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT(POST11 "X: y\nTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT(POST11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 5, 5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: +5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: -5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 0x5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length:  5 6\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 5.0\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 1_0\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length:\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 9223372036854775808\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 18446744073709551621\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT(POST11 "Content-Length: 5\0\r\n\r\n"), GR_HTTP_BAD_VALUE},
	};

	check_bad(cases, sizeof(cases) / sizeof(cases[0]), REQUEST, "requests: ways to smuggle, at every split");
}

/* ---- Limits ---- */

static ssize_t parse_repeated(int kind, const char *before, const char *piece, int times, const char *after,
			      size_t step)
{
	size_t len = strlen(before) + strlen(piece) * (size_t)times + strlen(after), n = 0;
	char *text = malloc(len + 1), *to;
	struct gr_http_head h;
	ssize_t rc = 0;

	if (text == NULL)
		abort();
	to = stpcpy(text, before);
	for (int i = 0; i < times; i++)
		to = stpcpy(to, piece);
	strcpy(to, after);
	gr_http_head_init(&h, fields, &gr_http_limits);
	while (rc == 0 && n < len) {
		n = n + step < len ? n + step : len;
		rc = parse(&h, kind, text, n);
	}
	free(text);
	return rc == (ssize_t)len ? 1 : rc;
}

static void test_limits(void)
{
	static const char line[] = " HTTP/1.0\r\n\r\n", head[] = "GET / HTTP/1.0\r\n";
	int spare_line = 8192 - (int)strlen("GET / HTTP/1.0\r\n"), spare_block = 16384 - (int)strlen("a: \r\n\r\n");
	static const size_t steps[] = {1, 7, 4096, 1 << 20};
	bool good = true;

	for (int i = 0; i < 4; i++) {
		size_t step = steps[i];

		good = good && parse_repeated(REQUEST, "GET /", "a", spare_line, line, step) == 1;
		good = good && parse_repeated(REQUEST, "GET /", "a", spare_line + 1, line, step) == GR_HTTP_LONG_LINE;
		good = good && parse_repeated(REQUEST, "GET /", "a", 9000, "", step) == GR_HTTP_LONG_LINE;
		good = good && parse_repeated(REQUEST, "", "A", 9000, "", step) == GR_HTTP_LONG_LINE;
		good = good &&
		       parse_repeated(REQUEST, "GET / HTTP/1.0\r\na: ", "a", spare_block, "\r\n\r\n", step) == 1;
		good = good && parse_repeated(REQUEST, "GET / HTTP/1.0\r\na: ", "a", spare_block + 1, "\r\n\r\n",
					      step) == GR_HTTP_LONG_BLOCK;
		good = good &&
		       parse_repeated(REQUEST, "GET / HTTP/1.0\r\na: ", "a", 17000, "", step) == GR_HTTP_LONG_BLOCK;
		good = good && parse_repeated(REQUEST, "GET / HTTP/1.0\r\na", "a", 16383, "", step) == 0;
		good = good &&
		       parse_repeated(REQUEST, "GET / HTTP/1.0\r\na", "a", 16384, "", step) == GR_HTTP_LONG_BLOCK;
		good = good && parse_repeated(REQUEST, "", "A", 8192, "", step) == 0;
		good = good && parse_repeated(REQUEST, "", "A", 8193, "", step) == GR_HTTP_LONG_LINE;
		good = good && parse_repeated(REQUEST, head, "a:b\r\n", 100, "\r\n", step) == 1;
		good = good && parse_repeated(REQUEST, head, "a:b\r\n", 101, "\r\n", step) == GR_HTTP_MANY_FIELDS;
		good = good && parse_repeated(TRAILERS, "a: ", "a", spare_block, "\r\n\r\n", step) == 1;
		good = good &&
		       parse_repeated(TRAILERS, "a: ", "a", spare_block + 1, "\r\n\r\n", step) == GR_HTTP_LONG_BLOCK;
		good = good && parse_repeated(TRAILERS, "", "a:b\r\n", 101, "\r\n", step) == GR_HTTP_MANY_FIELDS;
		good = good &&
		       parse_repeated(GR_METHOD_GET, "HTTP/1.1 200 ", "a", 9000, "\r\n\r\n", step) == GR_HTTP_LONG_LINE;
	}
	check(good, "limits: line, block and number of fields, at many splits");
}

/* ---- Responses ---- */

static void test_good_responses(void)
{
	static const struct {
		const char *text, *reason;
		int method, status, body;
		bool keep_alive;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "OK", GR_METHOD_GET, 200, GR_BODY_LENGTH, true},
		{"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "", GR_METHOD_GET, 200, GR_BODY_NONE, true},
		{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", GR_METHOD_GET, 200, GR_BODY_NONE, true},
		{"HTTP/1.1 299 a\tb \xe4\r\nTransfer-Encoding: chunked\r\n\r\n", "a\tb \xe4", GR_METHOD_GET, 299,
		 GR_BODY_CHUNKED, true},
		{"HTTP/1.1 200 OK\r\n\r\n", "OK", GR_METHOD_GET, 200, GR_BODY_CLOSE, false},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", "OK", GR_METHOD_GET, 200,
		 GR_BODY_LENGTH, false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "OK", GR_METHOD_GET, 200, GR_BODY_LENGTH, false},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", "OK", GR_METHOD_GET, 200,
		 GR_BODY_LENGTH, true},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", "OK", GR_METHOD_GET, 200, GR_BODY_CLOSE, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "OK", GR_METHOD_HEAD, 200, GR_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\n\r\n", "OK", GR_METHOD_HEAD, 200, GR_BODY_NONE, true},
		{"HTTP/1.1 204 No Content\r\n\r\n", "No Content", GR_METHOD_GET, 204, GR_BODY_NONE, true},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "Not Modified", GR_METHOD_GET, 304,
		 GR_BODY_NONE, true},
		{"HTTP/1.1 100 Continue\r\n\r\n", "Continue", GR_METHOD_GET, 100, GR_BODY_NONE, true},
		{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "Early Hints", GR_METHOD_GET, 103, GR_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "OK", GR_METHOD_CONNECT,
		 200, GR_BODY_NONE, false},
		{"HTTP/1.1 404 No\r\nContent-Length: 5\r\nHost: a/b\r\nHost: c\r\nExpect: cake\r\n\r\n", "No",
		 GR_METHOD_CONNECT, 404, GR_BODY_LENGTH, true},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *t = cases[i].text;
		size_t len = strlen(t);
		struct gr_http_head h;
		bool same = parse_all(&h, cases[i].method, t, len) == (ssize_t)len &&
			    span_is(t, h.reason, cases[i].reason) && h.status == cases[i].status &&
			    h.body == cases[i].body && h.keep_alive == cases[i].keep_alive;

		good = row(same, t, len) && good;
	}
	check(good, "responses: good ones, at every split");
}

static void test_upgrade_response(void)
{
	static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\x81";
	static const char no[] = "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n";
	struct gr_http_head h;

	check(parse_all(&h, GR_METHOD_GET, TEXT(text)) == (ssize_t)sizeof(text) - 2 && h.upgrade,
	      "responses: 101 upgrades");
	check(parse_all(&h, GR_METHOD_GET, TEXT(no)) > 0 && !h.upgrade, "responses: 200 does not upgrade");
}

static void test_bad_responses(void)
{
	static const struct bad cases[] = {
		{TEXT("HTTP/1.1 200 OK"), 0},
		{TEXT("x"), GR_HTTP_NOT_HTTP},
		{TEXT("\r\nHTTP/1.1 200 OK\r\n\r\n"), GR_HTTP_NOT_HTTP},
		{TEXT("ICY 200 OK\r\n\r\n"), GR_HTTP_NOT_HTTP},
		{TEXT("HTTP/2 200 OK\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/2.0 200 OK\r\n\r\n"), GR_HTTP_BAD_VERSION},
		{TEXT("HTTP/1.1\r\n"), GR_HTTP_LINE_END},
		{TEXT("HTTP/1.1 \r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 20\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 2000\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 099 x\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1  200 OK\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 +20 OK\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 200-OK\r\n\r\n"), GR_HTTP_BAD_LINE},
		{TEXT("HTTP/1.1 200 OK\n\n"), GR_HTTP_LINE_END},
		{TEXT("HTTP/1.1 200\n\n"), GR_HTTP_LINE_END},
		{TEXT("HTTP/1.1 200 O\rK\r\n\r\n"), GR_HTTP_LINE_END},
		{TEXT("HTTP/1.1 200 O\0K\r\n\r\n"), GR_HTTP_BAD_VALUE},
		{TEXT("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), GR_HTTP_SPACE_COLON},
		{TEXT("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
		 GR_HTTP_TWO_FRAMINGS},
		{TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), GR_HTTP_BAD_LENGTH},
		{TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
		{TEXT("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), GR_HTTP_BAD_CODING},
	};

	check_bad(cases, sizeof(cases) / sizeof(cases[0]), GR_METHOD_GET, "responses: bad ones, at every split");
}

/* ---- Trailers ---- */

static void test_trailers(void)
{
	static const char text[] = "X-Sum: 1\r\nContent-Length: junk\r\nHost: a b\r\n\r\nGET";
	static const struct bad cases[] = {
		{TEXT("A: b"), 0},
		{TEXT("A: b\r\n"), 0},
		{TEXT("A : b\r\n\r\n"), GR_HTTP_SPACE_COLON},
		{TEXT("A: b\n\r\n"), GR_HTTP_LINE_END},
		{TEXT("\n"), GR_HTTP_LINE_END},
		{TEXT("A: b\r\n\n"), GR_HTTP_LINE_END},
		{TEXT(" a\r\n\r\n"), GR_HTTP_FOLDED},
		{TEXT("A: \0\r\n\r\n"), GR_HTTP_BAD_VALUE},
	};
	struct gr_http_head h;

	check(parse_all(&h, TRAILERS, TEXT("\r\n")) == 2 && h.nfields == 0, "trailers: none");
	check(parse_all(&h, TRAILERS, TEXT(text)) == (ssize_t)sizeof(text) - 4 && h.nfields == 3 &&
		      h.content_length == -1 && h.host.len == 0,
	      "trailers: fields that frame mean nothing");
	check_bad(cases, sizeof(cases) / sizeof(cases[0]), TRAILERS, "trailers: bad ones, at every split");
}

/* ---- An earlier head that is known ---- */

static ssize_t parse_knowing(const struct gr_http_head *known, const char *known_text, const char *text, size_t step,
			     char *found, size_t size)
{
	size_t len = strlen(text);
	struct gr_http_head h;
	ssize_t rc = 0;

	gr_http_head_init(&h, fields, &gr_http_limits);
	gr_http_head_knows(&h, known, known_text);
	for (size_t n = step; rc == 0; n += step) {
		rc = gr_http_parse_request(&h, text, n < len ? n : len);
		if (n >= len)
			break;
	}
	if (rc > 0)
		describe(&h, text, found, size);
	return rc;
}

/* Whether the text is parsed alike with and without the other one known. */
static bool is_alike(const char *other, const char *text)
{
	static struct gr_http_field known_fields[FIELDS];
	char expected[2048], found[2048];
	struct gr_http_head known;
	ssize_t rc = parse_knowing(NULL, NULL, text, strlen(text), expected, sizeof(expected));

	gr_http_head_init(&known, known_fields, &gr_http_limits);
	if (gr_http_parse_request(&known, other, strlen(other)) <= 0)
		return false;
	for (size_t step = 1; step <= strlen(text); step++)
		if (parse_knowing(&known, other, text, step, found, sizeof(found)) != rc ||
		    (rc > 0 && strcmp(found, expected) != 0))
			return false;
	return true;
}

static void test_known(void)
{
	static const char *const lines[] = {"GET / HTTP/1.1\r\n",     "GET /longer?x HTTP/1.1\r\n",
					    "GET / HTTP/1.0\r\n",     "POST http://b:1/ HTTP/1.1\r\n",
					    "OPTIONS * HTTP/1.1\r\n", "CONNECT b:443 HTTP/1.1\r\n"};
	static const char *const blocks[] = {
		"Host: a\r\nX-One: 1\r\nY: \t 2 \r\n\r\n",
		"Host: a\r\nX-One: 2\r\nY: \t 2 \r\n\r\n",
		"Host: a\r\nX-One: 1\r\nY: \t 2 \r\nZ:\r\n\r\n",
		"Host: a\r\nX-One: 1\r\nHost: b\r\n\r\n",
		"Host: a\r\nX-One: 1\n\r\n",
		"X-One: 1\r\nHost: a\r\n\r\n",
		"Host: a\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
		"Host: a\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n",
		"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		"Expect: something\r\n\r\n",
		"\r\n",
	};
	enum { LINES = sizeof(lines) / sizeof(lines[0]), BLOCKS = sizeof(blocks) / sizeof(blocks[0]) };
	char known[256], text[256];
	int compared = 0, good = 0;

	for (int i = 0; i < LINES * BLOCKS * LINES * BLOCKS; i++) {
		int a = i / (LINES * BLOCKS), b = i % (LINES * BLOCKS);

		snprintf(known, sizeof(known), "%s%s", lines[a / BLOCKS], blocks[a % BLOCKS]);
		snprintf(text, sizeof(text), "%s%s", lines[b / BLOCKS], blocks[b % BLOCKS]);
		if (parse_knowing(NULL, NULL, known, strlen(known), (char[2048]){0}, 2048) <= 0)
			continue;
		compared++;
		good += is_alike(known, text);
	}
	check(compared > 1000 && good == compared, "a known head: makes no difference");
}

static void test_errors(void)
{
	bool good = true;

	for (int e = GR_HTTP_NOT_HTTP; e < GR_HTTP_ERROR_END; e++) {
		const char *text = gr_http_error_text(e);

		good = good && text && *text && gr_http_error_status(e) >= 400;
	}
	check(good, "errors: each has a text and a status");
	check(gr_http_error_status(GR_HTTP_LONG_LINE) == 414 && gr_http_error_status(GR_HTTP_LONG_BLOCK) == 431 &&
		      gr_http_error_status(GR_HTTP_MANY_FIELDS) == 431 &&
		      gr_http_error_status(GR_HTTP_BAD_VERSION) == 505 &&
		      gr_http_error_status(GR_HTTP_BAD_EXPECT) == 417 &&
		      gr_http_error_status(GR_HTTP_BAD_LINE) == 400 && gr_http_error_status(-1) == 500,
	      "errors: their status");
	check(strcmp(gr_http_reason(404), "Not Found") == 0 &&
		      strcmp(gr_http_reason(101), "Switching Protocols") == 0 &&
		      strcmp(gr_http_reason(431), "Request Header Fields Too Large") == 0 &&
		      *gr_http_reason(499) == '\0' &&
		      strcmp(gr_http_reason(511), "Network Authentication Required") == 0 &&
		      *gr_http_reason(427) == '\0' && *gr_http_reason(99) == '\0' && *gr_http_reason(600) == '\0' &&
		      *gr_http_reason(306) == '\0',
	      "reason phrases");
}

int main(void)
{
	test_good_requests();
	test_request_details();
	test_request_options();
	test_offers();
	test_bad_lines();
	test_bad_fields();
	test_smuggling();
	test_limits();
	test_good_responses();
	test_upgrade_response();
	test_bad_responses();
	test_trailers();
	test_known();
	test_errors();
	return failures > 0;
}
