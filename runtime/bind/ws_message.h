/* SPDX-License-Identifier: MIT */
/* What comes over a WebSocket (RFC 6455 section 5): frames put together to messages, and the rules for them. No I/O. */
#ifndef GR_BIND_WS_MESSAGE_H
#define GR_BIND_WS_MESSAGE_H

#include "bind/ws_deflate.h"
#include "bind/ws_frame.h"
#include "http/utf8.h"

/* Codes of close frames (section 7.4). */
enum gr_ws_code {
	GR_WS_PROTOCOL_ERROR = 1002,
	GR_WS_NO_CODE = 1005,
	GR_WS_ABNORMAL = 1006,
	GR_WS_INVALID_TEXT = 1007,
	GR_WS_TOO_BIG = 1009,
	GR_WS_INTERNAL_ERROR = 1011,
};

/* What a piece of a frame has completed. */
enum gr_ws_event {
	GR_WS_EVENT_NONE,
	GR_WS_EVENT_MESSAGE, /* kind, message and len */
	GR_WS_EVENT_PING,    /* note and note_len */
	GR_WS_EVENT_CLOSE,   /* close_code, and the reason in note */
	GR_WS_EVENT_FAILURE, /* close_code and problem */
};

/* One direction that is read. */
struct gr_ws_in {
	size_t max_message; /* bytes, of a compressed message uncompressed */
	bool client;        /* we are: the frames of a server are not masked */
	struct gr_ws_parser parser;
	struct gr_ws_inflate inflate; /* its bits: whether messages may be compressed */
	struct gr_utf8 utf8;          /* of the text under way */
	uint8_t kind;                 /* GR_WS_TEXT or GR_WS_BINARY: of the message under way; 0 = none */
	bool compressed;              /* it is */
	char *message;                /* heap, NULL while empty; gr_ws_in_drop frees it */
	size_t len, cap;
	uint8_t control_len;
	char control[GR_WS_CONTROL_MAX]; /* payload of a control frame under way */
	uint8_t note_len;
	char note[GR_WS_CONTROL_MAX]; /* of the last ping, or the reason of the peer's close frame … */
	uint8_t reason_len;           /* … which has this length */
	int close_code;               /* 0 = none yet */
	const char *problem;          /* what was wrong with the peer's frames; NULL = nothing */
};

/* Makes one without limits. */
void gr_ws_in_init(struct gr_ws_in *in, bool client);

/* Forgets the message. */
void gr_ws_in_drop(struct gr_ws_in *in);

/* Gives back all memory. */
void gr_ws_in_free(struct gr_ws_in *in);

/* Takes unread bytes up to the first thing that somebody has to hear of, *event. Returns how many; 0 = more are needed.
 * After GR_WS_EVENT_FAILURE and GR_WS_EVENT_CLOSE nothing may follow; a message must be dropped first. */
size_t gr_ws_in_take(struct gr_ws_in *in, const char *p, size_t n, enum gr_ws_event *event);

/* True for codes that may stand in a close frame. */
bool gr_ws_code_valid(int code);

#endif
