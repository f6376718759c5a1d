/* SPDX-License-Identifier: MIT */
/* Standard I/O that parks. */
#define _GNU_SOURCE
#include "posix/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/hub.h"

/* Filling without a wait so often is followed by letting others run. */
enum { FILLS_IN_A_ROW = 16 };

/* ---- What only glibc's fields tell ---- */

size_t gr_file_buffered(const FILE *fp, const char **p)
{
	*p = fp->_IO_read_ptr;
	return fp->_IO_read_ptr < fp->_IO_read_end ? (size_t)(fp->_IO_read_end - fp->_IO_read_ptr) : 0;
}

/* The first of __fpending bytes. */
static const char *pending_bytes(const FILE *fp)
{
	return fp->_IO_write_base;
}

/* ---- State ---- */

bool gr_file_is_plain(FILE *fp)
{
	int fd = fileno(fp);

	return lseek(fd, 0, SEEK_CUR) >= 0 || errno != ESPIPE;
}

void gr_file_init(struct gr_file *f, FILE *fp)
{
	memset(f, 0, sizeof(*f));
	f->fp = fp;
	gr_io_init(&f->rd, fileno(fp), EV_READ);
	gr_io_init(&f->wr, fileno(fp), EV_WRITE);
}

void gr_file_end(struct gr_file *f)
{
	f->fp = NULL;
	gr_io_end(&f->rd, GR_CLOSED);
	gr_io_end(&f->wr, GR_CLOSED);
	free(f->ahead);
	f->ahead = NULL;
	f->ahead_at = f->nahead = 0;
}

bool gr_file_may_park(void)
{
	return gr_on_green() && !(gr_hub.may_wait && gr_hub.may_wait() < 0);
}

static bool is_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) != 0;
}

/* The descriptor of a FILE may change below it (freopen). */
static int wait_ready(struct gr_file *f, struct gr_io *io, const char *what)
{
	int fd = fileno(f->fp);

	if (io->ev.fd != fd) {
		gr_io_disarm(io);
		gr_io_init(io, fd, io->ev.events & EV_READ ? EV_READ : EV_WRITE);
	}
	return gr_io_wait(io, INFINITY, what);
}

/* ---- Reading ---- */

size_t gr_file_peek(const struct gr_file *f, const char **p)
{
	if (f->nahead == 0)
		return gr_file_buffered(f->fp, p);
	*p = f->ahead + f->ahead_at;
	return f->nahead;
}

void gr_file_take(struct gr_file *f, char *to, size_t n)
{
	if (f->nahead == 0) {
		n = fread(to, 1, n, f->fp);
		return;
	}
	memcpy(to, f->ahead + f->ahead_at, n);
	f->ahead_at += n;
	f->nahead -= n;
}

/* For n bytes before those that are ahead. */
static int make_room(struct gr_file *f, size_t n)
{
	char *ahead = malloc(n + f->nahead);

	if (ahead == NULL)
		return -ENOMEM;
	if (f->nahead > 0)
		memcpy(ahead + n, f->ahead + f->ahead_at, f->nahead);
	free(f->ahead);
	f->ahead = ahead;
	f->ahead_at = n;
	return 0;
}

int gr_file_put_back(struct gr_file *f, const char *p, size_t n)
{
	if (n > f->ahead_at && make_room(f, n) < 0)
		return -ENOMEM;
	if (n > 0)
		memcpy(f->ahead + f->ahead_at - n, p, n);
	f->ahead_at -= n;
	f->nahead += n;
	return 0;
}

int gr_file_fill_plain(FILE *fp)
{
	const char *p;
	int c;

	if (gr_file_buffered(fp, &p) > 0)
		return 1;
	c = getc(fp);
	if (c == EOF)
		return 0;
	ungetc(c, fp);
	return 1;
}

/* Stdio writes out stdout's line before it reads from a terminal; it has to be there before the wait. */
static int flush_prompt(FILE *fp)
{
	bool lines = __flbf(fp) || __fbufsize(fp) == 1 || (__fbufsize(fp) == 0 && isatty(fileno(fp)));
	struct gr_file *out;
	int rc;

	if (!lines || !__flbf(stdout) || __fpending(stdout) == 0)
		return 0;
	out = gr_file_stdout();
	if (out->writing.owner == gr_current)
		return 0;
	rc = gr_turn_take(&out->writing, "io.read");
	if (rc < 0)
		return rc;
	rc = gr_file_flush(out);
	gr_turn_give(&out->writing);
	return rc == GR_CANCELED || rc == GR_DEADLINE ? rc : 0;
}

static int wait_input(struct gr_file *f)
{
	int rc = flush_prompt(f->fp);

	if (rc < 0)
		return rc;
	if (f->fp == NULL)
		return GR_CLOSED;
	if (!is_ready(fileno(f->fp), POLLIN)) {
		f->fills = 0;
		return wait_ready(f, &f->rd, "io.read");
	}
	rc = gr_check();
	if (rc == 0 && ++f->fills % FILLS_IN_A_ROW == 0)
		gr_yield();
	return f->fp ? rc : GR_CLOSED;
}

int gr_file_fill(struct gr_file *f)
{
	const char *p;

	if (gr_file_peek(f, &p) > 0)
		return 1;
	while (!feof(f->fp)) {
		bool park = __freadable(f->fp) && gr_file_may_park();
		int rc = park ? wait_input(f) : 0;

		if (rc < 0)
			return rc;
		errno = 0;
		if (gr_file_fill_plain(f->fp))
			return 1;
		/* Somebody else took it, or a signal came. */
		if (!park || !ferror(f->fp) || (errno != EAGAIN && errno != EINTR))
			return 0;
		clearerr(f->fp);
	}
	return 0;
}

