/* SPDX-License-Identifier: MIT */
/* Writing heads. */
#include "http/write.h"

#include <string.h>

#include "http/date.h"
#include "http/field.h"

/* More than the first line without its texts, Date, Connection, the framing and the name of Content-Type take. */
enum {
	OWN_FIELDS = 192,
	REASON_MAX = 40, /* of the standard phrases */
};

/* What the caller's fields say about matters that are decided here. */
struct noted {
	int64_t length; /* -1: not given */
	bool close, date;
	int hosts;
};

/* ---- Checks: all before the first byte is written. ---- */

static int note_connection(struct gr_slice value, struct noted *n)
{
	struct gr_slice item;

	while (gr_list_next(&value, &item))
		n->close |= gr_slice_is(item, "close");
	return 0;
}

static int note_length(struct gr_slice value, struct noted *n)
{
	int64_t length = gr_text_number(value.p, value.len);

	if (length < 0 || n->length >= 0)
		return GR_HTTP_BAD_FRAMING;
	n->length = length;
	return 0;
}

/* Only names of these lengths matter. */
static int note(const struct gr_http_pair *f, struct noted *n)
{
	switch (f->name.len) {
	case sizeof("Date") - 1:
		n->date |= gr_slice_is(f->name, "date");
		n->hosts += gr_slice_is(f->name, "host");
		return 0;
	case sizeof("Connection") - 1:
		return gr_slice_is(f->name, "connection") ? note_connection(f->value, n) : 0;
	case sizeof("Content-Length") - 1:
		return gr_slice_is(f->name, "content-length") ? note_length(f->value, n) : 0;
	case sizeof("Transfer-Encoding") - 1:
		return gr_slice_is(f->name, "transfer-encoding") ? GR_HTTP_BAD_FRAMING : 0;
	default:
		return 0;
	}
}

static bool is_value(struct gr_slice s)
{
	return gr_text_value_end(s.p, s.p + s.len) == s.p + s.len;
}

static int check_fields(const struct gr_http_pair *fields, size_t count, struct noted *n)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		if (fields[i].name.len == 0 || !gr_text_all(fields[i].name.p, fields[i].name.len, GR_CHAR_TOKEN))
			return GR_HTTP_BAD_NAME;
		if (!is_value(fields[i].value))
			return GR_HTTP_BAD_VALUE;
		rc = note(&fields[i], n);
	}
	return rc;
}

/* ---- Writing. ---- */

static char *put(char *to, const char *p, size_t len)
{
	memcpy(to, p, len);
	return to + len;
}

static char *put_slice(char *to, struct gr_slice s)
{
	return put(to, s.p, s.len);
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, int64_t number)
{
	uint64_t n = (uint64_t)number, rest = n;
	char *end = to, *at;

	do
		end++;
	while ((rest /= 10) > 0);
	at = end;
	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	return end;
}

static char *put_field(char *to, const struct gr_http_pair *f)
{
	to = put_slice(to, f->name);
	to = PUT(to, ": ");
	to = put_slice(to, f->value);
	return PUT(to, "\r\n");
}

static char *put_length(char *to, int64_t length)
{
	to = PUT(to, "Content-Length: ");
	return PUT(put_number(to, length), "\r\n");
}

/* Content-Length is written by put_framing; a Connection of "close" or "keep-alive" alone by put_connection. */
static bool is_ours(const struct gr_http_pair *f)
{
	if (f->name.len == sizeof("Content-Length") - 1)
		return gr_slice_is(f->name, "content-length");
	return f->name.len == sizeof("Connection") - 1 && gr_slice_is(f->name, "connection") &&
	       (gr_slice_is(f->value, "close") || gr_slice_is(f->value, "keep-alive"));
}

static char *put_fields(char *to, const struct gr_http_pair *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_ours(&fields[i]))
			to = put_field(to, &fields[i]);
	return to;
}

static size_t fields_size(const struct gr_http_pair *fields, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += fields[i].name.len + fields[i].value.len + 4;
	return n;
}

/* ---- Responses. ---- */

