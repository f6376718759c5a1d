/* SPDX-License-Identifier: MIT */
/* The last bytes of a connection that is closed already. */
#include "net/linger.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/wait.h"
#include "net/sock.h"

enum { PATIENCE_MS = 10000 };

struct farewell {
	struct gr_io io;
	int fd;
	size_t off, len;
	char data[];
};

static void on_writable(struct gr_io *io)
{
	struct farewell *l = (struct farewell *)(void *)((char *)io - offsetof(struct farewell, io));
	ssize_t n = gr_sock_send(l->fd, l->data + l->off, l->len - l->off);

	l->off += n > 0 ? (size_t)n : 0;
	if (n == -EAGAIN || (n > 0 && l->off < l->len))
		return;
	gr_io_unwatch(io);
	close(l->fd);
	free(l);
}

void gr_linger(int fd, const char *data, size_t len)
{
	struct farewell *l = fd >= 0 ? malloc(sizeof(*l) + len) : NULL;
	unsigned patience = PATIENCE_MS;

	if (l == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	/* The kernel's clock, not ours: it also runs while the peer acknowledges but takes nothing. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
	l->fd = fd;
	l->off = 0;
	l->len = len;
	memcpy(l->data, data, len);
	gr_io_init(&l->io, fd, EV_WRITE);
	gr_io_watch(&l->io, on_writable);
}
