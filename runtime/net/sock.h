/* SPDX-License-Identifier: MIT */
/* Non-blocking sockets: making them, and their options. Nothing here parks. */
#ifndef GR_NET_SOCK_H
#define GR_NET_SOCK_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/addr.h"

struct gr_sock_opts {
	bool nodelay;    /* tcp: send small pieces at once */
	bool keepalive;  /* tcp: probe silent peers */
	bool reuse_port; /* several listeners on one address share its connections */
	bool v6only;     /* [::] without IPv4 */
	bool fastopen;   /* connecting tcp: the first data travels with the SYN once the server is known (RFC 7413) */
	int fastopen_queue; /* listening tcp: so many such clients may be pending; 0 = none are accepted */
	int backlog;
	int max_unsent; /* listening tcp: bytes that the kernel takes beyond what it may send a client; 0 = its own limit */
	int mode; /* unix: permissions of the path; -1 = what the umask leaves */
};

extern const struct gr_sock_opts gr_sock_defaults;

/* All sockets made here are non-blocking and close on exec. Functions return a descriptor or 0, or a negative errno. */

/* Binds. A unix path left behind by a process that is gone is replaced; one that somebody uses, and anything that is no
 * socket, is -EADDRINUSE. */
int gr_sock_bind(int fd, const struct gr_addr *addr);

/* True for a unix socket with a place in the file system. */
bool gr_sock_is_path(const struct gr_addr *addr);

/* The unix path that a socket was bound to, so that who created it removes it, and only it. */
struct gr_sock_path {
	dev_t dev;
	ino_t ino;
	pid_t owner; /* the process that created it; 0: there is no path to remove */
};

void gr_sock_remember_path(struct gr_sock_path *path, const struct gr_addr *addr);
void gr_sock_remove_path(struct gr_sock_path *path, const struct gr_addr *addr);

/* Bound, as by gr_sock_bind, and listening. */
int gr_sock_listen(const struct gr_addr *addr, const struct gr_sock_opts *opts);

/* Starts to connect, from `local` unless that is NULL. The connection is made, or has failed with gr_sock_error, when
 * the socket is writable. -EAGAIN: the backlog of a unix listener is full, try again later. */
int gr_sock_connect(const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts);

int gr_sock_pair(int fds[2]);

/* What a descriptor that comes from elsewhere has to be. */
enum gr_sock_role {
	GR_SOCK_CONNECTED, /* a connected stream socket */
	GR_SOCK_LISTENING, /* a listening stream socket */
};

/* Takes a descriptor over: checks it, then makes it non-blocking, closing on exec, and sets those of the options that can
 * be set late (nodelay, keepalive, fastopen_queue, max_unsent). Returns 0; -EBADF, -ENOTSOCK, -EINVAL (not in that role),
 * -EAFNOSUPPORT (neither IP nor unix) or another negative errno, and then it is as it was before. */
int gr_sock_adopt(int fd, enum gr_sock_role role, const struct gr_sock_opts *opts);

/* One attempt each: the number of bytes (0 from recv: the end), or a negative errno. Never a SIGPIPE. */
ssize_t gr_sock_recv(int fd, void *buf, size_t len);
ssize_t gr_sock_send(int fd, const void *buf, size_t len);
ssize_t gr_sock_sendv(int fd, const struct iovec *iov, int count);

/* Takes the pending error of the socket: 0 or a negative errno. */
int gr_sock_error(int fd);

/* Bytes that were sent and that the peer has not acknowledged; 0 if that cannot be told. */
int gr_sock_unacked(int fd);

/* Makes close(2) send a reset instead of what is unsent. */
void gr_sock_reset_on_close(int fd);

int gr_sock_name(int fd, struct gr_addr *out);
int gr_sock_peer(int fd, struct gr_addr *out);

/* Who made the other end of a unix connection: -EOPNOTSUPP for other sockets. */
struct gr_sock_cred {
	int pid;
	unsigned uid, gid;
};
int gr_sock_peercred(int fd, struct gr_sock_cred *out);

/* What the kernel knows of a connection. */
struct gr_sock_info {
	int unsent;                    /* bytes sent that the peer's kernel has not acknowledged, or -1 */
	bool tcp;                      /* the others are known */
	double rtt;                    /* seconds, smoothed */
	double received_ago, sent_ago; /* seconds since data last came or went */
	unsigned retransmits;          /* segments sent again */
};
void gr_sock_info(int fd, struct gr_sock_info *out);

enum gr_sock_kind {
	GR_SOCK_BOOL,
	GR_SOCK_INT,
	GR_SOCK_LINGER, /* seconds, -1 = off */
	GR_SOCK_MS,     /* milliseconds; scripts say seconds */
	GR_SOCK_TOS,    /* of IPv4 and IPv6, whichever the socket speaks */
	GR_SOCK_WORD,   /* a constant with a name: gr_sock_word */
};

/* An option by the name that scripts use. */
struct gr_sock_option {
	const char *name;
	int level, option;
	enum gr_sock_kind kind;
	bool fixed; /* can only be read */
};

/* Returns NULL for an unknown name. */
const struct gr_sock_option *gr_sock_option(const char *name);
int gr_sock_get(int fd, const struct gr_sock_option *o, int *value);
int gr_sock_set(int fd, const struct gr_sock_option *o, int value);

/* The name of a GR_SOCK_WORD's value: "stream" or "inet6", say. */
const char *gr_sock_word(const struct gr_sock_option *o, int value);

#endif