size_t gr_http_response_bound(const struct gr_http_response *r)
{
	return OWN_FIELDS + (r->reason.p ? r->reason.len : REASON_MAX) + r->type.len +
	       fields_size(r->fields, r->nfields);
}

/* Neither body nor framing: RFC 9112 section 6.3. */
static bool is_bare(const struct gr_http_response *r)
{
	return r->status < 200 || r->status == 204 ||
	       (r->method == GR_METHOD_CONNECT && r->status >= 200 && r->status < 300);
}

/* Decides framing and keep-alive. Returns 0 or GR_HTTP_BAD_FRAMING. */
static int decide(struct gr_http_response *r, const struct noted *n)
{
	bool silent = r->method == GR_METHOD_HEAD || r->status == 304;

	if (n->length >= 0 && is_bare(r))
		return GR_HTTP_BAD_FRAMING;
	if (n->length >= 0 && r->length >= 0 && n->length != r->length && !silent)
		return GR_HTTP_BAD_FRAMING;
	if (n->length >= 0)
		r->length = n->length;
	r->keep_alive = r->keep_alive && !n->close;
	if (is_bare(r) || silent)
		r->body = GR_BODY_NONE;
	else if (r->length >= 0)
		r->body = r->length > 0 ? GR_BODY_LENGTH : GR_BODY_NONE;
	else
		r->body = r->minor > 0 ? GR_BODY_CHUNKED : GR_BODY_CLOSE;
	if (r->body == GR_BODY_CLOSE)
		r->keep_alive = false;
	return 0;
}

static char *put_status(char *to, const struct gr_http_response *r)
{
	const char digits[] = {(char)('0' + r->status / 100), (char)('0' + r->status / 10 % 10),
			       (char)('0' + r->status % 10), ' '};
	const char *phrase = gr_http_reason(r->status);

	to = PUT(to, "HTTP/1.1 ");
	to = put(to, digits, sizeof(digits));
	to = r->reason.p ? put_slice(to, r->reason) : put(to, phrase, strlen(phrase));
	return PUT(to, "\r\n");
}

/* 304 names only a length that was asked for: it would be that of the 200. */
static char *put_framing(char *to, const struct gr_http_response *r, const struct noted *n)
{
	if (r->body == GR_BODY_CHUNKED)
		return PUT(to, "Transfer-Encoding: chunked\r\n");
	if (is_bare(r) || r->length < 0 || (r->status == 304 && n->length < 0))
		return to;
	return put_length(to, r->length);
}

static char *put_connection(char *to, const struct gr_http_response *r)
{
	if (r->status < 200)
		return to;
	if (!r->keep_alive)
		return PUT(to, "Connection: close\r\n");
	return r->minor == 0 ? PUT(to, "Connection: keep-alive\r\n") : to;
}

static char *put_type(char *to, struct gr_slice type)
{
	to = PUT(to, "Content-Type: ");
	return PUT(put_slice(to, type), "\r\n");
}

static char *put_date(char *to, const char *date)
{
	to = PUT(to, "Date: ");
	return PUT(put(to, date, GR_HTTP_DATE), "\r\n");
}

/* The part that `struct gr_http_opening` keeps, with the fields. */
static char *put_opening(char *to, const struct gr_http_response *r, const struct noted *n)
{
	to = put_status(to, r);
	to = put_fields(to, r->fields, r->nfields);
	if (r->type.p)
		to = put_type(to, r->type);
	if (r->date && !n->date && r->status >= 200)
		to = put_date(to, r->date);
	return to;
}

static char *put_kept_opening(char *to, const struct gr_http_response *r, const struct noted *n)
{
	struct gr_http_opening *o = r->opening;
	char *end;

	if (o == NULL || r->nfields > 0 || r->reason.p)
		return put_opening(to, r, n);
	if (o->len > 0 && o->status == r->status && o->type == r->type.p)
		return put(to, o->text, o->len);
	end = put_opening(to, r, n);
	o->len = (size_t)(end - to) <= sizeof(o->text) ? (size_t)(end - to) : 0;
	o->status = r->status;
	o->type = r->type.p;
	memcpy(o->text, to, o->len);
	return end;
}

