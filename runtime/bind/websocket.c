/* SPDX-License-Identifier: MIT */
/* WebSockets: see websocket.h. */
#include "bind/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hub.h"

enum {
	NORMAL = 1000,
	PROTOCOL_ERROR = 1002,
	NO_CODE = 1005,
	ABNORMAL = 1006,
	INVALID_TEXT = 1007,
	TOO_BIG = 1009,
	INTERNAL_ERROR = 1011,
};

enum {
	AHEAD = 64 << 10,    /* a message's announced length is believed up to here */
	DRAIN_MAX = 4 << 20, /* bytes of a peer that broke the rules and goes on sending */
};

/* What a piece of a frame has completed. */
enum event {
	NOTHING,
	MESSAGE,
	PING,
	CLOSE,
	FAILURE, /* close_code and problem are set */
};

void gr_ws_open(struct gr_ws *ws, struct gr_stream *s, bool client)
{
	memset(ws, 0, sizeof(*ws));
	ws->stream = s;
	ws->client = client;
	ws->timeout = ws->close_timeout = ws->ping_interval = ws->ping_timeout = INFINITY;
	ws->max_message = SIZE_MAX;
	ws->heard = gr_now();
}

void gr_ws_drop(struct gr_ws *ws)
{
	free(ws->message);
	ws->message = NULL;
	ws->len = ws->cap = 0;
	ws->kind = 0;
}

void gr_ws_free(struct gr_ws *ws)
{
	gr_ws_drop(ws);
	gr_ws_parser_free(&ws->parser);
}

bool gr_ws_code_valid(int code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != NO_CODE && code != ABNORMAL) ||
	       (code >= 3000 && code <= 4999);
}

static double earlier(double a, double b)
{
	return a < b ? a : b;
}

/* ---- The end ---- */

static void wake_closer(struct gr_ws *ws)
{
	if (ws->closer)
		gr_wake(ws->closer, 0);
}

/* Nothing is sent or received any more. */
static void end(struct gr_ws *ws, int code)
{
	if (ws->close_code == 0)
		ws->close_code = code;
	if (!ws->ended)
		gr_stream_close(ws->stream);
	ws->ended = true;
	gr_ws_free(ws);
	wake_closer(ws);
}

/* ---- Sending ---- */

static void free_bytes(char **p)
{
	free(*p);
}

/* In one's turn to write. */
static int send_frame(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len, double until)
{
	char head[GR_WS_HEAD_MAX], *masked __attribute__((cleanup(free_bytes))) = ws->client ? malloc(len + 1) : NULL;
	struct iovec iov[2];
	ssize_t n;
	size_t sent = 0;
	int rc;

	if (ws->client && masked == NULL)
		return -ENOMEM;
	n = gr_ws_frame(opcode, p, len, head, masked);
	if (n < 0)
		return (int)n;
	iov[0] = (struct iovec){head, (size_t)n};
	iov[1] = (struct iovec){masked ? masked : (char *)p, len};
	rc = gr_stream_writev(ws->stream, iov, len > 0 ? 2 : 1, until, &sent);
	/* Behind half a frame nothing else can be sent. */
	if (rc < 0 && (sent > 0 || ws->stream->unsent || ws->stream->fd < 0))
		end(ws, ABNORMAL);
	return rc;
}

static bool is_connection_error(int rc)
{
	return rc == -EPIPE || rc == -ECONNRESET || rc == GR_CLOSED;
}

static int send_until(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len, double until)
{
	int rc = ws->ended ? GR_CLOSED : gr_stream_begin_write(ws->stream, until);

	if (rc < 0)
		return rc;
	if (ws->close_sent || ws->ended) {
		rc = GR_CLOSED;
	} else {
		ws->close_sent = opcode == GR_WS_CLOSE;
		rc = send_frame(ws, opcode, p, len, until);
	}
	gr_stream_end_write(ws->stream);
	return is_connection_error(rc) ? GR_CLOSED : rc;
}

int gr_ws_send(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len)
{
	return send_until(ws, opcode, p, len, gr_until(ws->timeout));
}

