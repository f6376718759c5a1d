/* SPDX-License-Identifier: MIT */
/* libFuzzer target for heads to be sent; `make fuzz` runs it. Whatever the fields are: an error, or exactly one head
 * that the parser reads as it was meant. */
#include <stdlib.h>
#include <string.h>

#include "http/write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAIRS = 4, PARSED = PAIRS + 5 };

static const char *const names[] = {"Content-Length", "connection", "Transfer-Encoding", "date", "host", "X"};

/* Cuts the next line off the input. */
static struct gr_slice next_piece(struct gr_slice *rest)
{
	const char *end = memchr(rest->p, '|', rest->len);
	struct gr_slice piece = {rest->p, end ? (size_t)(end - rest->p) : rest->len};
	size_t used = piece.len + (end ? 1 : 0);

	rest->p += used;
	rest->len -= used;
	return piece;
}

static size_t make_fields(struct gr_slice *rest, struct gr_http_pair *pairs)
{
	size_t n = 0;

	for (; n < PAIRS && rest->len > 0; n++) {
		struct gr_slice name = next_piece(rest);

		if (name.len == 1 && (unsigned)(name.p[0] - 'a') < 6)
			name = (struct gr_slice){names[name.p[0] - 'a'], strlen(names[name.p[0] - 'a'])};
		pairs[n] = (struct gr_http_pair){name, next_piece(rest)};
	}
	return n;
}

static void fuzz_response(const uint8_t *data, struct gr_slice rest)
{
	static const int statuses[] = {200, 204, 304, 100, 101, 404, 206, 205};
	static struct gr_http_opening opening;
	struct gr_http_pair pairs[PAIRS];
	struct gr_http_field fields[PARSED];
	struct gr_http_response r = {.status = statuses[data[1] & 7],
				     .fields = pairs,
				     .type = {data[2] & 16 ? "text/plain" : NULL, data[2] & 16 ? 10 : 0},
				     .date = "Sun, 06 Nov 1994 08:49:37 GMT",
				     .opening = &opening,
				     .method = data[2] % 10,
				     .minor = data[3] & 1,
				     .keep_alive = data[3] & 2,
				     .length = (data[3] >> 2) - 1};
	struct gr_http_response again;
	struct gr_http_head h;
	size_t size;
	ssize_t n;
	char *buf;

	r.nfields = make_fields(&rest, pairs);
	size = gr_http_response_bound(&r);
	again = r;
	again.opening = NULL;
	buf = malloc(2 * size);
	n = gr_http_write_response(&r, buf, size);
	if (gr_http_write_response(&again, buf + size, size) != n || (n > 0 && memcmp(buf, buf + size, (size_t)n) != 0))
		abort();
	gr_http_head_init(&h, fields, &(struct gr_http_limits){1000, 10000, PARSED});
	if (n > 0 && (gr_http_parse_response(&h, buf, (size_t)n, r.method) != n || h.body != r.body ||
		      (h.body == GR_BODY_LENGTH && h.content_length != r.length) || h.status != r.status ||
		      (h.keep_alive && !r.keep_alive && r.status >= 200)))
		abort();
	free(buf);
}

static void fuzz_request(const uint8_t *data, struct gr_slice rest)
{
	struct gr_http_pair pairs[PAIRS];
	struct gr_http_field fields[PARSED];
	struct gr_http_request r = {.method = next_piece(&rest),
				    .target = next_piece(&rest),
				    .host = next_piece(&rest),
				    .fields = pairs,
				    .keep_alive = data[3] & 2,
				    .length = (data[3] >> 2) - 1};
	struct gr_http_head h;
	size_t size;
	ssize_t n;
	char *buf;

	r.nfields = make_fields(&rest, pairs);
	size = gr_http_request_bound(&r);
	buf = malloc(size);
	n = gr_http_write_request(&r, buf, size);
	gr_http_head_init(&h, fields, &(struct gr_http_limits){10000, 10000, PARSED});
	if (n > 0) {
		ssize_t rc = gr_http_parse_request(&h, buf, (size_t)n);

		/* Who writes a target in a form that its method does not have, or a Host with junk, is told by the server. */
		if (rc != n && rc != GR_HTTP_BAD_TARGET && rc != GR_HTTP_BAD_HOST && rc != GR_HTTP_BAD_METHOD)
			abort();
		if (rc > 0 && (h.body != r.body || h.verb.len != r.method.len || (h.keep_alive && !r.keep_alive)))
			abort();
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	if (data[0] & 1)
		fuzz_response(data, (struct gr_slice){(const char *)data + 4, size - 4});
	else
		fuzz_request(data, (struct gr_slice){(const char *)data + 4, size - 4});
	return 0;
}
