/* SPDX-License-Identifier: MIT */
/* Texts and values of fields: characters, lists, dates, ranges, conditions, cookies. */
#define _GNU_SOURCE
#include <time.h>

#include "http/condition.h"
#include "http/cookie.h"
#include "http/date.h"
#include "http/field.h"
#include "http_check.h"

/* ---- Characters ---- */

/* The classes, from the words of the RFCs. */
static int class_of(int c)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
	bool visible = c > 0x20 && c != 0x7f;
	int class = 0;

	class |= letter || digit || (c && strchr("!#$%&'*+-.^_`|~", c)) ? GR_CHAR_TOKEN : 0;
	class |= c == '\t' || c == ' ' || visible ? GR_CHAR_VALUE : 0;
	class |= visible && c != '#' ? GR_CHAR_TARGET : 0;
	class |= visible && c != '#' && c != '?' ? GR_CHAR_PATH : 0;
	class |= letter || digit || (c && strchr("-._~", c)) ? GR_CHAR_HOST : 0;
	class |= digit ? GR_CHAR_DIGIT : 0;
	class |= digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ? GR_CHAR_HEX : 0;
	class |= visible && c < 0x7f && !strchr("\",;\\", c) ? GR_CHAR_COOKIE : 0;
	return class;
}

static void test_classes(void)
{
	bool classes = true, digits = true;

	for (int c = 0; c < 256; c++) {
		int value = gr_hex_digit((char)c);

		classes = classes && gr_http_class[c] == class_of(c);
		digits = digits && (value >= 0) == gr_char_is((char)c, GR_CHAR_HEX);
		digits = digits && (value < 0 || strtol((char[]){(char)c, 0}, NULL, 16) == value);
	}
	check(classes, "characters: the table is the RFCs' grammar");
	check(digits, "characters: hexadecimal digits");
}

/* Every byte at every place of texts of up to 20 bytes. */
static void test_value_end(void)
{
	bool good = true;

	for (size_t len = 0; len <= 20; len++) {
		for (size_t at = 0; at < len; at++) {
			char *text = exact("\xff aZ~\t\x80                         ", len);

			for (int c = 0; c < 256; c++) {
				size_t expected = gr_char_is((char)c, GR_CHAR_VALUE) ? len : at;

				text[at] = (char)c;
				good = good && gr_text_value_end(text, text + len) == text + expected;
			}
			free(text);
		}
	}
	check(good, "text: the end of a value");
}

static void test_text(void)
{
	check(gr_slice_is(slice("CoNtent-Length"), "content-length") && !gr_slice_is(slice("a"), "ab") &&
		      !gr_slice_is(slice("@"), "`") && !gr_slice_is(slice("\xc4"), "\xe4"),
	      "text: without case");
	check(is_text(gr_slice_trim(" \ta b\t ", 7), "a b") && gr_slice_trim(" \t", 2).len == 0, "text: trim");
	check(gr_text_number("0", 1) == 0 && gr_text_number("0042", 4) == 42 &&
		      gr_text_number(TEXT("9223372036854775807")) == INT64_MAX,
	      "text: numbers");
	check(gr_text_number("", 0) < 0 && gr_text_number("1a", 2) < 0 && gr_text_number("-1", 2) < 0 &&
		      gr_text_number(" 1", 2) < 0 && gr_text_number(TEXT("9223372036854775808")) == -1 &&
		      gr_text_number(TEXT("99999999999999999999")) < 0,
	      "text: what is no number");
}

/* ---- Lists and parameters ---- */

/* The pieces with "|" between them. */
static const char *join_list(const char *text)
{
	static char out[200];
	char *copy = exact(text, strlen(text));
	struct gr_slice rest = {copy, strlen(text)}, item;
	size_t n = 0;

	out[0] = '\0';
	while (gr_list_next(&rest, &item))
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%.*s", n ? "|" : "", (int)item.len, item.p);
	free(copy);
	return out;
}

static const char *join_params(const char *text)
{
	static char out[200], value[100];
	char *copy = exact(text, strlen(text));
	struct gr_slice rest = {copy, strlen(text)}, name, raw;
	size_t n = 0;
	int rc;

	out[0] = '\0';
	while ((rc = gr_param_next(&rest, &name, &raw)) > 0) {
		size_t len = gr_unquote(value, raw);

		n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s=%.*s|", (int)name.len, name.p, (int)len, value);
	}
	if (rc < 0)
		snprintf(out + n, sizeof(out) - n, "bad");
	free(copy);
	return out;
}

struct pair {
	const char *text, *result;
};

