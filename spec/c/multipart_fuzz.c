/* SPDX-License-Identifier: MIT */
/* libFuzzer target for multipart bodies; `make fuzz` runs it. Parts and data must not depend on splits. */
#include <stdlib.h>
#include <string.h>

#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 4, PARTS = 5, SIZE = 4096 };

static const struct gr_http_limits limits = {200, 200, FIELDS};

/* What was reported: one letter an event, the pieces behind it, data joined. */
struct result {
	int rc;
	size_t len;
	char text[3 * SIZE];
	char last;
};

static void record(struct result *r, char event, struct gr_slice piece)
{
	if (event != 'd' || r->last != 'd')
		r->text[r->len++] = event;
	r->last = event;
	if (r->len + piece.len > sizeof(r->text))
		abort();
	memcpy(r->text + r->len, piece.p, piece.len);
	r->len += piece.len;
}

static bool is_within(struct gr_slice piece, struct gr_slice all)
{
	return piece.p >= all.p && piece.p + piece.len <= all.p + all.len;
}

static void check_names(const struct gr_multipart *m, struct gr_slice block)
{
	struct gr_slice name, filename;

	for (uint32_t i = 0; i < m->head.nfields; i++)
		if (!is_within(gr_http_name(&m->head, block.p, i), block) ||
		    !is_within(gr_http_value(&m->head, block.p, i), block))
			abort();
	if (gr_multipart_names(m, block.p, &name, &filename) == 0 && (name.p < block.p || name.len > block.len))
		abort();
}

/* Feeds the text in steps; what is not used yet is given again at another address. */
static void scan(struct result *r, const char *text, size_t len, size_t step)
{
	struct gr_http_field fields[FIELDS];
	struct gr_multipart m;
	struct gr_slice piece;
	size_t at = 0, have = 0, used;

	memset(r, 0, sizeof(*r));
	if (gr_multipart_init(&m, (struct gr_slice){"b-b", 3}, fields, &limits, PARTS) < 0)
		abort();
	while (r->rc >= 0 && r->rc != GR_MULTIPART_END) {
		char *copy = malloc(have > 0 ? have : 1);

		memcpy(copy, text + at, have);
		r->rc = gr_multipart_next(&m, copy, have, &used, &piece);
		if (used > have)
			abort();
		if (r->rc == GR_PART_BEGIN)
			check_names(&m, piece);
		if (r->rc > 0)
			record(r, ".bdex"[r->rc], piece);
		free(copy);
		at += used;
		have -= used;
		if (r->rc == GR_PART_MORE && at + have == len)
			break;
		if (r->rc == GR_PART_MORE)
			have += len - at - have < step ? len - at - have : step;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct result whole, parts;
	const char *text = (const char *)data + 1;

	if (size < 1 || size > SIZE)
		return 0;
	scan(&whole, text, size - 1, size);
	scan(&parts, text, size - 1, 1);
	if (whole.rc != parts.rc || whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
	scan(&parts, text, size - 1, data[0] % 64 + 1U);
	if (whole.rc != parts.rc || whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
	return 0;
}
