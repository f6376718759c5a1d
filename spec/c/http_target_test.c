/* SPDX-License-Identifier: MIT */
/* Targets: escapes, queries, paths for files; and addresses that proxies tell. */
#include <arpa/inet.h>

#include "http/proxy.h"
#include "http/target.h"
#include "http_check.h"

/* ---- Escapes ---- */

static void test_decode(void)
{
	static const struct {
		const char *text;
		size_t len;
		int flags;
		ssize_t result;
		const char *out;
	} cases[] = {
		{TEXT(""), 0, 0, ""},
		{TEXT("a%20b+c"), 0, 5, "a b+c"},
		{TEXT("a%20b+c"), GR_DECODE_PLUS, 5, "a b c"},
		{TEXT("%c3%A4%2B"), GR_DECODE_PLUS, 3, "\xc3\xa4+"},
		{TEXT("%25%32%35"), 0, 3, "%25"},
		{TEXT("%00"), 0, GR_HTTP_NUL, ""},
		{TEXT("a\0"), 0, GR_HTTP_NUL, ""},
		{TEXT("%00\0a"), GR_DECODE_NUL, 3, "\0\0a"},
		{TEXT("%"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("a%4"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("%4g"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("%g4"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("%%41"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("%u0041"), 0, GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("%+1"), GR_DECODE_PLUS, GR_HTTP_BAD_ESCAPE, ""},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = cases[i].len;
		char *copy = exact(cases[i].text, len), *out = exact(copy, len);
		ssize_t n = gr_percent_decode(out, copy, len, cases[i].flags);
		bool same = n == cases[i].result && (n < 0 || memcmp(out, cases[i].out, (size_t)n) == 0);

		n = gr_percent_decode(copy, copy, len, cases[i].flags);
		same = same && n == cases[i].result && (n < 0 || memcmp(copy, cases[i].out, (size_t)n) == 0);
		good = row(same, cases[i].text, len) && good;
		free(copy);
		free(out);
	}
	check(good, "escapes: decode, also in place");
}

static bool encodes(const char *text, enum gr_encode how, const char *expected)
{
	char *out = malloc(3 * strlen(text) + 1);
	size_t n = gr_percent_encode(out, text, strlen(text), how);
	bool same = is_text((struct gr_slice){out, n}, expected);

	free(out);
	return same;
}

static void test_encode(void)
{
	char all[256], out[3 * 256];
	bool good = true;

	check(encodes("a b/c?d&e=f+~_-.\xc3\xa4", GR_ENCODE_COMPONENT, "a%20b%2Fc%3Fd%26e%3Df%2B~_-.%C3%A4") &&
		      encodes("/a b;c=d@e?f#g%", GR_ENCODE_PATH, "/a%20b;c=d@e%3Ff%23g%25") &&
		      encodes("a b*~+", GR_ENCODE_FORM, "a+b*%7E%2B"),
	      "escapes: encode");
	for (int c = 0; c < 256; c++)
		all[c] = (char)c;
	for (int how = GR_ENCODE_COMPONENT; how <= GR_ENCODE_FORM; how++) {
		size_t n = gr_percent_encode(out, all, sizeof(all), (enum gr_encode)how);
		int flags = GR_DECODE_NUL | (how == GR_ENCODE_FORM ? GR_DECODE_PLUS : 0);

		good = good && gr_percent_decode(out, out, n, flags) == 256 && memcmp(out, all, 256) == 0;
	}
	check(good, "escapes: there and back");
}

/* ---- Queries ---- */

static void test_query(void)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"a=b", "a=b|"},
		{"a=b&c=d", "a=b|c=d|"},
		{"&&a&&", "a|"},
		{"a=&=b&=", "a=|=b|=|"},
		{"a=b=c&d+e=%26", "a=b=c|d+e=%26|"},
		{"a;b=c", "a;b=c|"},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i][0]), n = 0;
		char *copy = exact(cases[i][0], len), out[100] = "";
		struct gr_slice rest = {copy, len}, name, value;

		while (gr_query_next(&rest, &name, &value))
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s%s%.*s|", (int)name.len, name.p,
					      value.p ? "=" : "", (int)value.len, value.p ? value.p : "");
		good = row(strcmp(out, cases[i][1]) == 0, copy, len) && good;
		free(copy);
	}
	check(good, "queries");
}

/* ---- Paths ---- */

