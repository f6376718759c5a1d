/* SPDX-License-Identifier: MIT */
/* Datagram sockets: opening, receiving, sending. Their options are in dgram_opts.c. */
#define _GNU_SOURCE
#include "net/dgram.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net/dgram_opts.h"
#include "net/stream.h"

/* The place of a datagram begins a cache line further than a power of two would put it, so that the beginnings of
 * all, which is where small ones lie, do not compete for the same lines of the cache. */
enum { LINE = 64, MAX_DEFAULT = 65535, PLACE_DEFAULT = MAX_DEFAULT + 1 + LINE, AREA = GR_DGRAM_BATCH * PLACE_DEFAULT };

static const double PAUSE_MIN = 0.001, PAUSE_MAX = 0.1; /* seconds between attempts at a full unix receiver */

/* A thread that waits for room. A watcher of its own, since several may wait on one socket. */
struct gr_dgram_sender {
	struct gr_io io;
	struct gr_green *pausing;
	struct gr_dgram_sender *next;
};

/* What all sockets receive into and send from; nobody waits while it is in use. */
static struct {
	char *area;  /* AREA bytes, of which the kernel provides those that were written to */
	size_t max;  /* what the places are laid out for */
	int places;
	int used;    /* of the last batch */
	struct mmsghdr in[GR_DGRAM_BATCH], out[GR_DGRAM_BATCH];
	_Alignas(struct cmsghdr) char control[GR_DGRAM_BATCH][GR_LOCAL_CONTROL]; /* of one call */
	struct iovec in_iov[GR_DGRAM_BATCH], out_iov[GR_DGRAM_BATCH];
	struct gr_addr from[GR_DGRAM_BATCH], to[GR_DGRAM_BATCH];
} box;

/* ---- Opening and closing ---- */

void gr_dgram_create(struct gr_dgram *d)
{
	memset(d, 0, sizeof(*d));
	d->fd = -1;
	d->max = MAX_DEFAULT;
	d->timeout = INFINITY;
}

static void opened(struct gr_dgram *d, int fd, int family)
{
	d->fd = fd;
	d->family = family;
	gr_io_init(&d->rd, fd, EV_READ);
	gr_io_init(&d->wr, fd, EV_WRITE);
}

static int bind_path(int fd, const struct gr_addr *addr, int mode)
{
	int rc;

	/* The path is made with the socket's permissions, so that it is never open to others. */
	if (mode >= 0 && fchmod(fd, (mode_t)mode) < 0)
		return -errno;
	rc = gr_sock_bind(fd, addr);
	if (rc == 0 && mode >= 0 && chmod(addr->u.un.sun_path, (mode_t)mode) < 0) {
		rc = -errno;
		unlink(addr->u.un.sun_path);
	}
	return rc;
}

static int set_up(int fd, const struct gr_addr *addr, bool bound, const struct gr_dgram_opts *opts)
{
	int rc = gr_dgram_apply(fd, addr->u.sa.sa_family, opts);

	if (rc < 0 || !bound)
		return rc;
	return gr_sock_is_path(addr) ? bind_path(fd, addr, opts->mode) : gr_sock_bind(fd, addr);
}

static int open_one(struct gr_dgram *d, const struct gr_addr *addr, bool bound, const struct gr_dgram_opts *opts)
{
	int family = addr->u.sa.sa_family, fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = set_up(fd, addr, bound, opts);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	opened(d, fd, family);
	d->v6only = opts->v6only;
	if (bound) {
		gr_sock_remember_path(&d->path, addr);
		d->local = gr_dgram_local_new(fd);
	}
	return 0;
}

int gr_dgram_open(struct gr_dgram *d, const struct gr_addr *addrs, int n, bool bound, const struct gr_dgram_opts *opts)
{
	int rc = -EADDRNOTAVAIL;

	/* The second address is for machines without IPv6, or without IPv4. */
	for (int i = 0; i < n && (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT); i++)
		rc = open_one(d, &addrs[i], bound, opts);
	return rc;
}

static int get_option(int fd, int level, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, level, option, value, &len) < 0 ? -errno : 0;
}