ssize_t gr_http_write_response(struct gr_http_response *r, char *buf, size_t size)
{
	struct noted n = {.length = -1};
	char *to;
	int rc;

	if (r->status < 100 || r->status > 999 || (r->reason.p && !is_value(r->reason)))
		return GR_HTTP_BAD_STATUS;
	rc = check_fields(r->fields, r->nfields, &n);
	if (rc < 0)
		return rc;
	if (size < gr_http_response_bound(r))
		return GR_HTTP_NO_SPACE;
	rc = decide(r, &n);
	if (rc < 0)
		return rc;
	to = put_kept_opening(buf, r, &n);
	to = put_framing(to, r, &n);
	to = put_connection(to, r);
	return PUT(to, "\r\n") - buf;
}

size_t gr_http_write_usual(const struct gr_http_opening *o, int64_t length, char *buf)
{
	char *to = put_length(put(buf, o->text, o->len), length);

	return (size_t)(PUT(to, "\r\n") - buf);
}

/* ---- Requests. ---- */

size_t gr_http_request_bound(const struct gr_http_request *r)
{
	return OWN_FIELDS + r->method.len + r->target.len + r->host.len + fields_size(r->fields, r->nfields);
}

static int check_request(const struct gr_http_request *r, struct noted *n)
{
	int rc;

	if (r->method.len == 0 || !gr_text_all(r->method.p, r->method.len, GR_CHAR_TOKEN))
		return GR_HTTP_BAD_NAME;
	if (r->target.len == 0 || !gr_text_all(r->target.p, r->target.len, GR_CHAR_TARGET))
		return GR_HTTP_BAD_TARGET;
	if (!gr_http_host_valid(r->host.p, r->host.len))
		return GR_HTTP_BAD_HOST;
	rc = check_fields(r->fields, r->nfields, n);
	return rc < 0 ? rc : n->hosts > 1 ? GR_HTTP_BAD_HOST : 0;
}

/* RFC 9110 section 8.6: a method whose content means something says so even if there is none. */
static bool names_zero(const struct gr_http_request *r)
{
	enum gr_http_method method = gr_http_method(r->method.p, r->method.len);

	return method == GR_METHOD_POST || method == GR_METHOD_PUT || method == GR_METHOD_PATCH;
}

static int decide_request(struct gr_http_request *r, const struct noted *n)
{
	if (n->length >= 0 && r->length >= 0 && n->length != r->length)
		return GR_HTTP_BAD_FRAMING;
	if (n->length >= 0)
		r->length = n->length;
	r->keep_alive = r->keep_alive && !n->close;
	r->body = r->length > 0 ? GR_BODY_LENGTH : r->length == 0 ? GR_BODY_NONE : GR_BODY_CHUNKED;
	return 0;
}

static char *put_request_line(char *to, const struct gr_http_request *r)
{
	to = put(to, r->method.p, r->method.len);
	*to++ = ' ';
	to = put(to, r->target.p, r->target.len);
	return PUT(to, " HTTP/1.1\r\n");
}

ssize_t gr_http_write_request(struct gr_http_request *r, char *buf, size_t size)
{
	struct noted n = {.length = -1};
	char *to = buf;
	int rc = check_request(r, &n);

	if (rc < 0)
		return rc;
	if (size < gr_http_request_bound(r))
		return GR_HTTP_NO_SPACE;
	rc = decide_request(r, &n);
	if (rc < 0)
		return rc;
	to = put_request_line(to, r);
	if (n.hosts == 0)
		to = put_field(to, &(struct gr_http_pair){{"Host", 4}, r->host});
	to = put_fields(to, r->fields, r->nfields);
	if (r->body == GR_BODY_CHUNKED)
		to = PUT(to, "Transfer-Encoding: chunked\r\n");
	else if (r->length > 0 || n.length == 0 || names_zero(r))
		to = put_length(to, r->length);
	if (!r->keep_alive)
		to = PUT(to, "Connection: close\r\n");
	return PUT(to, "\r\n") - buf;
}
