/* SPDX-License-Identifier: MIT */
/* Heads of requests and responses: lines and fields. What the fields mean for the body is in framing.c. */
#include "http/http1.h"

#include <string.h>

#include "http/field.h"
#include "http/framing.h"

enum {
	LINE_DONE = 1,
	HEAD_DONE = 2,
	METHOD_MAX = 32,
};

const struct gr_http_limits gr_http_limits = {8 * 1024, 16 * 1024, 100};

void gr_http_head_init(struct gr_http_head *h, struct gr_http_field *fields, const struct gr_http_limits *limits)
{
	memset(h, 0, sizeof(*h));
	h->fields = fields;
	h->limits = limits;
	h->content_length = -1;
}

void gr_http_head_knows(struct gr_http_head *h, const struct gr_http_head *earlier, const char *buf)
{
	h->known = earlier && earlier->limits == h->limits ? earlier : NULL;
	h->known_buf = buf;
}

static struct gr_http_span span(const char *buf, const char *from, const char *to)
{
	return (struct gr_http_span){(uint32_t)(from - buf), (uint32_t)(to - from)};
}

/* ---- The first line of a request. ---- */

enum gr_http_method gr_http_method(const char *p, size_t len)
{
	static const struct {
		char name[8];
		uint8_t len;
	} names[] = {
		[GR_METHOD_GET] = {"GET", 3},         [GR_METHOD_HEAD] = {"HEAD", 4},
		[GR_METHOD_POST] = {"POST", 4},       [GR_METHOD_PUT] = {"PUT", 3},
		[GR_METHOD_DELETE] = {"DELETE", 6},   [GR_METHOD_PATCH] = {"PATCH", 5},
		[GR_METHOD_OPTIONS] = {"OPTIONS", 7}, [GR_METHOD_TRACE] = {"TRACE", 5},
		[GR_METHOD_CONNECT] = {"CONNECT", 7},
	};

	for (unsigned i = GR_METHOD_GET; i <= GR_METHOD_CONNECT; i++)
		if (len == names[i].len && memcmp(p, names[i].name, len) == 0)
			return i;
	return GR_METHOD_OTHER;
}

/* Where something else than "HTTP/1.x" and CR LF stands; `end` is behind the line's LF. */
static int version_error(const char *p, const char *end)
{
	if (end - p < 9 || memcmp(p, "HTTP/", 5) != 0 || !gr_char_is(p[5], GR_CHAR_DIGIT) || p[6] != '.' ||
	    !gr_char_is(p[7], GR_CHAR_DIGIT))
		return GR_HTTP_BAD_LINE;
	if (p[5] != '1')
		return GR_HTTP_BAD_VERSION;
	return p[8] == '\n' || p[8] == '\r' ? GR_HTTP_LINE_END : GR_HTTP_BAD_LINE;
}

static void set_path(struct gr_http_head *h, const char *buf, const char *from, const char *to)
{
	const char *mark = memchr(from, '?', (size_t)(to - from));

	h->path = span(buf, from, mark ? mark : to);
	if (mark)
		h->query = span(buf, mark + 1, to);
}

static int absolute_target(struct gr_http_head *h, const char *buf, const char *p, const char *end)
{
	size_t len = (size_t)(end - p);
	const char *host;

	if (len > 8 && gr_text_same(p, "https://", 8))
		h->https = true;
	else if (len <= 7 || !gr_text_same(p, "http://", 7))
		return GR_HTTP_BAD_TARGET;
	host = p + (h->https ? 8 : 7);
	for (p = host; p < end && *p != '/' && *p != '?';)
		p++;
	if (!gr_http_host_valid(host, (size_t)(p - host)))
		return GR_HTTP_BAD_TARGET;
	h->form = GR_FORM_ABSOLUTE;
	h->host = span(buf, host, p);
	set_path(h, buf, p, end);
	return LINE_DONE;
}

