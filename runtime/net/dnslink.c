/* SPDX-License-Identifier: MIT */
/* Attempts to get an answer, through c-ares.
 *
 * c-ares does the transport: sending, telling answers from other packets, TCP when an answer was cut off. When which server
 * is asked, and what an answer means, is decided in dnsquery.c. So a channel carries one attempt at a time, and its sockets
 * are closed afterwards: every attempt has a port of its own, chosen by the kernel, besides a random id of ours, and who
 * cannot see the question has to guess both (RFC 5452). Channels are kept for the next attempts, since c-ares takes 30 us
 * to make one. */
#define _GNU_SOURCE
#include "net/dnslink.h"

#include <ares.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/hub.h"

enum {
	IDLE_MAX = 8,        /* channels kept */
	PACKETS_MAX = 32,    /* read from one socket before others have their turn */
	NEVER_MS = 86400000, /* c-ares' own timeout; ours is always sooner */
};

static struct {
	bool started;
	struct gr_dnslink *idle;
	int used, nidle;
} links;

uint64_t gr_dnslink_sent, gr_dnslink_forged;

/* ---- The sockets ---- */

static struct gr_dnslink_watch *watch_of(struct gr_dnslink *l, int fd)
{
	return l->udp.fd == fd ? &l->udp : l->tcp.fd == fd ? &l->tcp : NULL;
}

static int failed(struct gr_dnslink *l)
{
	if (errno != EAGAIN && errno != EINPROGRESS)
		l->error = -errno;
	return -1;
}

static int open_socket(int domain, int type, int protocol, void *data)
{
	struct gr_dnslink *l = data;
	int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return failed(l);
	(type == SOCK_DGRAM ? &l->udp : &l->tcp)->fd = fd;
	/* After TCP c-ares may have changed what the channel thinks of EDNS. */
	l->used_up = l->used_up || type != SOCK_DGRAM;
	return fd;
}

static int close_socket(int fd, void *data)
{
	struct gr_dnslink_watch *w = watch_of(data, fd);

	if (w) {
		ev_io_stop(gr_hub.loop, &w->io);
		w->fd = -1;
	}
	return close(fd);
}

/* Ours is the same address, with the zone that c-ares does not know. */
static int connect_socket(int fd, const struct sockaddr *addr, socklen_t len, void *data)
{
	struct gr_dnslink *l = data;

	(void)addr;
	(void)len;
	return connect(fd, &l->server.u.sa, l->server.len) < 0 ? failed(l) : 0;
}

static ssize_t send_all(int fd, const struct iovec *iov, int n, void *data)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
	ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);

	return sent < 0 ? failed(data) : sent;
}

static bool keep_reply(struct gr_dnslink *l, const void *data, size_t len)
{
	l->reply = malloc(len);
	if (l->reply)
		memcpy(l->reply, data, len);
	l->reply_len = len;
	l->done = true;
	return l->reply != NULL;
}

/* The next packet that answers our question. A server that does not know EDNS says FORMERR: that is kept from c-ares,
 * which would then leave EDNS off for good. */
static ssize_t receive_udp(struct gr_dnslink *l, void *buf, size_t size)
{
	for (int i = 0; i < PACKETS_MAX; i++) {
		ssize_t n = recv(l->udp.fd, buf, size, 0);

		if (n < 0)
			return failed(l);
		if (!gr_dns_query_matches(l->key, l->id, buf, (size_t)n)) {
			gr_dnslink_forged++;
		} else if ((((uint8_t *)buf)[3] & 15) == GR_DNS_FORMERR) {
			keep_reply(l, buf, (size_t)n);
			break;
		} else {
			return n;
		}
	}
	errno = EAGAIN;
	return -1;
}

static ssize_t receive(int fd, void *buf, size_t size, int flags, struct sockaddr *from, socklen_t *from_len,
		       void *data)
{
	struct gr_dnslink *l = data;
	ssize_t n;

	(void)flags;
	if (l->key == NULL || l->done) {
		errno = EAGAIN;
		return -1;
	}
	/* The socket is connected: it gets packets from nowhere else. */
	if (from && *from_len > l->server.len)
		*from_len = l->server.len;
	if (from)
		memcpy(from, &l->server.u, *from_len);
	if (fd == l->udp.fd)
		return receive_udp(l, buf, size);
	n = recv(fd, buf, size, 0);
	return n < 0 ? failed(l) : n;
}

static const struct ares_socket_functions socket_functions = {
	.asocket = open_socket,
	.aclose = close_socket,
	.aconnect = connect_socket,
	.arecvfrom = receive,
	.asendv = send_all,
};

