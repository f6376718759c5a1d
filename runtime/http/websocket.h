/* SPDX-License-Identifier: MIT */
/* The WebSocket handshake (RFC 6455 section 4). */
#ifndef GR_HTTP_WEBSOCKET_H
#define GR_HTTP_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "http/http1.h"
#include "http/text.h"

enum {
	GR_WEBSOCKET_KEY = 24,    /* bytes of Sec-WebSocket-Key: base64 of 16 bytes */
	GR_WEBSOCKET_ACCEPT = 28, /* bytes of Sec-WebSocket-Accept */
};

/* True for base64 of 16 bytes. */
bool gr_websocket_key_valid(struct gr_slice key);

/* Writes what answers a valid key: GR_WEBSOCKET_ACCEPT bytes, no NUL. */
void gr_websocket_accept(const char *key, char *out);

/* Writes GR_WEBSOCKET_KEY bytes for 16 random ones. */
void gr_websocket_key(const void *random, char *out);

/* True if a parsed request asks for version 13 and nothing is missing; *key is its key then. A request with
 * another version is answered with 426 and Sec-WebSocket-Version: 13 by who finds gr_http_head.upgrade set. */
bool gr_websocket_request(const struct gr_http_head *h, const char *buf, struct gr_slice *key);

/* True if a parsed response accepts the upgrade that was asked for with `key` (GR_WEBSOCKET_KEY bytes). Which
 * extensions and subprotocol it names is for the caller to check. */
bool gr_websocket_response(const struct gr_http_head *h, const char *buf, const char *key);

#endif
