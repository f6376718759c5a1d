/* SPDX-License-Identifier: MIT */
/* What the fields of a head mean for the body and the connection; a part of http1.c's parsers. */
#ifndef GR_HTTP_FRAMING_H
#define GR_HTTP_FRAMING_H

#include "http/http1.h"

/* Whether a field of that name may mean anything here: a quick look at its length and first letter. */
static inline bool gr_framing_cares(const char *name, size_t len)
{
	const uint32_t lengths = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 17;
	const uint32_t letters = 1 << ('h' & 31) | 1 << ('e' & 31) | 1 << ('u' & 31) | 1 << ('c' & 31) | 1 << ('t' & 31);

	return len < 32 && (lengths >> len & 1) && (letters >> (*name & 31) & 1);
}

/* Takes note of a field that was just parsed; the name's bytes are a token's. Returns 1, or an enum gr_http_error. */
int gr_framing_note(struct gr_http_head *h, const char *buf, struct gr_slice name, struct gr_slice value);

/* Takes note of all fields at once: those of a head with the same version, status and form, which stand `shift` bytes
 * further, modulo 2^32. */
void gr_framing_take(struct gr_http_head *h, const struct gr_http_head *from, uint32_t shift);

/* Decides once all fields are there. Return `len`, or an enum gr_http_error. */
ssize_t gr_framing_request(struct gr_http_head *h, ssize_t len);
ssize_t gr_framing_response(struct gr_http_head *h, ssize_t len, enum gr_http_method method);

#endif
