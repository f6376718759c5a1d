/* SPDX-License-Identifier: MIT */
/* Framing and connection handling: RFC 9112 sections 3.2, 6 and 9, and stricter where a lenient reading would let two
 * parties see different messages. */
#include "http/framing.h"

#include <string.h>

/* Bits of gr_http_head.noted. */
enum {
	HOST = 1,
	LENGTH = 2,
	CODING = 4,
	CLOSE = 8,
	KEEP_ALIVE = 16,
	UPGRADE_OPTION = 32, /* in Connection */
	UPGRADE = 64,
	CONTINUE = 128,
};

/* ---- Host. ---- */

static bool port_valid(const char *p, size_t len)
{
	unsigned n = 0;

	while (len > 5 && *p == '0')
		p++, len--;
	if (len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned char)p[i] - (unsigned)'0';

		if (digit > 9)
			return false;
		n = n * 10 + digit;
	}
	return n <= 65535;
}

/* The literal in brackets at p; returns its length with them, or 0. Only its characters are checked. */
static size_t bracketed(const char *p, size_t len)
{
	size_t n = 1;

	while (n < len && (gr_char_is(p[n], GR_CHAR_HEX) || p[n] == ':' || p[n] == '.'))
		n++;
	return n > 2 && n < len && p[n] == ']' ? n + 1 : 0;
}

static size_t name_length(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && gr_char_is(p[n], GR_CHAR_HOST))
		n++;
	return n;
}

bool gr_http_host_valid(const char *p, size_t len)
{
	size_t n;

	if (len == 0)
		return false;
	n = *p == '[' ? bracketed(p, len) : name_length(p, len);
	if (n == 0)
		return false;
	return n == len || (p[n] == ':' && port_valid(p + n + 1, len - n - 1));
}

/* ---- Single fields. ---- */

static struct gr_http_span span(const char *buf, struct gr_slice text)
{
	return (struct gr_http_span){(uint32_t)(text.p - buf), (uint32_t)text.len};
}

static bool first_of(struct gr_http_head *h, unsigned bit)
{
	bool first = !(h->noted & bit);

	h->noted |= bit;
	return first;
}

/* An empty Host says that the target has no authority (RFC 9112 section 3.2). */
static int note_host(struct gr_http_head *h, const char *buf, struct gr_slice text)
{
	if (h->status)
		return 1;
	if (!first_of(h, HOST) || (text.len > 0 && !gr_http_host_valid(text.p, text.len)))
		return GR_HTTP_BAD_HOST;
	if (h->form != GR_FORM_ABSOLUTE && h->form != GR_FORM_AUTHORITY)
		h->host = span(buf, text);
	return 1;
}

static int note_length(struct gr_http_head *h, struct gr_slice text)
{
	if (!first_of(h, LENGTH))
		return GR_HTTP_BAD_LENGTH;
	h->content_length = gr_text_number(text.p, text.len);
	return h->content_length < 0 ? GR_HTTP_BAD_LENGTH : 1;
}

static int note_coding(struct gr_http_head *h, struct gr_slice text)
{
	return first_of(h, CODING) && gr_slice_is(text, "chunked") ? 1 : GR_HTTP_BAD_CODING;
}

static void note_option(struct gr_http_head *h, struct gr_slice option)
{
	if (gr_slice_is(option, "close"))
		h->noted |= CLOSE;
	else if (gr_slice_is(option, "keep-alive"))
		h->noted |= KEEP_ALIVE;
	else if (gr_slice_is(option, "upgrade"))
		h->noted |= UPGRADE_OPTION;
}

static int note_connection(struct gr_http_head *h, struct gr_slice text)
{
	const char *comma;

	while ((comma = memchr(text.p, ',', text.len)) != NULL) {
		note_option(h, gr_slice_trim(text.p, (size_t)(comma - text.p)));
		text.len -= (size_t)(comma + 1 - text.p);
		text.p = comma + 1;
	}
	note_option(h, gr_slice_trim(text.p, text.len));
	return 1;
}

/* A client of HTTP/1.0 does not know about it (RFC 9110 section 10.1.1). */
static int note_expect(struct gr_http_head *h, struct gr_slice text)
{
	if (h->status || h->minor == 0)
		return 1;
	h->noted |= CONTINUE;
	return gr_slice_is(text, "100-continue") ? 1 : GR_HTTP_BAD_EXPECT;
}