static void check_pairs(const struct pair *cases, size_t count, const char *(*join)(const char *), const char *name)
{
	bool good = true;

	for (size_t i = 0; i < count; i++)
		good = row(strcmp(join(cases[i].text), cases[i].result) == 0, cases[i].text, strlen(cases[i].text)) &&
		       good;
	check(good, name);
}

static void test_lists(void)
{
	static const struct pair lists[] = {
		{"", ""},
		{"a", "a"},
		{"a,b", "a|b"},
		{" a ,\tb c , ", "a|b c"},
		{",,a,,", "a"},
		{"a=\"b,c\", d", "a=\"b,c\"|d"},
		{"\"a\\\",b\",c", "\"a\\\",b\"|c"},
		{"\"a,b", "\"a,b"},
		{"\"a\\", "\"a\\"},
	};
	static const struct pair params[] = {
		{"", ""},
		{";", ""},
		{"; a=b", "a=b|"},
		{";a=b;;c=\"d;\\\"e\" ; ", "a=b|c=d;\"e|"},
		{";a=\"\"", "a=|"},
		{";a=\"\\\\\"", "a=\\|"},
		{" ;\ta=b", "a=b|"},
		{";a", "bad"},
		{";a=", "bad"},
		{";=b", "bad"},
		{"a=b", "bad"},
		{";a = b", "bad"},
		{";a=\"b", "bad"},
		{";a=\"b\\", "bad"},
		{";a=b c", "a=b|bad"},
		{";a=\"b\"c=d", "a=b|bad"},
	};

	check_pairs(lists, sizeof(lists) / sizeof(lists[0]), join_list, "fields: lists");
	check_pairs(params, sizeof(params) / sizeof(params[0]), join_params, "fields: parameters");
}

static void test_media(void)
{
	static const char *const bad[] = {"",           "/",          "text/", "/html", "text/html charset=x",
					  "te xt/html", "text/html,x"};
	struct gr_slice type, params, value;
	bool good = true;

	check(gr_media_parse(slice("text/html ; Charset=\"utf-8\""), &type, &params) == 0 &&
		      is_text(type, "text/html") && gr_param_find(params, "charset", &value) == 1 &&
		      is_text(value, "\"utf-8\"") && gr_param_find(params, "boundary", &value) == 0,
	      "fields: media type");
	check(gr_media_parse(slice("form-data; name=a; name=b"), &type, &params) == 0 && is_text(type, "form-data") &&
		      gr_param_find(params, "NAME", &value) == 1 && is_text(value, "a"),
	      "fields: disposition");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		good = good && gr_media_parse(slice(bad[i]), &type, &params) == GR_HTTP_BAD_VALUE;
	check(good, "fields: what is no media type");
}

