/* SPDX-License-Identifier: MIT */
/* Ranges and conditions of requests (RFC 9110 sections 13 and 14). */
#ifndef GR_HTTP_CONDITION_H
#define GR_HTTP_CONDITION_H

#include <stdbool.h>
#include <stdint.h>

#include "http/text.h"

struct gr_range {
	int64_t first, last; /* both included, inside the body */
};

enum { GR_RANGE_NONE = -1 }; /* no byte of the body was asked for: status 416 */

/* Parses a Range field for a body of `size` bytes. Returns the number of ranges that have bytes, in the order asked
 * for; 0 if the field does not count (another unit, malformed, more than `max` ranges): send the whole; or
 * GR_RANGE_NONE. */
int gr_range_parse(struct gr_slice value, int64_t size, struct gr_range *out, int max);

/* True if the list of If-Match or If-None-Match is "*" or has the tag, which is `"x"` or `W/"x"`. `weak`: W/ does not
 * matter, as in If-None-Match; else two weak ones never match. A malformed list matches up to its fault. */
bool gr_etag_match(struct gr_slice list, struct gr_slice etag, bool weak);

/* True if a request gets 412: If-Match has another tag, or without it the body changed after If-Unmodified-Since. Fields
 * that were not sent have p == NULL. `now` as in gr_http_date_parse. */
bool gr_precondition_failed(struct gr_slice if_match, struct gr_slice if_unmodified_since, struct gr_slice etag,
			    int64_t mtime, int64_t now);

/* True if a GET or HEAD gets 304. Fields that were not sent have p == NULL; `etag` may have none too. If-None-Match
 * wins over If-Modified-Since. `now` as in gr_http_date_parse. */
bool gr_not_modified(struct gr_slice if_none_match, struct gr_slice if_modified_since, struct gr_slice etag,
		     int64_t mtime, int64_t now);

/* True if Range counts: If-Range holds exactly the strong tag or the date. */
bool gr_if_range(struct gr_slice value, struct gr_slice etag, int64_t mtime, int64_t now);

#endif
