/* SPDX-License-Identifier: MIT */
/* Percent encoding, queries, paths. */
#include "http/target.h"

#include <string.h>

/* The byte that "%xy" at p stands for, or -1. */
static int escaped(const char *p, const char *end)
{
	int high, low;

	if (end - p < 3)
		return -1;
	high = gr_hex_digit(p[1]);
	low = gr_hex_digit(p[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

ssize_t gr_percent_decode(char *out, const char *p, size_t len, int flags)
{
	const char *end = p + len;
	char *to = out;
	int c;

	for (; p < end; *to++ = (char)c) {
		c = (unsigned char)*p;
		if (c == '%') {
			c = escaped(p, end);
			if (c < 0)
				return GR_HTTP_BAD_ESCAPE;
			p += 2;
		} else if (c == '+' && (flags & GR_DECODE_PLUS)) {
			c = ' ';
		}
		if (c == '\0' && !(flags & GR_DECODE_NUL))
			return GR_HTTP_NUL;
		p++;
	}
	return to - out;
}

/* RFC 3986: unreserved, and for paths sub-delims, ":", "@" and "/". Forms keep what WHATWG's serializer keeps. */
static bool is_kept(char c, enum gr_encode how)
{
	switch (how) {
	case GR_ENCODE_PATH:
		return gr_char_is(c, GR_CHAR_HOST) || (c && strchr("!$&'()*+,;=:@/", c));
	case GR_ENCODE_FORM:
		return c == '*' || (c != '~' && gr_char_is(c, GR_CHAR_HOST));
	default:
		return gr_char_is(c, GR_CHAR_HOST);
	}
}

size_t gr_percent_encode(char *out, const char *p, size_t len, enum gr_encode how)
{
	static const char digits[] = "0123456789ABCDEF";
	char *to = out;

	for (size_t i = 0; i < len; i++) {
		if (is_kept(p[i], how)) {
			*to++ = p[i];
		} else if (p[i] == ' ' && how == GR_ENCODE_FORM) {
			*to++ = '+';
		} else {
			*to++ = '%';
			*to++ = digits[(unsigned char)p[i] >> 4];
			*to++ = digits[p[i] & 15];
		}
	}
	return (size_t)(to - out);
}

bool gr_query_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value)
{
	const char *end = rest->p + rest->len, *stop, *mark;

	while (rest->p < end && *rest->p == '&')
		rest->p++;
	rest->len = (size_t)(end - rest->p);
	if (rest->len == 0)
		return false;
	stop = memchr(rest->p, '&', rest->len);
	stop = stop ? stop : end;
	mark = memchr(rest->p, '=', (size_t)(stop - rest->p));
	*name = (struct gr_slice){rest->p, (size_t)((mark ? mark : stop) - rest->p)};
	*value = mark ? (struct gr_slice){mark + 1, (size_t)(stop - mark - 1)} : (struct gr_slice){NULL, 0};
	*rest = (struct gr_slice){stop, (size_t)(end - stop)};
	return true;
}

/* ---- Paths. ---- */

/* True if the path has a separator that is not "/" itself. */
static bool hides_separator(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int c = p[i] == '%' ? escaped(p + i, p + len) : p[i];

		if (c == '\\' || (c == '/' && p[i] == '%'))
			return true;
	}
	return false;
}

/* Cuts the last segment, which ends in "/", off the path. */
static size_t parent(const char *path, size_t len)
{
	len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len;
}

/* Drops and resolves segments in place. Every segment kept so far ends in "/". */
static ssize_t resolve(char *path, size_t len)
{
	size_t n = 0, from = 0, stop;

	for (; from < len; from = stop) {
		const char *slash = memchr(path + from, '/', len - from);
		size_t size = slash ? (size_t)(slash - path) - from : len - from;

		stop = from + size + (slash ? 1 : 0);
		if (size == 0 || (size == 1 && path[from] == '.'))
			continue;
		if (size == 2 && path[from] == '.' && path[from + 1] == '.') {
			if (n == 0)
				return GR_HTTP_OUTSIDE;
			n = parent(path, n);
			continue;
		}
		memmove(path + n, path + from, stop - from);
		n += stop - from;
	}
	return (ssize_t)n;
}

ssize_t gr_path_resolve(char *out, const char *p, size_t len)
{
	ssize_t n;

	if (len == 0 || *p != '/' || hides_separator(p, len))
		return GR_HTTP_OUTSIDE;
	n = gr_percent_decode(out, p, len, 0);
	return n < 0 ? n : resolve(out, (size_t)n);
}
