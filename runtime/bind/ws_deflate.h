/* SPDX-License-Identifier: MIT */
/* Compressed messages of WebSocket (RFC 7692, permessage-deflate), by libz. No I/O. */
#ifndef GR_BIND_WS_DEFLATE_H
#define GR_BIND_WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct z_stream_s;

/* One direction that is sent. All zero: not compressed. Holds memory only from the first message on, and only if the
 * context is taken over: about 2^(bits + 3) bytes and 6 KiB. gr_libz_load() must have succeeded. */
struct gr_ws_deflate {
	struct z_stream_s *z; /* NULL = the next message begins without context */
	uint8_t bits;         /* of the window, 9-15; 0 = messages are not compressed */
	uint8_t level;        /* 0-9 */
	bool takeover;        /* a message may refer to those before it */
	size_t threshold;     /* bytes; shorter messages are not compressed */
};

/* Compresses a message of at least one and at most UINT32_MAX bytes. *out is on the heap. Returns 0 or -ENOMEM. */
int gr_ws_deflate(struct gr_ws_deflate *d, const char *p, size_t len, char **out, size_t *out_len);

/* Gives back all memory. The next message refers to none before it: for a message that was compressed but not sent. */
void gr_ws_deflate_free(struct gr_ws_deflate *d);

/* One direction that is read, in the same way: about 2^bits bytes and 7 KiB. */
struct gr_ws_inflate {
	struct z_stream_s *z; /* NULL = no context */
	uint8_t bits;         /* 8-15; 0 = compressed messages are not allowed */
	bool takeover;
	bool fed;     /* something of the message under way has come */
	bool between; /* … and it ends between two blocks */
};

/* Gives the next bytes of a message; NULL: there are no more. They must stay where they are until gr_ws_inflate_next has
 * returned 0 or less. Returns 0 or -ENOMEM. */
int gr_ws_inflate_give(struct gr_ws_inflate *i, const char *p, size_t len);

/* Uncompresses some of what was given. Returns how many bytes came out, *out is valid until the next call for any WebSocket;
 * 0 = that was all; GR_PROTOCOL for malformed data, or -ENOMEM. */
ssize_t gr_ws_inflate_next(struct gr_ws_inflate *i, const char **out);

/* After the last piece of a message. Returns false if the compressed data stops in the middle of something. */
bool gr_ws_inflate_end(struct gr_ws_inflate *i);

/* Gives back all memory. */
void gr_ws_inflate_free(struct gr_ws_inflate *i);

#endif
