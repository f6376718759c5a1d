/* SPDX-License-Identifier: MIT */
/* libFuzzer target for values of fields, dates, targets, the PROXY protocol, base64 and UTF-8; `make fuzz` runs it. What is
 * found lies inside of the input, what is decoded can be encoded again, and paths stay in their root. */
#include <stdlib.h>
#include <string.h>

#include "http/base64.h"
#include "http/condition.h"
#include "http/cookie.h"
#include "http/date.h"
#include "http/field.h"
#include "http/proxy.h"
#include "http/target.h"
#include "http/utf8.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		abort();
}

static void check_inside(struct gr_slice whole, struct gr_slice part)
{
	must(part.p == NULL || (part.p >= whole.p && part.p + part.len <= whole.p + whole.len));
}

static void fuzz_lists(struct gr_slice text)
{
	struct gr_slice rest = text, a, b;
	size_t before = rest.len + 1;

	while (gr_list_next(&rest, &a)) {
		check_inside(text, a);
		must(a.len > 0 && rest.len < before);
		before = rest.len;
	}
	must(rest.len == 0);
	if (gr_media_parse(text, &a, &rest) == 0) {
		char *out = malloc(text.len + 1);

		check_inside(text, a);
		while (gr_param_next(&rest, &a, &b) > 0) {
			check_inside(text, a);
			check_inside(text, b);
			must(a.len > 0 && b.len > 0 && gr_unquote(out, b) <= b.len);
		}
		free(out);
	}
	must(gr_accept_quality(text, "gzip") <= 1000);
	if (gr_credentials_split(text, &a, &b))
		check_inside(text, b);
	if (gr_basic_split(text, &a, &b))
		must(a.len + 1 + b.len == text.len);
}

static void fuzz_cookies(struct gr_slice text)
{
	struct gr_slice rest = text, a, b;
	char buf[256];

	while (gr_cookie_next(&rest, &a, &b)) {
		struct gr_cookie c = {.name = a, .value = b, .max_age = -1};
		ssize_t n = gr_cookie_format(&c, buf, sizeof(buf));
		struct gr_slice again = {buf, (size_t)n}, name, value;

		check_inside(text, a);
		check_inside(text, b);
		must(n <= 0 || (gr_cookie_next(&again, &name, &value) && again.len == 0 && name.len == a.len &&
				value.len == b.len && memcmp(value.p, b.p, b.len) == 0));
	}
}

static void fuzz_conditions(struct gr_slice text)
{
	char date[GR_HTTP_DATE];
	struct gr_range ranges[4];
	struct gr_slice tag = {"\"a\"", 3};
	int64_t time, again;
	int n = gr_range_parse(text, 1000, ranges, 4);

	must(n >= GR_RANGE_NONE && n <= 4);
	for (int i = 0; i < n; i++)
		must(ranges[i].first >= 0 && ranges[i].first <= ranges[i].last && ranges[i].last < 1000);
	must(!gr_etag_match(text, tag, false) || gr_etag_match(text, tag, true));
	must(gr_not_modified(text, text, tag, 1000, 1700000000) == gr_etag_match(text, tag, true));
	if (gr_http_date_parse(text.p, text.len, 1700000000, &time)) {
		gr_http_date_format(time, date);
		must(gr_http_date_parse(date, sizeof(date), 0, &again) && (again == time || time >= 253402300800));
		must(gr_if_range(text, tag, time, 1700000000) && !gr_if_range(text, tag, time + 1, 1700000000));
	}
}

static void check_path(const char *path, size_t len)
{
	const char *end = path + len;

	must(len == 0 || *path != '/');
	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);

		must(n > 0 && !(n == 1 && path[0] == '.') && !(n == 2 && path[0] == '.' && path[1] == '.'));
		must(!memchr(path, '\\', n) && !memchr(path, '\0', n));
		path += n + (slash ? 1 : 0);
	}
}

static void fuzz_target(struct gr_slice text)
{
	char *out = malloc(text.len + 1), *again = malloc(3 * text.len + 1);
	struct gr_slice rest = text, a, b;
	ssize_t n = gr_percent_decode(out, text.p, text.len, GR_DECODE_PLUS | GR_DECODE_NUL);

	if (n >= 0) {
		size_t len = gr_percent_encode(again, out, (size_t)n, GR_ENCODE_FORM);

		must(gr_percent_decode(again, again, len, GR_DECODE_PLUS | GR_DECODE_NUL) == n &&
		     memcmp(again, out, (size_t)n) == 0);
	}
	n = gr_path_resolve(out, text.p, text.len);
	if (n >= 0)
		check_path(out, (size_t)n);
	while (gr_query_next(&rest, &a, &b)) {
		check_inside(text, a);
		check_inside(text, b);
	}
	free(out);
	free(again);
}

/* Byte by byte, each time at another address. */
static void fuzz_proxy(struct gr_slice text)
{
	struct gr_proxy proxy;
	struct gr_slice element;
	ssize_t whole = gr_proxy_parse(&proxy, text.p, text.len), rc = 0;

	for (size_t n = 0; n <= text.len && n < 600 && rc == 0; n++) {
		char *copy = malloc(n + 1);

		memcpy(copy + 1, text.p, n);
		rc = gr_proxy_parse(&proxy, copy + 1, n);
		free(copy);
	}
	must(rc == whole || text.len >= 600);
	gr_forwarded_for(text, 1, &proxy.from);
	gr_forwarded_node(text, &proxy.from);
	if (gr_forwarded_element(text, 2, &element))
		check_inside(text, element);
}

/* Any bytes become text and bytes again; text that is taken holds no more than it says. */
static void fuzz_base64(struct gr_slice text)
{
	size_t len = gr_base64_len(text.len);
	char *out = malloc(len + 1), *again = malloc(len + 1);
	ssize_t n = gr_base64_decode(out, text.p, text.len);

	must(n <= (ssize_t)(text.len / 4 * 3));
	if (n >= 0)
		must(gr_base64_len((size_t)n) == text.len);
	must(!gr_websocket_key_valid(text) || n == 16);
	gr_base64_encode(out, text.p, text.len);
	must(gr_base64_decode(again, out, len) == (ssize_t)text.len && memcmp(again, text.p, text.len) == 0);
	must(gr_text_number(text.p, text.len) >= -1);
	free(out);
	free(again);
}

static void fuzz_utf8(struct gr_slice text, size_t at)
{
	struct gr_utf8 a = {0}, b = {0};
	bool whole = gr_utf8_add(&a, text.p, text.len), parts;

	at = at < text.len ? at : text.len;
	parts = gr_utf8_add(&b, text.p, at) && gr_utf8_add(&b, text.p + at, text.len - at);
	must(whole == parts && (!whole || gr_utf8_complete(&a) == gr_utf8_complete(&b)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gr_slice text = {(const char *)data + 1, size - 1};

	if (size < 1)
		return 0;
	fuzz_lists(text);
	fuzz_cookies(text);
	fuzz_conditions(text);
	fuzz_target(text);
	fuzz_proxy(text);
	fuzz_base64(text);
	fuzz_utf8(text, data[0]);
	return 0;
}
