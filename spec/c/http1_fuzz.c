/* SPDX-License-Identifier: MIT */
/* libFuzzer target for heads of requests and responses and for trailers; `make fuzz` runs it. The result must not
 * depend on splits or on an earlier head that is known, and what was found must, written down again, be found again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http1.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUEST, TRAILERS, RESPONSE, KINDS = RESPONSE + GR_METHOD_CONNECT + 1, FIELDS = 8 };

static const struct gr_http_limits limits = {200, 400, FIELDS};

/* A head with the memory of its fields. */
struct parsed {
	struct gr_http_head h;
	struct gr_http_field fields[FIELDS];
};

static ssize_t parse(struct gr_http_head *h, int kind, const char *buf, size_t len)
{
	if (kind == REQUEST)
		return gr_http_parse_request(h, buf, len);
	if (kind == TRAILERS)
		return gr_http_parse_trailers(h, buf, len);
	return gr_http_parse_response(h, buf, len, (enum gr_http_method)(kind - RESPONSE));
}

/* An earlier head and its bytes. */
struct known {
	const struct parsed *parsed;
	const char *text;
};

static ssize_t parse_knowing(struct parsed *p, struct known known, int kind, const char *text, size_t len, size_t first,
			     size_t step)
{
	ssize_t rc = 0;

	memset(p, 0, sizeof(*p));
	gr_http_head_init(&p->h, p->fields, &limits);
	gr_http_head_knows(&p->h, known.parsed ? &known.parsed->h : NULL, known.text);
	for (size_t n = first < len ? first : len; rc == 0; n = n + step < len ? n + step : len) {
		char *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, text, n);
		rc = parse(&p->h, kind, copy, n);
		free(copy);
		if (n == len)
			break;
	}
	return rc;
}

static ssize_t parse_steps(struct parsed *p, int kind, const char *text, size_t len, size_t first, size_t step)
{
	return parse_knowing(p, (struct known){NULL, NULL}, kind, text, len, first, step);
}

static bool same_span(struct gr_http_span a, struct gr_http_span b)
{
	return a.off == b.off && a.len == b.len;
}

static void check_same(const struct parsed *a, const struct parsed *b)
{
	const struct gr_http_head *x = &a->h, *y = &b->h;

	if (x->status != y->status || x->minor != y->minor || x->method != y->method || x->form != y->form ||
	    x->body != y->body || x->keep_alive != y->keep_alive || x->want_continue != y->want_continue ||
	    x->upgrade != y->upgrade || x->https != y->https || x->content_length != y->content_length ||
	    x->nfields != y->nfields)
		abort();
	if (!same_span(x->protocol, y->protocol) || x->line != y->line)
		abort();
	if (!same_span(x->verb, y->verb) || !same_span(x->target, y->target) || !same_span(x->path, y->path) ||
	    !same_span(x->query, y->query) || !same_span(x->host, y->host) || !same_span(x->reason, y->reason))
		abort();
	if (memcmp(a->fields, b->fields, x->nfields * sizeof(a->fields[0])) != 0)
		abort();
}

/* Writes the head in its plainest form; returns the length. */
static size_t write_head(const struct parsed *p, int kind, const char *text, char *out, size_t size)
{
	const struct gr_http_head *h = &p->h;
	size_t n = 0;

	if (kind == REQUEST)
		n = (size_t)snprintf(out, size, "%.*s %.*s HTTP/1.%d\r\n", (int)h->verb.len, text + h->verb.off,
				     (int)h->target.len, text + h->target.off, h->minor);
	else if (kind != TRAILERS)
		n = (size_t)snprintf(out, size, "HTTP/1.%d %d %.*s\r\n", h->minor, h->status, (int)h->reason.len,
				     text + h->reason.off);
	for (uint32_t i = 0; i < h->nfields; i++) {
		struct gr_slice name = gr_http_name(h, text, i), value = gr_http_value(h, text, i);

		n += (size_t)snprintf(out + n, size - n, "%.*s:%.*s\r\n", (int)name.len, name.p, (int)value.len,
				      value.p);
	}
	return n + (size_t)snprintf(out + n, size - n, "\r\n");
}

