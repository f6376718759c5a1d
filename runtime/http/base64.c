/* SPDX-License-Identifier: MIT */
/* Base64. */
#include "http/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void gr_base64_encode(char *out, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = (uint32_t)p[i] << 16;

		bits |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		bits |= i + 2 < n ? p[i + 2] : 0;
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = '=';
		*out++ = '=';
		if (i + 1 < n)
			out[-2] = digits[bits >> 6 & 63];
		if (i + 2 < n)
			out[-1] = digits[bits & 63];
	}
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ssize_t gr_base64_decode(char *out, const char *p, size_t n)
{
	char *start = out;
	size_t pad = 0;

	while (pad < 2 && n > pad && p[n - 1 - pad] == '=')
		pad++;
	if (n % 4 != 0)
		return -1;
	for (size_t i = 0; i < n; i += 4) {
		size_t used = i + 4 == n ? 4 - pad : 4;
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			int value = k < used ? value_of(p[i + k]) : 0;

			if (value < 0)
				return -1;
			bits = bits << 6 | (uint32_t)value;
		}
		for (size_t k = 0; k + 1 < used; k++)
			*out++ = (char)(bits >> (16 - 8 * k));
	}
	return out - start;
}
