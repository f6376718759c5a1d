/* SPDX-License-Identifier: MIT */
/* What the test programs of runtime/http share: results, inputs in memory of exactly their size. */
#ifndef SPEC_HTTP_CHECK_H
#define SPEC_HTTP_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/text.h"

static int failures;

/* Text of an array, which may hold NUL bytes, and its length: two initializers. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static inline void check(bool good, const char *name)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	failures += !good;
}

/* Tells on stderr which row of a table failed. Returns `good`. */
static inline bool row(bool good, const char *text, size_t len)
{
	if (!good) {
		fputs("# failed: ", stderr);
		for (size_t i = 0; i < len && i < 300; i++)
			fprintf(stderr, text[i] >= ' ' && text[i] <= '~' ? "%c" : "\\x%02x", (unsigned char)text[i]);
		fputc('\n', stderr);
	}
	return good;
}

/* A copy without a byte to spare, so that the sanitizer sees every read behind it. */
static inline char *exact(const char *text, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, text, len);
	return copy;
}

static inline struct gr_slice slice(const char *text)
{
	return (struct gr_slice){text, text ? strlen(text) : 0};
}

static inline bool is_text(struct gr_slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

#endif
