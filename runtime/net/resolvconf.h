/* SPDX-License-Identifier: MIT */
/* resolv.conf(5): which DNS servers to ask, and how. Pure. */
#ifndef GR_NET_RESOLVCONF_H
#define GR_NET_RESOLVCONF_H

#include "net/addr.h"

enum {
	GR_RESOLV_SERVERS = 8, /* further ones are ignored */
	GR_RESOLV_SEARCH = 16, /* likewise */
};

/* Whom to ask. A try asks the servers one after the other, `timeout` seconds in all, and answers that come late still
 * count; so the whole takes at most timeout * tries. */
struct gr_resolv_how {
	int nservers;
	struct gr_addr servers[GR_RESOLV_SERVERS];
	double timeout; /* seconds, 2 by default */
	int tries;      /* 2 by default */
	bool rotate;    /* begin with another server each time */
};

struct gr_resolv_conf {
	struct gr_resolv_how how;
	int nsearch;
	char search[GR_RESOLV_SEARCH][256]; /* without dots at the ends; "" is the root */
	int ndots;                          /* names with so many dots are tried as they are first; 1 by default */
};

/* The defaults: no server, no search list. */
void gr_resolv_conf_init(struct gr_resolv_conf *c);

/* Adds what a file, or one line of it, says. Lines and words that make no sense are skipped. Numbers are limited as in
 * glibc: ndots 15, timeout 30, attempts 5. */
void gr_resolv_conf_parse(struct gr_resolv_conf *c, const char *text, size_t len);

/* Replaces the search list by the words of this text. */
void gr_resolv_conf_search(struct gr_resolv_conf *c, const char *text, size_t len);

/* Adds a domain to it. */
void gr_resolv_conf_add_search(struct gr_resolv_conf *c, const char *domain);

/* Parses "127.0.0.1", "127.0.0.1:53", "::1", "fe80::1%eth0" or "[::1]:53"; the port is 53 if there is none. Returns 0,
 * GR_BAD_ADDRESS, or -ENODEV for an unknown zone. */
int gr_resolv_server(const char *text, struct gr_addr *out);

#endif