static void test_accept(void)
{
	static const struct {
		const char *list;
		int q;
	} cases[] = {
		{"", -1},
		{"gzip", 1000},
		{"GZip;q=0.5, br", 500},
		{"br, *", 1000},
		{"*;q=0, gzip;q=0.001", 1},
		{"*;q=0", 0},
		{"deflate, br", -1},
		{"gzip;q=0", 0},
		{"gzip;q=1.000", 1000},
		{"gzip;q=1.001", -1},
		{"gzip;q=2", -1},
		{"gzip;q=.5", -1},
		{"gzip;q=0.1234", -1},
		{"gzip;q=", -1},
		{"gzip;q=0,5", 0},
		{"gzip ; a=b; Q=0.25", 250},
		{"gzip;q=x, *;q=0.1", 100},
		{"xgzip, gzipx", -1},
		{"gzip;q=0.", 0},
		{"gzip;q=1x", -1},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		good = row(gr_accept_quality(slice(cases[i].list), "gzip") == cases[i].q, cases[i].list,
			   strlen(cases[i].list)) &&
		       good;
	check(good, "fields: qualities");
}

static void test_credentials(void)
{
	struct gr_slice a, b;

	check(gr_credentials_split(slice("Basic  dXNlcg== "), &a, &b) && gr_slice_is(a, "basic") &&
		      is_text(b, "dXNlcg=="),
	      "fields: credentials");
	check(gr_credentials_split(slice("Negotiate"), &a, &b) && b.len == 0 &&
		      !gr_credentials_split(slice(""), &a, &b) && !gr_credentials_split(slice("a=b"), &a, &b),
	      "fields: a scheme alone, none");
	check(gr_basic_split(slice("user:pa:ss"), &a, &b) && is_text(a, "user") && is_text(b, "pa:ss") &&
		      !gr_basic_split(slice("user"), &a, &b),
	      "fields: user and password");
}

/* ---- Dates ---- */

static bool formats_as_libc(int64_t t)
{
	char ours[GR_HTTP_DATE + 1] = "", theirs[64];
	time_t time = t;
	struct tm tm;
	int64_t back;

	gr_http_date_format(t, ours);
	gmtime_r(&time, &tm);
	strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	/* strftime does not pad years. */
	return (t < -30610224000 || strcmp(ours, theirs) == 0) && gr_http_date_parse(ours, GR_HTTP_DATE, 0, &back) &&
	       back == t;
}

static void test_date_format(void)
{
	char text[GR_HTTP_DATE + 1] = "";
	bool good = true;

	for (int64_t t = -62135596800; t < 253402300800; t += 86400 * 13 + 3607)
		good = good && formats_as_libc(t);
	for (int64_t t = 951700000; t < 951900000; t += 601) /* 29 February 2000 */
		good = good && formats_as_libc(t);
	check(good && formats_as_libc(253402300799) && formats_as_libc(0) && formats_as_libc(-1),
	      "dates: as the C library writes them");
	gr_http_date_format(INT64_MIN, text);
	check(strcmp(text, "Mon, 01 Jan 0001 00:00:00 GMT") == 0, "dates: the first");
	gr_http_date_format(INT64_MAX, text);
	check(strcmp(text, "Fri, 31 Dec 9999 23:59:59 GMT") == 0, "dates: the last");
}

static void test_date_parse(void)
{
	static const struct {
		const char *text;
		int64_t time; /* -1: none */
	} cases[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"Sun Nov  6 08:49:37 1994", 784111777},
		{"Sun, 06-Nov-1994 08:49:37 GMT", 784111777},
		{"Wed Nov 16 08:49:37 1994", 784975777},
		{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
		{"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
		{"Friday, 01-Jan-71 00:00:00 GMT", 31536000}, /* 51 years ahead is the past */
		{"Friday, 01-Jan-70 00:00:00 GMT", 3155760000},
		{"Sun, 06 Nov 1994 08:49:37", -1},
		{"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
		{"Sun, 06 Nov 1994 08:49:37 UTC", -1},
		{"Sun, 6 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nov 94 08:49:37 GMT", -1},
		{"Xun, 06 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 31 Nov 1994 08:49:37 GMT", -1},
		{"Thu, 29 Feb 1900 00:00:00 GMT", -1},
		{"Sun, 00 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 24:00:00 GMT", -1},
		{"Sun, 06 Nov 1994 08:60:00 GMT", -1},
		{"Sun, 06 Nov 1994 08:49:61 GMT", -1},
		{"Sat, 01 Jan 0000 00:00:00 GMT", -1},
		{"", -1},
		{"784111777", -1},
	};
	const int64_t now = 1577836800; /* 2020 */
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].text);
		char *copy = exact(cases[i].text, len);
		int64_t t = -1;
		bool parsed = gr_http_date_parse(copy, len, now, &t);

		good = row(parsed == (cases[i].time >= 0) && t == cases[i].time, copy, len) && good;
		for (size_t n = 0; n < len && parsed; n++) {
			char *less = exact(copy, n);

			good = good && !gr_http_date_parse(less, n, now, &t);
			free(less);
		}
		free(copy);
	}
	check(good, "dates: three formats");
}

/* ---- Ranges and conditions ---- */

