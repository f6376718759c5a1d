/* SPDX-License-Identifier: MIT */
/* libFuzzer target for the chunked coding; `make fuzz` runs it. Data and result must not depend on splits, decoding in
 * place must agree, and the data, coded again, must come out again. */
#include <stdlib.h>
#include <string.h>

#include "http/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	int rc;
	size_t used, len;
	char data[4096];
};

static void decode(struct result *r, const char *text, size_t len, size_t step)
{
	struct gr_chunked c = {0};
	size_t used = 0, piece = 0;

	memset(r, 0, sizeof(*r));
	while (r->used < len && r->rc == 0) {
		size_t n = len - r->used < step ? len - r->used : step;
		char *copy = malloc(n);

		memcpy(copy, text + r->used, n);
		r->rc = gr_chunked_next(&c, copy, n, &used, &piece);
		if (used > n || piece > used || (used == 0 && r->rc == 0))
			abort();
		memcpy(r->data + r->len, copy + used - piece, piece);
		r->used += used;
		r->len += piece;
		free(copy);
	}
}

static void check_same(const struct result *a, const struct result *b)
{
	if (a->rc != b->rc || a->used != b->used || a->len != b->len || memcmp(a->data, b->data, a->len) != 0)
		abort();
}

/* In place, for pieces of `step` bytes. */
static void decode_in_place(struct result *r, const char *text, size_t len, size_t step)
{
	struct gr_chunked c = {0};

	memset(r, 0, sizeof(*r));
	for (size_t at = 0; at < len && r->rc == 0; at += step) {
		size_t n = len - at < step ? len - at : step, used, got;
		char *copy = malloc(n);

		memcpy(copy, text + at, n);
		r->rc = gr_chunked_decode(&c, copy, n, &used, &got);
		if (used > n || got > used || memcmp(copy + got, text + at + used, n - used) != 0)
			abort();
		memcpy(r->data + r->len, copy, got);
		r->used += used;
		r->len += got;
		free(copy);
	}
}

static void check_again(const struct result *r)
{
	static char text[4096 + GR_CHUNK_HEAD_MAX + 8];
	static struct result again;
	size_t n = 0;

	if (r->len > 0) {
		n = gr_chunk_head(text, r->len);
		memcpy(text + n, r->data, r->len);
		n += r->len;
	}
	strcpy(text + n, r->len > 0 ? "\r\n0\r\n" : "0\r\n");
	n += strlen(text + n);
	decode(&again, text, n, n);
	if (again.rc != 1 || again.used != n || again.len != r->len || memcmp(again.data, r->data, r->len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	static struct result whole, parts;

	if (size < 2 || size > 4096)
		return 0;
	decode(&whole, text, size - 1, size);
	decode(&parts, text, size - 1, 1);
	check_same(&whole, &parts);
	decode(&parts, text, size - 1, data[0] % 32 + 1U);
	check_same(&whole, &parts);
	decode_in_place(&parts, text, size - 1, size);
	check_same(&whole, &parts);
	decode_in_place(&parts, text, size - 1, data[0] % 8 + 1U);
	check_same(&whole, &parts);
	if (whole.rc >= 0)
		check_again(&whole);
	return 0;
}
