/* SPDX-License-Identifier: MIT */
/* Messages of WebSocket: see ws_message.h. */
#include "bind/ws_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

enum { AHEAD = 64 << 10 }; /* a message's announced length is believed up to here */

void gr_ws_in_init(struct gr_ws_in *in, bool client)
{
	memset(in, 0, sizeof(*in));
	in->client = client;
	in->max_message = SIZE_MAX;
}

void gr_ws_in_drop(struct gr_ws_in *in)
{
	free(in->message);
	in->message = NULL;
	in->len = in->cap = 0;
	in->kind = 0;
}

void gr_ws_in_free(struct gr_ws_in *in)
{
	gr_ws_in_drop(in);
	gr_ws_inflate_free(&in->inflate);
	gr_ws_parser_free(&in->parser);
}

bool gr_ws_code_valid(int code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != GR_WS_NO_CODE && code != GR_WS_ABNORMAL) ||
	       (code >= 3000 && code <= 4999);
}

static enum gr_ws_event fail(struct gr_ws_in *in, int code, const char *problem)
{
	in->close_code = code;
	in->problem = problem;
	return GR_WS_EVENT_FAILURE;
}

static bool is_control(uint8_t opcode)
{
	return opcode & 8;
}

/* The reserved bits that a frame may have: compression is told by the first one of a message (RFC 7692 section 6). */
static uint8_t allowed_bits(const struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	return in->inflate.bits > 0 && (f->opcode == GR_WS_TEXT || f->opcode == GR_WS_BINARY) ? GR_WS_RSV1 : 0;
}

/* A compressed frame's length says nothing about the message's. */
static bool is_too_large(const struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	return !in->compressed && f->total > in->max_message - in->len;
}

/* Looks at the head of a frame. Returns GR_WS_EVENT_NONE or GR_WS_EVENT_FAILURE. */
static enum gr_ws_event check_head(struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	if (f->rsv & ~allowed_bits(in, f))
		return fail(in, GR_WS_PROTOCOL_ERROR, "reserved bits are set");
	if (f->opcode > GR_WS_PONG || (f->opcode > GR_WS_BINARY && !is_control(f->opcode)))
		return fail(in, GR_WS_PROTOCOL_ERROR, "unknown opcode");
	if (f->masked == in->client)
		return fail(in, GR_WS_PROTOCOL_ERROR,
			    in->client ? "masked frame of a server" : "unmasked frame of a client");
	if (is_control(f->opcode)) {
		in->control_len = 0;
		return GR_WS_EVENT_NONE;
	}
	if ((f->opcode == GR_WS_CONTINUATION) != (in->kind != 0))
		return fail(in, GR_WS_PROTOCOL_ERROR,
			    in->kind ? "message inside a message" : "continuation of nothing");
	if (in->kind == 0) {
		in->kind = f->opcode;
		in->compressed = f->rsv != 0;
	}
	return is_too_large(in, f) ? fail(in, GR_WS_TOO_BIG, "message too large") : GR_WS_EVENT_NONE;
}

/* Makes room for so many bytes more. */
static int reserve(struct gr_ws_in *in, size_t ahead)
{
	size_t cap = in->len + ahead;
	char *message;

	if (cap <= in->cap)
		return 0;
	if (in->cap > 0 && cap < 2 * in->cap)
		cap = 2 * in->cap;
	message = realloc(in->message, cap + 1);
	if (message == NULL)
		return -ENOMEM;
	in->message = message;
	in->cap = cap;
	return 0;
}

static enum gr_ws_event fail_text(struct gr_ws_in *in)
{
	memset(&in->utf8, 0, sizeof(in->utf8));
	return fail(in, GR_WS_INVALID_TEXT, "text that is not UTF-8");
}

/* Adds bytes to the message; `ahead`: how many, and perhaps some more, will come. Returns GR_WS_EVENT_NONE or
 * GR_WS_EVENT_FAILURE. */
static enum gr_ws_event append(struct gr_ws_in *in, const char *p, size_t n, size_t ahead)
{
	if (reserve(in, ahead) < 0)
		return fail(in, GR_WS_INTERNAL_ERROR, "not enough memory");
	if (n > 0)
		memcpy(in->message + in->len, p, n);
	in->len += n;
	return in->kind == GR_WS_TEXT && !gr_utf8_add(&in->utf8, p, n) ? fail_text(in) : GR_WS_EVENT_NONE;
}

/* As append(), of bytes that were compressed. Takes what is allowed first, so that the verdict does not depend on how the
 * bytes arrive. */
static enum gr_ws_event append_limited(struct gr_ws_in *in, const char *p, size_t n)
{
	size_t room = in->max_message - in->len, k = n < room ? n : room;
	enum gr_ws_event event = append(in, p, k, k);