static void test_ranges(void)
{
	static const struct {
		const char *text;
		int64_t size;
		int count;
		struct gr_range ranges[3];
	} cases[] = {
		{"bytes=0-4", 10, 1, {{0, 4}}},
		{"bytes=5-", 10, 1, {{5, 9}}},
		{"bytes=-3", 10, 1, {{7, 9}}},
		{"bytes=-30", 10, 1, {{0, 9}}},
		{"bytes=9-9", 10, 1, {{9, 9}}},
		{"bytes=3-100", 10, 1, {{3, 9}}},
		{"Bytes=0-0, 2-3 ,-1", 10, 3, {{0, 0}, {2, 3}, {9, 9}}},
		{"bytes=10-, 0-0", 10, 1, {{0, 0}}},
		{"bytes=0-9223372036854775807", 10, 1, {{0, 9}}},
		{"bytes=10-", 10, GR_RANGE_NONE, {{0}}},
		{"bytes=10-20", 10, GR_RANGE_NONE, {{0}}},
		{"bytes=-0", 10, GR_RANGE_NONE, {{0}}},
		{"bytes=0-", 0, GR_RANGE_NONE, {{0}}},
		{"bytes=-5", 0, GR_RANGE_NONE, {{0}}},
		{"bytes=4-3", 10, 0, {{0}}},
		{"bytes=0-1,4-3", 10, 0, {{0}}},
		{"bytes=0-0,1-1,2-2,3-3", 10, 0, {{0}}}, /* more than the caller takes */
		{"bytes=", 10, 0, {{0}}},
		{"bytes=-", 10, 0, {{0}}},
		{"bytes=a-b", 10, 0, {{0}}},
		{"bytes=1", 10, 0, {{0}}},
		{"bytes=1--2", 10, 0, {{0}}},
		{"bytes=+1-2", 10, 0, {{0}}},
		{"bytes=1 - 2", 10, 0, {{0}}},
		{"bytes=0-99999999999999999999", 10, 0, {{0}}},
		{"bytes 0-4", 10, 0, {{0}}},
		{"lines=0-4", 10, 0, {{0}}},
		{"", 10, 0, {{0}}},
	};
	struct gr_range found[3];
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int n = gr_range_parse(slice(cases[i].text), cases[i].size, found, 3);
		bool same = n == cases[i].count;

		for (int j = 0; j < n && same; j++)
			same = found[j].first == cases[i].ranges[j].first && found[j].last == cases[i].ranges[j].last;
		good = row(same, cases[i].text, strlen(cases[i].text)) && good;
	}
	check(good, "ranges");
}

static void test_etags(void)
{
	static const struct {
		const char *list, *tag;
		bool weak, strong; /* matches, compared so */
	} cases[] = {
		{"\"a\"", "\"a\"", true, true},
		{"W/\"a\"", "\"a\"", true, false},
		{"\"a\"", "W/\"a\"", true, false},
		{"W/\"a\"", "W/\"a\"", true, false},
		{"\"b\", \"a\"", "\"a\"", true, true},
		{"\"b\",W/\"c\" ,\"a\"", "\"a\"", true, true},
		{"*", "\"a\"", true, true},
		{"*", NULL, true, true},
		{"\"a\"", NULL, false, false},
		{"\"a", "\"a\"", false, false},
		{"a", "\"a\"", false, false},
		{"\"A\"", "\"a\"", false, false},
		{"\"a,b\"", "\"a\"", false, false},
		{"\"a,b\"", "\"a,b\"", true, true},
		{"\"\"", "\"\"", true, true},
		{"w/\"a\"", "\"a\"", false, false},
		{"\"\\\", \"a\"", "\"a\"", true, true},
		{"", "\"a\"", false, false},
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		good = row(gr_etag_match(slice(cases[i].list), slice(cases[i].tag), true) == cases[i].weak &&
				   gr_etag_match(slice(cases[i].list), slice(cases[i].tag), false) == cases[i].strong,
			   cases[i].list, strlen(cases[i].list)) &&
		       good;
	check(good, "conditions: entity tags");
}

static void test_conditions(void)
{
	static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";
	const int64_t then = 784111777;
	struct gr_slice none = {NULL, 0}, tag = slice("\"a\"");

	check(gr_not_modified(none, slice(date), tag, then, 0) &&
		      gr_not_modified(none, slice(date), tag, then - 1, 0) &&
		      !gr_not_modified(none, slice(date), tag, then + 1, 0) &&
		      !gr_not_modified(none, none, tag, then, 0) && !gr_not_modified(none, slice("soon"), tag, then, 0),
	      "conditions: If-Modified-Since");
	check(gr_not_modified(slice("W/\"a\""), slice("soon"), tag, then, 0) &&
		      !gr_not_modified(slice("\"b\""), slice(date), tag, then, 0),
	      "conditions: If-None-Match wins");
	check(gr_precondition_failed(none, slice(date), tag, then + 1, 0) &&
		      !gr_precondition_failed(none, slice(date), tag, then, 0) &&
		      !gr_precondition_failed(none, slice("soon"), tag, then, 0) &&
		      !gr_precondition_failed(none, none, tag, then, 0),
	      "conditions: If-Unmodified-Since");
	check(gr_precondition_failed(slice("\"b\""), none, tag, then, 0) &&
		      gr_precondition_failed(slice("W/\"a\""), none, tag, then, 0) &&
		      !gr_precondition_failed(slice("\"b\", \"a\""), slice(date), tag, then + 1, 0) &&
		      !gr_precondition_failed(slice("*"), none, tag, then, 0),
	      "conditions: If-Match wins");
	check(gr_if_range(slice("\"a\""), tag, then, 0) && !gr_if_range(slice("W/\"a\""), slice("W/\"a\""), then, 0) &&
		      !gr_if_range(slice("\"b\""), tag, then, 0) && gr_if_range(slice(date), tag, then, 0) &&
		      !gr_if_range(slice(date), tag, then - 1, 0) && !gr_if_range(slice(""), tag, then, 0),
	      "conditions: If-Range");
}

/* ---- Cookies ---- */

static const char *join_cookies(const char *text)
{
	static char out[200];
	char *copy = exact(text, strlen(text));
	struct gr_slice rest = {copy, strlen(text)}, name, value;
	size_t n = 0;

	out[0] = '\0';
	while (gr_cookie_next(&rest, &name, &value))
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s=%.*s|", (int)name.len, name.p, (int)value.len,
				      value.p);
	free(copy);
	return out;
}

