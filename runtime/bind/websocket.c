/* SPDX-License-Identifier: MIT */
/* WebSockets: see websocket.h. */
#include "bind/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hub.h"

enum {
	DRAIN_PIECE = 64 << 10,
	DRAIN_MAX = 4 << 20, /* bytes of a peer that broke the rules and goes on sending */
};

void gr_ws_open(struct gr_ws *ws, struct gr_stream *s, bool client)
{
	memset(ws, 0, sizeof(*ws));
	ws->stream = s;
	gr_ws_in_init(&ws->in, client);
	ws->timeout = ws->close_timeout = ws->ping_interval = ws->ping_timeout = INFINITY;
}

void gr_ws_free(struct gr_ws *ws)
{
	gr_ws_in_free(&ws->in);
	gr_ws_deflate_free(&ws->deflate);
}

static double earlier(double a, double b)
{
	return a < b ? a : b;
}

/* ---- Waiting for one another ---- */

/* Lives in the heap. */
struct gr_ws_waiter {
	struct gr_green *green;
	struct gr_ws_waiter *next;
};

static void wake_waiters(struct gr_ws *ws)
{
	for (const struct gr_ws_waiter *w = ws->waiters; w; w = w->next)
		gr_wake(w->green, 0);
}

static void forget_waiter(struct gr_ws *ws, struct gr_ws_waiter *w)
{
	struct gr_ws_waiter **link = &ws->waiters;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	free(w);
}

/* Waits until the thread that reads has met the end, or does not read any more. */
static int wait_for_reader(struct gr_ws *ws, double until)
{
	struct gr_ws_waiter *w = malloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return -ENOMEM;
	*w = (struct gr_ws_waiter){gr_current, ws->waiters};
	ws->waiters = w;
	rc = gr_wait(until, "websocket (its end)");
	forget_waiter(ws, w);
	return rc;
}

/* ---- The end ---- */

/* Nothing is sent or received any more. */
static void end(struct gr_ws *ws, int code)
{
	if (ws->in.close_code == 0)
		ws->in.close_code = code;
	if (!ws->ended)
		gr_stream_close(ws->stream);
	ws->ended = true;
	gr_ws_free(ws);
	wake_waiters(ws);
}

/* ---- Sending ---- */

static void free_bytes(char **p)
{
	free(*p);
}

static int send_frame(struct gr_ws *ws, uint8_t opcode, uint8_t rsv, const char *p, size_t len, double until)
{
	char head[GR_WS_HEAD_MAX],
		*masked __attribute__((cleanup(free_bytes))) = ws->in.client ? malloc(len + 1) : NULL;
	struct iovec iov[2];
	ssize_t n;
	size_t sent = 0;
	int rc;

	if (ws->in.client && masked == NULL)
		return -ENOMEM;
	n = gr_ws_frame(opcode, rsv, p, len, head, masked);
	if (n < 0)
		return (int)n;
	iov[0] = (struct iovec){head, (size_t)n};
	iov[1] = (struct iovec){masked ? masked : (char *)p, len};
	rc = gr_stream_writev(ws->stream, iov, len > 0 ? 2 : 1, until, &sent);
	/* Behind half a frame nothing else can be sent. */
	if (rc < 0 && (sent > 0 || ws->stream->unsent || ws->stream->fd < 0))
		end(ws, GR_WS_ABNORMAL);
	return rc;
}

static int send_compressed(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len, double until)
{
	char *packed __attribute__((cleanup(free_bytes))) = NULL;
	size_t n;
	int rc = gr_ws_deflate(&ws->deflate, p, len, &packed, &n);

	if (rc < 0)
		return rc;
	rc = send_frame(ws, opcode, GR_WS_RSV1, packed, n, until);
	/* The peer must not be referred to what it has not got. */
	if (rc < 0)
		gr_ws_deflate_free(&ws->deflate);
	return rc;
}

static bool is_worth_compressing(const struct gr_ws *ws, uint8_t opcode, size_t len)
{
	return ws->deflate.bits > 0 && (opcode == GR_WS_TEXT || opcode == GR_WS_BINARY) && len > 0 &&
	       len >= ws->deflate.threshold && len <= UINT32_MAX;
}

static bool is_connection_error(int rc)
{
	return rc == -EPIPE || rc == -ECONNRESET || rc == GR_CLOSED;
}

/* After sending a control frame: whether it is due nevertheless. */
static bool is_still_due(const struct gr_ws *ws, int rc)
{
	return rc < 0 && !is_connection_error(rc) && !ws->ended;
}