static int send_close(struct gr_ws *ws, int code, const char *reason, size_t len, double until)
{
	char body[GR_WS_CONTROL_MAX] = {(char)(code >> 8), (char)code};

	memcpy(body + 2, reason, len);
	return send_until(ws, GR_WS_CLOSE, body, code ? 2 + len : 0, until);
}

/* ---- What comes ---- */

static int fail(struct gr_ws *ws, int code, const char *problem)
{
	ws->close_code = code;
	ws->problem = problem;
	return FAILURE;
}

static bool is_control(uint8_t opcode)
{
	return opcode & 8;
}

/* Looks at the head of a frame. Returns NOTHING or FAILURE. */
static int check_head(struct gr_ws *ws, const struct gr_ws_piece *f)
{
	if (f->rsv)
		return fail(ws, PROTOCOL_ERROR, "reserved bits are set");
	if (f->opcode > GR_WS_PONG || (f->opcode > GR_WS_BINARY && !is_control(f->opcode)))
		return fail(ws, PROTOCOL_ERROR, "unknown opcode");
	if (f->masked == ws->client)
		return fail(ws, PROTOCOL_ERROR, ws->client ? "masked frame of a server" : "unmasked frame of a client");
	if (is_control(f->opcode)) {
		ws->control_len = 0;
		return NOTHING;
	}
	if ((f->opcode == GR_WS_CONTINUATION) != (ws->kind != 0))
		return fail(ws, PROTOCOL_ERROR, ws->kind ? "message inside a message" : "continuation of nothing");
	if (f->total > ws->max_message - ws->len)
		return fail(ws, TOO_BIG, "message too large");
	if (ws->kind == 0)
		ws->kind = f->opcode;
	return NOTHING;
}

/* Makes room for what this frame will bring, as far as it can be believed. */
static int reserve(struct gr_ws *ws, const struct gr_ws_piece *f)
{
	size_t ahead = f->first && f->total < AHEAD ? (size_t)f->total : f->len, cap = ws->len + ahead;
	char *message;

	if (cap <= ws->cap)
		return 0;
	if (ws->cap > 0 && cap < 2 * ws->cap)
		cap = 2 * ws->cap;
	message = realloc(ws->message, cap + 1);
	if (message == NULL)
		return -ENOMEM;
	ws->message = message;
	ws->cap = cap;
	return 0;
}

static int add_data(struct gr_ws *ws, const struct gr_ws_piece *f)
{
	bool complete = f->fin && f->last;

	if (reserve(ws, f) < 0)
		return fail(ws, INTERNAL_ERROR, "not enough memory");
	if (f->len > 0)
		memcpy(ws->message + ws->len, f->data, f->len);
	ws->len += f->len;
	if (ws->kind == GR_WS_TEXT &&
	    (!gr_utf8_add(&ws->utf8, f->data, f->len) || (complete && !gr_utf8_complete(&ws->utf8)))) {
		memset(&ws->utf8, 0, sizeof(ws->utf8));
		return fail(ws, INVALID_TEXT, "text that is not UTF-8");
	}
	return complete ? MESSAGE : NOTHING;
}

static bool is_text(const char *p, size_t len)
{
	struct gr_utf8 u = {0};

	return gr_utf8_add(&u, p, len) && gr_utf8_complete(&u);
}

/* The peer's close frame. */
static int take_close(struct gr_ws *ws)
{
	const char *p = ws->control;
	size_t len = ws->control_len;
	int code = len >= 2 ? (uint8_t)p[0] << 8 | (uint8_t)p[1] : NO_CODE;

	if (len == 1 || (len >= 2 && !gr_ws_code_valid(code)))
		return fail(ws, PROTOCOL_ERROR, "bad close frame");
	if (len > 2 && !is_text(p + 2, len - 2))
		return fail(ws, INVALID_TEXT, "reason that is not UTF-8");
	ws->close_code = code;
	ws->pong_due = false;
	ws->reason_len = len > 2 ? (uint8_t)(len - 2) : 0;
	memcpy(ws->note, p + 2, ws->reason_len);
	return CLOSE;
}

