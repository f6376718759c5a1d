/* SPDX-License-Identifier: MIT */
/* The chunked coding (RFC 9112 section 7.1), incremental and strict. */
#ifndef GR_HTTP_CHUNKED_H
#define GR_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "http/error.h"

enum {
	GR_CHUNK_EXT_MAX = 256,                       /* bytes of extensions of one chunk, with the first ";" */
	GR_CHUNK_EXT_TOTAL = 16 * 1024,               /* of all chunks of a body */
	GR_CHUNK_HEAD_MAX = 2 * sizeof(uint64_t) + 2, /* bytes gr_chunk_head writes */
};

/* A body being decoded; all zero at its beginning. */
struct gr_chunked {
	uint64_t left;      /* bytes of the present chunk to come */
	uint32_t ext_total; /* bytes of extensions so far */
	uint16_t ext;       /* of this chunk */
	uint8_t digits;     /* of this size so far */
	uint8_t state;
};

/* Consumes framing and at most one piece of data from p. *used is what was consumed, its last *data bytes are data.
 * Returns 1 when the last chunk's line was consumed and the trailers follow (gr_http_parse_trailers: at least an empty
 * line), 0 otherwise: call again behind `used`, with more input when all is used; or GR_HTTP_BAD_CHUNK or
 * GR_HTTP_LONG_CHUNK_EXT. The data and the result do not depend on where the input was split. */
int gr_chunked_next(struct gr_chunked *c, const char *p, size_t len, size_t *used, size_t *data);

/* The same for all of buf, in place: the data is moved together to its beginning, *data bytes of it, and what stands
 * behind the last chunk's line directly behind that: `len - *used` bytes. Returns as above; *data is valid on errors
 * too. */
int gr_chunked_decode(struct gr_chunked *c, char *buf, size_t len, size_t *used, size_t *data);

/* Writes a chunk's size line, at most GR_CHUNK_HEAD_MAX bytes; size > 0. Returns its length. The chunk is followed by
 * CR LF, the body by "0\r\n", trailers and CR LF. */
size_t gr_chunk_head(char *buf, size_t size);

#endif
