/* SPDX-License-Identifier: MIT */
/* One WebSocket over a stream (RFC 6455): messages, control frames, the closing handshake. Knows no Lua. */
#ifndef GR_BIND_WEBSOCKET_H
#define GR_BIND_WEBSOCKET_H

#include "bind/ws_frame.h"
#include "http/utf8.h"
#include "net/stream.h"

/* Times are seconds, INFINITY = none. */
struct gr_ws {
	struct gr_stream *stream;
	double timeout;       /* of each send */
	double close_timeout; /* of the closing handshake */
	double ping_interval; /* after so long a silence the peer is asked for a sign of life … */
	double ping_timeout;  /* … and has so long for it */
	size_t max_message;
	bool client; /* masks what it sends */

	/* reading */
	struct gr_ws_parser parser;
	bool reading;        /* a thread is in a call that reads */
	uint8_t kind;        /* GR_WS_TEXT or GR_WS_BINARY: of the message under way; 0 = none */
	int event;           /* what the last piece has completed */
	struct gr_utf8 utf8; /* of the text, or of the reason of a close frame */
	char *message;       /* heap; NULL between messages */
	size_t len, cap;
	uint8_t control_len;
	char control[GR_WS_CONTROL_MAX]; /* payload of a control frame under way */
	bool pong_due;                   /* … which is to be answered with `note` */
	uint8_t note_len;
	char note[GR_WS_CONTROL_MAX];
	double heard; /* when the peer's last bytes came … */
	bool pinged;  /* … and whether it was asked for more since */

	/* the end */
	bool close_sent;
	bool ended;              /* the connection is closed, or about to be */
	uint8_t reason_len;      /* of the reason, which is in `note` then */
	int close_code;          /* 0 = none yet */
	const char *problem;     /* what was wrong with the peer's frames; NULL = nothing */
	struct gr_green *closer; /* waits in gr_ws_close for the thread that reads */
};

/* Makes a WebSocket of a connection whose handshake is done. The stream must outlive it. */
void gr_ws_open(struct gr_ws *ws, struct gr_stream *s, bool client);

/* Gives back its memory; nobody may be inside a call. The stream is left alone. */
void gr_ws_free(struct gr_ws *ws);

/* Sends a whole message or control frame; those of several threads follow one another. Returns 0; GR_CLOSED, also once a
 * close frame has been sent; or a failure of writing, after which the WebSocket has ended if part of it was sent. Parks. */
int gr_ws_send(struct gr_ws *ws, uint8_t opcode, const char *p, size_t len);

/* Waits for a message: its opcode, and its bytes in ws->message, which gr_ws_drop frees. Meanwhile answers pings. Returns
 * GR_CLOSED at the end; GR_PROTOCOL or GR_TOO_LARGE, with ws->problem set, when the peer broke the rules, which ends the
 * WebSocket; GR_BUSY: another thread reads; or a failure of waiting, after which reading can go on. Parks. */
int gr_ws_recv(struct gr_ws *ws, double until);
void gr_ws_drop(struct gr_ws *ws);

/* The closing handshake: sends a close frame, unless that was done, and waits for the peer's, at most close_timeout; drops
 * messages that still come, unless another thread receives them. Then closes the connection, whatever happened. Returns 0
 * when both frames were exchanged, GR_CLOSED when the connection ended otherwise, or a failure of waiting; 0 at once when
 * another thread is at it. code 0: a frame without code. Parks. */
int gr_ws_close(struct gr_ws *ws, int code, const char *reason, size_t len);

/* True for codes that may stand in a close frame (RFC 6455 section 7.4). */
bool gr_ws_code_valid(int code);

#endif