/* All forms but the origin form, which begins with "/" (RFC 9112 section 3.2). */
static int other_target(struct gr_http_head *h, const char *buf, const char *p, const char *end)
{
	size_t len = (size_t)(end - p);

	if (h->method == GR_METHOD_CONNECT) {
		h->form = GR_FORM_AUTHORITY;
		h->host = span(buf, p, end);
		if (!gr_http_host_valid(p, len) || !gr_char_is(end[-1], GR_CHAR_DIGIT) || !memchr(p, ':', len))
			return GR_HTTP_BAD_TARGET;
		return LINE_DONE;
	}
	if (h->method == GR_METHOD_OPTIONS && len == 1 && *p == '*') {
		h->form = GR_FORM_ASTERISK;
		h->path = span(buf, p, end);
		return LINE_DONE;
	}
	return absolute_target(h, buf, p, end);
}

static int request_target(struct gr_http_head *h, const char *buf, const char *p, const char *path_end, const char *end)
{
	h->target = span(buf, p, end);
	if (p == end)
		return GR_HTTP_BAD_LINE;
	if (*p != '/' || h->method == GR_METHOD_CONNECT)
		return other_target(h, buf, p, end);
	h->path = span(buf, p, path_end);
	if (path_end < end)
		h->query = span(buf, path_end + 1, end);
	return LINE_DONE;
}

/* The line ends in something else than it should, or is not complete. `rc` is what the target was found to be. */
static int behind_target(const char *buf, const struct gr_http_span *verb, int rc, const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));

	if (!lf)
		return 0;
	if (verb->len == 3 && memcmp(buf + verb->off, "PRI", 3) == 0 && lf - p >= 8 && memcmp(p, "HTTP/2.0", 8) == 0)
		return GR_HTTP_H2_PREFACE;
	return rc < 0 ? rc : version_error(p, lf + 1);
}

/* The method and the space behind it. Returns what follows it; NULL without the space, which is 0 or an error in *rc. */
static const char *request_method(struct gr_http_head *h, const char *buf, const char *end, int *rc)
{
	const char *from = buf + h->line, *p;

	if (end - from >= 4 && memcmp(from, "GET ", 4) == 0) {
		h->verb = span(buf, from, from + 3);
		h->method = GR_METHOD_GET;
		return from + 4;
	}
	p = gr_text_token_end(from, end);
	*rc = p == end ? 0 : *p != ' ' ? GR_HTTP_BAD_LINE : GR_HTTP_BAD_METHOD;
	if (p == end || *p != ' ' || p - from > METHOD_MAX)
		return NULL;
	h->verb = span(buf, from, p);
	h->method = gr_http_method(from, h->verb.len);
	return p + 1;
}

static int request_line(struct gr_http_head *h, const char *buf, const char *end)
{
	int rc = 0;
	const char *from = request_method(h, buf, end, &rc), *path_end, *p;

	if (!from)
		return rc;
	path_end = p = gr_text_path_end(from, end);
	while (p < end && gr_char_is(*p, GR_CHAR_TARGET))
		p++;
	if (p == end)
		return 0;
	if (*p != ' ') /* HTTP/0.9 ends here */
		return *p == '\r' || *p == '\n' ? GR_HTTP_BAD_LINE : GR_HTTP_BAD_TARGET;
	rc = request_target(h, buf, from, path_end, p++);
	if (end - p < 10 || memcmp(p, "HTTP/1.", 7) != 0 || !gr_char_is(p[7], GR_CHAR_DIGIT) || p[8] != '\r' ||
	    p[9] != '\n')
		return behind_target(buf, &h->verb, rc, p, end);
	h->minor = p[7] != '0';
	if (rc > 0)
		h->line = (uint32_t)(p + 10 - buf);
	return rc;
}

