/* SPDX-License-Identifier: MIT */
/* libFuzzer target for WebSocket's frames and messages; `make fuzz` runs it. What comes out must not depend on splits, and
 * what we write must be what we read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bind/ws_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE = 4096, MAX_MESSAGE = 20 };

/* All events: their numbers, and what belongs to them. */
struct result {
	size_t len;
	char text[8 * SIZE];
};

static void add(struct result *r, const void *p, size_t n)
{
	if (n > sizeof(r->text) - r->len)
		abort();
	if (n > 0)
		memcpy(r->text + r->len, p, n);
	r->len += n;
}

static bool is_text(const struct gr_ws_in *in)
{
	struct gr_utf8 u = {0};

	return in->len == 0 || (gr_utf8_add(&u, in->message, in->len) && gr_utf8_complete(&u));
}

static void record(struct result *r, struct gr_ws_in *in, enum gr_ws_event event)
{
	unsigned char head[4] = {(unsigned char)event, in->kind, (unsigned char)(in->close_code >> 8),
				 (unsigned char)in->close_code};

	add(r, head, sizeof(head));
	if (event == GR_WS_EVENT_MESSAGE) {
		if (in->len > MAX_MESSAGE || (in->kind == GR_WS_TEXT && !is_text(in)))
			abort();
		add(r, in->message, in->len);
		gr_ws_in_drop(in);
	} else if (event == GR_WS_EVENT_PING) {
		add(r, in->note, in->note_len);
	} else if (event == GR_WS_EVENT_CLOSE) {
		if (in->close_code != GR_WS_NO_CODE && !gr_ws_code_valid(in->close_code))
			abort();
		add(r, in->note, in->reason_len);
	} else if (event == GR_WS_EVENT_FAILURE) {
		add(r, in->problem, strlen(in->problem));
	}
}

static bool is_over(enum gr_ws_event event)
{
	return event == GR_WS_EVENT_CLOSE || event == GR_WS_EVENT_FAILURE;
}

/* Feeds the bytes in steps; what is not used yet is given again at another address. */
static void scan(struct result *r, bool client, const char *p, size_t len, size_t step)
{
	enum gr_ws_event event = GR_WS_EVENT_NONE;
	struct gr_ws_in in;
	size_t at = 0, have = 0, used;

	r->len = 0;
	gr_ws_in_init(&in, client);
	in.max_message = MAX_MESSAGE;
	while (!is_over(event)) {
		char *copy = malloc(have > 0 ? have : 1);

		memcpy(copy, p + at, have);
		used = gr_ws_in_take(&in, copy, have, &event);
		free(copy);
		if (used > have)
			abort();
		if (event != GR_WS_EVENT_NONE)
			record(r, &in, event);
		at += used;
		have -= used;
		if (used > 0 || event != GR_WS_EVENT_NONE)
			continue;
		if (at + have == len)
			break;
		have += len - at - have < step ? len - at - have : step;
	}
	gr_ws_in_free(&in);
}

static void check_splits(bool client, const char *p, size_t len, size_t step)
{
	static struct result whole, parts;

	scan(&whole, client, p, len, len + 1);
	scan(&parts, client, p, len, 1);
	if (whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
	scan(&parts, client, p, len, step);
	if (whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
}

/* A binary frame of ours, masked or not, comes out as it went in. */
static void check_frame(bool masked, const char *p, size_t len)
{
	char *bytes = malloc(GR_WS_HEAD_MAX + len), head[GR_WS_HEAD_MAX], *body = calloc(1, len + 1);
	ssize_t n = gr_ws_frame(GR_WS_BINARY, p, len, head, masked ? body : NULL);
	enum gr_ws_event event;
	struct gr_ws_in in;

	if (n < 0)
		abort();
	memcpy(bytes, head, (size_t)n);
	memcpy(bytes + n, masked ? body : p, len);
	gr_ws_in_init(&in, !masked);
	if (gr_ws_in_take(&in, bytes, (size_t)n + len, &event) != (size_t)n + len || event != GR_WS_EVENT_MESSAGE ||
	    in.kind != GR_WS_BINARY || in.len != len || (len > 0 && memcmp(in.message, p, len) != 0))
		abort();
	gr_ws_in_free(&in);
	free(bytes);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *problem = gr_ws_load(), *p = (const char *)data + 1;

	if (problem) {
		fprintf(stderr, "websocket_fuzz: %s\n", problem);
		exit(1);
	}
	if (size < 1 || size > SIZE)
		return 0;
	check_splits(data[0] & 1, p, size - 1, data[0] / 2U + 1);
	check_frame(data[0] & 1, p, size - 1);
	return 0;
}