static void test_cookies(void)
{
	static const struct pair cases[] = {
		{"", ""},
		{"a=b", "a=b|"},
		{"a=b; c=d", "a=b|c=d|"},
		{"a=b;c=d;", "a=b|c=d|"},
		{" a = b ;; c=", "a=b|c=|"},
		{"a=b=c; d=\"e f\"", "a=b=c|d=e f|"},
		{"a=\"", "a=\"|"},
		{"flag; a=b", "=flag|a=b|"},
		{"=x", "=x|"},
		{"=;a=1", "a=1|"},
		{"s=1; Path=/; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure",
		 "s=1|Path=/|Expires=Sun, 06 Nov 1994 08:49:37 GMT|=Secure|"},
	};

	check_pairs(cases, sizeof(cases) / sizeof(cases[0]), join_cookies, "cookies: parse");
}

static bool formats(struct gr_cookie c, const char *expected)
{
	char text[200];
	ssize_t n = gr_cookie_format(&c, text, sizeof(text));
	bool fits = n > 0 && is_text((struct gr_slice){text, (size_t)n}, expected);

	for (size_t size = 0; size < strlen(expected); size++) {
		char *less = malloc(size > 0 ? size : 1);

		fits = fits && gr_cookie_format(&c, less, size) == GR_HTTP_NO_SPACE;
		free(less);
	}
	return fits;
}

static ssize_t format_cookie(const char *name, const char *value, const char *domain, const char *path)
{
	struct gr_cookie c = {.name = slice(name),
			      .value = slice(value),
			      .domain = slice(domain),
			      .path = slice(path),
			      .max_age = -1};
	char text[200];

	return gr_cookie_format(&c, text, sizeof(text));
}

static void test_set_cookie(void)
{
	struct gr_cookie plain = {.name = slice("a"), .value = slice(""), .max_age = -1};
	struct gr_cookie full = {.name = slice("a"),
				 .value = slice("b=c"),
				 .domain = slice("x.org"),
				 .path = slice("/p"),
				 .max_age = 0,
				 .secure = true,
				 .http_only = true,
				 .same_site = GR_SAME_SITE_NONE};
	char text[200];

	check(formats(plain, "a="), "cookies: format the least");
	check(formats(full, "a=b=c; Domain=x.org; Path=/p; Max-Age=0; Secure; HttpOnly; SameSite=None"),
	      "cookies: format everything");
	check(format_cookie("", "b", "", "") == GR_HTTP_BAD_NAME &&
		      format_cookie("a b", "b", "", "") == GR_HTTP_BAD_NAME &&
		      format_cookie("a=", "b", "", "") == GR_HTTP_BAD_NAME,
	      "cookies: bad names");
	check(format_cookie("a", "b c", "", "") == GR_HTTP_BAD_VALUE && format_cookie("a", "b;c", "", "") < 0 &&
		      format_cookie("a", "b\r\nX: y", "", "") < 0 && format_cookie("a", "\"", "", "") < 0 &&
		      format_cookie("a", "b", "x;y", "") < 0 && format_cookie("a", "b", "", "/\r\n") < 0 &&
		      format_cookie("a", "b", "", "/;Secure") < 0,
	      "cookies: bad values");
	full.secure = false;
	check(gr_cookie_format(&full, text, sizeof(text)) == GR_HTTP_BAD_VALUE,
	      "cookies: SameSite=None without Secure");
}

int main(void)
{
	test_classes();
	test_value_end();
	test_text();
	test_lists();
	test_media();
	test_accept();
	test_credentials();
	test_date_format();
	test_date_parse();
	test_ranges();
	test_etags();
	test_conditions();
	test_cookies();
	test_set_cookie();
	return failures > 0;
}
