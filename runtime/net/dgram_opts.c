/* SPDX-License-Identifier: MIT */
/* Options of datagram sockets, multicast groups, and what the kernel counts. */
#define _GNU_SOURCE
#include "net/dgram_opts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <stdlib.h>

const struct gr_dgram_opts gr_dgram_defaults = {
	.mode = -1, .rcvbuf = -1, .sndbuf = -1, .ttl = -1, .multicast_ttl = -1, .multicast_loop = -1,
};

/* Negative values leave the option as it is. */
static int set(int fd, int level, int option, int value)
{
	if (value < 0)
		return 0;
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* An option that exists once for each version of IP. A socket of IPv6 has both: it may carry IPv4 too. */
static int set_both(int fd, int family, int v4, int v6, int value)
{
	int rc = set(fd, IPPROTO_IP, v4, value);

	return rc == 0 && family == AF_INET6 ? set(fd, IPPROTO_IPV6, v6, value) : rc;
}

static bool is_any(const struct gr_interface *interface)
{
	return interface->index == 0 && interface->addr.s_addr == 0;
}

static int set_interface(int fd, int family, const struct gr_interface *interface)
{
	struct ip_mreqn v4 = {.imr_address = interface->addr, .imr_ifindex = (int)interface->index};

	if (is_any(interface))
		return 0;
	if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &v4, sizeof(v4)) < 0)
		return -errno;
	return family == AF_INET6 && interface->index ?
		       set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface->index) : 0;
}

static int apply_ip(int fd, int family, const struct gr_dgram_opts *opts)
{
	int rc = family == AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_V6ONLY, opts->v6only) : 0;

	if (rc == 0)
		rc = set_both(fd, family, IP_TTL, IPV6_UNICAST_HOPS, opts->ttl);
	if (rc == 0)
		rc = set_both(fd, family, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, opts->multicast_ttl);
	if (rc == 0)
		rc = set_both(fd, family, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, opts->multicast_loop);
	return rc == 0 ? set_interface(fd, family, &opts->multicast_interface) : rc;
}

int gr_dgram_apply(int fd, int family, const struct gr_dgram_opts *opts)
{
	int rc = set(fd, SOL_SOCKET, SO_RCVBUF, opts->rcvbuf);

	if (rc == 0)
		rc = set(fd, SOL_SOCKET, SO_SNDBUF, opts->sndbuf);
	if (rc < 0 || family == AF_UNIX)
		return rc;
	rc = set(fd, SOL_SOCKET, SO_BROADCAST, opts->broadcast);
	if (rc == 0 && opts->reuse_port)
		rc = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (rc == 0 && opts->reuse_addr)
		rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return rc == 0 ? apply_ip(fd, family, opts) : rc;
}

/* ---- Multicast ---- */

int gr_interface_find(const char *text, struct gr_interface *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*out = (struct gr_interface){0};
	if (inet_pton(AF_INET, text, &out->addr) == 1)
		return 0;
	out->index = end != text && *end == '\0' && n <= INT32_MAX ? (unsigned)n : if_nametoindex(text);
	return out->index ? 0 : -ENODEV;
}

static int change_membership(const struct gr_dgram *d, const struct gr_addr *group,
			     const struct gr_interface *interface, int v4_option, int v6_option)
{
	struct ip_mreqn v4 = {.imr_address = interface->addr, .imr_ifindex = (int)interface->index};
	struct ipv6_mreq v6 = {.ipv6mr_interface = interface->index};

	if (d->fd < 0)
		return GR_CLOSED;
	if (group->u.sa.sa_family == AF_INET) {
		v4.imr_multiaddr = group->u.in.sin_addr;
		return setsockopt(d->fd, IPPROTO_IP, v4_option, &v4, sizeof(v4)) < 0 ? -errno : 0;
	}
	if (interface->index == 0 && !is_any(interface))
		return -ENODEV; /* an IPv4 address names no interface to IPv6 */
	v6.ipv6mr_multiaddr = group->u.in6.sin6_addr;
	if (v6.ipv6mr_interface == 0)
		v6.ipv6mr_interface = group->u.in6.sin6_scope_id;
	return setsockopt(d->fd, IPPROTO_IPV6, v6_option, &v6, sizeof(v6)) < 0 ? -errno : 0;
}

int gr_dgram_join(struct gr_dgram *d, const struct gr_addr *group, const struct gr_interface *interface)
{
	return change_membership(d, group, interface, IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP);
}

int gr_dgram_leave(struct gr_dgram *d, const struct gr_addr *group, const struct gr_interface *interface)
{
	return change_membership(d, group, interface, IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP);
}

/* ---- Counters ---- */

uint64_t gr_dgram_dropped(const struct gr_dgram *d)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (d->fd < 0 || getsockopt(d->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return 0;
	return info[SK_MEMINFO_DROPS];
}
