/* SPDX-License-Identifier: MIT */
/* Addresses: text such as "tcp://127.0.0.1:80" or "unix:/run/app.sock" to what the kernel takes, and back. */
#ifndef GR_NET_ADDR_H
#define GR_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/error.h"

enum {
	GR_ADDR_WHY = 160,  /* bytes for the message of gr_addr_parse */
	GR_ADDR_TEXT = 160, /* bytes for gr_addr_format: enough for every address */
	GR_ADDR_MAX = 16,   /* addresses of one name that are used */
	GR_ADDR_PATH = sizeof(((struct sockaddr_un *)0)->sun_path) - 1, /* longest unix path or abstract name */
};

enum gr_scheme {
	GR_SCHEME_TCP,
	GR_SCHEME_TLS, /* over TCP */
	GR_SCHEME_UDP,
	GR_SCHEME_UNIX,
	GR_SCHEME_UNIXGRAM,
	GR_SCHEME_FD, /* a descriptor that this process was given */
};

/* An address as written, checked but not resolved. */
struct gr_endpoint {
	enum gr_scheme scheme;
	uint16_t port;  /* tcp, tls, udp; 0 = any free one */
	int fd;         /* fd */
	char name[256]; /* tcp, tls, udp: host without brackets, "" = all interfaces; unix, unixgram: the path, "@name" = abstract */
};

/* An address as the kernel takes it. */
struct gr_addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};

/* Parses "tcp://host:port", "tcp://:port", "tcp://[v6]:port", the same with tls and udp, "unix:/path", "unix:@abstract",
 * the same with unixgram, "fd:3" or a bare "host:port", which means tcp. Returns 0, or GR_BAD_ADDRESS with the reason in `why` (GR_ADDR_WHY bytes). Pure. */
int gr_addr_parse(const char *text, size_t len, struct gr_endpoint *out, char *why);

/* The password in "scheme://user:password@host": where it is and how long, or NULL for none. Messages must not show it. Of
 * what is no URL it takes rather too much. Pure. */
const char *gr_addr_password(const char *text, size_t len, size_t *n);

/* Fills in at most `max` addresses of the endpoint, which is no fd, best first. Of host names it knows only
 * "localhost"; for others use gr_resolve. No host means all interfaces if `passive` (to listen), else this machine. Returns
 * their number (>= 1), GR_NOT_FOUND, or -ENODEV for an unknown IPv6 zone. */
int gr_addr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max);

/* Parses a literal IPv4 or IPv6 address, the latter with an optional zone ("fe80::1%eth0"). Returns 0, GR_BAD_ADDRESS,
 * or -ENODEV for an unknown zone. */
int gr_addr_literal(const char *host, uint16_t port, struct gr_addr *out);

/* Writes the address as gr_addr_parse reads it, NUL-terminated, into GR_ADDR_TEXT bytes; returns the length. IPv4
 * addresses mapped into IPv6 are written as IPv4. An unnamed unix socket is "unix:". Of `scheme` that counts which fits the
 * address's family: TCP, TLS or UDP; UNIX or UNIXGRAM. */
size_t gr_addr_format(const struct gr_addr *addr, enum gr_scheme scheme, char *text);

/* True for the same IP address, zone included, whatever the ports. False for other families. */
bool gr_addr_same_ip(const struct gr_addr *a, const struct gr_addr *b);

#endif
