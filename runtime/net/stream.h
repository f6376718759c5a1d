/* SPDX-License-Identifier: MIT */
/* A connected byte stream with buffered reading. Plain sockets and TLS differ only in struct gr_stream_ops. */
#ifndef GR_NET_STREAM_H
#define GR_NET_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "core/wait.h"
#include "net/sock.h"

struct gr_stream;
struct gr_cork;

/* One attempt each, never waiting: a count, 0 at the end of the stream (read), -EAGAIN when it would have to wait, or
 * another failure. read also says in s->drained whether the next one should wait for the socket first. write and writev
 * set s->unsent if they keep bytes that the socket did not take, and are called again, perhaps with none, to send them. */
struct gr_stream_ops {
	ssize_t (*read)(struct gr_stream *s, void *buf, size_t len);
	ssize_t (*write)(struct gr_stream *s, const void *buf, size_t len);
	ssize_t (*writev)(struct gr_stream *s, const struct iovec *iov, int n);
	/* Bytes of a file from *offset on, which moves along; 0 = the file ends there; -EINVAL: not from such a file. NULL:
	 * from none. */
	ssize_t (*sendfile)(struct gr_stream *s, int fd, off_t *offset, size_t len);
	int (*shutdown)(struct gr_stream *s, int how); /* SHUT_RD, SHUT_WR or SHUT_RDWR */
	void (*close)(struct gr_stream *s);            /* the watchers are stopped already */
	int (*prepare)(struct gr_stream *s, double until); /* while s->unready, before reading or writing; parks */
	bool (*readable)(struct gr_stream *s);         /* would a read not wait? NULL: ask the socket */
};

/* A thread that waits for its turn to write. Lives in the heap. */
struct gr_writer {
	struct gr_green *green;
	struct gr_writer *next;
};

/* Lives in its owner's memory, which must not move and must outlast every call (watchers point into it). */
struct gr_stream {
	const struct gr_stream_ops *ops;
	int fd;       /* -1 = closed */
	bool eof;     /* the peer has ended its direction */
	bool drained; /* the last read emptied the socket: the next one waits before it tries */
	bool reading; /* a thread is inside a read */
	bool writing; /* it is some thread's turn to write */
	bool pinned;  /* the owner still looks at bytes it took */
	bool unready; /* ops->prepare has to be called first */
	bool unsent;  /* the layer holds bytes that the socket did not take */
	bool accepted; /* by a listener: this side is the server */
	bool broken;  /* gr_stream_break */
	void *layer;  /* of the ops; NULL for plain sockets */
	struct gr_io rd, wr;
	struct gr_writer *writers; /* threads waiting for their turn, first one first */
	struct gr_cork *cork;      /* what is written is collected there (cork.h); mostly NULL */
	char *data;                /* unread bytes: in `buf`, or during one call in a scratch shared by all streams */
	size_t len;
	char *buf; /* heap; NULL while there is nothing unread */
	size_t cap;
	double timeout; /* seconds for each call; INFINITY = none */
	uint64_t received, sent;
};

/* Plain sockets. */
extern const struct gr_stream_ops gr_stream_sock_ops;

/* Makes a closed stream. */
void gr_stream_create(struct gr_stream *s);

/* Opens it on a connected, or connecting, non-blocking socket that it owns from now on. */
void gr_stream_open(struct gr_stream *s, int fd);

/* Marks an open stream as accepted by a listener. *gr_stream_serving counts those that are open; it may point into memory
 * that other processes see. */
void gr_stream_accepted(struct gr_stream *s);
extern uint32_t *gr_stream_serving;

/* The same for a non-blocking pipe or terminal (pipe.c). shutdown of its only direction closes it. */
void gr_stream_open_pipe(struct gr_stream *s, int fd);

/* True if its bytes are those of the descriptor (no TLS in between). */
bool gr_stream_is_raw(const struct gr_stream *s);

/* Connects to one of the addresses (at most GR_ADDR_MAX), best first. Of several, tried alternately by family, the next
 * is tried 250 ms after the one before or as soon as that has failed; earlier ones go on, and the first that answers wins
 * (RFC 8305). Returns 0, the error of the first address, or what a wait returns; on failure the stream is closed. Parks. */
int gr_stream_connect(struct gr_stream *s, const struct gr_addr *addrs, int n, const struct gr_addr *local,
		      const struct gr_sock_opts *opts, double until);

/* Closes at once; waiting threads get GR_CLOSED. Idempotent, never parks. */
void gr_stream_close(struct gr_stream *s);

/* What was sent is less than the peer was to get, and has no end of its own: closing is to look like an accident. Then the
 * socket resets the connection, and TLS says no goodbye. */
void gr_stream_break(struct gr_stream *s);

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

/* A parser's look at the n unread bytes from the first on, each time with more of them: returns how many belong together,
 * 0 for not enough yet, or < 0 for an error. Must not wait. */
typedef ssize_t gr_stream_scan_fn(void *user, const char *p, size_t n);

