/* SPDX-License-Identifier: MIT */
/* Listening sockets. */
#define _GNU_SOURCE
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/log.h"

static const double PAUSE_MIN = 0.01, PAUSE_MAX = 1.0, LOG_EVERY = 1.0, POLITE = 0.001;

/* Clients that a stopping listener still takes; more than that are new ones who keep coming. */
enum { LEFT_MAX = 1024 };

/* One descriptor kept for the moment when there is no other, as long as there is a listener in the process. */
static struct {
	int fd;
	unsigned users;
} reserve = {.fd = -1};

static void fill_reserve(void)
{
	if (reserve.fd < 0)
		reserve.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void empty_reserve(void)
{
	if (reserve.fd >= 0)
		close(reserve.fd);
	reserve.fd = -1;
}

void gr_listener_create(struct gr_listener *l)
{
	memset(l, 0, sizeof(*l));
	l->fd = -1;
}

/* Opening. */

static int listen_on_any(const struct gr_addr *addrs, int n, const struct gr_sock_opts *opts)
{
	int fd = -EADDRNOTAVAIL;

	/* The second address is for machines without IPv6, or without IPv4. */
	for (int i = 0; i < n && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT); i++)
		fd = gr_sock_listen(&addrs[i], opts);
	return fd;
}

static int open_on(struct gr_listener *l, int fd)
{
	int rc = gr_sock_name(fd, &l->addr);

	if (rc < 0)
		return rc;
	l->fd = fd;
	gr_io_init(&l->io, fd, EV_READ);
	reserve.users++;
	fill_reserve();
	return 0;
}

int gr_listener_open(struct gr_listener *l, const struct gr_addr *addrs, int n, const struct gr_sock_opts *opts)
{
	int fd = listen_on_any(addrs, n, opts), rc;

	if (fd < 0)
		return fd;
	rc = open_on(l, fd);
	if (rc < 0)
		close(fd);
	else
		gr_sock_remember_path(&l->path, &l->addr);
	return rc;
}

int gr_listener_adopt(struct gr_listener *l, int fd, const struct gr_sock_opts *opts)
{
	int rc = gr_sock_adopt(fd, GR_SOCK_LISTENING, opts);

	return rc < 0 ? rc : open_on(l, fd);
}

/* Accepting. */

