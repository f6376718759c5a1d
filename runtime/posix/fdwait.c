/* SPDX-License-Identifier: MIT */
/* Waiting for descriptors that belong to libraries. Few simple ones are watched by the loop, others through one epoll
 * descriptor made for the wait. Nothing is kept from one wait to the next: what a number stands for may have changed. */
#define _GNU_SOURCE
#include "posix/fdwait.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/log.h"
#include "core/wait.h"

enum { DIRECT_MAX = 4, READS = POLLIN | POLLRDNORM, WRITES = POLLOUT | POLLWRNORM };

/* One descriptor of a set, in the list of all who wait for it. */
struct member {
	int fd;
	short events;
	struct member *next, *previous;
	struct set *set;
};

struct set {
	struct gr_green *green;
	int closed;   /* see gr_fdwait */
	int epoll;    /* or -1 */
	nfds_t n, nio;
	struct gr_io io[DIRECT_MAX]; /* of the members, or the epoll descriptor's */
	struct member members[];
};

/* By descriptor: who waits for it. */
static struct {
	struct member **heads;
	int room;
} registry;

static int reserve(int fd)
{
	int room = registry.room ? registry.room : 64;
	struct member **heads;

	if (fd < registry.room)
		return 0;
	while (room <= fd)
		room *= 2;
	heads = realloc(registry.heads, (size_t)room * sizeof(*heads));
	if (heads == NULL)
		return -ENOMEM;
	memset(heads + registry.room, 0, (size_t)(room - registry.room) * sizeof(*heads));
	registry.heads = heads;
	registry.room = room;
	return 0;
}

