/* SPDX-License-Identifier: MIT */
/* Names to addresses, as getaddrinfo(3) does it: hosts file, search list, DNS. */
#ifndef GR_NET_RESOLVE_H
#define GR_NET_RESOLVE_H

#include "core/wait.h"
#include "net/addr.h"
#include "net/dnsanswer.h"
#include "net/resolvconf.h"

/* Fills in at most `max` addresses of the endpoint, which is no fd, best first. Returns their number (>= 1), what
 * gr_resolve_host returns, or -ENODEV for an unknown IPv6 zone. Parks when DNS has to be asked.
 * passive (to listen or bind): DNS is never asked and nothing parks; GR_NOT_LOCAL then for other names. */
int gr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max, double until);

/* What a name is. */
struct gr_host {
	int n; /* addresses, best first (RFC 6724 in short); their port is 0 */
	struct gr_addr addrs[GR_ADDR_MAX];
	uint32_t ttl;                 /* seconds they are good for; 0 unless DNS gave them */
	char canon[GR_DNS_NAME_TEXT]; /* the name that has the addresses; for local names the one asked for */
};

/* family: AF_INET, AF_INET6, or AF_UNSPEC for both. Local names first: literals, localhost and what ends in .localhost
 * (RFC 6761), the hosts file; a name that stands there is never asked for in DNS, in no family. Then DNS with the
 * search list, as glibc goes through it; a final dot means that the name is complete. A and AAAA are asked at once; when
 * one has brought addresses the other gets 50 ms more. Returns the number of addresses (>= 1), or
 *   GR_NOT_FOUND, GR_NO_DATA  no such name; no address of that family
 *   GR_BAD_NAME               it cannot be a name
 *   other                     as gr_dnsquery_run
 * Without `until` it takes at most timeout * tries of the configuration for each name of the search list that servers
 * answer, and for one that they do not. Parks. */
int gr_resolve_host(const char *name, int family, double until, struct gr_host *out);

/* The same without DNS and without parking. Returns 0 if only DNS can tell. */
int gr_resolve_local(const char *name, int family, struct gr_host *out);

/* The records of a type that a complete name has, aliases followed. how: whom to ask, NULL = the configuration; another
 * `how` passes by the cache. Returns how many (>= 1), in *out the answer that holds them, to be freed, and in `owner` the
 * name they stand under there; or as gr_resolve_host. Parks. */
int gr_resolve_records(const char *name, uint16_t type, const struct gr_resolv_how *how, double until,
		       struct gr_dns_answer **out, char owner[GR_DNS_NAME_TEXT]);

/* The names of an address: the first one of the hosts file, or what DNS has, in the answer as above. `out` is NULL then
 * if the hosts file told. Parks. */
int gr_resolve_reverse(const struct gr_addr *addr, double until, struct gr_dns_answer **out,
		       char owner[GR_DNS_NAME_TEXT]);

/* ---- Configuration ---- */

/* What replaces parts of resolv.conf. */
struct gr_resolve_overrides {
	struct gr_resolv_conf conf; /* of this, what is told below */
	bool servers, search, ndots, timeout, tries, rotate;
	char *resolv_conf, *hosts; /* heap: other files to read; NULL = those in /etc */
};

/* Takes over `o` with its strings, instead of earlier ones, and forgets the cache. */
void gr_resolve_configure(const struct gr_resolve_overrides *o);

/* The configuration in force; reads resolv.conf again if it changed (then the cache is forgotten). */
const struct gr_resolv_conf *gr_resolve_conf(void);

#endif
