/* SPDX-License-Identifier: MIT */
/* Non-blocking sockets: making them, and their options. Nothing here parks. */
#ifndef GR_NET_SOCK_H
#define GR_NET_SOCK_H

#include <stdbool.h>

#include "net/addr.h"

struct gr_sock_opts {
	bool nodelay;    /* tcp: send small pieces at once */
	bool keepalive;  /* tcp: probe silent peers */
	bool reuse_port; /* several listeners on one address share its connections */
	bool v6only;     /* [::] without IPv4 */
	int backlog;
	int mode;        /* unix: permissions of the path; -1 = what the umask leaves */
};

extern const struct gr_sock_opts gr_sock_defaults;

/* All sockets made here are non-blocking and close on exec. Functions return a descriptor or 0, or a negative errno. */

/* Bound and listening. A unix path left behind by a process that is gone is replaced; one that somebody listens on, and
 * anything that is no socket, is -EADDRINUSE. */
int gr_sock_listen(const struct gr_addr *addr, const struct gr_sock_opts *opts);

/* Starts to connect, from `local` unless that is NULL. The connection is made, or has failed with gr_sock_error, when
 * the socket is writable. -EAGAIN: the backlog of a unix listener is full, try again later. */
int gr_sock_connect(const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts);

int gr_sock_pair(int fds[2]);

/* One attempt each: the number of bytes (0 from recv: the end), or a negative errno. Never a SIGPIPE. */
ssize_t gr_sock_recv(int fd, void *buf, size_t len);
ssize_t gr_sock_send(int fd, const void *buf, size_t len);

/* Takes the pending error of the socket: 0 or a negative errno. */
int gr_sock_error(int fd);

/* Makes close(2) send a reset instead of what is unsent. */
void gr_sock_reset_on_close(int fd);

int gr_sock_name(int fd, struct gr_addr *out);
int gr_sock_peer(int fd, struct gr_addr *out);

enum gr_sock_kind { GR_SOCK_BOOL, GR_SOCK_INT, GR_SOCK_LINGER };

/* An option by the name that scripts use. */
struct gr_sock_option {
	const char *name;
	int level, option;
	enum gr_sock_kind kind; /* GR_SOCK_LINGER: seconds, -1 = off */
};

/* Returns NULL for an unknown name. */
const struct gr_sock_option *gr_sock_option(const char *name);
int gr_sock_get(int fd, const struct gr_sock_option *o, int *value);
int gr_sock_set(int fd, const struct gr_sock_option *o, int value);

#endif
