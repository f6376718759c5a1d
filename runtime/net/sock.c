/* SPDX-License-Identifier: MIT */
/* Non-blocking sockets. */
#define _GNU_SOURCE
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct gr_sock_opts gr_sock_defaults = {.nodelay = true, .backlog = 1024, .mode = -1};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int turn_on(int fd, int level, int option)
{
	return set_int(fd, level, option, 1);
}

static int get_int(int fd, int level, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, level, option, value, &len) < 0 ? -errno : 0;
}

static bool is_unix(const struct gr_addr *addr)
{
	return addr->u.sa.sa_family == AF_UNIX;
}

static int apply(int fd, const struct gr_sock_opts *opts)
{
	int rc = 0;

	if (opts->nodelay)
		rc = turn_on(fd, IPPROTO_TCP, TCP_NODELAY);
	if (rc == 0 && opts->keepalive)
		rc = turn_on(fd, SOL_SOCKET, SO_KEEPALIVE);
	if (rc == 0 && opts->fastopen_queue > 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, opts->fastopen_queue);
	if (rc == 0 && opts->max_unsent > 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, opts->max_unsent);
	return rc;
}

static int new_socket(const struct gr_addr *addr, const struct gr_sock_opts *opts)
{
	int fd = socket(addr->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = is_unix(addr) ? 0 : apply(fd, opts);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Binding. */

bool gr_sock_is_path(const struct gr_addr *addr)
{
	return is_unix(addr) && addr->u.un.sun_path[0] != '\0';
}

/* True if the path is a socket that nobody uses: whatever its type, connecting is refused only then. */
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

int gr_sock_bind(int fd, const struct gr_addr *addr)
{
	if (bind(fd, &addr->u.sa, addr->len) == 0)
		return 0;
	if (errno != EADDRINUSE || !gr_sock_is_path(addr))
		return -errno;
	if (!is_stale(addr) || unlink(addr->u.un.sun_path) < 0)
		return -EADDRINUSE;
	return bind(fd, &addr->u.sa, addr->len) < 0 ? -errno : 0;
}

void gr_sock_remember_path(struct gr_sock_path *path, const struct gr_addr *addr)
{
	struct stat st;

	*path = (struct gr_sock_path){0};
	if (!gr_sock_is_path(addr) || lstat(addr->u.un.sun_path, &st) < 0)
		return;
	*path = (struct gr_sock_path){st.st_dev, st.st_ino, getpid()};
}

void gr_sock_remove_path(struct gr_sock_path *path, const struct gr_addr *addr)
{
	struct stat st;

	if (path->owner == 0 || path->owner != getpid())
		return;
	if (lstat(addr->u.un.sun_path, &st) == 0 && st.st_dev == path->dev && st.st_ino == path->ino)
		unlink(addr->u.un.sun_path);
	path->owner = 0;
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
		rc = gr_sock_bind(fd, addr);
	if (rc < 0)
		return rc;
	if (gr_sock_is_path(addr))
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

static int start(int fd, const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts)
{
	int rc = opts->fastopen && !is_unix(addr) ? turn_on(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT) : 0;

	if (rc < 0)
		return rc;
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
	rc = start(fd, addr, local, opts);
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

/* Descriptors from elsewhere. */

static int check_role(int fd, enum gr_sock_role role)
{
	int type = 0, listening = 0, rc = get_int(fd, SOL_SOCKET, SO_TYPE, &type);
	struct gr_addr peer;

	if (rc == 0)
		rc = get_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);
	if (rc < 0)
		return rc;
	if (type != SOCK_STREAM || listening != (role == GR_SOCK_LISTENING))
		return -EINVAL;
	return role == GR_SOCK_CONNECTED && gr_sock_peer(fd, &peer) < 0 ? -EINVAL : 0;
}

static int set_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

int gr_sock_adopt(int fd, enum gr_sock_role role, const struct gr_sock_opts *opts)
{
	int domain = 0, rc = check_role(fd, role);

	if (rc == 0)
		rc = get_int(fd, SOL_SOCKET, SO_DOMAIN, &domain);
	if (rc < 0)
		return rc;
	if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (domain != AF_UNIX)
		rc = apply(fd, opts);
	return rc < 0 ? rc : set_flags(fd);
}

/* Moving bytes. Not by recv(2) and its like: when there is another OS thread, such as the watchdog's, libc switches
 * pthread_cancel on and off around them, which takes 20 ns of each call. */

ssize_t gr_sock_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	do
		n = syscall(SYS_recvfrom, fd, buf, len, 0, NULL, NULL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t gr_sock_send(int fd, const void *buf, size_t len)
{
	ssize_t n;

	do
		n = syscall(SYS_sendto, fd, buf, len, MSG_NOSIGNAL, NULL, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t gr_sock_sendv(int fd, const struct iovec *iov, int count)
{
	struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
	ssize_t n;

	do
		n = syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Looking. */

int gr_sock_error(int fd)
{
	int error = 0, rc = get_int(fd, SOL_SOCKET, SO_ERROR, &error);

	return rc < 0 ? rc : -error;
}

int gr_sock_unacked(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 ? 0 : n;
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

int gr_sock_peercred(int fd, struct gr_sock_cred *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int domain = 0, rc = get_int(fd, SOL_SOCKET, SO_DOMAIN, &domain);

	if (rc < 0)
		return rc;
	if (domain != AF_UNIX)
		return -EOPNOTSUPP;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*out = (struct gr_sock_cred){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	return 0;
}

void gr_sock_info(int fd, struct gr_sock_info *out)
{
	struct tcp_info tcp;
	socklen_t len = sizeof(tcp);

	*out = (struct gr_sock_info){.unsent = -1};
	if (ioctl(fd, SIOCOUTQ, &out->unsent) < 0)
		out->unsent = -1;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &len) < 0)
		return;
	out->tcp = true;
	out->rtt = tcp.tcpi_rtt / 1e6;
	out->received_ago = tcp.tcpi_last_data_recv / 1e3;
	out->sent_ago = tcp.tcpi_last_data_sent / 1e3;
	out->retransmits = tcp.tcpi_total_retrans;
}

/* Options. */

static const struct gr_sock_option options[] = {
	{"nodelay", IPPROTO_TCP, TCP_NODELAY, GR_SOCK_BOOL, false},
	{"keepalive", SOL_SOCKET, SO_KEEPALIVE, GR_SOCK_BOOL, false},
	{"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, GR_SOCK_INT, false},
	{"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, GR_SOCK_INT, false},
	{"keepcnt", IPPROTO_TCP, TCP_KEEPCNT, GR_SOCK_INT, false},
	{"user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, GR_SOCK_MS, false},
	{"quickack", IPPROTO_TCP, TCP_QUICKACK, GR_SOCK_BOOL, false},
	{"rcvbuf", SOL_SOCKET, SO_RCVBUF, GR_SOCK_INT, false},
	{"sndbuf", SOL_SOCKET, SO_SNDBUF, GR_SOCK_INT, false},
	{"max_unsent", IPPROTO_TCP, TCP_NOTSENT_LOWAT, GR_SOCK_INT, false},
	{"linger", SOL_SOCKET, SO_LINGER, GR_SOCK_LINGER, false},
	{"broadcast", SOL_SOCKET, SO_BROADCAST, GR_SOCK_BOOL, false},
	{"tos", IPPROTO_IP, IP_TOS, GR_SOCK_TOS, false},
	{"fastopen", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, GR_SOCK_BOOL, true},
	{"reuseaddr", SOL_SOCKET, SO_REUSEADDR, GR_SOCK_BOOL, true},
	{"type", SOL_SOCKET, SO_TYPE, GR_SOCK_WORD, true},
	{"domain", SOL_SOCKET, SO_DOMAIN, GR_SOCK_WORD, true},
};

const struct gr_sock_option *gr_sock_option(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static const struct word {
	int option, value;
	const char *text;
} words[] = {
	{SO_TYPE, SOCK_STREAM, "stream"}, {SO_TYPE, SOCK_DGRAM, "dgram"}, {SO_TYPE, SOCK_SEQPACKET, "seqpacket"},
	{SO_DOMAIN, AF_INET, "inet"},     {SO_DOMAIN, AF_INET6, "inet6"}, {SO_DOMAIN, AF_UNIX, "unix"},
};

const char *gr_sock_word(const struct gr_sock_option *o, int value)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].option == o->option && words[i].value == value)
			return words[i].text;
	return "other";
}

static int get_linger(int fd, int *value)
{
	struct linger linger = {0};
	socklen_t len = sizeof(linger);

	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) < 0)
		return -errno;
	*value = linger.l_onoff ? linger.l_linger : -1;
	return 0;
}

static int set_linger(int fd, int value)
{
	struct linger linger = {.l_onoff = value >= 0, .l_linger = value >= 0 ? value : 0};

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0 ? -errno : 0;
}

static bool is_v6(int fd)
{
	int domain;

	return get_int(fd, SOL_SOCKET, SO_DOMAIN, &domain) == 0 && domain == AF_INET6;
}

/* An IPv6 socket may carry IPv4 (mapped addresses), so that it gets both. */
static int set_tos(int fd, int value)
{
	int rc = is_v6(fd) ? set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, value) : 0;

	return rc < 0 ? rc : set_int(fd, IPPROTO_IP, IP_TOS, value);
}

int gr_sock_get(int fd, const struct gr_sock_option *o, int *value)
{
	if (o->kind == GR_SOCK_LINGER)
		return get_linger(fd, value);
	if (o->kind == GR_SOCK_TOS && is_v6(fd))
		return get_int(fd, IPPROTO_IPV6, IPV6_TCLASS, value);
	return get_int(fd, o->level, o->option, value);
}

int gr_sock_set(int fd, const struct gr_sock_option *o, int value)
{
	if (o->kind == GR_SOCK_LINGER)
		return set_linger(fd, value);
	return o->kind == GR_SOCK_TOS ? set_tos(fd, value) : set_int(fd, o->level, o->option, value);
}
