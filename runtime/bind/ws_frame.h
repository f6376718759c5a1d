/* SPDX-License-Identifier: MIT */
/* Frames of WebSocket (RFC 6455 section 5), made and parsed by libwslay, which is loaded at the first use. */
#ifndef GR_BIND_WS_FRAME_H
#define GR_BIND_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wslay_frame_context;

enum {
	GR_WS_HEAD_MAX = 14,     /* bytes of a frame before its payload */
	GR_WS_CONTROL_MAX = 125, /* bytes of a control frame's payload */
	GR_WS_RSV1 = 4,          /* of the reserved bits: the message is compressed (RFC 7692) */
};

enum gr_ws_opcode {
	GR_WS_CONTINUATION = 0,
	GR_WS_TEXT = 1,
	GR_WS_BINARY = 2,
	GR_WS_CLOSE = 8,
	GR_WS_PING = 9,
	GR_WS_PONG = 10,
};

/* Loads the library. Returns NULL, or why that is not possible. Idempotent. */
const char *gr_ws_load(void);

/* One direction that is read. All zero at the beginning; between two frames it owns nothing. */
struct gr_ws_parser {
	struct wslay_frame_context *ctx; /* while a frame is under way */
	uint64_t left;                   /* bytes of its payload to come */
};

/* Some payload of one frame. The bytes are valid until the next call for any parser. */
struct gr_ws_piece {
	const char *data;
	size_t len;
	uint64_t total; /* bytes of the frame's payload */
	uint8_t opcode; /* possibly none of enum gr_ws_opcode */
	uint8_t rsv;    /* the three reserved bits */
	bool fin, masked;
	bool first, last; /* piece of the frame */
};

/* Parses the next unread bytes. Returns how many were taken, with *piece filled; 0 = more are needed, and none was taken;
 * GR_PROTOCOL for lengths and control frames that cannot be, or -ENOMEM. */
ssize_t gr_ws_parse(struct gr_ws_parser *parser, const char *p, size_t n, struct gr_ws_piece *piece);

void gr_ws_parser_free(struct gr_ws_parser *parser);

/* Writes a whole frame's head to `head`, and returns its length. With a mask the masked payload goes to `masked`, which has
 * room for `len` bytes; NULL: unmasked. `rsv`: the reserved bits. Returns a negative errno when there is no randomness, or -ENOMEM. */
ssize_t gr_ws_frame(uint8_t opcode, uint8_t rsv, const char *p, size_t len, char *head, char *masked);

#endif