/* c-ares tells what it wants to know of a socket. */
static void socket_state(void *data, int fd, int readable, int writable)
{
	struct gr_dnslink_watch *w = watch_of(data, fd);

	if (w == NULL)
		return;
	ev_io_stop(gr_hub.loop, &w->io);
	ev_io_set(&w->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	if (readable || writable)
		ev_io_start(gr_hub.loop, &w->io);
}

/* ---- Channels ---- */

static void socket_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	struct gr_dnslink *l = io->data;
	int fd = io->fd;

	(void)loop;
	ares_process_fd(l->channel, revents & EV_READ ? fd : ARES_SOCKET_BAD,
			revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
	if (l->done)
		l->on_done(l);
}

static int new_channel(struct gr_dnslink *l)
{
	struct ares_options o = {
		.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = NEVER_MS,
		.tries = 1,
		.ndots = 1,
		.lookups = (char *)"b",
		.ednspsz = GR_DNS_UDP_MAX,
		.servers = &(struct in_addr){htonl(INADDR_LOOPBACK)}, /* replaced before each use */
		.nservers = 1,
		.sock_state_cb = socket_state,
		.sock_state_cb_data = l,
	};
	/* All of it given, so that c-ares reads no configuration of its own. */
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS |
		   ARES_OPT_EDNSPSZ | ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB;

	if (ares_init_options(&l->channel, &o, mask) != ARES_SUCCESS)
		return -ENOMEM;
	ares_set_socket_functions(l->channel, &socket_functions, l);
	return 0;
}

static void init_watch(struct gr_dnslink_watch *w, struct gr_dnslink *l)
{
	ev_init(&w->io, socket_ready);
	w->io.data = l;
	w->fd = -1;
}

static struct gr_dnslink *new_link(void)
{
	struct gr_dnslink *l = calloc(1, sizeof(*l));

	if (!links.started)
		links.started = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
	if (l == NULL || new_channel(l) < 0) {
		free(l);
		return NULL;
	}
	init_watch(&l->udp, l);
	init_watch(&l->tcp, l);
	return l;
}

static int set_server(struct gr_dnslink *l, const struct gr_addr *server)
{
	struct ares_addr_port_node node = {.family = server->u.sa.sa_family};

	l->server = *server;
	if (node.family == AF_INET) {
		memcpy(&node.addr.addr4, &server->u.in.sin_addr, sizeof(node.addr.addr4));
		node.udp_port = ntohs(server->u.in.sin_port);
	} else {
		memcpy(&node.addr.addr6, &server->u.in6.sin6_addr, sizeof(node.addr.addr6));
		node.udp_port = ntohs(server->u.in6.sin6_port);
	}
	node.tcp_port = node.udp_port;
	return ares_set_servers_ports(l->channel, &node) == ARES_SUCCESS ? 0 : -ENOMEM;
}

static void on_reply(void *data, int status, int timeouts, unsigned char *reply, int len)
{
	struct gr_dnslink *l = data;

	(void)timeouts;
	if (l->key == NULL || l->done)
		return;
	l->done = true;
	if (status == ARES_SUCCESS)
		keep_reply(l, reply, (size_t)len);
	else if (status == ARES_ENOMEM)
		l->error = -ENOMEM;
	else if (l->error == 0)
		l->error = -ECONNREFUSED;
}

static void send_question(struct gr_dnslink *l)
{
	uint8_t packet[GR_DNS_QUERY_MAX];
	size_t len;

	if (getrandom(&l->id, sizeof(l->id), 0) != sizeof(l->id)) {
		l->done = true;
		l->error = -errno;
		return;
	}
	len = gr_dns_query_write(packet, l->key, l->id, l->edns);
	gr_dnslink_sent++;
	ares_send(l->channel, packet, (int)len, on_reply, l);
}

static struct gr_dnslink *take_idle(void)
{
	struct gr_dnslink *l = links.idle;

	if (l == NULL)
		return new_link();
	links.idle = l->next;
	links.nidle--;
	return l;
}

bool gr_dnslink_full(void)
{
	return links.used >= GR_DNSLINK_MAX;
}

struct gr_dnslink *gr_dnslink_take(const struct gr_dns_key *key, const struct gr_addr *server, bool edns, void *user,
				   void (*on_done)(struct gr_dnslink *l))
{
	struct gr_dnslink *l = gr_dnslink_full() ? NULL : take_idle();

	if (l == NULL)
		return NULL;
	links.used++;
	l->key = key;
	l->user = user;
	l->on_done = on_done;
	l->edns = edns;
	l->error = 0;
	l->done = set_server(l, server) < 0;
	if (l->done)
		l->error = -ENOMEM;
	else
		send_question(l);
	return l;
}

void gr_dnslink_give(struct gr_dnslink *l)
{
	l->key = NULL;
	ares_cancel(l->channel);
	free(l->reply);
	l->reply = NULL;
	links.used--;
	if (l->used_up || links.nidle == IDLE_MAX) {
		ares_destroy(l->channel);
		free(l);
		return;
	}
	l->next = links.idle;
	links.idle = l;
	links.nidle++;
}