	return event == GR_WS_EVENT_NONE && n > room ? fail(in, GR_WS_TOO_BIG, "message too large") : event;
}

/* As append(), of compressed bytes; NULL: their end. Stops at the limit. */
static enum gr_ws_event append_inflated(struct gr_ws_in *in, const char *p, size_t n)
{
	enum gr_ws_event event = GR_WS_EVENT_NONE;
	ssize_t k = gr_ws_inflate_give(&in->inflate, p, n);
	const char *out;

	while (k >= 0 && event == GR_WS_EVENT_NONE && (k = gr_ws_inflate_next(&in->inflate, &out)) > 0)
		event = append_limited(in, out, (size_t)k);
	if (k == -ENOMEM)
		return fail(in, GR_WS_INTERNAL_ERROR, "not enough memory");
	return k < 0 ? fail(in, GR_WS_INVALID_TEXT, "malformed compressed data") : event;
}

static enum gr_ws_event complete_message(struct gr_ws_in *in)
{
	if (in->compressed) {
		if (append_inflated(in, NULL, 0) == GR_WS_EVENT_FAILURE)
			return GR_WS_EVENT_FAILURE;
		if (!gr_ws_inflate_end(&in->inflate))
			return fail(in, GR_WS_INVALID_TEXT, "compressed data ends too early");
	}
	return in->kind == GR_WS_TEXT && !gr_utf8_complete(&in->utf8) ? fail_text(in) : GR_WS_EVENT_MESSAGE;
}

static enum gr_ws_event add_data(struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	enum gr_ws_event event;

	if (in->compressed)
		event = append_inflated(in, f->data ? f->data : "", f->len);
	else
		event = append(in, f->data, f->len, f->first && f->total < AHEAD ? (size_t)f->total : f->len);
	return event == GR_WS_EVENT_NONE && f->fin && f->last ? complete_message(in) : event;
}

static bool is_text(const char *p, size_t len)
{
	struct gr_utf8 u = {0};

	return gr_utf8_add(&u, p, len) && gr_utf8_complete(&u);
}

/* The peer's close frame. */
static enum gr_ws_event take_close(struct gr_ws_in *in)
{
	const char *p = in->control;
	size_t len = in->control_len;
	int code = len >= 2 ? (uint8_t)p[0] << 8 | (uint8_t)p[1] : GR_WS_NO_CODE;

	if (len == 1 || (len >= 2 && !gr_ws_code_valid(code)))
		return fail(in, GR_WS_PROTOCOL_ERROR, "bad close frame");
	if (len > 2 && !is_text(p + 2, len - 2))
		return fail(in, GR_WS_INVALID_TEXT, "reason that is not UTF-8");
	in->close_code = code;
	in->reason_len = len > 2 ? (uint8_t)(len - 2) : 0;
	memcpy(in->note, p + 2, in->reason_len);
	return GR_WS_EVENT_CLOSE;
}

static enum gr_ws_event take_ping(struct gr_ws_in *in)
{
	in->note_len = in->control_len;
	memcpy(in->note, in->control, in->control_len);
	return GR_WS_EVENT_PING;
}

static enum gr_ws_event add_control(struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	if (f->len > 0)
		memcpy(in->control + in->control_len, f->data, f->len);
	in->control_len += (uint8_t)f->len;
	if (!f->last || f->opcode == GR_WS_PONG)
		return GR_WS_EVENT_NONE;
	return f->opcode == GR_WS_PING ? take_ping(in) : take_close(in);
}

static enum gr_ws_event take_piece(struct gr_ws_in *in, const struct gr_ws_piece *f)
{
	if (f->first && check_head(in, f) == GR_WS_EVENT_FAILURE)
		return GR_WS_EVENT_FAILURE;
	return is_control(f->opcode) ? add_control(in, f) : add_data(in, f);
}

size_t gr_ws_in_take(struct gr_ws_in *in, const char *p, size_t n, enum gr_ws_event *event)
{
	struct gr_ws_piece piece;
	size_t used = 0;
	ssize_t k = 1;

	*event = GR_WS_EVENT_NONE;
	while (*event == GR_WS_EVENT_NONE) {
		k = gr_ws_parse(&in->parser, p + used, n - used, &piece);
		if (k <= 0)
			break;
		used += (size_t)k;
		*event = take_piece(in, &piece);
	}
	if (k < 0) {
		*event = k == GR_PROTOCOL ? fail(in, GR_WS_PROTOCOL_ERROR, "malformed frame")
					  : fail(in, GR_WS_INTERNAL_ERROR, "not enough memory");
		used = n;
	}
	return used;
}
