/* SPDX-License-Identifier: MIT */
/* Parsing Cookie and Set-Cookie, formatting Set-Cookie. */
#include "http/cookie.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct gr_slice without_quotes(struct gr_slice s)
{
	if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"')
		return (struct gr_slice){s.p + 1, s.len - 2};
	return s;
}

bool gr_cookie_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value)
{
	while (rest->len > 0) {
		const char *stop = memchr(rest->p, ';', rest->len);
		size_t used = stop ? (size_t)(stop - rest->p) : rest->len;
		const char *mark = memchr(rest->p, '=', used);
		size_t before = mark ? (size_t)(mark - rest->p) : 0, skip = mark ? before + 1 : 0;

		*name = gr_slice_trim(rest->p, before);
		*value = without_quotes(gr_slice_trim(rest->p + skip, used - skip));
		used += stop ? 1 : 0;
		rest->p += used;
		rest->len -= used;
		if (name->len > 0 || value->len > 0)
			return true;
	}
	return false;
}

/* Writes at most what there is room for; `n` becomes what all of it would take. */
struct out {
	char *buf;
	size_t size, n;
};

static void put(struct out *o, const char *p, size_t len)
{
	if (o->n + len <= o->size)
		memcpy(o->buf + o->n, p, len);
	o->n += len;
}

static void put_text(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_attribute(struct out *o, const char *name, struct gr_slice value)
{
	if (value.len == 0)
		return;
	put_text(o, name);
	put(o, value.p, value.len);
}

/* av-octet: everything but controls and ";". */
static bool is_attribute(struct gr_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!gr_char_is(s.p[i], GR_CHAR_VALUE) || s.p[i] == ';' || s.p[i] == '\t')
			return false;
	return true;
}

static int check(const struct gr_cookie *c)
{
	if (c->name.len == 0 || !gr_text_all(c->name.p, c->name.len, GR_CHAR_TOKEN))
		return GR_HTTP_BAD_NAME;
	if (!gr_text_all(c->value.p, c->value.len, GR_CHAR_COOKIE))
		return GR_HTTP_BAD_VALUE;
	if (!is_attribute(c->domain) || !is_attribute(c->path))
		return GR_HTTP_BAD_VALUE;
	return c->same_site == GR_SAME_SITE_NONE && !c->secure ? GR_HTTP_BAD_VALUE : 0;
}

ssize_t gr_cookie_format(const struct gr_cookie *c, char *buf, size_t size)
{
	static const char *const same_site[] = {"", "; SameSite=Lax", "; SameSite=Strict", "; SameSite=None"};
	struct out o = {buf, size, 0};
	char age[32];
	int rc = check(c);

	if (rc < 0)
		return rc;
	put(&o, c->name.p, c->name.len);
	put_text(&o, "=");
	put(&o, c->value.p, c->value.len);
	put_attribute(&o, "; Domain=", c->domain);
	put_attribute(&o, "; Path=", c->path);
	snprintf(age, sizeof(age), "; Max-Age=%" PRId64, c->max_age);
	put_text(&o, c->max_age >= 0 ? age : "");
	put_text(&o, c->secure ? "; Secure" : "");
	put_text(&o, c->http_only ? "; HttpOnly" : "");
	put_text(&o, same_site[c->same_site]);
	return o.n <= size ? (ssize_t)o.n : GR_HTTP_NO_SPACE;
}
