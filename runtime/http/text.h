/* SPDX-License-Identifier: MIT */
/* Text of HTTP messages: slices, classes of characters, comparison without case. */
#ifndef GR_HTTP_TEXT_H
#define GR_HTTP_TEXT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Sixteen bytes that are looked at together; the compiler does that with what the machine has. */
typedef uint8_t gr_bytes __attribute__((vector_size(16)));

static inline gr_bytes gr_bytes_load(const char *p)
{
	gr_bytes x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* The index of the first byte of `hits` that is 0xff, where all others are 0; 16 if there is none. */
static inline int gr_bytes_first(gr_bytes hits)
{
	uint64_t half[2];

	memcpy(half, &hits, sizeof(half));
	if (half[0])
		return __builtin_ctzll(le64toh(half[0])) / 8;
	return half[1] ? 8 + __builtin_ctzll(le64toh(half[1])) / 8 : 16;
}

static inline bool gr_bytes_any(gr_bytes hits)
{
	uint64_t half[2];

	memcpy(half, &hits, sizeof(half));
	return half[0] | half[1];
}

/* 0xff for letters, digits and "-", which is what names of fields are made of but for a few. */
static inline gr_bytes gr_bytes_plain(gr_bytes x)
{
	gr_bytes letters = (gr_bytes)((x | 0x20) - 'a' < 26), digits = (gr_bytes)(x - '0' < 10);

	return letters | digits | (gr_bytes)(x == '-');
}

/* The first byte in [p, end) that may not stand in a token, or `end`. */
static inline const char *gr_text_token_end(const char *p, const char *end)
{
	while (end - p >= (ptrdiff_t)sizeof(gr_bytes)) {
		int n = gr_bytes_first(~gr_bytes_plain(gr_bytes_load(p)));

		p += n;
		if (n == sizeof(gr_bytes))
			continue;
		if (!gr_char_is(*p, GR_CHAR_TOKEN))
			return p;
		p++;
	}
	while (p < end && gr_char_is(*p, GR_CHAR_TOKEN))
		p++;
	return p;
}

/* The first byte in [p, end) that may not stand in a target's path: '?' among them; or `end`. */
static inline const char *gr_text_path_end(const char *p, const char *end)
{
	while (end - p >= (ptrdiff_t)sizeof(gr_bytes)) {
		gr_bytes x = gr_bytes_load(p);
		int n = gr_bytes_first((gr_bytes)(x <= ' ') | (gr_bytes)(x == 0x7f) | (gr_bytes)(x == '#') |
				       (gr_bytes)(x == '?'));

		p += n;
		if (n < (int)sizeof(x))
			return p;
	}
	while (p < end && gr_char_is(*p, GR_CHAR_PATH))
		p++;
	return p;
}

/* The first byte in [p, end) that may not stand in a field's value, or `end`. */
static inline const char *gr_text_value_end(const char *p, const char *end)
{
	while (end - p >= (ptrdiff_t)sizeof(gr_bytes)) {
		gr_bytes x = gr_bytes_load(p), hits = (gr_bytes)(x < 0x20) | (gr_bytes)(x == 0x7f);

		if (!gr_bytes_any(hits)) {
			p += sizeof(x);
			continue;
		}
		p += gr_bytes_first(hits);
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
