/* SPDX-License-Identifier: MIT */
/* Datagram sockets: UDP over IPv4 and IPv6, and unix ones. Whole datagrams, one or a batch per system call. */
#ifndef GR_NET_DGRAM_H
#define GR_NET_DGRAM_H

#include "core/wait.h"
#include "net/dgram_local.h"
#include "net/sock.h"

enum {
	GR_DGRAM_BATCH = 64,    /* datagrams per system call */
	GR_DGRAM_MAX = 1 << 20, /* the largest that `max` may be */
};

/* One of this machine's network interfaces; {0, 0} = whichever the kernel takes. */
struct gr_interface {
	unsigned index;      /* 0 = given by its address */
	struct in_addr addr; /* IPv4 only */
};

struct gr_dgram_opts {
	bool reuse_port;    /* several sockets of this user on one address share its datagrams */
	bool reuse_addr;    /* several on one port, for multicast */
	bool v6only;        /* [::] without IPv4 */
	bool broadcast;
	int mode;           /* unix: permissions of the path */
	int rcvbuf, sndbuf; /* bytes */
	int ttl;            /* of all but multicast; all of these: -1 = as the system has it */
	int multicast_ttl, multicast_loop;
	struct gr_interface multicast_interface; /* that multicast leaves by */
};

extern const struct gr_dgram_opts gr_dgram_defaults;

struct gr_dgram_sender;

/* Lives in its owner's memory, which must not move and must outlast every call (watchers point into it). */
struct gr_dgram {
	int fd;         /* -1 = closed */
	int family;     /* AF_INET, AF_INET6 or AF_UNIX */
	bool v6only;
	bool connected;
	bool drained;   /* the last batch emptied the socket: the next one waits before it tries */
	size_t max;     /* bytes of a datagram that are kept, 1 to GR_DGRAM_MAX; default 65535 */
	double timeout; /* seconds for each call; INFINITY = none */
	double pause;   /* seconds of the last one before another try to send; 0 after a success */
	struct gr_io rd, wr; /* wr is for who subscribes to it; senders have their own */
	struct gr_dgram_local *local;    /* from which address to answer whom; NULL if there is only one */
	struct gr_dgram_sender *senders; /* threads that wait for room */
	struct gr_sock_path path;
	uint64_t received, sent, truncated;      /* datagrams */
	uint64_t received_bytes, sent_bytes;
};

/* Makes a closed socket. */
void gr_dgram_create(struct gr_dgram *d);

/* Opens it on the first of the addresses that this machine supports, bound there if `bound`; else only the family
 * counts. Returns 0 or a negative errno. */
int gr_dgram_open(struct gr_dgram *d, const struct gr_addr *addrs, int n, bool bound, const struct gr_dgram_opts *opts);

/* Opens it on a descriptor that it owns from now on. -EPROTOTYPE if that is no datagram socket, -EAFNOSUPPORT if it
 * is of another family; then it still belongs to the caller. */
int gr_dgram_adopt(struct gr_dgram *d, int fd);

/* Closes at once and removes the path that it created; waiting threads get GR_CLOSED. Idempotent, never parks. */
void gr_dgram_close(struct gr_dgram *d);

/* From now on nothing is received any more: GR_CLOSED, now and later. It can still send. */
void gr_dgram_stop(struct gr_dgram *d);

/* When a call that starts now must end because of d->timeout. */
double gr_dgram_until(const struct gr_dgram *d);

/* Waits for datagrams and takes those that are there, at most n (and GR_DGRAM_BATCH). Returns how many, at least
 * one, or GR_CLOSED, GR_BUSY (another thread waits for them), what a wait returns, or a negative errno, that of an
 * earlier datagram of a connected socket included (ECONNREFUSED). Parks. */
int gr_dgram_recv(struct gr_dgram *d, int n, double until);

/* The i-th of them; valid until the next wait or receive of anybody, since all sockets receive into the same memory. */
struct gr_datagram {
	const char *data;
	size_t len;
	size_t size; /* as it was sent; above len if it was cut */
	const struct gr_addr *from; /* len 0: an unnamed unix socket. Never an IPv4 address mapped into IPv6 */
};
struct gr_datagram gr_dgram_received(int i);

/* Sends one datagram, to the connected address if `to` is NULL. Returns 0, GR_CLOSED, what a wait returns, or a
 * negative errno. Threads may wait here side by side. The bytes must stay where they are. Parks. */
int gr_dgram_send(struct gr_dgram *d, const char *data, size_t len, const struct gr_addr *to, double until);

/* Sends at most GR_DGRAM_BATCH without waiting. Returns how many of them went out, at least one, or the failure of
 * the first: -EAGAIN if it would have to wait, GR_CLOSED or another negative errno. */
struct gr_datagram_out {
	const char *data;
	size_t len;
	const struct gr_addr *to;
};
int gr_dgram_try_send(struct gr_dgram *d, const struct gr_datagram_out *list, int n);

/* Waits until sending is worth another try. Returns 0, GR_CLOSED, what a wait returns, or -ENOMEM. Parks. */
int gr_dgram_await_room(struct gr_dgram *d, double until);

/* From now on datagrams come from and go to this address only. Returns 0, GR_CLOSED or a negative errno. */
int gr_dgram_connect(struct gr_dgram *d, const struct gr_addr *to);
int gr_dgram_disconnect(struct gr_dgram *d);

/* Whether datagrams can be sent to addresses of this family: of a name's addresses such a one is to be taken. */
bool gr_dgram_reaches(const struct gr_dgram *d, const struct gr_addr *to);

/* Looks an interface up: a name, a number or an IPv4 address. Returns 0 or -ENODEV. */
int gr_interface_find(const char *text, struct gr_interface *out);

/* Begins or ends to receive what is sent to a multicast group. Returns 0, GR_CLOSED or a negative errno. */
int gr_dgram_join(struct gr_dgram *d, const struct gr_addr *group, const struct gr_interface *interface);
int gr_dgram_leave(struct gr_dgram *d, const struct gr_addr *group, const struct gr_interface *interface);

/* Datagrams that the kernel has dropped because the receive buffer was full; 0 if it does not say. */
uint64_t gr_dgram_dropped(const struct gr_dgram *d);

/* True if a receive (or a send) would not wait now. */
bool gr_dgram_readable(const struct gr_dgram *d);
bool gr_dgram_writable(const struct gr_dgram *d);

#endif
