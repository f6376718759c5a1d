/* SPDX-License-Identifier: MIT */
/* Incremental check of UTF-8 (RFC 3629), for text messages of WebSocket. */
#ifndef GR_HTTP_UTF8_H
#define GR_HTTP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text being checked; all zero at its beginning and between characters. */
struct gr_utf8 {
	uint8_t need;      /* bytes that the present character still needs */
	uint8_t low, high; /* what the next of them may be */
};

/* Checks the next piece. False as soon as no continuation could make the text valid. */
bool gr_utf8_add(struct gr_utf8 *u, const char *p, size_t len);

/* True if the text does not end inside a character. */
static inline bool gr_utf8_complete(const struct gr_utf8 *u)
{
	return u->need == 0;
}

#endif
