/* SPDX-License-Identifier: MIT */
/* Compressed messages of WebSocket: see ws_deflate.h. */
#include "bind/ws_deflate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bind/libz.h"
#include "core/error.h"

enum {
	PIECE = 16 << 10, /* bytes that one step of inflating gives at most */
	TAIL = 4,         /* bytes that end every message, and are not sent (section 7.2.1) */
	ROOM = 64,        /* bytes of output that a step of deflating finds at least */
	MEMORY = 8,       /* memLevel for the largest window: zlib's default */
	BLOCK_END = 128,  /* in z_stream.data_type */
};

/* Without context a stream is needed only while a message is at work: one that waits for the next, in each direction. */
static struct {
	z_stream *z;
	uint8_t bits, level;
} spare_deflate;
static z_stream *spare_inflate;

/* ---- Deflating ---- */

static void free_deflate(z_stream *z)
{
	if (z == NULL)
		return;
	gr_libz.deflate_end(z);
	free(z);
}

/* A smaller window gets smaller tables, too. */
static z_stream *new_deflate(uint8_t bits, uint8_t level)
{
	z_stream *z = calloc(1, sizeof(*z));
	int memory = MEMORY - (MAX_WBITS - bits);

	if (z && gr_libz.deflate_init(z, level, Z_DEFLATED, -bits, memory, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
				      (int)sizeof(*z)) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static z_stream *take_deflate(const struct gr_ws_deflate *d)
{
	z_stream *z = spare_deflate.z;

	if (z == NULL || spare_deflate.bits != d->bits || spare_deflate.level != d->level)
		return new_deflate(d->bits, d->level);
	spare_deflate.z = NULL;
	return z;
}

static void give_deflate(struct gr_ws_deflate *d)
{
	free_deflate(spare_deflate.z);
	gr_libz.deflate_reset(d->z);
	spare_deflate.z = d->z;
	spare_deflate.bits = d->bits;
	spare_deflate.level = d->level;
	d->z = NULL;
}

void gr_ws_deflate_free(struct gr_ws_deflate *d)
{
	free_deflate(d->z);
	d->z = NULL;
}

/* Compresses z's input. Returns 0 or -ENOMEM. */
static int deflate_all(z_stream *z, char **out, size_t *out_len)
{
	size_t cap = z->avail_in / 2 + ROOM, len = 0;
	char *p;

	*out = NULL;
	do {
		cap += len > 0 ? cap : 0;
		p = realloc(*out, cap);
		if (p == NULL)
			return -ENOMEM;
		*out = p;
		z->next_out = (Bytef *)p + len;
		z->avail_out = (uInt)(cap - len);
		gr_libz.deflate(z, Z_SYNC_FLUSH);
		len = cap - z->avail_out;
	} while (z->avail_out == 0);
	*out_len = len - TAIL;
	return 0;
}

int gr_ws_deflate(struct gr_ws_deflate *d, const char *p, size_t len, char **out, size_t *out_len)
{
	int rc;

	if (d->z == NULL)
		d->z = take_deflate(d);
	if (d->z == NULL)
		return -ENOMEM;
	d->z->next_in = (Bytef *)(uintptr_t)p;
	d->z->avail_in = (uInt)len;
	rc = deflate_all(d->z, out, out_len);
	if (rc < 0) {
		free(*out);
		*out = NULL;
		gr_ws_deflate_free(d);
	} else if (!d->takeover) {
		give_deflate(d);
	}
	return rc;
}

/* ---- Inflating ---- */

static z_stream *new_inflate(uint8_t bits)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && gr_libz.inflate_init(z, -bits, ZLIB_VERSION, (int)sizeof(*z)) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static z_stream *take_inflate(uint8_t bits)
{
	z_stream *z = spare_inflate;

	if (z == NULL || gr_libz.inflate_reset2(z, -bits) != Z_OK)
		return new_inflate(bits);
	spare_inflate = NULL;
	return z;
}

static void free_inflate(z_stream *z)
{
	if (z == NULL)
		return;
	gr_libz.inflate_end(z);
	free(z);
}

void gr_ws_inflate_free(struct gr_ws_inflate *i)
{
	free_inflate(i->z);
	i->z = NULL;
	i->fed = i->between = false;
}

int gr_ws_inflate_give(struct gr_ws_inflate *i, const char *p, size_t len)
{
	static const char tail[TAIL] = {0, 0, (char)0xff, (char)0xff};

	/* Some peers' empty message has no bytes at all. */
	if (p == NULL && !i->fed)
		return 0;
	if (i->z == NULL)
		i->z = take_inflate(i->bits);
	if (i->z == NULL)
		return -ENOMEM;
	i->fed = i->fed || len > 0;
	i->z->next_in = (Bytef *)(uintptr_t)(p ? p : tail);
	i->z->avail_in = p ? (uInt)len : TAIL;
	i->z->avail_out = 1;
	return 0;
}

/* A final block ends a stream, not the message: another one begins (section 7.2.3.4). Returns 0 or an error. */
static int after_step(struct gr_ws_inflate *i, int rc)
{
	if (rc == Z_STREAM_END)
		gr_libz.inflate_reset(i->z);
	i->between = rc == Z_STREAM_END || i->z->data_type & BLOCK_END;
	if (rc == Z_OK || rc == Z_STREAM_END)
		return 0;
	return rc == Z_MEM_ERROR ? -ENOMEM : GR_PROTOCOL;
}

/* A step that filled the piece may have kept more. What came out before an error counts: the next step meets the error
 * again, and so the limits do not depend on how the bytes arrive. */
ssize_t gr_ws_inflate_next(struct gr_ws_inflate *i, const char **out)
{
	static char piece[PIECE];
	ssize_t n;
	bool fresh;
	int rc;

	*out = piece;
	while (i->z && (i->z->avail_in > 0 || i->z->avail_out == 0)) {
		fresh = i->z->avail_in > 0;
		i->z->next_out = (Bytef *)piece;
		i->z->avail_out = PIECE;
		rc = gr_libz.inflate(i->z, Z_NO_FLUSH);
		n = PIECE - (ssize_t)i->z->avail_out;
		if (rc == Z_BUF_ERROR && !fresh)
			return 0;
		rc = after_step(i, rc);
		if (rc < 0 && n > 0)
			i->z->avail_out = 0;
		if (rc < 0 || n > 0)
			return n > 0 ? n : rc;
	}
	return 0;
}

bool gr_ws_inflate_end(struct gr_ws_inflate *i)
{
	bool complete = !i->fed || i->between;

	i->fed = i->between = false;
	if (i->takeover || i->z == NULL)
		return complete;
	free_inflate(spare_inflate);
	spare_inflate = i->z;
	i->z = NULL;
	return complete;
}
