/* SPDX-License-Identifier: MIT */
/* Values of fields: lists, parameters, media types, qualities, credentials (RFC 9110 sections 5.6, 8.3, 11, 12). */
#ifndef GR_HTTP_FIELD_H
#define GR_HTTP_FIELD_H

#include <stdbool.h>
#include <stddef.h>

#include "http/error.h"
#include "http/text.h"

/* Cuts the next element of a comma-separated list off *rest, trimmed; commas in quoted strings do not count, empty
 * elements are skipped. Returns false at the end. */
bool gr_list_next(struct gr_slice *rest, struct gr_slice *item);

/* Cuts the next parameter off *rest, which is empty or begins with ";", as in `; name=value; name="quoted"`. The value
 * may be a quoted string, with its quotes (gr_unquote). Returns 1, 0 at the end, or GR_HTTP_BAD_VALUE. */
int gr_param_next(struct gr_slice *rest, struct gr_slice *name, struct gr_slice *value);

/* Finds a parameter by its name, in any case; the first one counts. Returns as gr_param_next, 0 for none. */
int gr_param_find(struct gr_slice params, const char *wanted, struct gr_slice *value);

/* Copies a token, or a quoted string without quotes and backslashes, to `out`, which has room for value.len bytes.
 * Returns the length. */
size_t gr_unquote(char *out, struct gr_slice value);

/* "type/subtype; params" and "form-data; params" alike: what stands before the first ";", checked to be a token or two
 * with a "/" between, and the parameters for gr_param_next. Returns 0 or GR_HTTP_BAD_VALUE. */
int gr_media_parse(struct gr_slice value, struct gr_slice *type, struct gr_slice *params);

/* How much a client wants `name` by an Accept-Encoding or a field like it, in thousandths: 1-1000, 0 for "no", -1 if
 * neither the name nor "*" is in the list. Elements with a malformed weight do not count. */
int gr_accept_quality(struct gr_slice list, const char *name);

/* Splits "Basic dXNlcjpwYXNz" into scheme and the rest. Returns false without a scheme. */
bool gr_credentials_split(struct gr_slice value, struct gr_slice *scheme, struct gr_slice *rest);

/* Splits decoded Basic credentials at the first ":". Returns false if there is none. */
bool gr_basic_split(struct gr_slice decoded, struct gr_slice *user, struct gr_slice *password);

#endif
