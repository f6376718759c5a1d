/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648 section 4). */
#ifndef GR_HTTP_BASE64_H
#define GR_HTTP_BASE64_H

#include <stddef.h>
#include <sys/types.h>

/* Bytes of the text for n bytes of data. */
static inline size_t gr_base64_len(size_t n)
{
	return (n + 2) / 3 * 4;
}

/* Writes gr_base64_len(n) bytes to `out`, and no NUL. */
void gr_base64_encode(char *out, const void *p, size_t n);

/* Writes at most n / 4 * 3 bytes to `out`. Padding must be there, and nothing that is no base64, line ends neither.
 * Returns the number of bytes, or -1 for malformed text. */
ssize_t gr_base64_decode(char *out, const char *p, size_t n);

#endif
