/* SPDX-License-Identifier: MIT */
/* inotify(7) on the hub. */
#include "posix/notify.h"

#include <errno.h>
#include <unistd.h>

void gr_notify_create(struct gr_notify *n)
{
	n->fd = -1;
	n->at = n->len = 0;
}

int gr_notify_open(struct gr_notify *n)
{
	n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (n->fd < 0)
		return -errno;
	gr_io_init(&n->io, n->fd, EV_READ);
	return 0;
}

void gr_notify_close(struct gr_notify *n)
{
	if (n->fd < 0)
		return;
	gr_io_end(&n->io, GR_CLOSED);
	close(n->fd);
	n->fd = -1;
}

/* Returns 0 when there is at least one event. */
static int fill(struct gr_notify *n, double until)
{
	ssize_t got;
	int rc;

	for (;;) {
		got = read(n->fd, n->buf, sizeof(n->buf));
		if (got > 0)
			break;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		rc = gr_io_wait(&n->io, until, "watcher.next");
		if (rc < 0)
			return rc;
	}
	n->at = 0;
	n->len = (size_t)got;
	return 0;
}

int gr_notify_next(struct gr_notify *n, double until, const struct inotify_event **event)
{
	int rc = 0;

	if (n->fd < 0)
		return GR_CLOSED;
	if (n->io.waiter)
		return GR_BUSY;
	if (n->at == n->len)
		rc = fill(n, until);
	if (rc < 0)
		return rc;
	*event = (const struct inotify_event *)(const void *)(n->buf + n->at);
	n->at += sizeof(**event) + (*event)->len;
	return 0;
}
