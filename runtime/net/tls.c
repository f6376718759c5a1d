/* SPDX-License-Identifier: MIT */
/* TLS over a stream's socket: the handshake, reading, writing and the end. */
#define _GNU_SOURCE
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/linger.h"
#include "net/tls_stream.h"

enum {
	RECORD = 16 << 10, /* most that one record holds */
	SLICE = 256 << 10, /* most that one attempt to write takes */
};

/* ---- Failing ---- */

int gr_tls_failed(const struct gr_tls *t)
{
	gr_error_explain("%s", t->why ? t->why : "TLS failed");
	return t->failed;
}

int gr_tls_fail(struct gr_tls *t)
{
	const char *reason = gr_tls_reason();

	if (t->failed == 0)
		t->failed = GR_TLS;
	if (t->why == NULL)
		t->why = strdup(reason);
	return gr_tls_failed(t);
}

/* ---- Reading ---- */

static ssize_t read_failure(struct gr_tls *t)
{
	switch (ossl.SSL_get_error(t->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return t->recv_error ? t->recv_error : GR_TRUNCATED;
	default:
		return gr_tls_fail(t);
	}
}

/* Takes all records that are there, so that less than asked for means that the socket is drained. */
static ssize_t tls_read(struct gr_stream *s, void *buf, size_t len)
{
	struct gr_tls *t = s->layer;
	ssize_t rc = -EAGAIN;
	size_t got = 0, n;

	if (t->failed)
		return gr_tls_failed(t);
	t->drained = false;
	if (t->out_len > 0)
		gr_tls_send_out(t);
	do {
		ossl.ERR_clear_error();
		if (!ossl.SSL_read_ex(t->ssl, (char *)buf + got, len - got, &n)) {
			rc = read_failure(t);
			break;
		}
		got += n;
	} while (got < len && !(t->drained && !ossl.SSL_has_pending(t->ssl)));
	/* An end that has come with the last bytes is told by the next call, which must not wait. */
	s->drained = got < len && rc == -EAGAIN;
	return got > 0 ? (ssize_t)got : rc;
}

/* Looks for a byte, since what the socket holds may be part of a record, or a record without data. */
static bool tls_readable(struct gr_stream *s)
{
	struct gr_tls *t = s->layer;
	size_t n;
	char c;

	if (t->failed)
		return true;
	t->drained = false;
	ossl.ERR_clear_error();
	return ossl.SSL_peek_ex(t->ssl, &c, 1, &n) || read_failure(t) != -EAGAIN;
}

/* ---- Writing ---- */

static int write_failure(struct gr_tls *t)
{
	return ossl.SSL_get_error(t->ssl, 0) == SSL_ERROR_SYSCALL ? -EPIPE : gr_tls_fail(t);
}

static ssize_t tls_write(struct gr_stream *s, const void *buf, size_t len)
{
	struct gr_tls *t = s->layer;
	size_t done = 0, n;
	int rc = gr_tls_send_out(t);

	s->unsent = rc == -EAGAIN;
	if (rc < 0)
		return rc;
	if (t->failed)
		return gr_tls_failed(t);
	if (t->ended_ours)
		return -EPIPE;
	len = len < SLICE ? len : SLICE;
	while (done < len && t->out_len == 0) {
		ossl.ERR_clear_error();
		if (!ossl.SSL_write_ex(t->ssl, (const char *)buf + done, len - done < RECORD ? len - done : RECORD, &n))
			return write_failure(t);
		if (t->send_error)
			return t->send_error;
		done += n;
	}
	s->unsent = t->out_len > 0;
	return (ssize_t)done;
}

/* Small pieces go together into one record: gathers them from the `skip`th byte of iov[0] on and returns how many bytes. */
static size_t gather(char *to, const struct iovec *iov, int count, size_t skip)
{
	size_t got = 0;

	for (int i = 0; i < count && got < RECORD; i++, skip = 0) {
		size_t n = iov[i].iov_len - skip < RECORD - got ? iov[i].iov_len - skip : RECORD - got;

		memcpy(to + got, (const char *)iov[i].iov_base + skip, n);
		got += n;
	}
	return got;
}

static ssize_t tls_writev(struct gr_stream *s, const struct iovec *iov, int count)
{
	static char record[RECORD]; /* never in use across a wait */
	size_t done = 0, skip = 0, n;
	ssize_t k;

	do {
		bool direct = count == 1 || (count > 0 && iov->iov_len - skip >= RECORD);

		n = direct ? iov->iov_len - skip : gather(record, iov, count, skip);
		k = tls_write(s, direct ? (const char *)iov->iov_base + skip : record, n);
		if (k < 0)
			return done ? (ssize_t)done : k;
		done += (size_t)k;
		skip += (size_t)k;
		for (; count > 0 && skip >= iov->iov_len; iov++, count--)
			skip -= iov->iov_len;
	} while (count > 0 && (size_t)k == n && done < SLICE);
	return (ssize_t)done;
}

/* ---- The end ---- */

/* Says that we send no more. */
static void say_goodbye(struct gr_tls *t)
{
	if (!t->done || t->failed || t->ended_ours)
		return;
	t->ended_ours = true;
	ossl.ERR_clear_error();
	ossl.SSL_shutdown(t->ssl);
	ossl.ERR_clear_error();
	gr_tls_send_out(t);
}

/* The TCP connection stays open both ways: some peers take its end for the end of everything. */
static int tls_shutdown(struct gr_stream *s, int how)
{
	struct gr_tls *t = s->layer;

	if (how == SHUT_RD)
		return shutdown(s->fd, SHUT_RD) < 0 ? -errno : 0;
	say_goodbye(t);
	if (t->out_len > 0 && t->send_error == 0) {
		gr_linger(fcntl(s->fd, F_DUPFD_CLOEXEC, 0), t->out + t->out_off, t->out_len);
		t->send_error = -EPIPE; /* nothing may come between */
	}
	return how == SHUT_RDWR && shutdown(s->fd, SHUT_RD) < 0 ? -errno : 0;
}

void gr_tls_destroy(struct gr_tls *t)
{
	ossl.SSL_free(t->ssl); /* with its BIO */
	gr_tls_context_unref(t->chosen);
	gr_tls_context_unref(t->ctx);
	free(t->in);
	free(t->out);
	free(t->why);
	free(t->host);
	free(t->peer);
	free(t->name);
	free(t);
}

static void tls_close(struct gr_stream *s)
{
	struct gr_tls *t = s->layer;

	if (t->other)
		gr_wake(t->other, GR_CLOSED);
	/* Tickets that nobody read would make close(2) send a reset, which takes back what was written last. */
	if (t->done && !t->server)
		tls_readable(s);
	if (!s->broken)
		say_goodbye(t);
	if (t->out_len > 0 && t->send_error == 0 && !s->broken)
		gr_linger(s->fd, t->out + t->out_off, t->out_len);
	else
		close(s->fd);
	s->layer = NULL;
	gr_tls_destroy(t);
}

const struct gr_stream_ops gr_tls_ops = {
	.read = tls_read,
	.write = tls_write,
	.writev = tls_writev,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.prepare = gr_tls_handshake,
	.readable = tls_readable,
};

bool gr_tls_is(const struct gr_stream *s)
{
	return s->fd >= 0 && s->ops == &gr_tls_ops;
}
