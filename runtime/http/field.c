/* SPDX-License-Identifier: MIT */
/* Lists, parameters, media types, qualities. */
#include "http/field.h"

#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

static const char *token_end(const char *p, const char *end)
{
	while (p < end && gr_char_is(*p, GR_CHAR_TOKEN))
		p++;
	return p;
}

/* Behind the quoted string that begins at p; NULL if it does not end. */
static const char *quoted_end(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

static struct gr_slice between(const char *from, const char *to)
{
	return (struct gr_slice){from, (size_t)(to - from)};
}

/* The comma at or behind p that separates, or `end`. A quoted string that does not end takes all the rest. */
static const char *comma(const char *p, const char *end)
{
	while (p < end && *p != ',') {
		p = *p == '"' ? quoted_end(p, end) : p + 1;
		if (!p)
			return end;
	}
	return p;
}

bool gr_list_next(struct gr_slice *rest, struct gr_slice *item)
{
	const char *end = rest->p + rest->len;

	while (rest->len > 0) {
		const char *stop = comma(rest->p, end);

		*item = gr_slice_trim(rest->p, (size_t)(stop - rest->p));
		*rest = stop < end ? between(stop + 1, end) : between(end, end);
		if (item->len > 0)
			return true;
	}
	return false;
}

int gr_param_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value)
{
	const char *end = rest->p + rest->len, *p = skip_blanks(rest->p, end), *from;

	if (p < end && *p != ';')
		return GR_HTTP_BAD_VALUE;
	while (p < end && (is_blank(*p) || *p == ';'))
		p++;
	if (p == end) {
		*rest = between(end, end);
		return 0;
	}
	from = p;
	p = token_end(p, end);
	*name = between(from, p);
	if (p == from || p == end || *p != '=')
		return GR_HTTP_BAD_VALUE;
	from = ++p;
	p = p < end && *p == '"' ? quoted_end(p, end) : token_end(p, end);
	if (!p || p == from)
		return GR_HTTP_BAD_VALUE;
	*value = between(from, p);
	*rest = between(p, end);
	return 1;
}

int gr_param_find(struct gr_slice params, const char *wanted, struct gr_slice *value)
{
	struct gr_slice name;
	int rc;

	do
		rc = gr_param_next(&params, &name, value);
	while (rc > 0 && !gr_slice_is(name, wanted));
	return rc;
}

size_t gr_unquote(char *out, struct gr_slice value)
{
	size_t n = 0;

	if (value.len < 2 || value.p[0] != '"') {
		memcpy(out, value.p, value.len);
		return value.len;
	}
	for (size_t i = 1; i + 1 < value.len; i++) {
		if (value.p[i] == '\\' && i + 2 < value.len)
			i++;
		out[n++] = value.p[i];
	}
	return n;
}

int gr_media_parse(struct gr_slice value, struct gr_slice *type, struct gr_slice *params)
{
	const char *end = value.p + value.len, *p = token_end(value.p, end), *from;

	if (p == value.p)
		return GR_HTTP_BAD_VALUE;
	if (p < end && *p == '/') {
		from = ++p;
		p = token_end(p, end);
		if (p == from)
			return GR_HTTP_BAD_VALUE;
	}
	*type = between(value.p, p);
	p = skip_blanks(p, end);
	*params = between(p, end);
	return p == end || *p == ';' ? 0 : GR_HTTP_BAD_VALUE;
}

/* "0", "1", "0.25", "1.000": thousandths, or -1 (RFC 9110 section 12.4.2). */
static int weight(struct gr_slice s)
{
	int n = 0, scale = 1000;

	if (s.len == 0 || s.len > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.len > 1 && s.p[1] != '.'))
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (i == 1)
			continue;
		if (!gr_char_is(s.p[i], GR_CHAR_DIGIT))
			return -1;
		n += (s.p[i] - '0') * scale;
		scale /= 10;
	}
	return n <= 1000 ? n : -1;
}

/* Splits "name;q=0.5"; returns the weight, 1000 without one, -1 if it is malformed. */
static int element(struct gr_slice item, struct gr_slice *name)
{
	const char *end = item.p + item.len, *p = token_end(item.p, end);
	struct gr_slice q, params = between(p, end);
	int rc = gr_param_find(params, "q", &q);

	*name = between(item.p, p);
	return rc > 0 ? weight(q) : rc < 0 ? -1 : 1000;
}

int gr_accept_quality(struct gr_slice list, const char *name)
{
	struct gr_slice item, found;
	int any = -1;

	while (gr_list_next(&list, &item)) {
		int q = element(item, &found);

		if (q < 0)
			continue;
		if (gr_slice_is(found, name))
			return q;
		if (gr_slice_is(found, "*"))
			any = q;
	}
	return any;
}

bool gr_credentials_split(struct gr_slice value, struct gr_slice *scheme, struct gr_slice *rest)
{
	const char *end = value.p + value.len, *p = token_end(value.p, end);

	if (p == value.p || (p < end && !is_blank(*p)))
		return false;
	*scheme = between(value.p, p);
	*rest = gr_slice_trim(p, (size_t)(end - p));
	return true;
}

bool gr_basic_split(struct gr_slice decoded, struct gr_slice *user, struct gr_slice *password)
{
	const char *colon = memchr(decoded.p, ':', decoded.len);

	if (!colon)
		return false;
	*user = between(decoded.p, colon);
	*password = between(colon + 1, decoded.p + decoded.len);
	return true;
}
