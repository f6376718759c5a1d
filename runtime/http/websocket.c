/* SPDX-License-Identifier: MIT */
/* Keys, and what a handshake must hold. */
#include "http/websocket.h"

#include <stdint.h>
#include <string.h>

#include "http/field.h"
#include "http/sha1.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64(const uint8_t *p, size_t len, char *out)
{
	for (; len > 0; out += 4) {
		size_t n = len < 3 ? len : 3;
		uint32_t bits = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

		for (size_t i = 0; i < 4; i++)
			out[i] = i <= n ? alphabet[bits >> (18 - 6 * i) & 63] : '=';
		p += n;
		len -= n;
	}
}

/* 16 bytes are 21 full characters, one that holds two bits more, and "==". */
bool gr_websocket_key_valid(struct gr_slice key)
{
	if (key.len != GR_WEBSOCKET_KEY || memcmp(key.p + 22, "==", 2) != 0)
		return false;
	for (int i = 0; i < 22; i++)
		if (key.p[i] == '\0' || !strchr(alphabet, key.p[i]))
			return false;
	return (strchr(alphabet, key.p[21]) - alphabet) % 16 == 0;
}

void gr_websocket_key(const void *random, char *out)
{
	base64(random, 16, out);
}

void gr_websocket_accept(const char *key, char *out)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[GR_WEBSOCKET_KEY + sizeof(guid)];
	uint8_t hash[GR_SHA1];

	memcpy(text, key, GR_WEBSOCKET_KEY);
	memcpy(text + GR_WEBSOCKET_KEY, guid, sizeof(guid));
	gr_sha1(text, sizeof(text) - 1, hash);
	base64(hash, sizeof(hash), out);
}

/* The value of a field that stands there exactly once. */
static bool single(const struct gr_http_head *h, const char *buf, const char *name, struct gr_slice *value)
{
	size_t len = strlen(name);
	int i = gr_http_find(h, buf, name, len, 0);

	if (i < 0 || gr_http_find(h, buf, name, len, (uint32_t)i + 1) >= 0)
		return false;
	*value = gr_http_slice(buf, h->fields[i].value);
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
