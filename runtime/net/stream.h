/* SPDX-License-Identifier: MIT */
/* A connected byte stream with buffered reading. Plain sockets and TLS differ only in struct gr_stream_ops. */
#ifndef GR_NET_STREAM_H
#define GR_NET_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "core/wait.h"
#include "net/sock.h"

struct gr_stream;
struct gr_writer;

/* One attempt each, never waiting: a count, 0 at the end of the stream (read), -EAGAIN when it would have to wait, or
 * another failure. read also says in s->drained whether the next one should wait for the socket first. write and writev
 * set s->unsent if they keep bytes that the socket did not take, and are called again, perhaps with none, to send them. */
struct gr_stream_ops {
	ssize_t (*read)(struct gr_stream *s, void *buf, size_t len);
	ssize_t (*write)(struct gr_stream *s, const void *buf, size_t len);
	ssize_t (*writev)(struct gr_stream *s, const struct iovec *iov, int n);
	int (*shutdown)(struct gr_stream *s, int how); /* SHUT_RD, SHUT_WR or SHUT_RDWR */
	void (*close)(struct gr_stream *s);            /* the watchers are stopped already */
	int (*prepare)(struct gr_stream *s, double until); /* while s->unready, before reading or writing; parks */
	bool (*readable)(struct gr_stream *s);         /* would a read not wait? NULL: ask the socket */
};

/* Lives in its owner's memory, which must not move and must outlast every call (watchers point into it). */
struct gr_stream {
	const struct gr_stream_ops *ops;
	int fd;            /* -1 = closed */
	bool eof;          /* the peer has ended its direction */
	bool drained;      /* the last read emptied the socket: the next one waits before it tries */
	bool reading;      /* a thread is inside a read */
	bool writing;      /* it is some thread's turn to write */
	bool pinned;       /* the owner still looks at bytes it took */
	bool unready;      /* ops->prepare has to be called first */
	bool unsent;       /* the layer holds bytes that the socket did not take */
	bool accepted;     /* by a listener: this side is the server */
	void *layer;       /* of the ops; NULL for plain sockets */
	struct gr_io rd, wr;
	struct gr_writer *writers; /* threads waiting for their turn, first one first */
	char *data;        /* unread bytes: in `buf`, or during one call in a scratch shared by all streams */
	size_t len;
	char *buf;         /* heap; NULL while there is nothing unread */
	size_t cap;
	double timeout;    /* seconds for each call; INFINITY = none */
	uint64_t received, sent;
};

/* Makes a closed stream. */
void gr_stream_create(struct gr_stream *s);

/* Opens it on a connected, or connecting, non-blocking socket that it owns from now on. */
void gr_stream_open(struct gr_stream *s, int fd);

/* Connects to the first of the addresses that answers, tried in order until `until`. Returns 0, the error of the first
 * address, or what a wait returns; on failure the stream is closed. Parks. */
int gr_stream_connect(struct gr_stream *s, const struct gr_addr *addrs, int n, const struct gr_addr *local,
		      const struct gr_sock_opts *opts, double until);

/* Closes at once; waiting threads get GR_CLOSED. Idempotent, never parks. */
void gr_stream_close(struct gr_stream *s);

/* Closes and gives back all memory; nobody may be inside a call. */
void gr_stream_destroy(struct gr_stream *s);

/* Ends one or both directions. Returns 0, GR_CLOSED or a negative errno. */
int gr_stream_shutdown(struct gr_stream *s, int how);

/* When a call that starts now must end because of s->timeout. */
double gr_stream_until(const struct gr_stream *s);

/* Reading. All of these park. They return the number of bytes, and in *p the bytes, which are consumed and stay valid
 * until gr_stream_done, which must follow without a wait in between. 0 = the end of the stream. On failure nothing is
 * consumed: GR_CLOSED, GR_BUSY (another thread reads), GR_TOO_LARGE, what a wait returns, or a negative errno. */

/* n bytes; fewer only at the end. */
ssize_t gr_stream_read(struct gr_stream *s, size_t n, double until, const char **p);

/* What is there, at most n > 0 bytes. */
ssize_t gr_stream_recv(struct gr_stream *s, size_t n, double until, const char **p);

/* Up to and with the separator; without it only at the end. GR_TOO_LARGE if more than `max` bytes precede it. */
ssize_t gr_stream_read_until(struct gr_stream *s, const char *sep, size_t sep_len, size_t max, double until,
			     const char **p);

/* Skips white space, then the longest text that looks like a number, at most 200 bytes; 0 = none. */
ssize_t gr_stream_read_number(struct gr_stream *s, double until, const char **p);

/* Everything up to the end. */
ssize_t gr_stream_read_all(struct gr_stream *s, double until, const char **p);

/* As gr_stream_read, but nothing is consumed. */
ssize_t gr_stream_peek(struct gr_stream *s, size_t n, double until, const char **p);

void gr_stream_done(struct gr_stream *s);

/* Threads write one after the other: between these two the caller has the stream to itself, so that what it writes in
 * several calls is not mixed with others'. Parks until it is its turn. Returns 0, GR_CLOSED, GR_BUSY (another thread waits
 * for writability), what a wait returns, or -ENOMEM. */
int gr_stream_begin_write(struct gr_stream *s, double until);
void gr_stream_end_write(struct gr_stream *s);

/* Writing, in one's turn: all of it, or a failure: GR_CLOSED, what a wait returns, or a negative errno. *sent grows by what
 * the kernel took. The bytes must stay where they are. The iov array is used up. Parks. */
int gr_stream_write(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent);
int gr_stream_writev(struct gr_stream *s, struct iovec *iov, int n, double until, size_t *sent);

/* For read.c and stream.c. Forgets the unread bytes. */
void gr_stream_drop(struct gr_stream *s);

/* For them too, before a system call: lets others run now and then, since a peer that always has data, or always takes
 * it, would keep the thread running for ever. The stream may be closed afterwards. */
void gr_stream_share(void);

/* True if a read (or a write) would not wait now. */
bool gr_stream_readable(struct gr_stream *s);
bool gr_stream_writable(const struct gr_stream *s);

#endif
