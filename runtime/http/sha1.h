/* SPDX-License-Identifier: MIT */
/* SHA-1 (FIPS 180-4), which the WebSocket handshake is built on; of no use for security. */
#ifndef GR_HTTP_SHA1_H
#define GR_HTTP_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { GR_SHA1 = 20 };

/* Hashes `len` bytes, at most 119, which fit into two blocks with their padding. */
void gr_sha1(const void *p, size_t len, uint8_t out[GR_SHA1]);

#endif
