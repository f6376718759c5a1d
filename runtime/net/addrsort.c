/* SPDX-License-Identifier: MIT */
/* The order of addresses. */
#include "net/addrsort.h"

#include <string.h>
#include <unistd.h>

#include "core/hub.h"

static const double REMEMBER = 1.0;

enum { UNREACHABLE = 100 };

static struct {
	double until; /* when to look again */
	bool routed;
} routes[2]; /* to the rest of the world, by IPv4 and IPv6 */

static bool is_v6(const struct gr_addr *a)
{
	return a->u.sa.sa_family == AF_INET6;
}

/* Connecting a datagram socket sends nothing, but fails where there is no route. */
static bool probe(const struct gr_addr *addr)
{
	struct gr_addr to = *addr;
	int fd = socket(to.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good;

	if (fd < 0)
		return false;
	to.u.in.sin_port = htons(9);
	good = connect(fd, &to.u.sa, to.len) == 0;
	close(fd);
	return good;
}

static bool is_local(const struct gr_addr *a)
{
	return is_v6(a) ? IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&a->u.in6.sin6_addr)
			: ntohl(a->u.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool reachable(const struct gr_addr *a)
{
	double now = gr_now();

	if (is_local(a))
		return true;
	if (routes[is_v6(a)].until <= now) {
		routes[is_v6(a)].routed = probe(a);
		routes[is_v6(a)].until = now + REMEMBER;
	}
	return routes[is_v6(a)].routed;
}

/* The precedences of RFC 6724 section 2.1, highest first. */
static int precedence(const struct gr_addr *a)
{
	const uint8_t *ip = a->u.in6.sin6_addr.s6_addr;

	if (!is_v6(a) || IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr))
		return 2;
	if (IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr))
		return 0;
	if (ip[0] == 0x20 && ip[1] == 0x02)
		return 3; /* 6to4 */
	if (ip[0] == 0x20 && ip[1] == 0x01 && ip[2] == 0 && ip[3] == 0)
		return 4;                      /* Teredo */
	return (ip[0] & 0xfe) == 0xfc ? 5 : 1; /* unique local; all others */
}

static bool mixed(const struct gr_addr *addrs, int n)
{
	for (int i = 1; i < n; i++)
		if (is_v6(&addrs[i]) != is_v6(&addrs[0]))
			return true;
	return false;
}

void gr_addr_sort(struct gr_addr *addrs, int n)
{
	int ranks[GR_ADDR_MAX] = {0};

	if (n > GR_ADDR_MAX || !mixed(addrs, n))
		return;
	for (int i = 0; i < n; i++) {
		struct gr_addr a = addrs[i];
		int rank = precedence(&a) + (reachable(&a) ? 0 : UNREACHABLE), j;

		for (j = i; j > 0 && ranks[j - 1] > rank; j--) {
			ranks[j] = ranks[j - 1];
			addrs[j] = addrs[j - 1];
		}
		ranks[j] = rank;
		addrs[j] = a;
	}
}
