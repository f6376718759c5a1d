/* SPDX-License-Identifier: MIT */
/* UTF-8. */
#include "http/utf8.h"

#include <string.h>

/* Sets what the bytes behind the first one may be: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool first_byte(struct gr_utf8 *u, uint8_t c)
{
	u->low = 0x80;
	u->high = 0xbf;
	if (c < 0x80)
		return true;
	if (c < 0xc2 || c > 0xf4)
		return false;
	u->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	if (c == 0xe0)
		u->low = 0xa0;
	if (c == 0xed)
		u->high = 0x9f;
	if (c == 0xf0)
		u->low = 0x90;
	if (c == 0xf4)
		u->high = 0x8f;
	return true;
}

static bool next_byte(struct gr_utf8 *u, uint8_t c)
{
	if (u->need == 0)
		return first_byte(u, c);
	if (c < u->low || c > u->high)
		return false;
	u->low = 0x80;
	u->high = 0xbf;
	u->need--;
	return true;
}

static bool is_ascii8(const char *p)
{
	uint64_t x;

	memcpy(&x, p, 8);
	return !(x & 0x8080808080808080);
}

bool gr_utf8_add(struct gr_utf8 *u, const char *p, size_t len)
{
	const char *end = p + len;

	while (p < end) {
		if (u->need == 0 && end - p >= 8 && is_ascii8(p))
			p += 8;
		else if (!next_byte(u, (uint8_t)*p++))
			return false;
	}
	return true;
}
