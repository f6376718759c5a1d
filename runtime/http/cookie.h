/* SPDX-License-Identifier: MIT */
/* Cookies (RFC 6265). */
#ifndef GR_HTTP_COOKIE_H
#define GR_HTTP_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "http/error.h"
#include "http/text.h"

/* Cuts the next "name=value" off the value of Cookie or Set-Cookie, both trimmed, the value without quotes around it.
 * Without "=" the name is empty for Cookie to skip, and value.p is where it stands (Set-Cookie's flags). Returns false
 * at the end. */
bool gr_cookie_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value);

enum gr_same_site {
	GR_SAME_SITE_UNSET,
	GR_SAME_SITE_LAX,
	GR_SAME_SITE_STRICT,
	GR_SAME_SITE_NONE, /* browsers want `secure` with it */
};

struct gr_cookie {
	struct gr_slice name, value;
	struct gr_slice domain, path; /* left out when empty */
	int64_t max_age;              /* seconds; 0 deletes; < 0: left out, a session's cookie */
	bool secure, http_only;
	enum gr_same_site same_site;
};

/* Writes the value of a Set-Cookie field. Returns its length; GR_HTTP_BAD_NAME for a name that is no token;
 * GR_HTTP_BAD_VALUE for a value, domain or path with a character that may not stand there, or SameSite=None without
 * Secure; GR_HTTP_NO_SPACE. Nothing is escaped. */
ssize_t gr_cookie_format(const struct gr_cookie *c, char *buf, size_t size);

#endif
