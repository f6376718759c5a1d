/* SPDX-License-Identifier: MIT */
/* The scanner for multipart bodies. */
#define _GNU_SOURCE
#include "http/multipart.h"

#include <string.h>

#include "http/field.h"

enum state {
	START,    /* a delimiter without CR LF may begin here; a preamble follows else */
	PREAMBLE, /* dropped */
	BEHIND,   /* behind a delimiter */
	FIELDS,
	BODY, /* as START: an empty body may end here without CR LF */
	DATA,
	EPILOGUE,
};

/* bchars, RFC 2046 section 5.1.1. */
static bool is_boundary(struct gr_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!(gr_char_is(s.p[i], GR_CHAR_HOST) && s.p[i] != '~') &&
		    (s.p[i] == '\0' || !strchr("'()+,/:=? ", s.p[i])))
			return false;
	return s.len > 0 && s.len <= GR_BOUNDARY_MAX && s.p[s.len - 1] != ' ';
}

int gr_multipart_init(struct gr_multipart *m, struct gr_slice boundary, struct gr_http_field *fields,
		      const struct gr_http_limits *limits, uint32_t parts)
{
	if (!is_boundary(boundary))
		return GR_HTTP_BAD_MULTIPART;
	memcpy(m->delimiter, "\r\n--", 4);
	memcpy(m->delimiter + 4, boundary.p, boundary.len);
	m->delimiter_len = (uint8_t)(4 + boundary.len);
	m->state = START;
	m->parts_left = parts;
	gr_http_head_init(&m->head, fields, limits);
	return 0;
}

/* A delimiter without its CR LF at p: 1 yes, 0 no, -1 not enough bytes. */
static int at_delimiter(const struct gr_multipart *m, const char *p, size_t len)
{
	size_t need = m->delimiter_len - 2U;

	if (memcmp(p, m->delimiter + 2, len < need ? len : need) != 0)
		return 0;
	return len < need ? -1 : 1;
}

/* Bytes at the end of p that may begin a delimiter; the first of it in the text is a CR. */
static size_t held_back(const struct gr_multipart *m, const char *p, size_t len)
{
	size_t most = len < m->delimiter_len - 1U ? len : m->delimiter_len - 1U;
	const char *from = p + len - most, *end = p + len, *cr;

	while ((cr = memchr(from, '\r', (size_t)(end - from))) != NULL) {
		if (memcmp(cr, m->delimiter, (size_t)(end - cr)) == 0)
			return (size_t)(end - cr);
		from = cr + 1;
	}
	return 0;
}

/* Data or preamble up to the next delimiter, which is left for the next call. */
static int scan_data(struct gr_multipart *m, const char *p, size_t len, size_t *used, struct gr_slice *piece)
{
	const char *found = memmem(p, len, m->delimiter, m->delimiter_len);
	size_t n = found ? (size_t)(found - p) : len - held_back(m, p, len);
	bool data = m->state == DATA;

	if (data && n > 0) {
		*piece = (struct gr_slice){p, n};
		*used = n;
		return GR_PART_DATA;
	}
	*used = found ? n + m->delimiter_len : n;
	if (!found)
		return GR_PART_MORE;
	m->state = BEHIND;
	return data ? GR_PART_END : GR_PART_MORE;
}

/* The beginning of the whole, or of a part's body. */
static int scan_start(struct gr_multipart *m, const char *p, size_t len, size_t *used)
{
	bool body = m->state == BODY;
	int rc = at_delimiter(m, p, len);

	if (rc == 0)
		m->state = body ? DATA : PREAMBLE;
	if (rc <= 0)
		return GR_PART_MORE;
	m->state = BEHIND;
	*used = m->delimiter_len - 2U;
	return body ? GR_PART_END : GR_PART_MORE;
}

/* "--" for the last delimiter; else blanks and CR LF. */
static int scan_behind(struct gr_multipart *m, const char *p, size_t len, size_t *used)
{
	size_t n = 0;

	if (p[0] == '-') {
		if (len < 2)
			return GR_PART_MORE;
		m->state = EPILOGUE;
		*used = 2;
		return p[1] == '-' ? GR_MULTIPART_END : GR_HTTP_BAD_MULTIPART;
	}
	while (n < len && (p[n] == ' ' || p[n] == '\t'))
		n++;
	if (n > GR_PART_PADDING || (n < len && p[n] != '\r') || (n + 1 < len && p[n + 1] != '\n'))
		return GR_HTTP_BAD_MULTIPART;
	if (n + 2 > len)
		return GR_PART_MORE;
	if (m->parts_left-- == 0)
		return GR_HTTP_MANY_PARTS;
	gr_http_head_init(&m->head, m->head.fields, m->head.limits);
	m->state = FIELDS;
	*used = n + 2;
	return GR_PART_MORE;
}

static int scan_fields(struct gr_multipart *m, const char *p, size_t len, size_t *used, struct gr_slice *piece)
{
	ssize_t rc = gr_http_parse_trailers(&m->head, p, len);

	if (rc <= 0)
		return (int)rc;
	m->state = BODY;
	*used = (size_t)rc;
	*piece = (struct gr_slice){p, (size_t)rc};
	return GR_PART_BEGIN;
}

static int scan_once(struct gr_multipart *m, const char *p, size_t len, size_t *used, struct gr_slice *piece)
{
	switch (m->state) {
	case START:
	case BODY:
		return scan_start(m, p, len, used);
	case BEHIND:
		return scan_behind(m, p, len, used);
	case FIELDS:
		return scan_fields(m, p, len, used, piece);
	case EPILOGUE:
		*used = len;
		return GR_MULTIPART_END;
	default:
		return scan_data(m, p, len, used, piece);
	}
}

/* Goes on as long as a step without an event got further. */
int gr_multipart_next(struct gr_multipart *m, const char *p, size_t len, size_t *used, struct gr_slice *piece)
{
	size_t step;
	int rc, before;

	*used = 0;
	*piece = (struct gr_slice){p, 0};
	do {
		if (*used == len)
			return m->state == EPILOGUE ? GR_MULTIPART_END : GR_PART_MORE;
		before = m->state;
		step = 0;
		rc = scan_once(m, p + *used, len - *used, &step, piece);
		*used += step;
	} while (rc == GR_PART_MORE && m->state != before);
	return rc;
}

size_t gr_multipart_unquote(char *out, struct gr_slice value)
{
	const char *p = value.p, *end = p + value.len;
	char *to = out;

	if (value.len < 2 || *p != '"') {
		memcpy(out, p, value.len);
		return value.len;
	}
	for (p++, end--; p < end; p++) {
		if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
			p++;
		*to++ = *p;
	}
	return (size_t)(to - out);
}

int gr_multipart_names(const struct gr_multipart *m, const char *block, struct gr_slice *name,
		       struct gr_slice *filename)
{
	static const char field[] = "Content-Disposition";
	size_t len = sizeof(field) - 1;
	int i = gr_http_find(&m->head, block, field, len, 0);
	struct gr_slice type, params;

	if (i < 0 || gr_http_find(&m->head, block, field, len, (uint32_t)i + 1) >= 0)
		return GR_HTTP_BAD_MULTIPART;
	if (gr_media_parse(gr_http_value(&m->head, block, (uint32_t)i), &type, &params) < 0 ||
	    !gr_slice_is(type, "form-data") || gr_param_find(params, "name", name) <= 0)
		return GR_HTTP_BAD_MULTIPART;
	if (gr_param_find(params, "filename", filename) == 0)
		*filename = (struct gr_slice){NULL, 0};
	return 0;
}