int gr_dgram_adopt(struct gr_dgram *d, int fd)
{
	int type = 0, family = 0, v6only = 0, rc = get_option(fd, SOL_SOCKET, SO_TYPE, &type), flags;
	struct gr_addr peer;

	if (rc == 0)
		rc = get_option(fd, SOL_SOCKET, SO_DOMAIN, &family);
	if (rc < 0)
		return rc;
	if (type != SOCK_DGRAM)
		return -EPROTOTYPE;
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
		return -EAFNOSUPPORT;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	opened(d, fd, family);
	d->v6only = family == AF_INET6 && get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only) == 0 && v6only;
	d->connected = gr_sock_peer(fd, &peer) == 0;
	d->local = d->connected ? NULL : gr_dgram_local_new(fd);
	return 0;
}

static void end_senders(struct gr_dgram *d)
{
	for (struct gr_dgram_sender *s = d->senders; s; s = s->next) {
		gr_io_end(&s->io, GR_CLOSED);
		if (s->pausing)
			gr_wake(s->pausing, GR_CLOSED);
	}
}

void gr_dgram_close(struct gr_dgram *d)
{
	struct gr_addr name;

	if (d->fd < 0)
		return;
	gr_io_end(&d->rd, GR_CLOSED);
	gr_io_end(&d->wr, GR_CLOSED);
	end_senders(d);
	if (d->path.owner && gr_sock_name(d->fd, &name) == 0)
		gr_sock_remove_path(&d->path, &name);
	close(d->fd);
	d->fd = -1;
	free(d->local);
	d->local = NULL;
}

void gr_dgram_stop(struct gr_dgram *d)
{
	if (d->fd >= 0)
		gr_io_end(&d->rd, GR_CLOSED);
}

double gr_dgram_until(const struct gr_dgram *d)
{
	return d->timeout == INFINITY ? INFINITY : gr_until(d->timeout);
}

/* ---- Addresses ---- */

/* An IPv4 address as sockets of IPv6 take it. */
static void map(const struct gr_addr *v4, struct gr_addr *out)
{
	memset(&out->u.in6, 0, sizeof(out->u.in6));
	out->len = sizeof(out->u.in6);
	out->u.in6.sin6_family = AF_INET6;
	out->u.in6.sin6_port = v4->u.in.sin_port;
	out->u.in6.sin6_addr.s6_addr[10] = out->u.in6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&out->u.in6.sin6_addr.s6_addr[12], &v4->u.in.sin_addr, 4);
}

static void unmap(struct gr_addr *addr)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (addr->len < sizeof(addr->u.in6) || addr->u.sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&addr->u.in6.sin6_addr))
		return;
	v4.sin_port = addr->u.in6.sin6_port;
	memcpy(&v4.sin_addr, &addr->u.in6.sin6_addr.s6_addr[12], 4);
	addr->u.in = v4;
	addr->len = sizeof(v4);
}

/* The address as this socket takes it, perhaps in *tmp. */
static const struct gr_addr *fit(const struct gr_dgram *d, const struct gr_addr *to, struct gr_addr *tmp)
{
	if (d->family != AF_INET6 || to->u.sa.sa_family != AF_INET)
		return to;
	map(to, tmp);
	return tmp;
}

bool gr_dgram_reaches(const struct gr_dgram *d, const struct gr_addr *to)
{
	return to->u.sa.sa_family == d->family ||
	       (d->family == AF_INET6 && to->u.sa.sa_family == AF_INET && !d->v6only);
}

int gr_dgram_connect(struct gr_dgram *d, const struct gr_addr *to)
{
	struct gr_addr tmp;

	if (d->fd < 0)
		return GR_CLOSED;
	to = fit(d, to, &tmp);
	if (connect(d->fd, &to->u.sa, to->len) < 0)
		return -errno;
	d->connected = true;
	return 0;
}

/* With the connection Linux forgets a port that it has chosen itself. */
static int keep_port(int fd, in_port_t port)
{
	struct gr_addr addr;
	int rc = gr_sock_name(fd, &addr);

	if (rc < 0 || addr.u.sa.sa_family == AF_UNIX || addr.u.in.sin_port == port)
		return rc;
	addr.u.in.sin_port = port; /* in the same place for IPv6 */
	return bind(fd, &addr.u.sa, addr.len) < 0 ? -errno : 0;
}