static void test_paths(void)
{
	static const struct {
		const char *text;
		size_t len;
		int error;
		const char *out;
	} cases[] = {
		{TEXT("/"), 0, ""},
		{TEXT("/a/b.html"), 0, "a/b.html"},
		{TEXT("/a/b/"), 0, "a/b/"},
		{TEXT("//a///b"), 0, "a/b"},
		{TEXT("/./a/./b/."), 0, "a/b/"},
		{TEXT("/a/../b"), 0, "b"},
		{TEXT("/a/b/.."), 0, "a/"},
		{TEXT("/a/.."), 0, ""},
		{TEXT("/a/../b/../"), 0, ""},
		{TEXT("/a/%2e%2E/b"), 0, "b"},
		{TEXT("/a%20b/..c/d../...e/...%2e"), 0, "a b/..c/d../...e/...."},
		{TEXT("/%c3%a4"), 0, "\xc3\xa4"},
		{TEXT("/.git/x"), 0, ".git/x"},
		{TEXT("/a%252fb"), 0, "a%2fb"},
		{TEXT("/.."), GR_HTTP_OUTSIDE, ""},
		{TEXT("/../a"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a/../../b"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/%2e%2e/a"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/.%2e/a"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a//../../b"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/./../b"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a/..%2f../b"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a%2Fb"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/..\\a"), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a%5c..%5Cb"), GR_HTTP_OUTSIDE, ""},
		{TEXT("a"), GR_HTTP_OUTSIDE, ""},
		{TEXT(""), GR_HTTP_OUTSIDE, ""},
		{TEXT("/a%00.html"), GR_HTTP_NUL, ""},
		{TEXT("/a\0.html"), GR_HTTP_NUL, ""},
		{TEXT("/a%"), GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("/a%2"), GR_HTTP_BAD_ESCAPE, ""},
		{TEXT("/a%zz"), GR_HTTP_BAD_ESCAPE, ""},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = cases[i].len;
		char *copy = exact(cases[i].text, len), *out = exact(copy, len);
		ssize_t n = gr_path_resolve(out, copy, len), again = gr_path_resolve(copy, copy, len);
		bool same = n == again && (n < 0 ? n == cases[i].error
						 : is_text((struct gr_slice){out, (size_t)n}, cases[i].out) &&
							   memcmp(out, copy, (size_t)n) == 0);

		good = row(same, cases[i].text, len) && good;
		free(copy);
		free(out);
	}
	check(good, "paths: inside of the root, or refused");
}

/* ---- PROXY protocol ---- */

static const char *describe(const struct gr_proxy *proxy)
{
	static char out[2 * GR_ADDR_TEXT + 8];
	char from[GR_ADDR_TEXT], to[GR_ADDR_TEXT];

	if (proxy->local)
		return "local";
	gr_addr_format(&proxy->from, GR_SCHEME_TCP, from);
	gr_addr_format(&proxy->to, GR_SCHEME_TCP, to);
	snprintf(out, sizeof(out), "%s %s", from, to);
	return out;
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static void test_proxy(void)
{
	static const struct {
		const char *text;
		size_t len;
		int rc; /* 1: all but the last two bytes, which follow */
		const char *found;
	} cases[] = {
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r\nGE"), 1, "tcp://1.2.3.4:1234 tcp://5.6.7.8:80"},
		{TEXT("PROXY TCP6 2001:db8::1 ::1 65535 0\r\nGE"), 1, "tcp://[2001:db8::1]:65535 tcp://[::1]:0"},
		{TEXT("PROXY UNKNOWN\r\nGE"), 1, "local"},
		{TEXT("PROXY UNKNOWN what ever\r\nGE"), 1, "local"},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80"), 0, ""},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 ::1 ::1 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 ::1 5.6.7.8 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 5.6.7.8 ::1 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP6 1.2.3.4 5.6.7.8 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1234\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80 90\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 1.2.3.4  5.6.7.8 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 -1 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP6 fe80::1%lo ::1 1 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP5 1.2.3.4 5.6.7.8 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY \r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("proxy TCP4 1.2.3.4 5.6.7.8 1234 80\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("GET / HTTP/1.1\r\n"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("PROXY TCP4 0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		      "0000000000"),
		 GR_HTTP_BAD_PROXY, ""},
		{TEXT(V2 "\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\x04\xd2\0\x50GE"), 1, "tcp://1.2.3.4:1234 tcp://5.6.7.8:80"},
		{TEXT(V2 "\x21\x11\0\x10\1\2\3\4\5\6\7\x08\x04\xd2\0\x50\4\0\1xGE"), 1,
		 "tcp://1.2.3.4:1234 tcp://5.6.7.8:80"},
		{TEXT(V2
		      "\x21\x21\0\x24\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2GE"),
		 1, "tcp://[2001:db8::1]:1 tcp://[::1]:2"},
		{TEXT(V2 "\x20\0\0\0GE"), 1, "local"},
		{TEXT(V2 "\x21\0\0\1xGE"), 1, "local"},
		{TEXT(V2 "\x21\x12\0\x0c\1\2\3\4\5\6\7\x08\x04\xd2\0\x50GE"), 1, "local"},
		{TEXT(V2 "\x21\x11\0\x0c\1\2\3"), 0, ""},
		{TEXT(V2 "\x21\x11\0\x0b\1\2\3\4\5\6\7\x08\x04\xd2\0"), GR_HTTP_BAD_PROXY, ""},
		{TEXT(V2 "\x11\x11\0\x0c"), GR_HTTP_BAD_PROXY, ""},
		{TEXT(V2 "\x22\x11\0\x0c"), GR_HTTP_BAD_PROXY, ""},
		{TEXT("\r\n\r\n\0\r\nQUIX"), GR_HTTP_BAD_PROXY, ""},
	};
	struct gr_proxy proxy;
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t want = cases[i].rc == 1 ? (ssize_t)cases[i].len - 2 : cases[i].rc, rc = 0;
		bool same = true;

		for (size_t n = 0; n <= cases[i].len && rc == 0; n++) {
			char *copy = exact(cases[i].text, n);

			rc = gr_proxy_parse(&proxy, copy, n);
			free(copy);
		}
		same = rc == want && (rc <= 0 || strcmp(describe(&proxy), cases[i].found) == 0);
		rc = gr_proxy_parse(&proxy, cases[i].text, cases[i].len);
		same = same && rc == want && (rc <= 0 || strcmp(describe(&proxy), cases[i].found) == 0);
		good = row(same, cases[i].text, cases[i].len) && good;
	}
	check(good, "proxy protocol: versions 1 and 2, byte by byte");
}

static void test_proxy_unix(void)
{
	char text[16 + 216] = V2 "\x21\x31\0\xd8/from", at[GR_ADDR_TEXT];
	struct gr_proxy proxy;

	strcpy(text + 16 + 108, "/to");
	check(gr_proxy_parse(&proxy, text, sizeof(text)) == sizeof(text) && !proxy.local &&
		      gr_addr_format(&proxy.to, GR_SCHEME_UNIX, at) == 8 && strcmp(at, "unix:/to") == 0,
	      "proxy protocol: unix sockets");
}

/* ---- Forwarding ---- */

static void test_forwarded(void)
{
	static const struct {
		const char *list;
		unsigned trusted;
		const char *found; /* NULL: none */
	} cases[] = {
		{"1.2.3.4", 1, "tcp://1.2.3.4:0"},
		{"6.6.6.6, 1.2.3.4", 1, "tcp://1.2.3.4:0"},
		{"6.6.6.6, 1.2.3.4 ,5.6.7.8", 2, "tcp://1.2.3.4:0"},
		{"1.2.3.4:5678", 1, "tcp://1.2.3.4:5678"},
		{"2001:db8::1", 1, "tcp://[2001:db8::1]:0"},
		{"[2001:db8::1]", 1, "tcp://[2001:db8::1]:0"},
		{"[2001:db8::1]:80", 1, "tcp://[2001:db8::1]:80"},
		{"6.6.6.6, \", 1.2.3.4, 5.6.7.8", 2, "tcp://1.2.3.4:0"}, /* a quote hides nothing */
		{"1.2.3.4", 0, NULL},
		{"1.2.3.4", 2, NULL},
		{"1.2.3.4,", 1, NULL},
		{"", 1, NULL},
		{"unknown", 1, NULL},
		{"_hidden", 1, NULL},
		{"1.2.3.4:", 1, NULL},
		{"1.2.3.4:99999", 1, NULL},
		{"1.2.3.4 5.6.7.8", 1, NULL},
		{"[1.2.3.4]", 1, NULL},
		{"[::1", 1, NULL},
		{"[::1]x", 1, NULL},
		{"[::1]:", 1, NULL},
		{"fe80::1%lo", 1, NULL},
		{"example.org", 1, NULL},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].list);
		char *copy = exact(cases[i].list, len), text[GR_ADDR_TEXT] = "";
		struct gr_addr addr;
		bool found = gr_forwarded_for((struct gr_slice){copy, len}, cases[i].trusted, &addr);

		if (found)
			gr_addr_format(&addr, GR_SCHEME_TCP, text);
		good = row(found == (cases[i].found != NULL) && (!found || strcmp(text, cases[i].found) == 0), copy,
			   len) &&
		       good;
		free(copy);
	}
	check(good, "forwarding: X-Forwarded-For");
}

static void test_forwarded_element(void)
{
	struct gr_slice element;

	check(gr_forwarded_element(slice("for=6.6.6.6, for=\"[::1]:80\";proto=https"), 1, &element) &&
		      is_text(element, "for=\"[::1]:80\";proto=https"),
	      "forwarding: Forwarded");
}

int main(void)
{
	test_decode();
	test_encode();
	test_query();
	test_paths();
	test_proxy();
	test_proxy_unix();
	test_forwarded();
	test_forwarded_element();
	return failures > 0;
}
