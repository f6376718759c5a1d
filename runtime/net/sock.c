/* SPDX-License-Identifier: MIT */
/* Non-blocking sockets. */
#define _GNU_SOURCE
#include "net/sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct gr_sock_opts gr_sock_defaults = {.nodelay = true, .backlog = 1024, .mode = -1};

static int turn_on(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static bool is_unix(const struct gr_addr *addr)
{
	return addr->u.sa.sa_family == AF_UNIX;
}

static int apply(int fd, const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int rc = 0;

	if (is_unix(addr))
		return 0;
	if (opts->nodelay)
		rc = turn_on(fd, IPPROTO_TCP, TCP_NODELAY);
	if (rc == 0 && opts->keepalive)
		rc = turn_on(fd, SOL_SOCKET, SO_KEEPALIVE);
	return rc;
}

static int new_socket(const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int fd = socket(addr->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = apply(fd, addr, opts);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Listening. */

static int set_sharing(int fd, const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int v6only = opts->v6only, rc = 0;

	if (is_unix(addr))
		return 0;
	rc = turn_on(fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc == 0 && opts->reuse_port)
		rc = turn_on(fd, SOL_SOCKET, SO_REUSEPORT);
	if (rc == 0 && addr->u.sa.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
		rc = -errno;
	return rc;
}

static bool is_path(const struct gr_addr *addr)
{
	return is_unix(addr) && addr->u.un.sun_path[0] != '\0';
}

/* True if the path is a socket that nobody listens on. */
static bool is_stale(const struct gr_addr *addr)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(addr->u.un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, &addr->u.sa, addr->len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static int bind_to(int fd, const struct gr_addr *addr)
{
	if (bind(fd, &addr->u.sa, addr->len) == 0)
		return 0;
	if (errno != EADDRINUSE || !is_path(addr))
		return -errno;
	if (!is_stale(addr) || unlink(addr->u.un.sun_path) < 0)
		return -EADDRINUSE;
	return bind(fd, &addr->u.sa, addr->len) < 0 ? -errno : 0;
}

/* Nobody can connect between bind and listen, so the mode is in force before the first client. */
static int listen_on_path(int fd, const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int rc = 0;

	if (opts->mode >= 0 && chmod(addr->u.un.sun_path, (mode_t)opts->mode) < 0)
		rc = -errno;
	if (rc == 0 && listen(fd, opts->backlog) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(addr->u.un.sun_path);
	return rc;
}

static int open_listener(int fd, const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int rc = set_sharing(fd, addr, opts);

	if (rc == 0)
		rc = bind_to(fd, addr);
	if (rc < 0)
		return rc;
	if (is_path(addr))
		return listen_on_path(fd, addr, opts);
	return listen(fd, opts->backlog) < 0 ? -errno : 0;
}

int gr_sock_listen(const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int fd = new_socket(addr, opts), rc;

	if (fd < 0)
		return fd;
	rc = open_listener(fd, addr, opts);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Connecting. */

static int start(int fd, const struct gr_addr *addr, const struct gr_addr *local)
{
	if (local && bind(fd, &local->u.sa, local->len) < 0)
		return -errno;
	if (connect(fd, &addr->u.sa, addr->len) < 0 && errno != EINPROGRESS && errno != EINTR)
		return -errno;
	return 0;
}

int gr_sock_connect(const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts)
{
	int fd = new_socket(addr, opts), rc;

	if (fd < 0)
		return fd;
	rc = start(fd, addr, local);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int gr_sock_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

/* Moving bytes. */

ssize_t gr_sock_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t gr_sock_send(int fd, const void *buf, size_t len)
{
	ssize_t n;

	do
		n = send(fd, buf, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Looking and setting. */

int gr_sock_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
}

void gr_sock_reset_on_close(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

int gr_sock_name(int fd, struct gr_addr *out)
{
	out->len = sizeof(out->u);
	return getsockname(fd, &out->u.sa, &out->len) < 0 ? -errno : 0;
}

int gr_sock_peer(int fd, struct gr_addr *out)
{
	out->len = sizeof(out->u);
	return getpeername(fd, &out->u.sa, &out->len) < 0 ? -errno : 0;
}

static const struct gr_sock_option options[] = {
	{"nodelay", IPPROTO_TCP, TCP_NODELAY, GR_SOCK_BOOL},
	{"keepalive", SOL_SOCKET, SO_KEEPALIVE, GR_SOCK_BOOL},
	{"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, GR_SOCK_INT},
	{"rcvbuf", SOL_SOCKET, SO_RCVBUF, GR_SOCK_INT},
	{"sndbuf", SOL_SOCKET, SO_SNDBUF, GR_SOCK_INT},
	{"linger", SOL_SOCKET, SO_LINGER, GR_SOCK_LINGER},
};

const struct gr_sock_option *gr_sock_option(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

int gr_sock_get(int fd, const struct gr_sock_option *o, int *value)
{
	struct linger linger = {0};
	socklen_t len = o->kind == GR_SOCK_LINGER ? sizeof(linger) : sizeof(*value);

	if (getsockopt(fd, o->level, o->option, o->kind == GR_SOCK_LINGER ? (void *)&linger : value, &len) < 0)
		return -errno;
	if (o->kind == GR_SOCK_LINGER)
		*value = linger.l_onoff ? linger.l_linger : -1;
	return 0;
}

int gr_sock_set(int fd, const struct gr_sock_option *o, int value)
{
	struct linger linger = {.l_onoff = value >= 0, .l_linger = value >= 0 ? value : 0};
	bool is_linger = o->kind == GR_SOCK_LINGER;
	int rc = setsockopt(fd, o->level, o->option, is_linger ? (void *)&linger : &value,
			    is_linger ? sizeof(linger) : sizeof(value));

	return rc < 0 ? -errno : 0;
}