static int send_pong(struct gr_ws *ws, double until)
{
	char note[GR_WS_CONTROL_MAX];
	size_t len = ws->in.note_len;
	int rc;

	memcpy(note, ws->in.note, len);
	ws->pong_due = false;
	rc = send_frame(ws, GR_WS_PONG, 0, note, len, until);
	/* Another ping may have come meanwhile. */
	ws->pong_due = ws->pong_due || is_still_due(ws, rc);
	return rc;
}

static int send_ping(struct gr_ws *ws, double until)
{
	int rc = send_frame(ws, GR_WS_PING, 0, "", 0, until);

	ws->ping_due = is_still_due(ws, rc);
	if (rc == 0)
		ws->look_at = gr_until(ws->ping_timeout);
	return rc;
}

/* In one's turn to write: the control frames that are due. */
static int send_due(struct gr_ws *ws, double until)
{
	int rc = 0;

	if (ws->pong_due && !ws->close_sent)
		rc = send_pong(ws, until);
	if (rc == 0 && ws->ping_due && !ws->close_sent && !ws->ended)
		rc = send_ping(ws, until);
	return rc;
}

/* In one's turn to write. */
static int send_now(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len, double until)
{
	if (is_worth_compressing(ws, opcode, len))
		return send_compressed(ws, opcode, p, len, until);
	return send_frame(ws, opcode, 0, p, len, until);
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
		rc = send_now(ws, opcode, p, len, until);
		if (rc == 0)
			send_due(ws, until);
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

/* ---- Receiving ---- */

/* For gr_stream_scan. The reason of a close frame takes the place of what a ping said. */
static ssize_t scan_frames(void *user, const char *p, size_t n)
{
	struct gr_ws *ws = user;
	size_t used = gr_ws_in_take(&ws->in, p, n, &ws->event);

	if (ws->event == GR_WS_EVENT_PING)
		ws->pong_due = true;
	else if (ws->event == GR_WS_EVENT_CLOSE)
		ws->pong_due = false;
	return (ssize_t)used;
}

/* Reads until something is complete. Returns an enum gr_ws_event or an error. */
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
			ws->look_at = gr_until(ws->ping_interval);
			ws->pinged = ws->ping_due = false;
		}
	} while (n > 0 && ws->event == GR_WS_EVENT_NONE && !ws->ended);
	if (ws->ended || n == 0)
		return GR_CLOSED;
	return n < 0 ? (int)n : (int)ws->event;
}

/* Sends the control frames that are due. When another thread writes it does that after its message, so that two sides that
 * send each other much never wait for one another. A peer that takes nothing for so long is gone. */
static int answer(struct gr_ws *ws, double until)
{
	double limit = earlier(until, gr_until(ws->timeout));
	int rc;

	if (!(ws->pong_due || ws->ping_due) || ws->stream->writing)
		return 0;
	rc = gr_stream_begin_write(ws->stream, limit);
	if (rc == 0) {
		rc = send_due(ws, limit);
		gr_stream_end_write(ws->stream);
	}
	if (rc == GR_TIMEOUT && gr_now() < until)
		end(ws, GR_WS_ABNORMAL);
	if (ws->ended)
		return GR_CLOSED;
	return is_connection_error(rc) ? 0 : rc;
}

/* A ping was due all the time behind a message of which the peer took more. */
static bool is_slow(const struct gr_ws *ws)
{
	return ws->ping_due && ws->stream->sent != ws->sent_before;
}

/* After a silence: asks for a sign of life, or gives up. Returns 0 or an error. */
static int ask(struct gr_ws *ws)
{
	int rc;

	if (ws->pinged && !is_slow(ws)) {
		end(ws, GR_WS_ABNORMAL);
		return GR_CLOSED;
	}
	ws->pinged = ws->ping_due = true;
	ws->sent_before = ws->stream->sent;
	ws->look_at = gr_until(ws->ping_timeout);
	rc = answer(ws, ws->look_at);
	return rc == GR_TIMEOUT ? 0 : rc;
}

/* As next_event, and looks after a peer that is silent. */
static int await_event(struct gr_ws *ws, double until)
{
	for (;;) {
		double due = ws->look_at;
		int rc = next_event(ws, earlier(until, due));

		if (rc != GR_TIMEOUT || due > until)
			return rc;
		/* Bytes of half a frame are a sign of life too. */
		if (ws->look_at > due)
			continue;
		rc = gr_now() < due ? 0 : ask(ws);
		if (rc < 0 && rc != GR_CLOSED)
			return rc;
		if (ws->ended)
			return GR_CLOSED;
	}
}