/* ---- Writing ---- */

/* A terminal that has room for one byte is ready, and blocks when it is given more. Opened once more, it does not. */
static ssize_t write_terminal(int fd, const char *p, size_t n)
{
	char path[32];
	ssize_t rc;
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (again < 0)
		return write(fd, p, n < PIPE_BUF ? n : PIPE_BUF);
	rc = write(again, p, n);
	if (rc < 0) {
		int saved = errno;

		close(again);
		errno = saved;
		return rc;
	}
	close(again);
	return rc;
}

/* Writes what can be written without blocking: how much, or a negative errno. What was a pipe may have become a file
 * (dup2, freopen). */
static ssize_t write_now(FILE *fp, const char *p, size_t n)
{
	int fd = fileno(fp);
	struct iovec v = {.iov_base = (char *)p, .iov_len = n};
	ssize_t rc = pwritev2(fd, &v, 1, -1, RWF_NOWAIT);

	if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
		if (!is_ready(fd, POLLOUT))
			return -EAGAIN;
		/* A pipe that is ready has room for that much. */
		rc = isatty(fd) ? write_terminal(fd, p, n) : write(fd, p, n < PIPE_BUF ? n : PIPE_BUF);
	}
	if (rc < 0 && errno == EAGAIN) {
		if (!gr_file_is_plain(fp))
			return -EAGAIN;
		rc = write(fd, p, n);
	}
	return rc < 0 ? -errno : rc;
}

/* Writes *n bytes from *p and moves both past what was written. */
static int send_all(struct gr_file *f, const char **p, size_t *n)
{
	while (*n > 0) {
		ssize_t done = write_now(f->fp, *p, *n);

		if (done == -EAGAIN) {
			int rc = wait_ready(f, &f->wr, "io.write");

			if (rc < 0)
				return rc;
		} else if (done >= 0) {
			*p += done;
			*n -= (size_t)done;
		} else if (done != -EINTR) {
			return (int)done;
		}
	}
	return 0;
}

bool gr_file_fits(FILE *fp, const char *p, size_t n)
{
	size_t size = __fbufsize(fp);

	if (size <= 1 || !__fwriting(fp) || __freadable(fp) || n >= size - __fpending(fp))
		return false;
	return !__flbf(fp) || memchr(p, '\n', n) == NULL;
}

static int write_plain(FILE *fp, const char *p, size_t n)
{
	return fwrite(p, 1, n, fp) == n ? 0 : -errno;
}

/* The first write decides how a FILE is buffered, and one that is also read may have to change over: then stdio itself has
 * to write, in steps for which a ready descriptor has room. */
static int write_step(struct gr_file *f, const char **p, size_t *n)
{
	size_t step = *n < PIPE_BUF ? *n : PIPE_BUF;
	int rc = is_ready(fileno(f->fp), POLLOUT) ? 0 : wait_ready(f, &f->wr, "io.write");

	if (rc == 0)
		rc = write_plain(f->fp, *p, step);
	*p += step;
	*n -= step;
	return rc;
}

/* How much of it stdio would write now: all, or with line buffering up to the last line's end. */
static size_t due(FILE *fp, const char *p, size_t n)
{
	const char *end = __flbf(fp) ? memrchr(p, '\n', n) : NULL;

	return end && n - (size_t)(end + 1 - p) < __fbufsize(fp) ? (size_t)(end + 1 - p) : n;
}

int gr_file_write(struct gr_file *f, const char *p, size_t n)
{
	int rc = 0;
	size_t now;

	if (!gr_file_may_park() || !__fwritable(f->fp))
		return write_plain(f->fp, p, n);
	while (rc == 0 && n > 0 && (__fbufsize(f->fp) == 0 || __freadable(f->fp)))
		rc = write_step(f, &p, &n);
	if (rc < 0 || n == 0)
		return rc;
	if (gr_file_fits(f->fp, p, n))
		return write_plain(f->fp, p, n);
	rc = gr_file_flush(f);
	if (rc < 0)
		return rc;
	now = due(f->fp, p, n);
	n -= now;
	rc = send_all(f, &p, &now);
	return rc == 0 && n > 0 ? write_plain(f->fp, p, n) : rc;
}

/* What could not be written goes back, unless that would block. */
static void keep(struct gr_file *f, const char *p, size_t n)
{
	if (f->fp && gr_file_fits(f->fp, "", n) && __fpending(f->fp) == 0)
		fwrite(p, 1, n, f->fp);
}

/* Writes n pending bytes, in a copy: the FILE's buffer is everybody's while this waits. */
static int send_copy(struct gr_file *f, const char *pending, size_t n)
{
	char *copy = malloc(n);
	const char *p = copy;
	int rc;

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, pending, n);
	__fpurge(f->fp);
	rc = send_all(f, &p, &n);
	if (rc == GR_CANCELED || rc == GR_DEADLINE)
		keep(f, p, n);
	free(copy);
	return rc;
}

int gr_file_flush(struct gr_file *f)
{
	size_t n = __fpending(f->fp);
	ssize_t done;

	if (n == 0 || __freadable(f->fp) || !gr_file_may_park())
		return fflush(f->fp) == 0 ? 0 : -errno;
	done = write_now(f->fp, pending_bytes(f->fp), n);
	if (done == -EAGAIN || done == -EINTR)
		done = 0;
	if (done >= 0 && (size_t)done < n)
		return send_copy(f, pending_bytes(f->fp) + done, n - (size_t)done);
	__fpurge(f->fp);
	return done < 0 ? (int)done : 0;
}

struct gr_file *gr_file_stdout(void)
{
	static struct gr_file out;

	if (out.fp == NULL)
		gr_file_init(&out, stdout);
	return &out;
}
