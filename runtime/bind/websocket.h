/* SPDX-License-Identifier: MIT */
/* One WebSocket over a stream (RFC 6455): messages, control frames, the closing handshake. Knows no Lua. */
#ifndef GR_BIND_WEBSOCKET_H
#define GR_BIND_WEBSOCKET_H

#include "bind/ws_message.h"
#include "net/stream.h"

/* Times are seconds, INFINITY = none. */
struct gr_ws {
	struct gr_stream *stream;
	double timeout;       /* of each send */
	double close_timeout; /* of the closing handshake */
	double ping_interval; /* after so long a silence the peer is asked for a sign of life … */
	double ping_timeout;  /* … and has so long for it */
	struct gr_ws_deflate deflate;

	/* reading */
	struct gr_ws_in in;
	bool reading;           /* a thread is in a call that reads */
	enum gr_ws_event event; /* what the last bytes have completed */
	bool pong_due;          /* for in.note */
	bool ping_due;          /* the peer is to be asked for a sign of life … */
	bool pinged;            /* … or was since its last bytes came; */
	uint64_t sent_before;   /* so many bytes had gone out then */
	double look_at;         /* when to look after the peer again; 0 before the first call */

	/* the end */
	bool close_sent;
	bool closing;                 /* a thread is in gr_ws_close */
	bool ended;                   /* the connection is closed, or about to be */
	struct gr_ws_waiter *waiters; /* threads that wait for the one that reads */
};

/* Makes a WebSocket of a connection whose handshake is done. The stream must outlive it. Compression is set up in
 * ws->deflate and ws->in.inflate. */
void gr_ws_open(struct gr_ws *ws, struct gr_stream *s, bool client);

/* Gives back its memory; nobody may be inside a call. The stream is left alone. */
void gr_ws_free(struct gr_ws *ws);

/* Sends a whole message or control frame; those of several threads follow one another. Returns 0; GR_CLOSED, also once a
 * close frame has been sent; or a failure of writing, after which the WebSocket has ended if part of it was sent. Parks. */
int gr_ws_send(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len);

/* Waits for a message: its opcode, and its bytes in ws->in, which gr_ws_in_drop frees. Meanwhile answers pings. Returns
 * GR_CLOSED at the end, which is waited for while another thread closes; GR_PROTOCOL or GR_TOO_LARGE, with in.problem set,
 * when the peer broke the rules, which ends the WebSocket; GR_BUSY: another thread reads; or a failure of waiting, after
 * which reading can go on. Parks. */
int gr_ws_recv(struct gr_ws *ws, double until);

/* The closing handshake: sends a close frame, unless that was done, and waits for the peer's, at most close_timeout; drops
 * messages that still come, unless another thread receives them. Then closes the connection, whatever happened. Returns 0
 * when both frames were exchanged, GR_CLOSED when the connection ended otherwise, or a failure of waiting. While another
 * thread is at it, only waits for that. code 0: a frame without code. Parks. */
int gr_ws_close(struct gr_ws *ws, int code, const char *reason, size_t len);

#endif