/* The first byte decides at once, since what is not HTTP may never send a line's end. One empty line is skipped. */
static int before_request(struct gr_http_head *h, const char *buf, size_t len)
{
	char c;

	if (len == h->line)
		return 0;
	c = buf[h->line];
	if (gr_char_is(c, GR_CHAR_TOKEN))
		return LINE_DONE;
	if (c == 0x16)
		return GR_HTTP_TLS_HELLO;
	if (c != '\r')
		return c == '\n' ? GR_HTTP_LINE_END : GR_HTTP_NOT_HTTP;
	if (h->line > 0)
		return GR_HTTP_EMPTY_LINES;
	if (len < 2)
		return 0;
	if (buf[1] != '\n')
		return GR_HTTP_LINE_END;
	h->line = 2;
	return before_request(h, buf, len);
}

/* ---- The first line of a response. ---- */

static int status_line(struct gr_http_head *h, const char *buf, const char *end)
{
	const char *p = buf + h->line, *lf = memchr(p, '\n', (size_t)(end - p)), *from;

	if (!lf)
		return 0;
	end = lf + 1;
	if (end - p < 13 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ')
		return version_error(p, end);
	if (!gr_char_is(p[7], GR_CHAR_DIGIT) || p[9] < '1' || !gr_text_all(p + 9, 3, GR_CHAR_DIGIT))
		return GR_HTTP_BAD_LINE;
	h->minor = p[7] != '0';
	h->status = (int)gr_text_number(p + 9, 3);
	p += 12;
	if (*p != ' ' && *p != '\r')
		return *p == '\n' ? GR_HTTP_LINE_END : GR_HTTP_BAD_LINE;
	from = *p == ' ' ? ++p : p;
	p = gr_text_value_end(p, end);
	if (*p != '\r' || p + 1 != lf)
		return *p == '\r' || *p == '\n' ? GR_HTTP_LINE_END : GR_HTTP_BAD_VALUE;
	h->reason = span(buf, from, p);
	h->line = (uint32_t)(p + 2 - buf);
	return LINE_DONE;
}

/* ---- Fields. ---- */

static int name_error(const char *from, const char *p)
{
	if (p == from && (*p == ' ' || *p == '\t'))
		return GR_HTTP_FOLDED;
	if (*p == '\n' || *p == '\r')
		return p == from ? GR_HTTP_LINE_END : GR_HTTP_BAD_NAME;
	return *p == ' ' || *p == '\t' ? GR_HTTP_SPACE_COLON : GR_HTTP_BAD_NAME;
}

/* Parses a field into *f and moves *at behind its line; 0: the line is not complete. */
static inline int field_line(struct gr_http_field *f, const char *buf, const char *end, const char **at)
{
	const char *from = *at, *colon = gr_text_token_end(from, end), *p;

	if (colon == end)
		return 0;
	if (*colon != ':' || colon == from)
		return name_error(from, colon);
	p = gr_text_value_end(colon + 1, end);
	if (p == end)
		return 0;
	if (*p != '\r')
		return *p == '\n' ? GR_HTTP_LINE_END : GR_HTTP_BAD_VALUE;
	if (p + 1 == end)
		return 0;
	if (p[1] != '\n')
		return GR_HTTP_LINE_END;
	f->line = (uint32_t)(from - buf);
	f->colon = (uint32_t)(colon - buf);
	*at = p + 2;
	return LINE_DONE;
}

static int empty_line(const char **at, const char *end)
{
	if (end - *at < 2)
		return 0;
	if ((*at)[1] != '\n')
		return GR_HTTP_LINE_END;
	*at += 2;
	return HEAD_DONE;
}

/* Where the line of a field ends in a head that is parsed. */
static inline uint32_t line_end(const struct gr_http_head *h, uint32_t i)
{
	return i + 1 < h->nfields ? h->fields[i + 1].line : h->line - 2;
}

/* The same as field_line, if the line stands in the same place of the known head; else 0. */
static inline int known_line(const struct gr_http_head *h, const char *buf, const char *end, const char **at)
{
	const struct gr_http_field *f = &h->known->fields[h->nfields];
	size_t len = line_end(h->known, h->nfields) - f->line;
	const char *p = *at;

	if ((size_t)(end - p) < len || p[len - 1] != '\n' || memcmp(p, h->known_buf + f->line, len) != 0)
		return 0;
	h->fields[h->nfields].line = (uint32_t)(p - buf);
	h->fields[h->nfields].colon = (uint32_t)(p - buf) + f->colon - f->line;
	*at = p + len;
	return LINE_DONE;
}

/* Takes note of the field whose line ends at `end`, if it may frame the message. */
static inline int note_field(struct gr_http_head *h, const char *buf, const struct gr_http_field *f, const char *end)
{
	struct gr_slice name = {buf + f->line, f->colon - f->line};
	const char *value = buf + f->colon + 1;

	if (!gr_framing_cares(name.p, name.len))
		return LINE_DONE;
	return gr_framing_note(h, buf, name, gr_slice_trim(value, (size_t)(end - 2 - value)));
}

/* Parses the line at *at and moves behind it; 0: it is not complete. `framed`: fields that frame the message count. */
static inline int next_line(struct gr_http_head *h, const char *buf, const char **at, const char *end, bool framed)
{
	struct gr_http_field *f = &h->fields[h->nfields];
	const char *p = *at;
	int rc;

	if (*p == '\r')
		rc = empty_line(&p, end);
	else if (h->nfields >= h->limits->fields)
		rc = GR_HTTP_MANY_FIELDS;
	else if (!h->known || h->nfields >= h->known->nfields || (rc = known_line(h, buf, end, &p)) == 0)
		rc = field_line(f, buf, end, &p);
	if (rc <= 0)
		return rc;
	if (p - buf > (ptrdiff_t)h->block + h->limits->block)
		return GR_HTTP_LONG_BLOCK;
	if (rc == LINE_DONE) {
		h->nfields++;
		if (framed)
			rc = note_field(h, buf, f, p);
	}
	if (rc > 0)
		*at = p;
	return rc;
}

/* ---- What all heads share. ---- */

/* The line at h->line is not complete, or `rc` says what is wrong with it. That counts only once its end is there, as
 * it does when all bytes come at once. */
static ssize_t stopped(struct gr_http_head *h, const char *buf, size_t len, int rc)
{
	size_t from = h->seen > h->line ? h->seen : h->line;
	const char *lf = memchr(buf + from, '\n', len - from);
	size_t end = lf ? (size_t)(lf + 1 - buf) : len;

	if (!h->in_block && end - h->line > h->limits->line)
		return GR_HTTP_LONG_LINE;
	if (h->in_block && end - h->block > h->limits->block)
		return GR_HTTP_LONG_BLOCK;
	if (lf)
		return rc < 0 ? rc : GR_HTTP_BAD_LINE;
	h->seen = (uint32_t)len;
	return 0;
}

static bool still_incomplete(const struct gr_http_head *h, const char *buf, size_t len)
{
	return h->seen > 0 && !memchr(buf + h->seen, '\n', len - h->seen);
}

/* Whether all fields are those of the known head, and mean the same below this first line. */
static bool all_known(const struct gr_http_head *h, const char *buf, size_t len)
{
	const struct gr_http_head *k = h->known;
	size_t size = k ? k->line - k->block : 0;

	return k && h->line == h->block && h->minor == k->minor && h->form == k->form && h->status == k->status &&
	       len - h->line >= size && memcmp(buf + h->line, h->known_buf + k->block, size) == 0;
}

/* Takes them over. Returns the length of the head. */
static ssize_t take_known(struct gr_http_head *h)
{
	const struct gr_http_head *k = h->known;
	const struct gr_http_field *from = k->fields;
	struct gr_http_field *to = h->fields;
	uint32_t n = k->nfields, shift = h->block - k->block; /* modulo 2^32 */

	for (uint32_t i = 0; i < n; i++) {
		to[i].line = from[i].line + shift;
		to[i].colon = from[i].colon + shift;
	}
	h->nfields = n;
	h->line = k->line + shift;
	h->all_known = true;
	gr_framing_take(h, k, shift);
	return (ssize_t)h->line;
}

/* Parses the fields; the first line is done. Returns the length of the head. */
static ssize_t parse_block(struct gr_http_head *h, const char *buf, size_t len, bool framed)
{
	const char *at = buf + h->line, *end = buf + len;
	int rc = LINE_DONE;

	if (all_known(h, buf, len))
		return take_known(h);
	while (rc == LINE_DONE)
		rc = at == end ? 0 : next_line(h, buf, &at, end, framed);
	h->line = (uint32_t)(at - buf);
	return rc == HEAD_DONE ? (ssize_t)h->line : stopped(h, buf, len, rc);
}

typedef int first_line(struct gr_http_head *h, const char *buf, const char *end);

static inline ssize_t parse_head(struct gr_http_head *h, const char *buf, size_t len, first_line *parse)
{
	uint32_t start = h->line;
	int rc;

	if (still_incomplete(h, buf, len))
		return stopped(h, buf, len, 0);
	if (!h->in_block) {
		rc = parse(h, buf, buf + len);
		if (rc <= 0)
			return stopped(h, buf, len, rc);
		if (h->line - start > h->limits->line)
			return GR_HTTP_LONG_LINE;
		h->block = h->line;
		h->in_block = true;
	}
	return parse_block(h, buf, len, true);
}

ssize_t gr_http_parse_request(struct gr_http_head *h, const char *buf, size_t len)
{
	ssize_t rc;

	if (len == 0)
		return 0;
	if (!h->in_block && h->seen == 0) {
		rc = before_request(h, buf, len);
		if (rc <= 0)
			return rc;
	}
	rc = parse_head(h, buf, len, request_line);
	return rc > 0 ? gr_framing_request(h, rc) : rc;
}

ssize_t gr_http_parse_response(struct gr_http_head *h, const char *buf, size_t len, enum gr_http_method method)
{
	ssize_t rc;

	if (len == 0)
		return 0;
	if (buf[0] != 'H')
		return GR_HTTP_NOT_HTTP;
	rc = parse_head(h, buf, len, status_line);
	return rc > 0 ? gr_framing_response(h, rc, method) : rc;
}

ssize_t gr_http_parse_trailers(struct gr_http_head *h, const char *buf, size_t len)
{
	if (len == 0)
		return 0;
	h->in_block = true;
	if (still_incomplete(h, buf, len))
		return stopped(h, buf, len, 0);
	return parse_block(h, buf, len, false);
}

struct gr_slice gr_http_name(const struct gr_http_head *h, const char *buf, uint32_t i)
{
	return (struct gr_slice){buf + h->fields[i].line, h->fields[i].colon - h->fields[i].line};
}

struct gr_slice gr_http_value(const struct gr_http_head *h, const char *buf, uint32_t i)
{
	uint32_t from = h->fields[i].colon + 1;

	return gr_slice_trim(buf + from, line_end(h, i) - 2 - from);
}

int gr_http_find(const struct gr_http_head *h, const char *buf, const char *name, size_t len, uint32_t from)
{
	for (uint32_t i = from; i < h->nfields; i++)
		if (h->fields[i].colon - h->fields[i].line == len && gr_text_same(buf + h->fields[i].line, name, len))
			return (int)i;
	return -1;
}

/* "name/version" without the version. */
static struct gr_slice protocol_name(struct gr_slice protocol)
{
	const char *slash = memchr(protocol.p, '/', protocol.len);

	return (struct gr_slice){protocol.p, slash ? (size_t)(slash - protocol.p) : protocol.len};
}

bool gr_http_offers(const struct gr_http_head *h, const char *buf, struct gr_slice protocol)
{
	struct gr_slice name = protocol_name(protocol), rest, item;

	for (int i = -1; h->upgrade && (i = gr_http_find(h, buf, "Upgrade", 7, (uint32_t)(i + 1))) >= 0;) {
		rest = gr_http_value(h, buf, (uint32_t)i);
		while (gr_list_next(&rest, &item)) {
			item = protocol_name(item);
			if (name.len == 0 || (item.len == name.len && gr_text_same(item.p, name.p, name.len)))
				return true;
		}
	}
	return false;
}