static bool same_text(const char *a, struct gr_http_span x, const char *b, struct gr_http_span y)
{
	return x.len == y.len && memcmp(a + x.off, b + y.off, x.len) == 0;
}

static bool same_slice(struct gr_slice a, struct gr_slice b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static void check_again(const struct parsed *p, int kind, const char *text)
{
	char again[1024];
	size_t len = write_head(p, kind, text, again, sizeof(again));
	struct parsed q;

	if (parse_steps(&q, kind, again, len, len, 1) != (ssize_t)len || q.h.nfields != p->h.nfields)
		abort();
	if (q.h.body != p->h.body || q.h.keep_alive != p->h.keep_alive || q.h.content_length != p->h.content_length ||
	    q.h.method != p->h.method || q.h.form != p->h.form || q.h.upgrade != p->h.upgrade)
		abort();
	if (!same_text(text, p->h.target, again, q.h.target) || !same_text(text, p->h.host, again, q.h.host))
		abort();
	for (uint32_t i = 0; i < q.h.nfields; i++)
		if (!same_slice(gr_http_name(&p->h, text, i), gr_http_name(&q.h, again, i)) ||
		    !same_slice(gr_http_value(&p->h, text, i), gr_http_value(&q.h, again, i)))
			abort();
}

/* A text is parsed alike with and without the known head. */
static void check_alike(struct known known, int kind, const char *text, size_t len, size_t step)
{
	struct parsed with, without;
	ssize_t rc = parse_steps(&without, kind, text, len, len, 1);

	if (parse_knowing(&with, known, kind, text, len, len, 1) != rc)
		abort();
	if (rc > 0)
		check_same(&with, &without);
	if (parse_knowing(&with, known, kind, text, len, 0, step) != rc)
		abort();
	if (rc > 0)
		check_same(&with, &without);
}

/* What resembles a head that is known: itself, another byte in one place, another first line, a field more. */
static void check_known(const struct parsed *p, int kind, const char *text, size_t len, uint8_t choice)
{
	static const char *const lines[] = {"GET /other HTTP/1.1\r\n", "POST http://a/ HTTP/1.1\r\n",
					    "GET / HTTP/1.0\r\n"};
	static const struct gr_slice field = {"a:b\r\n", 5};
	struct known known = {p, text};
	size_t block = p->h.block, n = strlen(lines[choice % 3]), at = choice % len;
	char *other = malloc(len + n);

	check_alike(known, kind, text, len, 1);
	memcpy(other, text, len);
	other[at] = (char)(other[at] ^ (1 << choice % 7));
	check_alike(known, kind, other, len, choice / 8 + 1);
	memcpy(other, lines[choice % 3], n);
	memcpy(other + n, text + block, len - block);
	check_alike(known, kind, other, len - block + n, choice / 8 + 1);
	memcpy(other, text, len);
	memcpy(other + block, field.p, field.len);
	memcpy(other + block + field.len, text + block, len - block);
	check_alike(known, kind, other, len + field.len, choice / 8 + 1);
	free(other);
}

static void check_upgrade(const struct parsed *p, const char *text, size_t len)
{
	struct gr_slice key;

	if (gr_websocket_request(&p->h, text, &key) &&
	    (key.p < text || key.p + key.len > text + len || !gr_websocket_key_valid(key)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 2;
	struct parsed whole, parts;
	size_t len = size - 2;
	ssize_t rc;
	int kind;

	if (size < 2)
		return 0;
	kind = data[0] % KINDS;
	rc = parse_steps(&whole, kind, text, len, len, 1);
	if (rc > (ssize_t)len || (rc < 0 && gr_http_error_status((int)rc) < 400))
		abort();
	if (parse_steps(&parts, kind, text, len, 0, 1) != rc)
		abort();
	if (rc > 0)
		check_same(&whole, &parts);
	if (parse_steps(&parts, kind, text, len, data[1], data[1] / 4 + 1) != rc)
		abort();
	if (rc > 0) {
		check_same(&whole, &parts);
		check_again(&whole, kind, text);
		if (kind == REQUEST) {
			check_upgrade(&whole, text, len);
			check_known(&whole, kind, text, (size_t)len, data[1]);
		}
	}
	return 0;
}
