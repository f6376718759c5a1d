/* SPDX-License-Identifier: MIT */
/* multipart/form-data (RFC 2046 section 5.1, RFC 7578), incremental: data is handed on as it comes, only what may be
 * the beginning of a delimiter is held back. */
#ifndef GR_HTTP_MULTIPART_H
#define GR_HTTP_MULTIPART_H

#include <stddef.h>
#include <stdint.h>

#include "http/http1.h"

enum {
	GR_BOUNDARY_MAX = 70,
	GR_PART_PADDING = 64, /* blanks allowed behind a delimiter */
};

enum gr_multipart_event {
	GR_PART_MORE,  /* give the bytes behind `used` again, with more of them */
	GR_PART_BEGIN, /* the piece is the block of fields, which head.fields count from */
	GR_PART_DATA,  /* the piece is data, at least a byte */
	GR_PART_END,
	GR_MULTIPART_END, /* what follows does not count */
};

struct gr_multipart {
	char delimiter[4 + GR_BOUNDARY_MAX]; /* CR LF "--" boundary */
	uint8_t delimiter_len;
	uint8_t state;
	uint32_t parts_left;
	struct gr_http_head head; /* fields of the present part */
};

/* Prepares for a body. `boundary` is unquoted; `fields` and `limits` are for the fields of one part and must outlive
 * it; a body has at most `parts` parts. Returns 0, or GR_HTTP_BAD_MULTIPART for no boundary by RFC 2046. */
int gr_multipart_init(struct gr_multipart *m, struct gr_slice boundary, struct gr_http_field *fields,
		      const struct gr_http_limits *limits, uint32_t parts);

/* Finds the next event in p, which begins where the last call's `used` ended. The caller needs room for the fields of a
 * part and at least for a delimiter with its padding (144 bytes). A body that ends before GR_MULTIPART_END is
 * malformed. Returns an enum gr_multipart_event, GR_HTTP_BAD_MULTIPART, GR_HTTP_MANY_PARTS, or what is wrong
 * with the fields. Nothing depends on where the input was split but the size of the pieces of data. */
int gr_multipart_next(struct gr_multipart *m, const char *p, size_t len, size_t *used, struct gr_slice *piece);

/* Writes a parameter of Content-Disposition as it was meant to `out`, which has room for value.len bytes; returns the
 * length. Unlike gr_unquote: browsers do not escape a backslash in a file's name, so one counts only before '"' or
 * another. */
size_t gr_multipart_unquote(char *out, struct gr_slice value);

/* After GR_PART_BEGIN: the parameters of the part's Content-Disposition, filename.p is NULL without one; both as
 * written, for gr_multipart_unquote. Returns 0, or GR_HTTP_BAD_MULTIPART unless it is there once, is form-data and has a name. */
int gr_multipart_names(const struct gr_multipart *m, const char *block, struct gr_slice *name,
		       struct gr_slice *filename);

#endif