static int note_upgrade(struct gr_http_head *h, const char *buf, struct gr_slice text)
{
	h->noted |= UPGRADE;
	h->protocol = span(buf, text);
	return 1;
}

/* Four bytes with the bit of lower case set. */
static inline uint32_t lowered(const char *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x | 0x20202020;
}

/* Whether a token is `lower`, of the same length, 4 or more, and of letters and "-": setting the bit of lower case makes no
 * other byte of a token one of these. */
static inline bool is_name(const char *token, const char *lower, size_t len)
{
	for (size_t i = 0; i + 4 < len; i += 4)
		if (lowered(token + i) != lowered(lower + i))
			return false;
	return lowered(token + len - 4) == lowered(lower + len - 4);
}

int gr_framing_note(struct gr_http_head *h, const char *buf, struct gr_slice name, struct gr_slice value)
{
	switch (name.len) {
	case sizeof("Host") - 1:
		return is_name(name.p, "host", name.len) ? note_host(h, buf, value) : 1;
	case sizeof("Expect") - 1:
		return is_name(name.p, "expect", name.len) ? note_expect(h, value) : 1;
	case sizeof("Upgrade") - 1:
		return is_name(name.p, "upgrade", name.len) ? note_upgrade(h, buf, value) : 1;
	case sizeof("Connection") - 1:
		return is_name(name.p, "connection", name.len) ? note_connection(h, value) : 1;
	case sizeof("Content-Length") - 1:
		return is_name(name.p, "content-length", name.len) ? note_length(h, value) : 1;
	case sizeof("Transfer-Encoding") - 1:
		return is_name(name.p, "transfer-encoding", name.len) ? note_coding(h, value) : 1;
	default:
		return 1;
	}
}

void gr_framing_take(struct gr_http_head *h, const struct gr_http_head *from, uint32_t shift)
{
	h->noted = from->noted;
	h->content_length = from->content_length;
	if ((from->noted & HOST) && h->form != GR_FORM_ABSOLUTE && h->form != GR_FORM_AUTHORITY)
		h->host = (struct gr_http_span){from->host.off + shift, from->host.len};
	if (from->noted & UPGRADE)
		h->protocol = (struct gr_http_span){from->protocol.off + shift, from->protocol.len};
}

/* ---- The whole. ---- */

/* What requests and responses share. Returns 0 or an enum gr_http_error. */
static int decide(struct gr_http_head *h)
{
	if ((h->noted & CODING) && h->minor == 0)
		return GR_HTTP_BAD_CODING;
	if ((h->noted & (CODING | LENGTH)) == (CODING | LENGTH))
		return GR_HTTP_TWO_FRAMINGS;
	h->body = h->noted & CODING ? GR_BODY_CHUNKED : h->content_length > 0 ? GR_BODY_LENGTH : GR_BODY_NONE;
	h->keep_alive = !(h->noted & CLOSE) && (h->minor > 0 || (h->noted & KEEP_ALIVE));
	h->upgrade = h->minor > 0 && (h->noted & UPGRADE_OPTION) && (h->noted & UPGRADE);
	return 0;
}

ssize_t gr_framing_request(struct gr_http_head *h, ssize_t len)
{
	int rc = decide(h);

	if (rc < 0)
		return rc;
	if (h->minor > 0 && !(h->noted & HOST))
		return GR_HTTP_NO_HOST;
	h->want_continue = (h->noted & CONTINUE) && h->body != GR_BODY_NONE;
	return len;
}

/* RFC 9112 section 6.3. */
ssize_t gr_framing_response(struct gr_http_head *h, ssize_t len, enum gr_http_method method)
{
	bool tunnel = method == GR_METHOD_CONNECT && h->status >= 200 && h->status < 300;
	int rc = decide(h);

	if (tunnel) /* neither field means anything then */
		h->body = GR_BODY_NONE;
	else if (rc < 0)
		return rc;
	else if (method == GR_METHOD_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
		h->body = GR_BODY_NONE;
	else if (!(h->noted & (LENGTH | CODING)))
		h->body = GR_BODY_CLOSE;
	if (h->body == GR_BODY_CLOSE)
		h->keep_alive = false;
	h->upgrade = h->upgrade && h->status == 101;
	return len;
}