static int take_ping(struct gr_ws *ws)
{
	ws->note_len = ws->control_len;
	memcpy(ws->note, ws->control, ws->control_len);
	ws->pong_due = true;
	return PING;
}

static int add_control(struct gr_ws *ws, const struct gr_ws_piece *f)
{
	if (f->len > 0)
		memcpy(ws->control + ws->control_len, f->data, f->len);
	ws->control_len += (uint8_t)f->len;
	if (!f->last || f->opcode == GR_WS_PONG)
		return NOTHING;
	return f->opcode == GR_WS_PING ? take_ping(ws) : take_close(ws);
}

static int take_piece(struct gr_ws *ws, const struct gr_ws_piece *f)
{
	if (f->first && check_head(ws, f) == FAILURE)
		return FAILURE;
	return is_control(f->opcode) ? add_control(ws, f) : add_data(ws, f);
}

/* For gr_stream_scan: takes frames up to the first one that somebody has to hear of. */
static ssize_t scan_frames(void *user, const char *p, size_t n)
{
	struct gr_ws *ws = user;
	struct gr_ws_piece piece;
	size_t used = 0;
	ssize_t k = 1;

	ws->event = NOTHING;
	while (ws->event == NOTHING) {
		k = gr_ws_parse(&ws->parser, p + used, n - used, &piece);
		if (k <= 0)
			break;
		used += (size_t)k;
		ws->event = take_piece(ws, &piece);
	}
	if (k < 0) {
		ws->event = k == GR_PROTOCOL ? fail(ws, PROTOCOL_ERROR, "malformed frame")
					     : fail(ws, INTERNAL_ERROR, "not enough memory");
		used = n;
	}
	return (ssize_t)used;
}

/* ---- Receiving ---- */

/* Reads until something is complete. Returns an enum event or an error. */
static int next_event(struct gr_ws *ws, double until)
{
	uint64_t before;
	const char *p;
	ssize_t n;

	do {
		before = ws->stream->received;
		n = gr_stream_scan(ws->stream, scan_frames, ws, &until, &p);
		gr_stream_done(ws->stream);
		if (ws->stream->received != before) {
			ws->heard = gr_now();
			ws->pinged = false;
		}
	} while (n > 0 && ws->event == NOTHING && !ws->ended);
	if (ws->ended || n == 0)
		return GR_CLOSED;
	return n < 0 ? (int)n : ws->event;
}

/* After a silence: asks for a sign of life, or gives up. Returns 0 or an error. */
static int ask(struct gr_ws *ws)
{
	int rc;

	if (ws->pinged) {
		end(ws, ABNORMAL);
		return GR_CLOSED;
	}
	ws->pinged = true;
	rc = send_until(ws, GR_WS_PING, "", 0, gr_until(earlier(ws->timeout, ws->ping_timeout)));
	return rc == GR_TIMEOUT ? 0 : rc;
}

/* As next_event, and looks after a peer that is silent. */
static int await_event(struct gr_ws *ws, double until)
{
	for (;;) {
		double due = ws->heard + ws->ping_interval + (ws->pinged ? ws->ping_timeout : 0);
		int rc = next_event(ws, earlier(until, due));

		if (rc != GR_TIMEOUT || due > until)
			return rc;
		/* Bytes of half a frame are a sign of life too. */
		if (due > ws->heard + ws->ping_interval + (ws->pinged ? ws->ping_timeout : 0))
			continue;
		rc = gr_now() < due ? 0 : ask(ws);
		if (rc < 0 && rc != GR_CLOSED)
			return rc;
		if (ws->ended)
			return GR_CLOSED;
	}
}

/* Answers the last ping; later if there is no time for it now. A peer that takes nothing for so long is gone. */
static int answer_ping(struct gr_ws *ws, double until)
{
	char note[GR_WS_CONTROL_MAX];
	size_t len = ws->note_len;
	int rc;

	if (!ws->pong_due)
		return 0;
	memcpy(note, ws->note, len);
	ws->pong_due = false;
	rc = send_until(ws, GR_WS_PONG, note, len, earlier(until, gr_until(ws->timeout)));
	if (rc == GR_TIMEOUT && gr_now() < until)
		end(ws, ABNORMAL);
	ws->pong_due = rc < 0 && rc != GR_CLOSED && !ws->ended;
	if (ws->ended)
		return GR_CLOSED;
	return rc == GR_CLOSED ? 0 : rc;
}

