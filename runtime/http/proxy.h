/* SPDX-License-Identifier: MIT */
/* Whom a proxy speaks for: HAProxy's PROXY protocol, X-Forwarded-For and Forwarded (RFC 7239). */
#ifndef GR_HTTP_PROXY_H
#define GR_HTTP_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "http/error.h"
#include "http/text.h"
#include "net/addr.h"

enum { GR_PROXY_MAX = 16 + 65535 }; /* bytes that a header can take; version 1 takes at most 107 */

struct gr_proxy {
	bool local; /* the proxy speaks for itself, or does not know for whom: the connection's own addresses count */
	struct gr_addr from, to; /* unless `local`; TCP over IPv4, IPv6 or unix sockets */
};

/* Parses the header of version 1 or 2 that a connection begins with. Returns its length, 0 for incomplete, or
 * GR_HTTP_BAD_PROXY; the result does not depend on where the input was split. Options of version 2 are skipped. */
ssize_t gr_proxy_parse(struct gr_proxy *proxy, const char *p, size_t len);

/* Of the comma-separated list of X-Forwarded-For or Forwarded (several such fields joined by ","), the element that
 * the outermost of `trusted` proxies wrote: the last one for 1. What stands before it was sent by anybody, so the list
 * is cut from its end and quotes in it mean nothing. False if it has fewer elements or this one is empty. An element of
 * Forwarded is "for=…;proto=…": gr_param_find with ";" before it. */
bool gr_forwarded_element(struct gr_slice list, unsigned trusted, struct gr_slice *element);

/* The same for X-Forwarded-For, as an address: *addr has the port if one was given. False if it is no IP address. */
bool gr_forwarded_for(struct gr_slice list, unsigned trusted, struct gr_addr *addr);

/* Parses a node of X-Forwarded-For or of "for=", without quotes: "1.2.3.4", "1.2.3.4:80", "2001:db8::1", "[v6]",
 * "[v6]:80". False for names such as "unknown" and "_hidden". */
bool gr_forwarded_node(struct gr_slice node, struct gr_addr *addr);

#endif