int gr_dgram_disconnect(struct gr_dgram *d)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct gr_addr before;
	int rc = d->fd < 0 ? GR_CLOSED : gr_sock_name(d->fd, &before);

	if (rc < 0)
		return rc;
	if (connect(d->fd, &nowhere, sizeof(nowhere)) < 0)
		return -errno;
	d->connected = false;
	return keep_port(d->fd, before.u.in.sin_port);
}

/* ---- Receiving ---- */

static void lay_out(size_t max)
{
	size_t place = (max + LINE - 1) / LINE * LINE + LINE;

	box.max = max;
	box.places = (int)(AREA / place < GR_DGRAM_BATCH ? AREA / place : GR_DGRAM_BATCH);
	box.used = box.places;
	for (int i = 0; i < box.places; i++) {
		box.in_iov[i] = (struct iovec){box.area + (size_t)i * place, max};
		box.in[i].msg_hdr = (struct msghdr){.msg_name = &box.from[i].u, .msg_iov = &box.in_iov[i], .msg_iovlen = 1};
	}
}

static int prepare(size_t max, bool with_control)
{
	if (box.area == NULL) {
		void *p = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		box.area = p;
	}
	if (box.max != max)
		lay_out(max);
	/* The kernel has written the lengths of the names there. */
	for (int i = 0; i < box.used; i++)
		box.in[i].msg_hdr.msg_namelen = sizeof(box.from[i].u);
	box.used = 0;
	for (int i = 0; i < box.places; i++) {
		box.in[i].msg_hdr.msg_control = with_control ? box.control[i] : NULL;
		box.in[i].msg_hdr.msg_controllen = with_control ? GR_LOCAL_CONTROL : 0;
	}
	return 0;
}

static void account(struct gr_dgram *d, int n)
{
	d->received += (uint64_t)n;
	for (int i = 0; i < n; i++) {
		struct gr_addr *from = &box.from[i];

		d->received_bytes += box.in[i].msg_len;
		d->truncated += box.in[i].msg_len > box.max;
		from->len = box.in[i].msg_hdr.msg_namelen;
		/* A unix socket without a name: nothing, or a family alone. */
		if (from->len <= offsetof(struct sockaddr, sa_data))
			from->len = 0;
		/* The kernel counts a NUL after the longest path, but does not take it back. */
		if (from->len > sizeof(from->u.un))
			from->len = sizeof(from->u.un);
		if (d->local)
			gr_dgram_local_note(d->local, &box.in[i].msg_hdr);
		unmap(from);
	}
}

static int try_recv(struct gr_dgram *d, int n)
{
	int rc = prepare(d->max, d->local != NULL);

	if (rc < 0)
		return rc;
	if (n > box.places)
		n = box.places;
	do
		rc = recvmmsg(d->fd, box.in, (unsigned)n, MSG_DONTWAIT | MSG_TRUNC, NULL);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		rc = -errno;
	d->drained = rc == -EAGAIN || (rc > 0 && rc < n);
	if (rc > 0) {
		box.used = rc;
		account(d, rc);
	}
	return rc;
}

int gr_dgram_recv(struct gr_dgram *d, int n, double until)
{
	int rc;

	for (;;) {
		gr_stream_share();
		if (d->fd < 0)
			return GR_CLOSED;
		if (d->rd.result < 0)
			return d->rd.result;
		if (d->rd.waiter)
			return GR_BUSY;
		if (d->drained && until > 0) {
			rc = gr_io_wait(&d->rd, until, "sock.recv");
			if (rc < 0)
				return rc;
		}
		rc = try_recv(d, n);
		if (rc != -EAGAIN)
			return rc;
		if (until <= 0)
			return GR_TIMEOUT;
	}
}

struct gr_datagram gr_dgram_received(int i)
{
	size_t size = box.in[i].msg_len;

	return (struct gr_datagram){box.in_iov[i].iov_base, size > box.max ? box.max : size, size, &box.from[i]};
}

/* ---- Sending ---- */

