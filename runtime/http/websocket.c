/* SPDX-License-Identifier: MIT */
/* Keys, and what a handshake must hold. */
#include "http/websocket.h"

#include <stdint.h>
#include <string.h>

#include "http/base64.h"
#include "http/field.h"
#include "http/sha1.h"

/* The last digit before "==" holds two bits more than are needed, which must be 0: encoded again it is the same text. */
bool gr_websocket_key_valid(struct gr_slice key)
{
	char bytes[GR_WEBSOCKET_KEY], again[GR_WEBSOCKET_KEY];

	if (key.len != GR_WEBSOCKET_KEY || gr_base64_decode(bytes, key.p, key.len) != 16)
		return false;
	gr_base64_encode(again, bytes, 16);
	return memcmp(again, key.p, key.len) == 0;
}

void gr_websocket_key(const void *random, char *out)
{
	gr_base64_encode(out, random, 16);
}

void gr_websocket_accept(const char *key, char *out)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[GR_WEBSOCKET_KEY + sizeof(guid)];
	uint8_t hash[GR_SHA1];

	memcpy(text, key, GR_WEBSOCKET_KEY);
	memcpy(text + GR_WEBSOCKET_KEY, guid, sizeof(guid));
	gr_sha1(text, sizeof(text) - 1, hash);
	gr_base64_encode(out, hash, sizeof(hash));
}

/* The value of a field that stands there exactly once. */
static bool single(const struct gr_http_head *h, const char *buf, const char *name, struct gr_slice *value)
{
	size_t len = strlen(name);
	int i = gr_http_find(h, buf, name, len, 0);

	if (i < 0 || gr_http_find(h, buf, name, len, (uint32_t)i + 1) >= 0)
		return false;
	*value = gr_http_value(h, buf, (uint32_t)i);
	return true;
}

static bool lists_websocket(struct gr_slice list)
{
	struct gr_slice item;

	while (gr_list_next(&list, &item))
		if (gr_slice_is(item, "websocket"))
			return true;
	return false;
}

bool gr_websocket_request(const struct gr_http_head *h, const char *buf, struct gr_slice *key)
{
	struct gr_slice version;

	if (h->method != GR_METHOD_GET || !h->upgrade || h->body != GR_BODY_NONE)
		return false;
	return lists_websocket(gr_http_slice(buf, h->protocol)) && single(h, buf, "Sec-WebSocket-Version", &version) &&
	       gr_slice_is(version, "13") && single(h, buf, "Sec-WebSocket-Key", key) && gr_websocket_key_valid(*key);
}

bool gr_websocket_response(const struct gr_http_head *h, const char *buf, const char *key)
{
	char expected[GR_WEBSOCKET_ACCEPT];
	struct gr_slice accept;

	if (h->status != 101 || !h->upgrade || !gr_slice_is(gr_http_slice(buf, h->protocol), "websocket"))
		return false;
	gr_websocket_accept(key, expected);
	return single(h, buf, "Sec-WebSocket-Accept", &accept) && accept.len == sizeof(expected) &&
	       memcmp(accept.p, expected, sizeof(expected)) == 0;
}