/* Two threads that read one connection get each other's answers. Listening sockets and pipes are shared on purpose. */
static void warn_of_sharing(const struct member *a, const struct member *b)
{
	static bool warned;
	int type = 0, listens = 0;
	socklen_t len = sizeof(int);

	if (warned || !(a->events & b->events) || a->set == b->set)
		return;
	if (getsockopt(a->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return;
	if (getsockopt(a->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || listens)
		return;
	warned = true;
	gr_log(GR_LOG_WARN, "threads #%llu and #%llu wait for the same connection (fd %d) at once: use one per thread",
	       (unsigned long long)b->set->green->id, (unsigned long long)a->set->green->id, a->fd);
}

static void enlist(struct member *m)
{
	struct member *head = registry.heads[m->fd];

	if (head) {
		head->previous = m;
		warn_of_sharing(m, head);
	}
	m->next = head;
	m->previous = NULL;
	registry.heads[m->fd] = m;
}

static void delist(struct member *m)
{
	if (m->previous)
		m->previous->next = m->next;
	else
		registry.heads[m->fd] = m->next;
	if (m->next)
		m->next->previous = m->previous;
}

void gr_fdwait_closing(int fd)
{
	if (fd < 0 || fd >= registry.room)
		return;
	for (struct member *m = registry.heads[fd]; m; m = m->next) {
		struct set *set = m->set;

		set->closed = fd;
		for (nfds_t i = 0; i < set->nio; i++)
			gr_io_end(&set->io[i], GR_CLOSED);
	}
}

/* ---- Descriptors for the loop ----
 *
 * libev tells the kernel of its watchers when it is polled next, and takes a bad descriptor there for an error of the program
 * (it aborts). So those that changed are looked at right before. */

static struct {
	int *fds;
	int n, room;
} changed;

static void check_changed(void)
{
	for (int i = 0; i < changed.n; i++)
		if (fcntl(changed.fds[i], F_GETFD) < 0)
			gr_fdwait_closing(changed.fds[i]);
	changed.n = 0;
}

static int note_change(int fd)
{
	if (changed.n == changed.room) {
		int room = changed.room ? changed.room * 2 : 64;
		int *fds = realloc(changed.fds, (size_t)room * sizeof(*fds));

		if (fds == NULL)
			return -ENOMEM;
		changed.fds = fds;
		changed.room = room;
	}
	changed.fds[changed.n++] = fd;
	gr_hub.on_poll = check_changed;
	return 0;
}

/* ---- Sets ---- */

static int watch(struct set *set, int fd, int events)
{
	struct gr_io *io = &set->io[set->nio];

	if (note_change(fd) < 0)
		return -ENOMEM;
	set->nio++;
	gr_io_init(io, fd, events);
	return gr_io_subscribe(io);
}

static bool is_simple(const struct set *set)
{
	for (nfds_t i = 0; i < set->n; i++) {
		short events = set->members[i].events;

		if (!(events & (READS | WRITES)) || (events & ~(READS | WRITES)))
			return false;
	}
	return set->n <= DIRECT_MAX;
}

/* All events wanted of a descriptor that is in the set more than once. */
static uint32_t all_events(const struct set *set, int fd)
{
	uint32_t events = 0;

	for (nfds_t i = 0; i < set->n; i++)
		if (set->members[i].fd == fd)
			events |= (uint32_t)(unsigned short)set->members[i].events;
	return events;
}

/* Descriptors that epoll does not take never become ready: poll(2) has been asked before. */
static int watch_through_epoll(struct set *set)
{
	set->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (set->epoll < 0)
		return -errno;
	for (nfds_t i = 0; i < set->n; i++) {
		struct member *m = &set->members[i];
		struct epoll_event event = {.events = (uint32_t)(unsigned short)m->events};

		if (epoll_ctl(set->epoll, EPOLL_CTL_ADD, m->fd, &event) == 0 || errno == EPERM || errno == EBADF)
			continue;
		event.events = all_events(set, m->fd);
		if (errno != EEXIST || epoll_ctl(set->epoll, EPOLL_CTL_MOD, m->fd, &event) < 0)
			return -errno;
	}
	return watch(set, set->epoll, EV_READ);
}

static int watch_all(struct set *set)
{
	if (!is_simple(set))
		return watch_through_epoll(set);
	for (nfds_t i = 0; i < set->n; i++) {
		short events = set->members[i].events;
		int rc = watch(set, set->members[i].fd,
			       (events & READS ? EV_READ : 0) | (events & WRITES ? EV_WRITE : 0));

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void delete_set(struct set *set)
{
	for (nfds_t i = 0; i < set->nio; i++) {
		gr_io_unsubscribe(&set->io[i]);
		gr_io_disarm(&set->io[i]);
	}
	/* The kernel has to be told of what the others still want. */
	for (nfds_t i = 0; i < set->n; i++) {
		delist(&set->members[i]);
		if (registry.heads[set->members[i].fd])
			note_change(set->members[i].fd);
	}
	if (set->epoll >= 0)
		close(set->epoll);
	free(set);
}

static struct set *new_set(const struct pollfd *fds, nfds_t n)
{
	struct set *set = malloc(sizeof(*set) + n * sizeof(set->members[0]));

	if (set == NULL)
		return NULL;
	set->green = gr_current;
	set->closed = set->epoll = -1;
	set->n = set->nio = 0;
	for (nfds_t i = 0; i < n; i++) {
		struct member *m = &set->members[set->n];

		if (fds[i].fd < 0)
			continue;
		if (reserve(fds[i].fd) < 0) {
			delete_set(set);
			return NULL;
		}
		m->fd = fds[i].fd;
		m->events = fds[i].events;
		m->set = set;
		set->n++;
		enlist(m);
	}
	return set;
}

/* ---- The wait ---- */

static int wait_for_set(struct gr_fdwait *wait, const struct pollfd *fds, nfds_t n)
{
	struct set *set = new_set(fds, n);
	int rc;

	if (set == NULL)
		return -ENOMEM;
	rc = watch_all(set);
	if (rc == 0 && wait->stubborn)
		rc = gr_wait_stubborn(wait->until, wait->what);
	else if (rc == 0)
		rc = gr_wait(wait->until, wait->what);
	wait->closed = set->closed;
	if (set->closed >= 0)
		rc = -EBADF;
	delete_set(set);
	return rc;
}

/* The number may have been given to something else behind our back (by fclose, dup2, another OS thread): that must not get
 * this thread's call. Anonymous inodes look all alike; there it goes unnoticed. */
int gr_fdwait(struct gr_fdwait *wait, const struct pollfd *fds, nfds_t n)
{
	struct stat before, after;
	bool single = n == 1 && fds[0].fd >= 0 && fstat(fds[0].fd, &before) == 0;
	int rc;

	wait->closed = -1;
	rc = wait_for_set(wait, fds, n);
	if (rc == 0 && single &&
	    (fstat(fds[0].fd, &after) < 0 || before.st_ino != after.st_ino || before.st_dev != after.st_dev)) {
		wait->closed = fds[0].fd;
		rc = -EBADF;
	}
	return rc;
}

void gr_fdwait_each(void (*fn)(void *user, const struct gr_green *g, int fd, short events), void *user)
{
	for (int fd = 0; fd < registry.room; fd++)
		for (const struct member *m = registry.heads[fd]; m; m = m->next)
			fn(user, m->set->green, fd, m->events);
}