static int take(struct gr_listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Uses the reserve to take one client and reset it, so that it does not hang. False: no client was waiting, since the
 * kernel reports the missing descriptor before it looks into the backlog. */
static bool turn_one_away(struct gr_listener *l)
{
	int fd;

	if (reserve.fd < 0) {
		fill_reserve();
		return true;
	}
	empty_reserve();
	fd = take(l);
	if (fd >= 0) {
		gr_sock_reset_on_close(fd);
		close(fd);
	}
	fill_reserve();
	return fd != -EAGAIN;
}

static void report(const struct gr_listener *l, int rc)
{
	static double next;
	char text[GR_ADDR_TEXT];
	double now = gr_now();

	if (now < next)
		return;
	next = now + LOG_EVERY;
	gr_addr_format(&l->addr, GR_SCHEME_TCP, text);
	gr_log(GR_LOG_WARN, "%s: cannot accept: %s; trying again", text, gr_strerror(rc));
}

/* Listeners whose threads pause. */
static struct gr_listener *pausing;

static void leave_pausing(struct gr_listener *l)
{
	struct gr_listener **link = &pausing;

	while (*link != l)
		link = &(*link)->next_pausing;
	*link = l->next_pausing;
}

void gr_listener_resume(void)
{
	if (pausing)
		gr_wake(pausing->pausing, 0);
}

static int pause_until(struct gr_listener *l, double end, double until)
{
	int rc;

	l->pausing = gr_current;
	l->next_pausing = pausing;
	pausing = l;
	rc = gr_wait(end < until ? end : until, "accept (no resources)");
	leave_pausing(l);
	l->pausing = NULL;
	return rc == GR_TIMEOUT && end < until ? 0 : rc;
}

static int pause_accepting(struct gr_listener *l, double until)
{
	double least = gr_until(PAUSE_MIN);
	int rc;

	l->pause = l->pause == 0 ? PAUSE_MIN : l->pause < PAUSE_MAX / 2 ? l->pause * 2 : PAUSE_MAX;
	rc = pause_until(l, gr_until(l->pause), until);
	/* Resumed at once: what was closed may be gone again, over and over. */
	return rc == 0 && !l->stopping && gr_now() < least ? pause_until(l, least, until) : rc;
}

static bool out_of_resources(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM;
}

/* Errors of the connection, not of the listener: accept(2), "Error handling". */
static bool is_transient(int rc)
{
	switch (-rc) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

static int end_of_backlog(struct gr_listener *l)
{
	gr_listener_close(l);
	return GR_CLOSED;
}

static int await_client(struct gr_listener *l, double until)
{
	int rc;

	if (l->stopping)
		return end_of_backlog(l);
	rc = gr_io_wait(&l->io, until, "accept");
	/* Stopped meanwhile: look once more for who came since the last look. */
	return rc == GR_CLOSED && l->fd >= 0 ? 0 : rc;
}

/* What a failed attempt means: 0 = try again now, < 0 = give up. May wait. */
static int recover(struct gr_listener *l, int rc, double until)
{
	if (rc == -EAGAIN)
		return await_client(l, until);
	if (is_transient(rc)) {
		gr_yield();
		return 0;
	}
	if (!out_of_resources(rc))
		return rc;
	if ((rc == -EMFILE || rc == -ENFILE) && !turn_one_away(l))
		return await_client(l, until);
	report(l, rc);
	l->told = l->tells && !l->told;
	if (l->told)
		return rc;
	return l->stopping ? end_of_backlog(l) : pause_accepting(l, until);
}

bool (*gr_listener_is_polite)(void);

/* Lets other processes that accept on the same socket go first, but never for long: they may be stuck. */
static int let_others(struct gr_listener *l, double until)
{
	int rc = await_client(l, until);

	return rc < 0 ? rc : gr_sleep_until(gr_until(POLITE));
}

int gr_listener_accept(struct gr_listener *l, double until)
{
	int fd, rc;

	if (l->fd >= 0 && (l->pausing || l->io.waiter))
		return GR_BUSY;
	for (;;) {
		if (l->fd < 0)
			return GR_CLOSED;
		if (l->stopping && l->left-- == 0)
			return end_of_backlog(l);
		if (!l->stopping && gr_listener_is_polite && gr_listener_is_polite()) {
			rc = let_others(l, until);
			if (rc < 0)
				return rc;
			if (l->fd < 0)
				return GR_CLOSED;
		}
		fd = take(l);
		if (fd >= 0) {
			l->pause = 0;
			return fd;
		}
		rc = recover(l, fd, until);
		if (rc < 0)
			return rc;
	}
}

/* Closing. */

/* The filter sees a segment from its TCP header on; byte 13 holds the flags. Only SYN of the two it may have: new. */
int gr_listener_refuse(int fd)
{
	enum { FLAGS = 13, SYN = 2, ACK = 16 };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, ~0U),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	int domain = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return -errno;
	if (domain == AF_UNIX)
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

void gr_listener_stop(struct gr_listener *l)
{
	if (l->fd < 0 || l->stopping)
		return;
	l->stopping = true;
	l->left = LEFT_MAX;
	gr_io_end(&l->io, GR_CLOSED);
	if (l->pausing)
		gr_wake(l->pausing, 0);
}

void gr_listener_close(struct gr_listener *l)
{
	if (l->fd < 0)
		return;
	gr_io_end(&l->io, GR_CLOSED);
	gr_sock_remove_path(&l->path, &l->addr);
	close(l->fd);
	l->fd = -1;
	if (--reserve.users == 0)
		empty_reserve();
	if (l->pausing)
		gr_wake(l->pausing, GR_CLOSED);
}
