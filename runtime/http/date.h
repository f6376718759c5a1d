/* SPDX-License-Identifier: MIT */
/* Dates of HTTP (RFC 9110 section 5.6.7). */
#ifndef GR_HTTP_DATE_H
#define GR_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_HTTP_DATE = 29 }; /* bytes of "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Writes GR_HTTP_DATE bytes and no NUL. `time` is in seconds since 1970, moved into the years 1-9999. */
void gr_http_date_format(int64_t time, char *out);

/* Parses the preferred format, the obsolete one of RFC 850 (also with four digits of the year, as cookies have it), and
 * asctime's. `now` tells the century of two digits: never more than 50 years ahead. The day of the week is not checked
 * against the date. */
bool gr_http_date_parse(const char *p, size_t len, int64_t now, int64_t *time);

#endif
