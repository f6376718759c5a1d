/* SPDX-License-Identifier: MIT */
/* Decoder and encoder of the chunked coding. */
#include "http/chunked.h"

#include <string.h>

#include "http/text.h"

enum state {
	SIZE, /* zero: the beginning */
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILERS,
};

enum { DIGITS_MAX = 16 };

/* One character of the size. Leading zeros count as digits. */
static int size_char(struct gr_chunked *c, char ch)
{
	int digit = gr_hex_digit(ch);

	if (digit >= 0) {
		if (c->digits == DIGITS_MAX || c->left > (uint64_t)INT64_MAX >> 4)
			return GR_HTTP_BAD_CHUNK;
		c->digits++;
		c->left = c->left << 4 | (unsigned)digit;
		return 0;
	}
	if (c->digits == 0 || (ch != '\r' && ch != ';'))
		return GR_HTTP_BAD_CHUNK;
	c->state = ch == '\r' ? SIZE_LF : EXTENSION;
	c->ext = ch == ';';
	c->ext_total += c->ext;
	return c->ext_total > GR_CHUNK_EXT_TOTAL ? GR_HTTP_LONG_CHUNK_EXT : 0;
}

static int extension_char(struct gr_chunked *c, char ch)
{
	if (ch == '\r') {
		c->state = SIZE_LF;
		return 0;
	}
	if (!gr_char_is(ch, GR_CHAR_VALUE))
		return GR_HTTP_BAD_CHUNK;
	c->ext++;
	c->ext_total++;
	return c->ext > GR_CHUNK_EXT_MAX || c->ext_total > GR_CHUNK_EXT_TOTAL ? GR_HTTP_LONG_CHUNK_EXT : 0;
}

static int size_end(struct gr_chunked *c, char ch)
{
	if (ch != '\n')
		return GR_HTTP_BAD_CHUNK;
	c->state = c->left > 0 ? DATA : TRAILERS;
	c->digits = 0;
	return 0;
}

static int data_end(struct gr_chunked *c, char ch)
{
	if (ch != (c->state == DATA_CR ? '\r' : '\n'))
		return GR_HTTP_BAD_CHUNK;
	c->state = c->state == DATA_CR ? DATA_LF : SIZE;
	return 0;
}

static int framing_char(struct gr_chunked *c, char ch)
{
	switch (c->state) {
	case SIZE:
		return size_char(c, ch);
	case EXTENSION:
		return extension_char(c, ch);
	case SIZE_LF:
		return size_end(c, ch);
	default:
		return data_end(c, ch);
	}
}

int gr_chunked_next(struct gr_chunked *c, const char *p, size_t len, size_t *used, size_t *data)
{
	size_t i = 0;
	int rc = 0;

	*data = 0;
	while (i < len && c->state != DATA && c->state != TRAILERS && rc == 0)
		rc = framing_char(c, p[i++]);
	if (rc == 0 && c->state == DATA) {
		*data = len - i < c->left ? len - i : (size_t)c->left;
		c->left -= *data;
		if (c->left == 0)
			c->state = DATA_CR;
	}
	*used = i + *data;
	return rc < 0 ? rc : c->state == TRAILERS;
}

int gr_chunked_decode(struct gr_chunked *c, char *buf, size_t len, size_t *used, size_t *data)
{
	size_t step, piece;
	int rc = 0;

	*used = *data = 0;
	while (*used < len && rc == 0) {
		rc = gr_chunked_next(c, buf + *used, len - *used, &step, &piece);
		*used += step;
		memmove(buf + *data, buf + *used - piece, piece);
		*data += piece;
	}
	memmove(buf + *data, buf + *used, len - *used);
	return rc;
}

size_t gr_chunk_head(char *buf, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 1;

	for (size_t rest = size >> 4; rest > 0; rest >>= 4)
		n++;
	for (size_t i = n; i > 0; i--, size >>= 4)
		buf[i - 1] = digits[size & 15];
	buf[n] = '\r';
	buf[n + 1] = '\n';
	return n + 2;
}
