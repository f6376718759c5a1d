/* SPDX-License-Identifier: MIT */
/* Parts of a request target: escapes, queries and forms, paths for files. */
#ifndef GR_HTTP_TARGET_H
#define GR_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "http/error.h"
#include "http/text.h"

/* For gr_percent_decode. */
enum {
	GR_DECODE_PLUS = 1, /* "+" is a space: queries and forms */
	GR_DECODE_NUL = 2,  /* NUL bytes are allowed */
};

/* Writes the bytes that p stands for to `out`, which has room for len bytes and may be p itself. Returns their number,
 * GR_HTTP_BAD_ESCAPE or GR_HTTP_NUL, after which `out` is undefined. */
ssize_t gr_percent_decode(char *out, const char *p, size_t len, int flags);

enum gr_encode {
	GR_ENCODE_COMPONENT, /* all but unreserved characters */
	GR_ENCODE_PATH,      /* keeps what may stand in a path, "/" among it */
	GR_ENCODE_FORM,      /* application/x-www-form-urlencoded: a space is "+" */
};

/* Writes at most 3 * len bytes to `out`; returns their number. */
size_t gr_percent_encode(char *out, const char *p, size_t len, enum gr_encode how);

/* Cuts the next "name=value" off *rest, both still encoded; without "=" value.p is NULL. Empty pieces are skipped.
 * Returns false at the end. Only "&" separates. */
bool gr_query_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value);

/* Turns the path of a target into one relative to a root directory: decodes escapes, drops empty and "." segments,
 * resolves "..". The result has no "/" at its beginning, keeps one at its end, and is empty for the root. `out` has
 * room for len bytes and may be p. Returns its length, GR_HTTP_BAD_ESCAPE, GR_HTTP_NUL, or GR_HTTP_OUTSIDE: no "/" at
 * the beginning, ".." above the root, an escaped "/", a backslash. Links in the file system are the caller's matter. */
ssize_t gr_path_resolve(char *out, const char *p, size_t len);

#endif
