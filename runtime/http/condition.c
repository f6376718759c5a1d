/* SPDX-License-Identifier: MIT */
/* Ranges, entity tags and dates of conditional requests. */
#include "http/condition.h"

#include <string.h>

#include "http/date.h"
#include "http/field.h"

/* ---- Ranges. ---- */

/* Parses "5-9", "5-" or "-5". Returns 1, 0 if no byte of the body is in it, -1 if malformed. */
static int one_range(struct gr_slice item, int64_t size, struct gr_range *out)
{
	const char *dash = memchr(item.p, '-', item.len);
	size_t before = dash ? (size_t)(dash - item.p) : 0, after = dash ? item.len - before - 1 : 0;
	int64_t first = gr_text_number(item.p, before), last = dash ? gr_text_number(dash + 1, after) : -1;

	if (!dash || (before > 0 && first < 0) || (after > 0 && last < 0) || (before == 0 && after == 0))
		return -1;
	if (before == 0) {
		first = last < size ? size - last : 0;
		last = size - 1;
	} else if (after == 0) {
		last = size - 1;
	} else if (last < first) {
		return -1;
	}
	*out = (struct gr_range){first, last < size ? last : size - 1};
	return out->first <= out->last;
}

int gr_range_parse(struct gr_slice value, int64_t size, struct gr_range *out, int max)
{
	struct gr_slice item;
	int n = 0, seen = 0;

	if (value.len < 6 || !gr_text_same(value.p, "bytes=", 6))
		return 0;
	value.p += 6;
	value.len -= 6;
	while (gr_list_next(&value, &item)) {
		struct gr_range range;
		int rc = one_range(item, size, &range);

		if (rc < 0 || ++seen > max)
			return 0;
		if (rc > 0)
			out[n++] = range;
	}
	return n > 0 ? n : seen > 0 ? GR_RANGE_NONE : 0;
}

/* ---- Entity tags. ---- */

static bool is_weak(struct gr_slice tag)
{
	return tag.len > 2 && tag.p[0] == 'W' && tag.p[1] == '/';
}

static struct gr_slice opaque(struct gr_slice tag)
{
	return is_weak(tag) ? (struct gr_slice){tag.p + 2, tag.len - 2} : tag;
}

static bool same_tag(struct gr_slice a, struct gr_slice b, bool weak)
{
	if (!weak && (is_weak(a) || is_weak(b)))
		return false;
	a = opaque(a);
	b = opaque(b);
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* Cuts a tag off the list. Backslashes mean nothing in it, so a list of quoted strings is something else. */
static bool next_tag(struct gr_slice *rest, struct gr_slice *tag)
{
	const char *p = rest->p, *end = p + rest->len, *from, *quote;

	while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
		p++;
	from = p;
	if (end - p > 2 && p[0] == 'W' && p[1] == '/')
		p += 2;
	quote = p < end && *p == '"' ? memchr(p + 1, '"', (size_t)(end - p - 1)) : NULL;
	if (!quote)
		return false;
	*tag = (struct gr_slice){from, (size_t)(quote + 1 - from)};
	*rest = (struct gr_slice){quote + 1, (size_t)(end - quote - 1)};
	return true;
}

bool gr_etag_match(struct gr_slice list, struct gr_slice etag, bool weak)
{
	struct gr_slice tag;

	if (list.len == 1 && *list.p == '*')
		return true;
	while (etag.p && next_tag(&list, &tag))
		if (same_tag(tag, etag, weak))
			return true;
	return false;
}

/* ---- Conditions. ---- */

bool gr_precondition_failed(struct gr_slice if_match, struct gr_slice if_unmodified_since, struct gr_slice etag,
			    int64_t mtime, int64_t now)
{
	int64_t since;

	if (if_match.p)
		return !gr_etag_match(if_match, etag, false);
	return if_unmodified_since.p &&
	       gr_http_date_parse(if_unmodified_since.p, if_unmodified_since.len, now, &since) && mtime > since;
}

bool gr_not_modified(struct gr_slice if_none_match, struct gr_slice if_modified_since, struct gr_slice etag,
		     int64_t mtime, int64_t now)
{
	int64_t since;

	if (if_none_match.p)
		return gr_etag_match(if_none_match, etag, true);
	return if_modified_since.p && gr_http_date_parse(if_modified_since.p, if_modified_since.len, now, &since) &&
	       mtime <= since;
}

bool gr_if_range(struct gr_slice value, struct gr_slice etag, int64_t mtime, int64_t now)
{
	int64_t date;

	if (value.len > 0 && (*value.p == '"' || is_weak(value)))
		return etag.p && same_tag(value, etag, false);
	return gr_http_date_parse(value.p, value.len, now, &date) && date == mtime;
}
