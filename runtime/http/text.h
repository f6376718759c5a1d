/* SPDX-License-Identifier: MIT */
/* Text of HTTP messages: slices, classes of characters, comparison without case. */
#ifndef GR_HTTP_TEXT_H
#define GR_HTTP_TEXT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Bytes that somebody else owns, without a NUL at the end. */
struct gr_slice {
	const char *p;
	size_t len;
};

/* Of a string literal. */
#define GR_SLICE(literal) ((struct gr_slice){literal, sizeof(literal) - 1})

/* Bits of gr_http_class. */
enum {
	GR_CHAR_TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2 */
	GR_CHAR_VALUE = 2,  /* in a field's value: HTAB, SP, VCHAR, obs-text */
	GR_CHAR_TARGET = 4, /* in a request target: VCHAR but '#', and obs-text, which curl does not escape */
	GR_CHAR_PATH = 8,   /* the same without '?' */
	GR_CHAR_HOST = 16,  /* in a host name: letters, digits, "-._~" */
	GR_CHAR_DIGIT = 32,
	GR_CHAR_HEX = 64,
	GR_CHAR_COOKIE = 128, /* cookie-octet, RFC 6265 section 4.1.1 */
};

extern const uint8_t gr_http_class[256];

static inline bool gr_char_is(char c, int class)
{
	return gr_http_class[(unsigned char)c] & class;
}

/* True if all bytes are of the class; true for none. */
bool gr_text_all(const char *p, size_t len, int class);

/* The high bits of those of the eight bytes that are below 0x20 or 0x7f. No sum carries into the next byte. */
static inline uint64_t gr_text_controls(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	uint64_t low = x & ~high;

	return (~(low + ones * 0x60) | (low + ones)) & ~x & high;
}

/* False only if all of the eight bytes are 0x20 to 0x7e. */
static inline bool gr_text_unusual(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;

	return ((x - ones * 0x20) | (x + ones)) & high;
}

#ifdef __SSE2__
/* A bit for each of the 16 bytes that is below 0x20 or 0x7f. */
static inline unsigned gr_text_controls16(const char *p)
{
	__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
}
#endif

/* The first byte in [p, end) that may not stand in a field's value, or `end`. */
static inline const char *gr_text_value_end(const char *p, const char *end)
{
	uint64_t x, hits;

#ifdef __SSE2__
	while (end - p >= 16) {
		unsigned found = gr_text_controls16(p);

		if (found == 0) {
			p += 16;
			continue;
		}
		p += __builtin_ctz(found);
		if (*p != '\t')
			return p;
		p++;
	}
#endif
	while (end - p >= 8) {
		memcpy(&x, p, 8);
		hits = gr_text_unusual(x) ? gr_text_controls(le64toh(x)) : 0;
		if (hits == 0) {
			p += 8;
			continue;
		}
		p += __builtin_ctzll(hits) / 8;
		if (*p != '\t')
			return p;
		p++;
	}
	while (p < end && gr_char_is(*p, GR_CHAR_VALUE))
		p++;
	return p;
}

/* 0-15, or -1 when the character is no hexadecimal digit. */
int gr_hex_digit(char c);

/* True if both are equal but for the case of ASCII letters. `b` is NUL-terminated in the second one. */
bool gr_text_same(const char *a, const char *b, size_t len);
bool gr_slice_is(struct gr_slice s, const char *b);

/* Without spaces and tabs around it. */
struct gr_slice gr_slice_trim(const char *p, size_t len);

/* Decimal digits only, no sign, at most INT64_MAX. Returns it or -1. */
int64_t gr_text_number(const char *p, size_t len);

#endif