/* What the parser says: that many bytes, or its error. The end of the stream is 0. The parser may change *until. */
ssize_t gr_stream_scan(struct gr_stream *s, gr_stream_scan_fn *scan, void *user, const double *until, const char **p);

void gr_stream_done(struct gr_stream *s);

/* Threads write one after the other: between these two the caller has the stream to itself, so that what it writes in
 * several calls is not mixed with others'. Parks until it is its turn. Returns 0, GR_CLOSED, GR_BUSY (another thread waits
 * for writability), what a wait returns, or -ENOMEM. */
int gr_stream_begin_write(struct gr_stream *s, double until);
void gr_stream_end_write(struct gr_stream *s);

/* Writing, in one's turn: all of it, or a failure: GR_CLOSED, what a wait returns, or a negative errno. *sent grows by what
 * the kernel, or a cork, took. The bytes must stay where they are. The iov array is used up. Parks. */
int gr_stream_write(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent);
int gr_stream_writev(struct gr_stream *s, struct iovec *iov, int n, double until, size_t *sent);

/* Makes in `rest` what is left of these n entries behind their first `done` bytes. Returns the number of its entries. */
int gr_stream_rest(const struct iovec *all, int n, size_t done, struct iovec *rest);

/* One attempt, without a turn. Returns 0: all of it is sent; 1: the rest has to be written in one's turn; or a negative
 * errno. Parks only to let others run. */
int gr_stream_write_now(struct gr_stream *s, const struct iovec *iov, int n, size_t *sent);

/* Corking. From gr_stream_cork to gr_stream_uncork, which must follow, what the calling thread writes is collected, up to
 * 64 KiB, and sent in one piece. It nests. A write of another thread sends first what was collected, then its own.
 * gr_stream_cork returns 0; 1 = another thread has a cork here, so that the caller is not corked and must not uncork;
 * GR_CLOSED or -ENOMEM. gr_stream_uncork sends what is left; on failure, as of gr_stream_write, the rest is dropped. */
int gr_stream_cork(struct gr_stream *s);
int gr_stream_uncork(struct gr_stream *s, double until, size_t *sent);

/* Sends what is collected, in one's turn. What could not be sent stays collected. Results as of gr_stream_write. Parks. */
int gr_stream_flush(struct gr_stream *s, double until);

/* Bytes collected. */
size_t gr_stream_corked(const struct gr_stream *s);

/* Sends `len` bytes of a file from offset `from` on, in one's turn; SIZE_MAX: all up to its end. from < 0: what can be read
 * from a pipe or the like, which is waited for. Results as of gr_stream_write, or -ENODATA: the file ended before, or an
 * error of reading. The descriptor must stay open. Needs constant memory. Parks. */
int gr_stream_sendfile(struct gr_stream *s, int fd, off_t from, size_t len, double until, size_t *sent);

/* Descriptors over unix sockets (fdpass.c). Parks; the byte that carries them comes after all that was written before.
 * Results as of gr_stream_write, or -EOPNOTSUPP for other streams. */
int gr_stream_send_fd(struct gr_stream *s, int fd, double until);

/* The descriptor that comes with the next byte, which is consumed with it; further ones in the same message are closed.
 * -EBADMSG: the next byte carries none, and stays unread; -EMFILE: it was lost for want of descriptors. Else as of
 * gr_stream_recv. Parks. */
int gr_stream_recv_fd(struct gr_stream *s, double until);

/* True for a socket without TLS. */
bool gr_stream_is_plain(const struct gr_stream *s);

/* ---- For the files that streams are made of ---- */

/* Forgets the unread bytes. */
void gr_stream_drop(struct gr_stream *s);

/* Before a system call: lets others run now and then, since a peer that always has data, or always takes
 * it, would keep the thread running for ever. The stream may be closed afterwards. */
void gr_stream_share(void);

/* As gr_stream_write, past the cork. */
int gr_stream_send(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent);

/* Looks at what one attempt to write returned of `want` bytes: counts it, and waits for room if it was not all. */
int gr_stream_settle(struct gr_stream *s, ssize_t n, size_t want, double until, size_t *sent);

/* While its thread is among the writers, closing the stream ends its wait with GR_CLOSED. */
void gr_stream_enqueue(struct gr_stream *s, struct gr_writer *w);
void gr_stream_dequeue(struct gr_stream *s, const struct gr_writer *w);

/* Around reading past the buffer, which must be empty: 0, GR_CLOSED or GR_BUSY; then the second, which returns rc. */
int gr_stream_begin_read(struct gr_stream *s, double until);
ssize_t gr_stream_end_read(struct gr_stream *s, ssize_t rc);

/* Between these two: bytes that the next read is to see. Returns 0 or -ENOMEM. */
int gr_stream_unread(struct gr_stream *s, const char *p, size_t n);

/* True if a read (or a write) would not wait now. */
bool gr_stream_readable(struct gr_stream *s);
bool gr_stream_writable(const struct gr_stream *s);

#endif