/* Lets the peer read our close frame: closing with bytes unread would make the kernel throw it away. */
static void drain(struct gr_ws *ws, double until)
{
	size_t left = DRAIN_MAX;
	const char *p;
	ssize_t n;

	gr_stream_shutdown(ws->stream, SHUT_WR);
	do {
		n = gr_stream_recv(ws->stream, DRAIN_PIECE, until, &p);
		gr_stream_done(ws->stream);
		left -= n > 0 ? (size_t)n : 0;
	} while (n > 0 && left > DRAIN_PIECE);
}

/* Tells the peer what it did wrong, and ends. */
static int break_off(struct gr_ws *ws)
{
	double until = gr_until(ws->close_timeout);

	if (send_close(ws, ws->in.close_code, ws->in.problem, strlen(ws->in.problem), until) == 0)
		drain(ws, until);
	end(ws, ws->in.close_code);
	return ws->in.close_code == GR_WS_TOO_BIG ? GR_TOO_LARGE : GR_PROTOCOL;
}

/* The peer's close frame has come: answers it. */
static int closed_by_peer(struct gr_ws *ws)
{
	int code = ws->in.close_code == GR_WS_NO_CODE ? 0 : ws->in.close_code;

	send_close(ws, code, "", 0, gr_until(ws->close_timeout));
	end(ws, ws->in.close_code);
	return GR_CLOSED;
}

static int handle(struct gr_ws *ws, int event, double until)
{
	switch (event) {
	case GR_WS_EVENT_MESSAGE:
		return ws->in.kind;
	case GR_WS_EVENT_PING:
		return answer(ws, until);
	case GR_WS_EVENT_FAILURE:
		return break_off(ws);
	case GR_WS_EVENT_CLOSE:
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
	int rc = answer(ws, until);

	if (ws->look_at == 0)
		ws->look_at = gr_until(ws->ping_interval);
	while (rc == 0)
		rc = handle(ws, await_event(ws, until), until);
	if (rc < 0 && is_fatal(rc) && !ws->ended)
		end(ws, GR_WS_ABNORMAL);
	return is_connection_error(rc) || rc == GR_TRUNCATED ? GR_CLOSED : rc;
}

int gr_ws_recv(struct gr_ws *ws, double until)
{
	int rc = 0;

	/* Another thread reads up to the peer's close frame. */
	while (rc == 0 && ws->reading && ws->close_sent && !ws->ended)
		rc = wait_for_reader(ws, until);
	if (ws->ended)
		return GR_CLOSED;
	if (rc < 0 || ws->reading)
		return rc < 0 ? rc : GR_BUSY;
	ws->reading = true;
	rc = receive(ws, until);
	ws->reading = false;
	wake_waiters(ws);
	return rc;
}

/* ---- Closing ---- */

static int await_close(struct gr_ws *ws, double until)
{
	int rc = 0;

	while (!ws->ended && rc >= 0) {
		rc = ws->reading ? wait_for_reader(ws, until) : gr_ws_recv(ws, until);
		if (rc > 0)
			gr_ws_in_drop(&ws->in);
	}
	return ws->ended ? 0 : rc;
}

/* What became of it. */
static int outcome(const struct gr_ws *ws)
{
	return ws->in.problem || ws->in.close_code == GR_WS_ABNORMAL ? GR_CLOSED : 0;
}

/* Another thread closes it. */
static int wait_for_closer(struct gr_ws *ws, double until)
{
	int rc = 0;

	while (!ws->ended && rc == 0)
		rc = wait_for_reader(ws, until);
	return ws->ended ? outcome(ws) : rc;
}

int gr_ws_close(struct gr_ws *ws, int code, const char *reason, size_t len)
{
	double until = gr_until(ws->close_timeout);
	int rc;

	if (ws->closing || ws->ended)
		return wait_for_closer(ws, until);
	ws->closing = true;
	rc = send_close(ws, code, reason, len, until);
	/* The thread that reads may have been first: it had a close frame to answer, or a violation to tell of. */
	if (rc == 0 || (rc == GR_CLOSED && ws->in.close_code))
		rc = await_close(ws, until);
	end(ws, GR_WS_ABNORMAL);
	return rc == 0 ? outcome(ws) : rc;
}
