/* SPDX-License-Identifier: MIT */
/* SHA-1 of short texts. */
#include "http/sha1.h"

#include <assert.h>
#include <string.h>

enum { BLOCK = 64, WORDS = 16, ROUNDS = 80 };

static uint32_t rotate(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static uint32_t load(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store(uint8_t *p, uint32_t x)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* The function and the constant of a round. */
static uint32_t mix(int round, const uint32_t s[5])
{
	if (round < 20)
		return ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5a827999;
	if (round < 40)
		return (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1;
	if (round < 60)
		return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdc;
	return (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6;
}

static void add_block(uint32_t state[5], const uint8_t *p)
{
	uint32_t w[ROUNDS], s[5];

	for (int i = 0; i < WORDS; i++)
		w[i] = load(p + 4 * i);
	for (int i = WORDS; i < ROUNDS; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(s, state, sizeof(s));
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t a = rotate(s[0], 5) + mix(i, s) + s[4] + w[i];

		s[4] = s[3];
		s[3] = s[2];
		s[2] = rotate(s[1], 30);
		s[1] = s[0];
		s[0] = a;
	}
	for (int i = 0; i < 5; i++)
		state[i] += s[i];
}

void gr_sha1(const void *p, size_t len, uint8_t out[GR_SHA1])
{
	uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t text[2 * BLOCK] = {0};
	size_t size = len + 9 <= BLOCK ? BLOCK : 2 * BLOCK; /* with a one bit and the length */

	assert(len + 9 <= sizeof(text));
	memcpy(text, p, len);
	text[len] = 0x80;
	store(text + size - 4, (uint32_t)len * 8);
	for (size_t at = 0; at < size; at += BLOCK)
		add_block(state, text + at);
	for (int i = 0; i < 5; i++)
		store(out + 4 * i, state[i]);
}