static int try_one(struct gr_dgram *d, const char *data, size_t len, const struct gr_addr *to)
{
	struct iovec iov = {(void *)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct gr_addr tmp;
	ssize_t n;

	if (to) {
		to = fit(d, to, &tmp);
		m.msg_name = (void *)&to->u;
		m.msg_namelen = to->len;
	}
	if (d->local)
		gr_dgram_local_use(d->local, &m, box.control[0]);
	do
		n = sendmsg(d->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	d->pause = 0;
	d->sent++;
	d->sent_bytes += (uint64_t)n;
	return 0;
}

int gr_dgram_send(struct gr_dgram *d, const char *data, size_t len, const struct gr_addr *to, double until)
{
	int rc;

	do {
		gr_stream_share();
		if (d->fd < 0)
			return GR_CLOSED;
		rc = try_one(d, data, len, to);
		if (rc != -EAGAIN)
			return rc;
		rc = gr_dgram_await_room(d, until);
	} while (rc == 0);
	return rc;
}

static void load(struct gr_dgram *d, const struct gr_datagram_out *list, int n)
{
	for (int i = 0; i < n; i++) {
		const struct gr_addr *to = list[i].to ? fit(d, list[i].to, &box.to[i]) : NULL;

		box.out_iov[i] = (struct iovec){(void *)list[i].data, list[i].len};
		box.out[i].msg_hdr.msg_name = to ? (void *)&to->u : NULL;
		box.out[i].msg_hdr.msg_namelen = to ? to->len : 0;
		box.out[i].msg_hdr.msg_iov = &box.out_iov[i];
		box.out[i].msg_hdr.msg_iovlen = 1;
		box.out[i].msg_hdr.msg_control = NULL;
		box.out[i].msg_hdr.msg_controllen = 0;
		if (d->local)
			gr_dgram_local_use(d->local, &box.out[i].msg_hdr, box.control[i]);
	}
}

int gr_dgram_try_send(struct gr_dgram *d, const struct gr_datagram_out *list, int n)
{
	int rc;

	if (d->fd < 0)
		return GR_CLOSED;
	if (n > GR_DGRAM_BATCH)
		n = GR_DGRAM_BATCH;
	load(d, list, n);
	do
		rc = sendmmsg(d->fd, box.out, (unsigned)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	d->pause = 0;
	d->sent += (uint64_t)rc;
	for (int i = 0; i < rc; i++)
		d->sent_bytes += box.out[i].msg_len;
	return rc;
}

/* A unix receiver whose queue is full is not seen by who waits for the sending socket, unless that is connected to it:
 * that socket is always writable. */
static int pause_sending(struct gr_dgram *d, struct gr_dgram_sender *s, double until)
{
	double end;
	int rc;

	d->pause = d->pause == 0 ? PAUSE_MIN : d->pause < PAUSE_MAX / 2 ? d->pause * 2 : PAUSE_MAX;
	end = gr_until(d->pause);
	s->pausing = gr_current;
	rc = gr_wait(end < until ? end : until, "sock.send (the receiver is full)");
	s->pausing = NULL;
	return rc == GR_TIMEOUT && end < until ? 0 : rc;
}

static void leave_list(struct gr_dgram *d, const struct gr_dgram_sender *s)
{
	struct gr_dgram_sender **link = &d->senders;

	while (*link && *link != s)
		link = &(*link)->next;
	if (*link)
		*link = s->next;
}

static int await(struct gr_dgram *d, struct gr_dgram_sender *s, double until)
{
	if (gr_io_wait(&s->io, 0, "sock.send") == 0)
		return pause_sending(d, s, until);
	return gr_io_wait(&s->io, until, "sock.send");
}

int gr_dgram_await_room(struct gr_dgram *d, double until)
{
	struct gr_dgram_sender *s;
	int rc;

	if (d->fd < 0)
		return GR_CLOSED;
	if (until <= 0)
		return GR_TIMEOUT;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	gr_io_init(&s->io, d->fd, EV_WRITE);
	s->next = d->senders;
	d->senders = s;
	rc = await(d, s, until);
	leave_list(d, s);
	gr_io_end(&s->io, GR_CLOSED);
	free(s);
	return rc;
}

/* ---- Readiness ---- */

static bool poll_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0;
}

bool gr_dgram_readable(const struct gr_dgram *d)
{
	return d->fd < 0 || d->rd.result < 0 || poll_for(d->fd, POLLIN);
}

bool gr_dgram_writable(const struct gr_dgram *d)
{
	return d->fd < 0 || poll_for(d->fd, POLLOUT);
}
