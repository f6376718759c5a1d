/* SPDX-License-Identifier: MIT */
/* libFuzzer target for WebSocket's frames and messages, compressed ones too; `make fuzz` runs it. What comes out must not
 * depend on splits, and what we write must be what we read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bind/libz.h"
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

/* How both sides were set up. The client is who reads. */
struct setup {
	bool client, takeover;
	uint8_t bits; /* 0: no compression */
};

/* Feeds the bytes in steps; what is not used yet is given again at another address. */
static void scan(struct result *r, const struct setup *how, const char *p, size_t len, size_t step)
{
	enum gr_ws_event event = GR_WS_EVENT_NONE;
	struct gr_ws_in in;
	size_t at = 0, have = 0, used;

	r->len = 0;
	gr_ws_in_init(&in, how->client);
	in.max_message = MAX_MESSAGE;
	in.inflate.bits = how->bits;
	in.inflate.takeover = how->takeover;
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

static void check_splits(const struct setup *how, const char *p, size_t len, size_t step)
{
	static struct result whole, parts;

	scan(&whole, how, p, len, len + 1);
	scan(&parts, how, p, len, 1);
	if (whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
	scan(&parts, how, p, len, step);
	if (whole.len != parts.len || memcmp(whole.text, parts.text, whole.len) != 0)
		abort();
}

/* A binary frame of ours, masked or not, comes out as it went in. */
static void check_frame(struct gr_ws_in *in, uint8_t rsv, const char *payload, size_t n, const char *p, size_t len)
{
	char *bytes = malloc(GR_WS_HEAD_MAX + n), head[GR_WS_HEAD_MAX], *body = calloc(1, n + 1);
	bool masked = !in->client;
	ssize_t k = gr_ws_frame(GR_WS_BINARY, rsv, payload, n, head, masked ? body : NULL);
	enum gr_ws_event event;

	if (k < 0)
		abort();
	memcpy(bytes, head, (size_t)k);
	memcpy(bytes + k, masked ? body : payload, n);
	if (gr_ws_in_take(in, bytes, (size_t)k + n, &event) != (size_t)k + n || event != GR_WS_EVENT_MESSAGE ||
	    in->kind != GR_WS_BINARY || in->len != len || (len > 0 && memcmp(in->message, p, len) != 0))
		abort();
	gr_ws_in_drop(in);
	free(bytes);
	free(body);
}

static void check_plain(const struct setup *how, const char *p, size_t len)
{
	struct gr_ws_in in;

	gr_ws_in_init(&in, how->client);
	check_frame(&in, 0, p, len, p, len);
	gr_ws_in_free(&in);
}

/* Three messages: the second one may refer to the first, and the third to neither if the second were lost. */
static void check_compressed(const struct setup *how, const char *p, size_t len)
{
	struct gr_ws_deflate d = {.bits = how->bits > 8 ? how->bits : 9, .level = 6, .takeover = how->takeover};
	struct gr_ws_in in;
	char *packed;
	size_t n;

	gr_ws_in_init(&in, how->client);
	in.inflate.bits = d.bits;
	in.inflate.takeover = how->takeover;
	for (int i = 0; i < 3 && len > 0; i++) {
		if (gr_ws_deflate(&d, p, len, &packed, &n) < 0 || (!how->takeover && d.z))
			abort();
		if (i == 1)
			gr_ws_deflate_free(&d);
		else
			check_frame(&in, GR_WS_RSV1, packed, n, p, len);
		free(packed);
	}
	gr_ws_in_free(&in);
	gr_ws_deflate_free(&d);
}

static void need(const char *problem)
{
	if (problem == NULL)
		return;
	fprintf(stderr, "websocket_fuzz: %s\n", problem);
	exit(1);
}

/* The first byte says how the sides are set up, the second one the steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 2;
	struct setup how;

	need(gr_ws_load());
	need(gr_libz_load());
	if (size < 2 || size > SIZE)
		return 0;
	how = (struct setup){data[0] & 1, data[0] & 2, (data[0] & 4) ? (uint8_t)(8 + (data[0] >> 3) % 8) : 0};
	check_splits(&how, p, size - 2, data[1] + 1U);
	check_plain(&how, p, size - 2);
	check_compressed(&how, p, size - 2);
	return 0;
}
