/* SPDX-License-Identifier: MIT */
/* Which of this machine's addresses a peer talks to. */
#define _GNU_SOURCE
#include "net/dgram_local.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/sock.h"

_Static_assert(GR_LOCAL_CONTROL >= CMSG_SPACE(sizeof(struct in6_pktinfo)), "room for either");

/* A peer's address and port, and the address that it sent to; IPv4 ones use the first four bytes. */
struct entry {
	struct in6_addr peer, local;
	in_port_t port;
	bool used;
};

struct gr_dgram_local {
	int family;
	struct entry entries[GR_LOCAL_PEERS];
};

/* ---- Opening ---- */

static bool is_any(const struct gr_addr *addr)
{
	if (addr->u.sa.sa_family == AF_INET)
		return addr->u.in.sin_addr.s_addr == htonl(INADDR_ANY);
	return addr->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->u.in6.sin6_addr);
}

struct gr_dgram_local *gr_dgram_local_new(int fd)
{
	struct gr_dgram_local *t;
	struct gr_addr addr;
	int on = 1, rc;

	/* A socket without a port gets one, and answers only, with its first send. */
	if (gr_sock_name(fd, &addr) < 0 || !is_any(&addr) || addr.u.in.sin_port == 0)
		return NULL;
	if (addr.u.sa.sa_family == AF_INET)
		rc = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	else
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	t = rc < 0 ? NULL : calloc(1, sizeof(*t));
	if (t)
		t->family = addr.u.sa.sa_family;
	return t;
}

/* ---- The table ---- */

static void set_key(struct entry *e, const struct sockaddr *name)
{
	const struct sockaddr_in6 *in6 = (const void *)name;
	const struct sockaddr_in *in = (const void *)name;

	memset(e, 0, sizeof(*e));
	e->used = true;
	if (name->sa_family == AF_INET)
		memcpy(&e->peer, &in->sin_addr, sizeof(in->sin_addr));
	else
		e->peer = in6->sin6_addr;
	e->port = in->sin_port; /* in the same place for both versions */
}

/* FNV-1a; peers choose their addresses, and at worst displace each other. */
static size_t slot_of(const struct entry *key)
{
	uint32_t h = 2166136261u ^ key->port;

	for (size_t i = 0; i < sizeof(key->peer); i++)
		h = (h ^ key->peer.s6_addr[i]) * 16777619u;
	return (h ^ h >> 16) % GR_LOCAL_PEERS;
}

static bool is_local(const struct cmsghdr *c, struct in6_addr *out)
{
	struct in6_pktinfo v6;
	struct in_pktinfo v4;

	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		memcpy(&v4, CMSG_DATA(c), sizeof(v4));
		/* The interface's own if the datagram was a broadcast or for a group. */
		memcpy(out, &v4.ipi_spec_dst, sizeof(v4.ipi_spec_dst));
		return v4.ipi_spec_dst.s_addr != htonl(INADDR_ANY);
	}
	if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
		return false;
	memcpy(&v6, CMSG_DATA(c), sizeof(v6));
	*out = v6.ipi6_addr;
	/* Neither groups nor broadcasts can be answered from. */
	return !IN6_IS_ADDR_MULTICAST(out) && !(IN6_IS_ADDR_V4MAPPED(out) && out->s6_addr[12] >= 224);
}

void gr_dgram_local_note(struct gr_dgram_local *t, struct msghdr *m)
{
	struct entry e;

	set_key(&e, m->msg_name);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (is_local(c, &e.local)) {
			t->entries[slot_of(&e)] = e;
			return;
		}
	}
}

static const struct entry *find(const struct gr_dgram_local *t, const struct sockaddr *name)
{
	const struct entry *e;
	struct entry key;

	set_key(&key, name);
	e = &t->entries[slot_of(&key)];
	return e->used && e->port == key.port && memcmp(&e->peer, &key.peer, sizeof(key.peer)) == 0 ? e : NULL;
}

void gr_dgram_local_use(const struct gr_dgram_local *t, struct msghdr *m, char *control)
{
	const struct sockaddr *name = m->msg_name;
	const struct entry *e = name && name->sa_family == t->family ? find(t, name) : NULL;
	struct in6_pktinfo v6 = {0};
	struct in_pktinfo v4 = {0};
	bool is_v4 = t->family == AF_INET;
	struct cmsghdr *c;

	m->msg_control = NULL;
	m->msg_controllen = 0;
	if (e == NULL)
		return;
	m->msg_control = control;
	m->msg_controllen = is_v4 ? CMSG_SPACE(sizeof(v4)) : CMSG_SPACE(sizeof(v6));
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = is_v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = is_v4 ? CMSG_LEN(sizeof(v4)) : CMSG_LEN(sizeof(v6));
	memcpy(&v4.ipi_spec_dst, &e->local, sizeof(v4.ipi_spec_dst));
	v6.ipi6_addr = e->local;
	memcpy(CMSG_DATA(c), is_v4 ? (void *)&v4 : (void *)&v6, is_v4 ? sizeof(v4) : sizeof(v6));
}