/* Lets the peer read our close frame: closing with bytes unread would make the kernel throw it away. */
static void drain(struct gr_ws *ws, double until)
{
	size_t left = DRAIN_MAX;
	const char *p;
	ssize_t n;

	gr_stream_shutdown(ws->stream, SHUT_WR);
	do {
		n = gr_stream_recv(ws->stream, AHEAD, until, &p);
		gr_stream_done(ws->stream);
		left -= n > 0 ? (size_t)n : 0;
	} while (n > 0 && left > AHEAD);
}

/* Tells the peer what it did wrong, and ends. */
static int break_off(struct gr_ws *ws)
{
	double until = gr_until(ws->close_timeout);

	if (send_close(ws, ws->close_code, ws->problem, strlen(ws->problem), until) == 0)
		drain(ws, until);
	end(ws, ws->close_code);
	return ws->close_code == TOO_BIG ? GR_TOO_LARGE : GR_PROTOCOL;
}

/* The peer's close frame has come: answers it. */
static int closed_by_peer(struct gr_ws *ws)
{
	int code = ws->close_code == NO_CODE ? 0 : ws->close_code;

	send_close(ws, code, "", 0, gr_until(ws->close_timeout));
	end(ws, ws->close_code);
	return GR_CLOSED;
}

static int handle(struct gr_ws *ws, int event, double until)
{
	switch (event) {
	case MESSAGE:
		return ws->kind;
	case PING:
		return answer_ping(ws, until);
	case FAILURE:
		return break_off(ws);
	case CLOSE:
		return closed_by_peer(ws);
	default:
		return event;
	}
}

static bool is_fatal(int rc)
{
	return rc != GR_TIMEOUT && rc != GR_CANCELED && rc != GR_DEADLINE && rc != GR_BUSY && rc != GR_MISUSE;
}

static int receive(struct gr_ws *ws, double until)
{
	int rc = answer_ping(ws, until);

	while (rc == 0)
		rc = handle(ws, await_event(ws, until), until);
	if (rc < 0 && is_fatal(rc) && !ws->ended)
		end(ws, ABNORMAL);
	return is_connection_error(rc) || rc == GR_TRUNCATED ? GR_CLOSED : rc;
}

int gr_ws_recv(struct gr_ws *ws, double until)
{
	int rc;

	if (ws->ended)
		return GR_CLOSED;
	if (ws->reading)
		return ws->close_sent ? GR_CLOSED : GR_BUSY;
	ws->reading = true;
	rc = receive(ws, until);
	ws->reading = false;
	wake_closer(ws);
	return rc;
}

/* ---- Closing ---- */

/* Waits until the thread that reads has met the end, or does not read any more. */
static int wait_for_reader(struct gr_ws *ws, double until)
{
	int rc;

	ws->closer = gr_current;
	rc = gr_wait(until, "websocket.close");
	ws->closer = NULL;
	return rc;
}

static int await_close(struct gr_ws *ws, double until)
{
	int rc = 0;

	while (!ws->ended && rc >= 0) {
		rc = ws->reading ? wait_for_reader(ws, until) : gr_ws_recv(ws, until);
		if (rc > 0)
			gr_ws_drop(ws);
	}
	return ws->ended ? 0 : rc;
}

int gr_ws_close(struct gr_ws *ws, int code, const char *reason, size_t len)
{
	double until = gr_until(ws->close_timeout);
	int rc;

	if (ws->ended)
		return ws->problem || ws->close_code == ABNORMAL ? GR_CLOSED : 0;
	if (ws->close_sent)
		return 0;
	rc = send_close(ws, code, reason, len, until);
	if (rc == 0)
		rc = await_close(ws, until);
	end(ws, ABNORMAL);
	return rc == 0 && (ws->problem || ws->close_code == ABNORMAL) ? GR_CLOSED : rc;
}
